"""Data that are plausible and may be wrong all the same: warnings, one sentence each.

A check speaks where sound data would hardly look so; data on which none speaks may still be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mbmrl_base.robots.observation import Array
from mbmrl_control.training.action_delay import acting_steps
from mbmrl_control.training.episodes import Folder
from mbmrl_control.training.transitions import pieces_of

Mask = NDArray[np.bool_]

_JUMP: Final = 0.8
"""Share of a column's range from which on a step is a jump of about the whole range."""
_STEEP: Final = 0.3
"""Share of the range from which on a step is no motion, in a column whose median step is at most _SMOOTH of it."""
_SMOOTH: Final = 0.05
_FEW: Final = 0.05
"""Share of the rows that is few."""
_NARROW: Final = 0.2
"""Share of the range that holds all values but those that stand for 'not measured'."""
_MOST: Final = 0.9
"""Share that is all but a few."""
_FROZEN: Final = 20
"""Rows without a change, of a column that else changes with each, that are no chance."""


def warnings_of(folder: Folder) -> Iterator[str]:
    """What looks wrong in a folder; each sentence names a file, or the folder, and the column, and what to do."""
    yield from _constant(folder)
    rows = _Rows.of(folder)
    if rows is None:
        return
    yield from _frozen(rows)
    yield from _equal(rows)
    yield from _beyond_a_turn(rows)
    quaternions = dict(_quaternions(rows))
    yield from quaternions.values()
    of_quaternions = {column for first in quaternions for column in range(first, first + 4)}
    yield from _jumps(rows, of_quaternions)
    yield from _misplaced_actions(folder)


@dataclass(frozen=True)
class _Rows:
    """The rows of a folder's episodes that belong to transitions, piece after piece.

    Attributes:
        folder: Where they are from.
        states: Shape (N, n).
        actions: The action that follows each, NaN after the last of a piece, shape (N, m).
        joined: Whether a row and the next are a transition, shape (N - 1,).
        steps: Changes from row to row, 0 where they are no transition, shape (N - 1, n).
        spans: Range of each state, shape (n,).
        file: Number of the file that a row is from, shape (N,).
        number: Number of the row in that file, shape (N,).
    """

    folder: Folder
    states: Array
    actions: Array
    joined: Mask
    steps: Array
    spans: Array
    file: NDArray[np.int64]
    number: NDArray[np.int64]

    @staticmethod
    def of(folder: Folder) -> _Rows | None:
        """Lay out the pieces of all episodes; None where there are no transitions."""
        pieces = [(file, piece) for file, each in enumerate(folder.episodes) for piece in pieces_of(each, folder.rate)]
        if not pieces:
            return None
        lengths = [len(piece.states) for _, piece in pieces]
        states = np.concatenate([piece.states.numpy() for _, piece in pieces])
        gap = ((0, 1), (0, 0))
        actions = np.concatenate([np.pad(piece.actions.numpy(), gap, constant_values=np.nan) for _, piece in pieces])
        joined = np.ones(len(states), dtype=bool)
        joined[np.cumsum(lengths) - 1] = False
        return _Rows(
            folder,
            states,
            actions,
            joined[:-1],
            np.where(joined[:-1, None], np.diff(states, axis=0), 0.0),
            np.ptp(states, axis=0),
            np.repeat([file for file, _ in pieces], lengths),
            np.concatenate([piece.start + np.arange(len(piece.states)) for _, piece in pieces]),
        )

    def state(self, column: int) -> str:
        """A state, as sentences name it."""
        return f"state {self.folder.robot.state_names[column]!r} (column {column})"

    def where(self, found: Mask) -> str:
        """The files of some rows, shape (N,) or (N - 1,)."""
        files = np.unique(self.file[np.flatnonzero(found)])
        others = f" and {len(files) - 1} more" if len(files) > 1 else ""
        return f"{self.folder.files[files[0]]}{others}"

    def first(self, found: Mask) -> str:
        """The first of some rows."""
        return f"row {self.number[np.flatnonzero(found)[0]]}"


def _constant(folder: Folder) -> Iterator[str]:
    for field, names in (("state", folder.robot.state_names), ("action", folder.robot.action_names)):
        for column, name in enumerate(names):
            if (value := folder.constant.get(f"{field} {name!r}")) is not None:
                yield (
                    f"{folder.path}: {field} {name!r} (column {column}) is always {value:g}: a column that never varies"
                    " says nothing to the model; check what measures it, or leave it out"
                )


def _frozen(rows: _Rows) -> Iterator[str]:
    """Columns that change with each row, but for a while, in which others and the actions do."""
    changes = rows.steps != 0.0
    runs = [_runs(rows.joined & ~changes[:, column]) for column in range(len(rows.spans))]
    regular = np.zeros(len(runs), dtype=bool)
    for column, own in enumerate(runs):
        elsewhere = rows.joined.copy()
        for start, end in own:
            elsewhere[start:end] = False
        regular[column] = elsewhere.sum() >= _FROZEN and changes[elsewhere, column].mean() >= _MOST
    for column in np.flatnonzero(regular):
        found = np.zeros(len(rows.states), dtype=bool)
        for start, end in runs[column]:
            others = changes[start:end][:, regular & (np.arange(len(runs)) != column)].mean(axis=0) >= _MOST
            acted = rows.actions[start:end]
            if len(others) and others.mean() >= 0.5 and (not acted.shape[1] or (acted != acted[0]).any()):
                found[start:end] = True
        if found.any():
            yield (
                f"{rows.where(found)}: {rows.state(column)} does not change over {found.sum()} rows, from"
                f" {rows.first(found)} on, while others do: check its sensor; what was not measured is to be a row that"
                " is NaN throughout"
            )


def _runs(still: Mask) -> list[tuple[int, int]]:
    """Runs of at least _FROZEN, as pairs of the first and the one after the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]))).reshape(-1, 2)
    return [(start, end) for start, end in edges.tolist() if end - start >= _FROZEN]


def _equal(rows: _Rows) -> Iterator[str]:
    """Columns that are equal in single precision: what was stored in that may have been copied in another."""
    robot = rows.folder.robot
    acted = rows.actions[np.append(rows.joined, False)]
    columns = (("state", robot.state_names, rows.states), ("action", robot.action_names, acted))
    for field, names, values in columns:
        known: dict[bytes, int] = {}
        for column, name in enumerate(names):
            if np.ptp(values[:, column]) == 0.0:
                continue
            first = known.setdefault(values[:, column].astype(np.float32).tobytes(), column)
            if first != column:
                yield (
                    f"{rows.folder.path}: {field} {names[first]!r} (column {first}) and {field} {name!r} (column"
                    f" {column}) are equal in each row: see whether one was written in place of another, or leave one"
                    " out"
                )


def _beyond_a_turn(rows: _Rows) -> Iterator[str]:
    for column in np.flatnonzero(rows.folder.features.is_angle.numpy()):
        values = rows.states[:, column]
        found = np.abs(values) > 2 * math.pi + 1e-6
        if found.any():
            yield (
                f"{rows.where(found)}: {rows.state(column)} is declared an angle and is {values[found][0]:g} in"
                f" {rows.first(found)}, beyond 2 pi: angles are in rad, degrees are to be converted; counted turns do"
                " no harm"
            )


def _quaternions(rows: _Rows) -> Iterator[tuple[int, str]]:
    """Four columns of length one that mostly turn slowly, and at once the other way: the first of them."""
    for first in range(len(rows.spans) - 3):
        four = rows.states[:, first : first + 4]
        if (np.abs(np.linalg.norm(four, axis=1) - 1.0) > 0.02).any():
            continue
        cosines = (four[1:] * four[:-1]).sum(axis=1)
        found = rows.joined & (cosines < -0.5)
        if found.any() and np.median(cosines[rows.joined]) > _MOST:
            names = ", ".join(repr(name) for name in rows.folder.robot.state_names[first : first + 4])
            yield (
                first,
                f"{rows.where(found)}: states {names} (columns {first} to {first + 3}) change sign together, first"
                f" after {rows.first(found)}: a quaternion and its negative are the same rotation; negate what has a"
                " negative product with the one before, or give angles",
            )


def _jumps(rows: _Rows, but: set[int]) -> Iterator[str]:
    """Smooth columns with steps of about their whole range."""
    plain = np.flatnonzero(~rows.folder.features.is_angle.numpy() & (rows.spans > 0.0))
    for column in (column for column in plain.tolist() if column not in but):
        values, steps, span = rows.states[:, column], rows.steps[:, column], rows.spans[column]
        jump = np.abs(steps) >= _JUMP * span
        if not jump.any() or np.median(np.abs(steps[rows.joined])) > _SMOOTH * span:
            continue
        if (gone := _not_measured(values, span)) is not None:
            yield (
                f"{rows.where(gone)}: {rows.state(column)} jumps to {values[gone][0]:g} by about its whole range, first"
                f" in {rows.first(gone)}: what was not measured is to be a row that is NaN throughout"
            )
        elif _wraps(rows, column, jump):
            yield (
                f"{rows.where(jump)}: {rows.state(column)} jumps by {np.abs(steps[jump])[0]:g}, about its whole range,"
                f" first after {rows.first(jump)}: an angle that wraps is to be described as an angle and given in rad,"
                " a counter is to count on (numpy.unwrap)"
            )


def _not_measured(values: Array, span: float) -> Mask | None:
    """Rows in which a column has one and the same value far from all others, which differ."""
    for value in (values.min(), values.max()):
        gone = values == value
        rest = values[~gone]
        repeated = gone.sum() > 1 or value == 0.0
        if repeated and gone.mean() <= _FEW and np.ptp(rest) <= _NARROW * span and len(np.unique(rest)) >= _FROZEN:
            return np.asarray(gone)
    return None


def _wraps(rows: _Rows, column: int, jump: Mask) -> bool:
    """Whether a column moves on to one end of its range and from there on from the other, as an angle does."""
    values, steps, span = rows.states[:, column], rows.steps[:, column], rows.spans[column]
    steep = np.abs(steps) >= _STEEP * span
    place = (values - values.min()) / span
    between = np.abs(place - 0.5) < 0.4
    turn = any(_JUMP * whole < span <= 1.001 * whole for whole in (2 * math.pi, 360.0))
    if jump.sum() < _MOST * steep.sum() or not (turn or between.mean() >= _STEEP):
        return False
    # Not for a single row: that of an outlier is at the other end too.
    high = place > 0.75
    at = np.flatnonzero(jump[1:-1] & rows.joined[:-2] & rows.joined[2:]) + 1
    stays = (high[at - 1] == high[at]) & (high[at + 1] == high[at + 2]) & (steps[at - 1] != 0.0)
    return bool(stays.any())


def _misplaced_actions(folder: Folder) -> Iterator[str]:
    steps = acting_steps(folder)
    for column, (name, step) in enumerate(zip(folder.robot.action_names, steps, strict=True)):
        if step:
            when, move = ("later", "on") if step > 0 else ("earlier", "back")
            rows = ("t + 1", "t + 2") if step > 0 else ("t - 1", "t")
            yield (
                f"{folder.path}: action {name!r} (column {column}) acts a step {when} than declared: that of row t goes"
                f" with the change from state {rows[0]} to {rows[1]}; move the actions {move} by a row, so that each is"
                " the one in force until the next state"
            )
