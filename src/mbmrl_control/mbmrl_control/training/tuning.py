"""Tuning of what is not learned by gradients: the rate of dynamic evaluation."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers, predict
from mbmrl_control.learners.mb import RECENT, DynamicEvaluation
from mbmrl_control.training.transitions import Transitions

RATES: Final = (0.000125, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
"""Rates that are tried; the gradient is of the squared length of the error, as in GrBAL."""
_TASKS: Final = 32
_LENGTH: Final = 300
"""Transitions of the longest walk."""
_AHEAD: Final = 8
"""Transitions ahead that are predicted after each step."""


@torch.no_grad()
def carried_error(layers: Layers, rate: Tensor, inputs: Tensor, targets: Tensor) -> float:
    """Error of the next transitions while weights are carried forward along walks, shape (tasks, T, ..)."""
    learner = DynamicEvaluation(layers, {"rate": rate})
    current, errors = layers, []
    ahead = min(_AHEAD, inputs.shape[1] - 1)
    for end in range(1, inputs.shape[1] - ahead + 1):
        recent, following = slice(max(0, end - RECENT), end), slice(end, end + ahead)
        current = learner.step(current, inputs[:, recent], targets[:, recent])
        errors.append((predict(current, inputs[:, following]) - targets[:, following]).square().mean())
    return float(torch.stack(errors).mean())


def tuned_rate(layers: Layers, data: Transitions) -> Tensor:
    """The best of RATES on walks as long as the median of the data's pieces; a tensor of one number."""
    length = min(_LENGTH, int(data.lengths[data.lengths > 1].median()))
    segments = data.segments(_TASKS, length, torch.Generator().manual_seed(2))
    inputs, targets = data.inputs[segments], data.targets[segments]
    rates = [torch.tensor([rate]) for rate in RATES]
    errors = [carried_error(layers, rate, inputs, targets) for rate in rates]
    # A rate that runs away has an error that is not a number, and compares as not lower.
    return rates[min(range(len(rates)), key=lambda index: errors[index] if errors[index] == errors[index] else 1e30)]
