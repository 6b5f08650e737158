"""A context of the window, and gradient steps on the window from there: attention and GrBAL in one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers
from mbmrl_control.learners.base import Learner, LearnerSettings, Update, replaced_layers, to_update
from mbmrl_control.learners.context import Attention
from mbmrl_control.learners.grbal import adapted_prediction, gradient_steps


class Hybrid(Attention):
    """Attention tells what has happened, gradient steps fit what it left unexplained."""

    name = "hybrid"
    positive = ("psi",)

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior, the weights of the transformer, and step sizes psi, shape (steps, layers)."""
        super().__init__(layers, extras)
        psi = extras.get("psi")
        if psi is None or psi.ndim != 2 or psi.shape[1] != len(layers):
            raise ValueError(f"a prior of hybrid needs step sizes psi for {len(layers)} layers")
        self._psi = psi

    @classmethod
    def initial(cls, layers: Layers, settings: LearnerSettings, generator: torch.Generator) -> dict[str, Tensor]:
        """A transformer, and the same step size for all layers."""
        psi = torch.full((settings.inner_steps, len(layers)), settings.initial_psi)
        return super().initial(layers, settings, generator) | {"psi": psi}

    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Gradient steps from the layers in the window's context."""
        return gradient_steps(super().adapted(inputs, targets), self._psi, inputs, targets)

    def loss(self, inputs: Tensor, targets: Tensor, window: int, generator: torch.Generator) -> Tensor:
        """Errors after the gradient steps, and of the contexts alone."""
        return Learner.loss(self, inputs, targets, window, generator) + 0.5 * super().loss(
            inputs, targets, window, generator
        )

    def predict(self, support: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
        """Predictions after adaptation."""
        return adapted_prediction(self.adapted(*support), inputs)

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """The adapted weights and biases, named by layer."""
        return to_update(self.adapted(inputs, targets))

    def adapted_layers(self, update: Update) -> Layers:
        """The layers of an update."""
        return replaced_layers(self.layers, update)
