"""The contract of a learner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from mbmrl_control.dynamics.network import Layers

Update = dict[str, Tensor]
"""What an adaptation changed, as named tensors; empty where the prior itself is meant."""


class Learner(ABC):
    """A rule that adapts a prior to the last transitions.

    A learner does not keep the transitions: whoever calls it does. Inputs and targets are normalised.
    """

    name: ClassVar[str]

    def __init__(self, layers: Layers) -> None:
        """Start from a prior's layers."""
        self.layers = layers

    def reset(self) -> None:  # noqa: B027  (most learners carry nothing from tick to tick)
        """Forget what was carried over from earlier ticks."""

    @abstractmethod
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """Adapt to a window of m transitions, shapes (m, 22) and (m, 21)."""

    @abstractmethod
    def adapted_layers(self, update: Update) -> Layers:
        """Layers of the model after an update.

        Raises:
            ValueError: If the update's tensors do not fit this prior.
        """
