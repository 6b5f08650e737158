"""The contract of a dynamics model that is planned with: a ReLU network, an ensemble, a recurrent network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mbmrl_control.dynamics.network import Layers, predict


@dataclass(frozen=True)
class Prediction:
    """Normalised outputs for inputs of shape (..., inputs).

    Attributes:
        mean: Shape (..., outputs).
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
            inputs: Normalised inputs, shape (..., inputs); (tasks, n, inputs) for a model that was adapted to several
                windows at once.
            memory: That of the prediction before, in a roll-out; None in its first step.
        """

    def tensors(self) -> Iterable[Tensor]:
        """What it is made of; a model is used only if all of it is finite."""
        return ()

    def error(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of normalised one-step predictions, shapes (..., inputs) and (..., outputs), a scalar."""
        return (self.predict(inputs).mean - targets).square().mean()


@dataclass(frozen=True)
class ReluNetwork(Model):
    """A plain ReLU network, for which there is a quick roll-out."""

    layers: Layers

    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        """Outputs of the network."""
        return Prediction(predict(self.layers, inputs))

    def tensors(self) -> Iterable[Tensor]:
        """Weights and biases."""
        return (tensor for layer in self.layers for tensor in layer)
