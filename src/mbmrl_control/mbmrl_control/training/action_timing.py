"""When actions act: in the step that they are declared for, or in the one before or after it."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from mbmrl_base.robots.observation import Array
from mbmrl_control.dynamics.rollout import transition
from mbmrl_control.training.episodes import Folder
from mbmrl_control.training.transitions import pieces_of

_MOST_ROWS: Final = 20_000
"""Transitions that are looked at, of more as many at equal distances."""
_ROWS_PER_COLUMN: Final = 10
"""Transitions that there must be for each number that a change is explained with."""
_GAIN: Final = 0.1
"""Least gain of an action in the step in which it acts: it explains a tenth of what all else leaves of a change."""
_CLEARER: Final = 5.0
"""How many times the gain in the declared step it must be, to name another one."""
_FRESH: Final = 0.2
"""Least share of an action that must not follow from what was before it.

Of less, it may be a controller that reacts to a state, rather than the state to the action of a row later.
"""


def acting_step(folder: Folder) -> list[int]:
    """Steps by which each action acts later than declared: -1, 0 or 1; 0 if the data do not show it.

    Changes of state are explained by linear regression with the states at their start and one step before, and the
    actions of the step and of the one before, or of the one after. An action acts in the step in which it explains
    what all else does not.
    """
    features, count = folder.features, len(folder.robot.action_names)
    parts: list[tuple[torch.Tensor, ...]] = []
    for episode in folder.episodes:
        for piece in pieces_of(episode, folder.rate):
            start, acted = piece.states[:-1], piece.actions
            inputs, targets = transition(features, start, acted, piece.states[1:], piece.intervals)
            inputs = inputs[:, : features.input_size - count]
            parts.append((inputs[1:-1], inputs[:-2], acted[:-2], acted[1:-1], acted[2:], targets[1:-1]))
    joined = [np.concatenate([part.double().numpy() for part in column]) for column in zip(*parts, strict=True)]
    if not count or len(joined[0]) < _ROWS_PER_COLUMN * (2 * joined[0].shape[1] + 3 * count):
        return [0] * count
    every = -(-len(joined[0]) // _MOST_ROWS)
    seen, seen_before, before, now, after, change = (_standard(column[::every]) for column in joined)
    state = np.concatenate([seen, seen_before], axis=1)
    declared, later = np.split(_gains(state, np.concatenate([now, before], axis=1), change), 2)
    earlier = _gains(state, np.concatenate([after, before, now], axis=1), change)[:count]
    past = np.concatenate([seen_before, before], axis=1)
    fresh = 1.0 - _explained(past, now)
    least = np.maximum(_GAIN, _CLEARER * declared)
    steps = np.where(later >= least, 1, np.where((earlier >= least) & (fresh >= _FRESH), -1, 0))
    return [int(step) for step in steps]


def _standard(values: Array) -> Array:
    """Columns with mean 0 and deviation 1, or 0 where they do not vary."""
    values = values - values.mean(axis=0)
    deviation = values.std(axis=0)
    varies = deviation > 1e-9 * np.abs(values).max(axis=0, initial=1.0)
    return np.asarray(values * np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0))


def _gains(state: Array, actions: Array, changes: Array) -> Array:
    """How much each action explains of what state and the other actions leave of a change.

    Args:
        state: Shape (N, s); all are of mean 0 and deviation 1.
        actions: Shape (N, m).
        changes: Shape (N, c).

    Returns:
        Logarithm of the ratio of the squared errors without the action and with it, of the change where that is
        largest, shape (m,).
    """
    known = np.concatenate([state, actions], axis=1)
    # What follows from other columns must not be divided by its rounding errors.
    inverse = np.linalg.inv(known.T @ known + 1e-8 * len(known) * np.eye(known.shape[1]))
    products = known.T @ changes
    weights = inverse @ products
    whole = (changes**2).sum(axis=0)
    left = np.maximum((whole - (weights * products).sum(axis=0)), 1e-6 * whole + 1e-12)
    explained = weights**2 / np.diag(inverse)[:, None]
    return np.asarray(np.log1p(explained / left).max(axis=1)[state.shape[1] :])


def _explained(known: Array, values: Array) -> Array:
    """Share of the variance of columns that a linear regression explains, shapes (N, k) and (N, m) -> (m,)."""
    weights = np.linalg.lstsq(known, values, rcond=1e-9)[0]
    whole = (values**2).sum(axis=0)
    return np.asarray(1.0 - ((values - known @ weights) ** 2).sum(axis=0) / np.maximum(whole, 1e-12))
