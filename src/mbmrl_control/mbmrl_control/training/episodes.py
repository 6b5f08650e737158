"""Episodes on disk: one ``.npz`` file each, of the millirobot or of any other robot (docs/data.md).

| array | shape | |
|---|---|---|
| ``state`` | (T + 1, n) | states; a row that is NaN throughout is a missing sample |
| ``action`` | (T, m) | actions in force between two states, as applied |
| ``time`` | (T + 1,) | time of measurement, s |
| ``metadata`` | () | JSON |

The metadata's field ``robot`` is the name of a robot, or its description (`mbmrl_base.robots.description`). Those of
the simulator have the seed, the rate (Hz), the policy, terrain, slope (rad), sensors and versions beside it, and
``faults`` lists what was injected: the step, the kind, and its values (see `mbmrl_base.robots.faults.Fault`).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mbmrl_base.robots.catalogue import of_metadata
from mbmrl_base.robots.features import Features
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.files import whole

LARGEST: Final = 1e15
"""Largest magnitude of a number: its square is finite in single precision."""
SHORTEST: Final = 1e-6
"""Shortest time from one state to the next, s."""


class EpisodeError(ValueError):
    """Data that cannot be used; its text names the file, the field and the rule."""


@dataclass(frozen=True)
class Episode:
    """A roll-out of T control intervals; shapes as in the file."""

    state: Array
    action: Array
    time: Array
    metadata: dict[str, Any] = field(default_factory=dict)
    given: Robot | None = field(default=None, compare=False)
    """The robot, if it is more than the metadata can describe: one with features of its own."""

    @cached_property
    def robot(self) -> Robot:
        """The robot.

        Raises:
            ValueError: If the metadata do not say it.
        """
        return self.given or of_metadata(self.metadata.get("robot"))

    @property
    def features(self) -> Features:
        """What a model of this robot sees and predicts."""
        return self.robot.features

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        arrays = {"state": self.state, "action": self.action, "time": self.time}
        content = io.BytesIO()  # a zip file that the disk has no place for would raise once more at its end
        np.savez(content, **arrays, metadata=np.array(json.dumps(self.metadata)))
        with whole(path) as part:
            part.write_bytes(content.getvalue())

    @staticmethod
    def load(path: Path, robot: Robot | None = None) -> Episode:
        """Read a file.

        Args:
            path: The file.
            robot: The robot, whose episode it has to be; None: the one that the metadata say.

        Raises:
            EpisodeError: If the file is no episode, or one of another robot.
        """
        names = ("action", "state", "time", "metadata")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in names if name in file}
        except Exception as error:  # a damaged archive fails in as many ways as zipfile, zlib and numpy know
            raise EpisodeError(f"{path} is no episode file: {error}") from None
        for name in names:
            if name not in arrays:
                raise EpisodeError(f"{path}: the array {name!r} is missing")
        try:
            metadata = json.loads(str(arrays.pop("metadata")))
        except (ValueError, RecursionError) as error:
            raise EpisodeError(f"{path}: metadata is no JSON: {error}") from None
        if not isinstance(metadata, dict):
            raise EpisodeError(f"{path}: metadata is no JSON object: it has to name the robot")
        numbers = _checked(path, arrays, metadata)
        if robot is not None and (difference := robot.difference(of_metadata(metadata.get("robot")))):
            raise EpisodeError(f"{path} is of another robot: {difference}")
        return Episode(numbers["state"], numbers["action"], numbers["time"], metadata, robot)


def missing_samples(state: Array) -> NDArray[np.bool_]:
    """Which rows are missing samples, shape (T + 1, n) -> (T + 1,)."""
    missing: NDArray[np.bool_] = np.isnan(state).all(axis=1)
    return missing


def _checked(path: Path, arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays, as numbers of double precision; EpisodeError where one is not what its field is for."""
    try:
        robot = of_metadata(metadata.get("robot"))
    except ValueError as error:
        raise EpisodeError(f"{path}: metadata: {error}") from None
    length = len(np.atleast_1d(arrays["action"]))
    wanted = {
        "action": ((length, len(robot.action_names)), "fiu"),
        "state": ((length + 1, len(robot.state_names)), "fiu"),
        "time": ((length + 1,), "f"),
    }
    kinds = {"fiu": "numbers", "f": "floating-point numbers"}
    for name, (shape, kind) in wanted.items():
        array = arrays[name]
        if array.shape != shape or array.dtype.kind not in kind:
            raise EpisodeError(
                f"{path}: {name} has shape {array.shape} and type {array.dtype}, wanted is {shape} and {kinds[kind]}"
            )
    numbers = {name: arrays[name].astype(np.float64) for name in ("state", "action", "time")}
    missing = missing_samples(numbers["state"])
    unused = {"state": missing, "action": missing[1:] | missing[:-1], "time": np.zeros_like(missing)}
    for name, array in numbers.items():
        bad = ~(np.abs(array) <= LARGEST)
        bad[unused[name]] = False
        if bad.any():
            row, *column = np.argwhere(bad)[0]
            where = {"state": robot.state_names, "action": robot.action_names}.get(name)
            what = f"{name} {where[column[0]]!r}" if where else name
            raise EpisodeError(
                f"{path}: {what} is {array[(row, *column)]} in row {row}: all must be finite, at most {LARGEST:g}"
                " in magnitude; a missing sample is a row of state that is NaN throughout"
            )
    late = np.flatnonzero(np.diff(numbers["time"]) < SHORTEST)
    if len(late):
        before, after = numbers["time"][late[0] : late[0] + 2]
        raise EpisodeError(
            f"{path}: time goes from {before} to {after} s at row {late[0] + 1}: it must increase from row to row"
        )
    return numbers
