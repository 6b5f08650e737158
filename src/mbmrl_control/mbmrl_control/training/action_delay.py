"""In which step an action acts, as data show it: by linear regression of the changes of state."""

from __future__ import annotations

from typing import Final

import numpy as np

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


def acting_steps(folder: Folder) -> list[int]:
    """Steps by which each action acts later than declared: -1, 0 or 1; 0 if the data do not show it.

    Changes of state are explained by linear regression with the states at their start and one step before, and the
    actions of the step and of the one before, or of the one after. An action acts in the step in which it explains
    what all else does not.
    """
    count = len(folder.robot.action_names)
    rows = _aligned(folder, 1, 1)
    if rows is None:
        return [0] * count
    seen, seen_before, change, (after, now, before) = rows
    state = np.concatenate([seen, seen_before], axis=1)
    declared, later = np.split(_gains(state, np.concatenate([now, before], axis=1), change), 2)
    earlier = _gains(state, np.concatenate([after, before, now], axis=1), change)[:count]
    past = np.concatenate([seen_before, before], axis=1)
    fresh = ((now - past @ np.linalg.lstsq(past, now, rcond=1e-9)[0]) ** 2).sum(0) / np.maximum((now**2).sum(0), 1e-12)
    least = np.maximum(_GAIN, _CLEARER * declared)
    steps = np.where(later >= least, 1, np.where((earlier >= least) & (fresh >= _FRESH), -1, 0))
    return [int(step) for step in steps]


def shares_over_delay(folder: Folder, longest: int) -> Array | None:
    """How much each action explains of the changes of state that come some steps later.

    Of the change that it explains most of, beside the state at its start, the state a step before and all actions.

    Args:
        folder: The data.
        longest: The longest delay, in steps.

    Returns:
        Share of what all else leaves unexplained, 0 to 1, shape (m, longest + 1); None if the data are too few.
    """
    rows = _aligned(folder, longest, 0)
    if rows is None:
        return None
    seen, seen_before, change, acted = rows
    gains = _gains(np.concatenate([seen, seen_before], axis=1), np.concatenate(acted, axis=1), change)
    return np.asarray(1.0 - np.exp(-gains.reshape(longest + 1, -1).T))


def _aligned(folder: Folder, before: int, after: int) -> tuple[Array, Array, Array, list[Array]] | None:
    """What the model sees at the start of a change and a step before, the change, and actions around it.

    The actions are those from `after` steps later to `before` steps earlier. All have mean 0 and deviation 1. None if
    the transitions are too few for what they are to tell.
    """
    features, count = folder.features, len(folder.robot.action_names)
    parts: list[list[Array]] = []
    first = max(before, 1)
    for episode in folder.episodes:
        for piece in pieces_of(episode, folder.rate):
            last = len(piece.actions) - after
            if last <= first:
                continue
            inputs, targets = transition(features, piece.states[:-1], piece.actions, piece.states[1:], piece.intervals)
            seen, acted = inputs[:, : features.input_size - count].double().numpy(), piece.actions.double().numpy()
            shifted = [acted[first - delay : last - delay] for delay in range(-after, before + 1)]
            parts.append([seen[first:last], seen[first - 1 : last - 1], targets[first:last].double().numpy(), *shifted])
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    columns = sum(each.shape[1] for each in joined) - joined[2].shape[1] if joined else 0
    if not count or not joined or len(joined[0]) < _ROWS_PER_COLUMN * columns:
        return None
    every = -(-len(joined[0]) // _MOST_ROWS)
    alike = [_standard(column[::every]) for column in joined]
    return alike[0], alike[1], alike[2], alike[3:]


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
