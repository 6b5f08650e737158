"""The contract of a dynamics model that is planned with: a ReLU network, an ensemble, a recurrent network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mbmrl_control.dynamics.network import Layers, predict


@dataclass(frozen=True)
class Prediction:
    """Normalised outputs for inputs of shape (..., n, inputs).

    Attributes:
        mean: Shape (..., n, outputs).
        variance: Of each output, of the same shape; None if the model has none.
        memory: What the model wants to see again in the next step of a roll-out; None if it remembers nothing.
    """

    mean: Tensor
    variance: Tensor | None = None
    memory: Any = None


class Model(ABC):
    """Predicts the normalised change of a robot's state from normalised inputs."""

    @abstractmethod
    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        """Predict one step.

        Args:
            inputs: Normalised inputs, shape (..., n, inputs).
            memory: That of the prediction before, in a roll-out; None in its first step.
        """


@dataclass(frozen=True)
class ReluNetwork(Model):
    """A plain ReLU network, for which there is a quick roll-out."""

    layers: Layers

    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        """Outputs of the network."""
        return Prediction(predict(self.layers, inputs))
