"""Bayesian linear regression of the last layer on meta-learned features.

ALPaCA (Harrison et al., WAFR 2018): the last layer's weights have a Gaussian prior around theta*, whose
covariance, like the noise, is learned with the features, so that its posterior follows in closed form.
The weight of a transition falls with its age (exponential forgetting, of a learned rate).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers, predict
from mbmrl_control.learners.base import NetworkLearner, TrainingDefaults, Update, replaced_layers, to_update

_INITIAL_SCALE: Final = 0.15
_INITIAL_DECAY: Final = 0.02


class BayesLastLayer(NetworkLearner):
    """Closed-form update of the last layer from all transitions since the last change."""

    name = "bayes_last_layer"
    training = TrainingDefaults(open_loop=20.0)
    carries = True
    positive = ("noise", "decay")

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior.

        Its tensors are ``root``, shape (features + 1, features + 1), a square root of the covariance of the last
        layer's weights in units of the noise; ``noise``, its deviation in each output; and ``decay``, the
        rate of forgetting for each transition.
        """
        super().__init__(layers, extras)
        outputs, features = layers[-1][0].shape
        wanted = {"root": (features + 1, features + 1), "noise": (outputs,), "decay": (1,)}
        if any(name not in extras or extras[name].shape != shape for name, shape in wanted.items()):
            raise ValueError(f"a prior of {self.name} needs {', '.join(wanted)} that fit its last layer")
        self._root, self._decay = self.extras["root"], self.extras["decay"]
        self.reset()

    @classmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """The same deviation for all weights, and slow forgetting."""
        outputs, features = layers[-1][0].shape
        return {
            "root": _INITIAL_SCALE * torch.eye(features + 1),
            "noise": torch.full((outputs,), 0.5),
            "decay": torch.full((1,), _INITIAL_DECAY),
        }

    def reset(self) -> None:
        """Forget all transitions."""
        size, outputs = len(self._root), len(self.layers[-1][1])
        self._precision = self._root.new_zeros(size, size)
        self._moment = self._root.new_zeros(size, outputs)

    def features(self, inputs: Tensor) -> Tensor:
        """Features in which the prior of the last layer is a unit Gaussian, shape (..., features + 1)."""
        value = predict(self.layers[:-1], inputs).relu()
        return value @ self._root[:-1] + self._root[-1]

    def _residuals(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return targets - predict(self.layers, inputs)

    def _last_layer(self, weights: Tensor) -> Layers:
        """Layers whose last one is moved by weights of the features, shape ([tasks,] features + 1, outputs)."""
        weight, bias = self.layers[-1]
        change = self._root @ weights
        return [*self.layers[:-1], (weight + change[..., :-1, :].mT, bias + change[..., -1, :])]

    def _weighted(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features and residuals of a window, weighted by age, and the Cholesky factor of their kernel."""
        count = inputs.shape[-2]
        weights = torch.exp(-0.5 * self._decay * torch.arange(count - 1, -1, -1)).unsqueeze(-1)
        features, residuals = weights * self.features(inputs), weights * self._residuals(inputs, targets)
        kernel = features @ features.mT + torch.eye(count, dtype=features.dtype)
        return features, residuals, torch.linalg.cholesky(kernel)

    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Layers with the posterior mean of the last one."""
        features, residuals, factor = self._weighted(inputs, targets)
        weights: Tensor = features.mT @ torch.cholesky_solve(residuals, factor)
        return self._last_layer(weights)

    def variance(self, support: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
        """Predictive variance after adaptation, shapes (tasks, M, ..) and (tasks, K, inputs) -> (tasks, K, outputs)."""
        features, _, factor = self._weighted(*support)
        new = self.features(inputs)
        known = torch.linalg.solve_triangular(factor, features @ new.mT, upper=False)
        spread = new.square().sum(-1) - known.square().sum(-2)
        variance: Tensor = self.extras["noise"].square() * (1.0 + spread.clamp_min(0.0)).unsqueeze(-1)
        return variance

    def loss(self, inputs: Tensor, targets: Tensor, window: int, generator: torch.Generator) -> Tensor:
        """Error after adaptation to a window of random length, and the likelihood that the noise is learned by."""
        seen = int(torch.randint(2, window + 1, (1,), generator=generator))
        support = inputs[:, window - seen : window], targets[:, window - seen : window]
        squares = (self.predict(support, inputs[:, window:]) - targets[:, window:]).square()
        with torch.no_grad():
            spread = self.variance(support, inputs[:, window:]) / self.extras["noise"].square()
        variance = self.extras["noise"].square() * spread
        likelihood = 0.5 * (squares.detach() / variance + variance.log())
        return squares.mean() + 0.1 * likelihood.mean()

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """The last layer after the newest transition."""
        features = self.features(inputs[-1:])
        kept = torch.exp(-self._decay)
        self._precision = kept * self._precision + features.mT @ features
        self._moment = kept * self._moment + features.mT @ self._residuals(inputs[-1:], targets[-1:])
        precision = self._precision + torch.eye(len(self._precision))
        weights = torch.cholesky_solve(self._moment, torch.linalg.cholesky(precision))
        return to_update(self._last_layer(weights)[-1:], len(self.layers) - 1)

    def adapted_layers(self, update: Update) -> Layers:
        """The layers of an update; the prior's where it has but the last one."""
        first = 0 if "layers.0.weight" in update else len(self.layers) - 1
        return [*self.layers[:first], *replaced_layers(self.layers[first:], update, first)]
