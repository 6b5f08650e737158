"""A context of the window, and gradient steps on the window from there: attention and GrBAL in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from mbmrl_control.dynamics.network import Layers
from mbmrl_control.learners.base import Learner, NetworkLearner, Update, to_update
from mbmrl_control.learners.context import Attention, ContextSettings
from mbmrl_control.learners.gradient_steps import adapted_prediction, dense, gradient_steps
from mbmrl_control.learners.grbal import StepSettings, initial_psi, psi_of


@dataclass(frozen=True)
class HybridSettings(ContextSettings, StepSettings):
    """Settings of the context and of the steps."""


class Hybrid(Attention):
    """Attention recognises what has happened, gradient steps fit what it left unexplained."""

    name = "hybrid"
    settings_type = HybridSettings
    positive = ("psi",)
    adapted_layers = NetworkLearner.adapted_layers

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior, the weights of the transformer, and step sizes."""
        super().__init__(layers, extras)
        self._psi = psi_of(extras, layers, self.name)

    @classmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """A transformer, and the same step size for all layers."""
        return super().initial(layers, settings, generator) | initial_psi(settings, layers)

    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Gradient steps from the layers in the window's context."""
        return dense(gradient_steps(super().adapted(inputs, targets), self._psi, inputs, targets))

    def loss(self, inputs: Tensor, targets: Tensor, window: int, generator: torch.Generator) -> Tensor:
        """Errors after the gradient steps, and of the contexts alone."""
        return Learner.loss(self, inputs, targets, window, generator) + 0.5 * super().loss(
            inputs, targets, window, generator
        )

    def predict(self, support: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
        """Predictions after adaptation."""
        return adapted_prediction(gradient_steps(super().adapted(*support), self._psi, *support), inputs)

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """The adapted weights and biases, named by layer."""
        return to_update(self.adapted(inputs, targets))
