"""The plain model: MB, without adaptation, and MB+DE, with dynamic evaluation; the baselines of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers, predict
from mbmrl_control.learners.base import NetworkLearner, Update, Walks, to_update
from mbmrl_control.learners.gradient_steps import dense, gradient_steps

RECENT: Final = 16
"""Transitions that a step of dynamic evaluation looks at."""
RATES: Final = (0.000125, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
"""Rates that are tried; the gradient is of the squared length of the error, as in GrBAL."""
_AHEAD: Final = 8
"""Transitions ahead that are predicted after each step, when rates are tried."""


class ModelBased(NetworkLearner):
    """Plans with the prior as it is."""

    name = "mb"
    adapts = False
    baseline = True

    @classmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Nothing beside the layers."""
        return {}

    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """The prior's layers."""
        return self.layers

    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """No update."""
        return {}

    def adapted_layers(self, update: Update) -> Layers:
        """The prior's layers."""
        if update:
            raise ValueError("the learner mb takes no update")
        return self.layers

    def loss(self, inputs: Tensor, targets: Tensor, window: int, generator: torch.Generator) -> Tensor:
        """The error of the plain model on all transitions."""
        return (predict(self.layers, inputs) - targets).square().mean()


class DynamicEvaluation(ModelBased):
    """The plain model, which takes a gradient step each tick and carries its weights forward."""

    name = "mb_de"
    adapts = True
    carries = True
    trained_as = ModelBased
    adapted_layers = NetworkLearner.adapted_layers

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a plain model and the rate of the steps, a scalar."""
        super().__init__(layers, extras)
        rate = extras.get("rate")
        if rate is None or rate.numel() != 1:
            raise ValueError("a prior of mb_de needs one rate")
        self._psi = rate.reshape(1, 1).expand(1, len(layers))
        self.reset()

    @classmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """No step: the rate is not learned with the weights but tuned after them."""
        return {"rate": torch.zeros(1)}

    @classmethod
    def tuned(cls, layers: Layers, extras: dict[str, Tensor], walks: Walks) -> dict[str, Tensor]:
        """The best of RATES."""
        rates = [torch.tensor([rate]) for rate in RATES]
        errors = [cls(layers, {"rate": rate}).carried_error(*walks()) for rate in rates]
        # A rate that runs away has an error that is not a number, and compares as not lower.
        best = min(range(len(rates)), key=lambda index: errors[index] if errors[index] == errors[index] else 1e30)
        return {"rate": rates[best]}

    @torch.no_grad()
    def carried_error(self, inputs: Tensor, targets: Tensor) -> float:
        """Error of the next transitions while weights are carried forward along walks, shape (tasks, T, ..)."""
        current, errors = self.layers, []
        ahead = min(_AHEAD, inputs.shape[1] - 1)
        for end in range(1, inputs.shape[1] - ahead + 1):
            recent, following = slice(max(0, end - RECENT), end), slice(end, end + ahead)
            current = self.step(current, inputs[:, recent], targets[:, recent])
            errors.append((predict(current, inputs[:, following]) - targets[:, following]).square().mean())
        return float(torch.stack(errors).mean())

    def reset(self) -> None:
        """Return to the prior."""
        self._carried = self.layers

    def step(self, layers: Layers, inputs: Tensor, targets: Tensor) -> Layers:
        """Layers after a gradient step on windows."""
        return dense(gradient_steps(layers, self._psi, inputs, targets))

    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Layers after a step for each transition, each on the RECENT ones up to it."""
        layers = self.layers
        for end in range(1, inputs.shape[-2] + 1):
            recent = slice(max(0, end - RECENT), end)
            layers = self.step(layers, inputs[..., recent, :], targets[..., recent, :])
        return layers

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """One step from the weights carried forward."""
        self._carried = self.step(self._carried, inputs[-RECENT:], targets[-RECENT:])
        return to_update(self._carried)
