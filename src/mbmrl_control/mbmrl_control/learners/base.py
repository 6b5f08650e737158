"""The contract of a learner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers, predict

Update = dict[str, Tensor]
"""What an adaptation changed, as named tensors; empty where the prior itself is meant."""


@dataclass(frozen=True)
class LearnerSettings:
    """Settings of a learner before anything is learned.

    Attributes:
        inner_steps: Gradient steps of an adaptation.
        psi: Form of their step sizes: ``scalar``, ``per_layer`` or ``per_parameter``.
        initial_psi: Step size before it is learned.
        context: Numbers in the context of learners that encode one.
        cell: Recurrent cell, ``gru`` or ``lstm``.
    """

    inner_steps: int = 3
    psi: str = "per_layer"
    initial_psi: float = 0.01
    context: int = 64
    cell: str = "gru"


class Learner(ABC):
    """A rule that adapts a prior to the last transitions.

    A learner keeps no transitions: whoever calls it does. Inputs, shape (..., inputs), and targets,
    shape (..., outputs), are normalised.
    """

    name: ClassVar[str]
    carries: ClassVar[bool] = False
    """Whether `adapt` builds on what earlier calls have learned."""
    memory: ClassVar[int] = 0
    """Transitions that `adapt` wants to see where they are more than the prior's window."""
    positive: ClassVar[tuple[str, ...]] = ()
    """Names, or their beginnings, of the tensors that only make sense above 0: their logarithm is learned."""
    adapts: ClassVar[bool] = True

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior's layers, and the tensors that were learned beside them.

        Raises:
            ValueError: If the tensors do not fit the layers.
        """
        self.layers = layers
        self.extras = dict(extras)

    @classmethod
    @abstractmethod
    def initial(cls, layers: Layers, settings: LearnerSettings, generator: torch.Generator) -> dict[str, Tensor]:
        """The tensors beside the layers before anything is learned."""

    def reset(self) -> None:  # noqa: B027  (most learners carry nothing from tick to tick)
        """Forget what was carried over from earlier ticks."""

    @abstractmethod
    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Layers that are adapted from the prior to windows, differentiably; what is carried plays no part.

        Args:
            inputs: One window, shape (M, inputs), or one for each task, (tasks, M, inputs).
            targets: Shape ([tasks,] M, outputs).

        Returns:
            Layers for each window; where they differ between tasks, with the tasks as leading dimension.
        """

    @abstractmethod
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """Adapt to the last m transitions, shapes (m, inputs) and (m, outputs), the newest one last."""

    @abstractmethod
    def adapted_layers(self, update: Update) -> Layers:
        """Layers of the model after an update.

        Raises:
            ValueError: If the update's tensors do not fit this prior.
        """

    def predict(self, support: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
        """Predictions after adaptation to windows, shapes (tasks, M, ..) and (tasks, K, inputs)."""
        return predict(self.adapted(*support), inputs)

    def loss(self, inputs: Tensor, targets: Tensor, window: int, generator: torch.Generator) -> Tensor:
        """What the training minimises on segments: the error after adaptation (equation 1 of the paper).

        Args:
            inputs: Segments of M + K transitions, shape (tasks, M + K, inputs).
            targets: Shape (tasks, M + K, outputs).
            window: M.
            generator: For what is random in it.
        """
        del generator
        predicted = self.predict((inputs[:, :window], targets[:, :window]), inputs[:, window:])
        return (predicted - targets[:, window:]).square().mean()


def to_update(layers: Layers, first: int = 0) -> Update:
    """Update that replaces whole layers, from the given one on."""
    return {
        f"layers.{index}.{name}": tensor
        for index, layer in enumerate(layers, first)
        for name, tensor in zip(("weight", "bias"), layer, strict=True)
    }


def replaced_layers(prior: Layers, update: Update) -> Layers:
    """Layers of an update as `to_update` makes it; ValueError where it does not fit."""
    if not update:
        return prior
    layers = []
    for index, (weight, bias) in enumerate(prior):
        new_weight, new_bias = update.get(f"layers.{index}.weight"), update.get(f"layers.{index}.bias")
        if new_weight is None or new_bias is None or not (alike(new_weight, weight) and alike(new_bias, bias)):
            raise ValueError(f"an update of layer {index} does not fit a prior of shape {tuple(weight.shape)}")
        layers.append((new_weight, new_bias))
    return layers


def alike(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors have the same shape and type."""
    return left.shape == right.shape and left.dtype == right.dtype
