"""Bayesian regression of the last layer, on features that go on learning by experience replay.

The closed form of `bayes_last_layer` answers a change within a few transitions, but only within the span of the
features. Beside it, as in dynamic evaluation, all weights take a gradient step each tick, but on a sample of what the
robot has lived through (experience replay, Lin, Machine Learning 8, 1992) and with Adam (Kingma and Ba, ICLR 2015), at
a rate that is 0 as long as the prior errs by no more than it expects.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.optim.adam import adam

from mbmrl_control.dynamics.network import predict
from mbmrl_control.learners.base import Update, to_update
from mbmrl_control.learners.bayes import BayesLastLayer
from mbmrl_control.learners.gradient_steps import LowRank, gradient_steps

NEWEST: Final = 8
"""Newest transitions, which are in each sample."""
_DRAWN: Final = 56
"""Transitions that are drawn at random, the recent ones more often."""
_MEAN_AGE: Final = 100.0
"""Mean age of those, in transitions."""
_WINDOW: Final = 48
"""Transitions that the last layer is fitted to."""
_DECAY: Final = 0.03
"""Rate of forgetting of each of them. The learned one is three times as high: what the features cannot explain soon
misleads the last layer. That is what replay takes from it."""
_SHARE: Final = 0.5
"""Part of the learned deviation of the last layer's weights that is left to explain beside replay."""
_RATE: Final = 2e-4
"""Rate of Adam."""
_SURPRISE: Final = (2.0, 4.0)
"""Squared error, in units of the noise that the prior expects, at which replay begins, and from which on it has its
full rate. If the prior can foresee what happens, there is nothing but noise to be learned."""
_SURPRISING: Final = 24
"""Newest transitions over which that is averaged."""


class BayesReplay(BayesLastLayer):
    """Closed-form update of the last layer around weights that a replayed gradient step carries forward."""

    name = "bayes_replay"
    memory = 400

    def reset(self) -> None:
        """Return to the prior's weights."""
        self._carried = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in self.layers]
        self._tensors = [tensor for layer in self._carried for tensor in layer]
        self._means, self._squares = ([torch.zeros_like(each) for each in self._tensors] for _ in range(2))
        self._steps = [torch.zeros(()) for _ in self._tensors]
        self._generator = torch.Generator().manual_seed(0)
        self._tempered = {**self.extras, "root": _SHARE * self._root, "decay": torch.full_like(self._decay, _DECAY)}

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """A step on a sample, then the last layer from the newest transitions."""
        count = len(inputs)
        low, high = _SURPRISE
        share = (self._surprise(inputs[-_SURPRISING:], targets[-_SURPRISING:]) - low) / (high - low)
        if count >= NEWEST:
            ages = (-_MEAN_AGE * torch.rand(_DRAWN, generator=self._generator).log()).long() % count
            drawn = count - 1 - torch.cat([torch.arange(NEWEST), ages])
            self._learn(inputs[drawn], targets[drawn], _RATE * min(max(share, 0.0), 1.0))
        fitted = BayesLastLayer(self._carried, self._tempered).adapted(inputs[-_WINDOW:], targets[-_WINDOW:])
        # What is carried goes on changing in place.
        return {name: tensor.clone() for name, tensor in to_update(fitted).items()}

    def _surprise(self, inputs: Tensor, targets: Tensor) -> float:
        """Squared error in units of the noise, of the prior or of what is carried, if that is worse."""
        return max(
            float(((targets - predict(layers, inputs)) / self.extras["noise"]).square().mean())
            for layers in (self.layers, self._carried)
        )

    def _learn(self, inputs: Tensor, targets: Tensor, rate: float) -> None:
        step = gradient_steps(self._carried, torch.ones(1, 1), inputs, targets)
        assert isinstance(step, LowRank)
        gradients = [(columns.mT @ rows, columns.sum(0)) for ((rows, columns),) in step.factors]
        # The class `Adam` would import a compiler, which takes a second.
        adam(
            self._tensors,
            [gradient for pair in gradients for gradient in pair],
            self._means,
            self._squares,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
