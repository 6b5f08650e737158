"""Episodes, one ``.npz`` file each, and folders of them; of the millirobot or of any other robot (docs/data.md).

| array | shape | |
|---|---|---|
| ``state`` | (T + 1, n) | states; a row that is NaN throughout is a missing sample |
| ``action`` | (T, m) | actions in force between two states, as applied |
| ``time`` | (T + 1,) | time of measurement, s |
| ``metadata`` | () | JSON |

The metadata's field ``version`` is that of the file, 1 if it is missing; ``robot`` is the name of a robot, or its
description (`mbmrl_base.robots.description`). Those of the simulator have the seed, the rate (Hz), the policy, terrain,
slope (rad), sensors and versions beside it, and ``faults`` lists what was injected: the step, the kind, and its values
(see `mbmrl_base.robots.faults.Fault`).
"""

from __future__ import annotations

import hashlib
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
from mbmrl_base.system.versions import check_version
from mbmrl_control.training.npz import check_sizes

VERSION: Final = 1
"""Of the files; one without it is of the first."""
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
        np.savez(content, **arrays, metadata=np.array(json.dumps({"version": VERSION, **self.metadata})))
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
            check_sizes(path)
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in names if name in file}
        except Exception as error:  # a damaged archive fails in as many ways as zipfile, zlib and numpy know
            raise EpisodeError(f"{path} is no episode file: {error}") from None
        for name in names:
            if name not in arrays:
                raise EpisodeError(f"{path}: the array {name!r} is missing")
        try:
            metadata = json.loads(str(arrays.pop("metadata")))
        except (ValueError, RecursionError, SystemError) as error:  # SystemError: characters that there are not
            raise EpisodeError(f"{path}: metadata is no JSON: {error}") from None
        if not isinstance(metadata, dict):
            raise EpisodeError(f"{path}: metadata is no JSON object: it has to name the robot")
        try:
            check_version(metadata.pop("version", 1), VERSION)
        except ValueError as error:
            raise EpisodeError(f"{path}: {error}") from None
        numbers = _checked(path, arrays, metadata)
        if robot is not None and (difference := robot.difference(of_metadata(metadata.get("robot")))):
            raise EpisodeError(f"{path} is of another robot: {difference}")
        return Episode(numbers["state"], numbers["action"], numbers["time"], metadata, robot)


def missing_samples(state: Array) -> NDArray[np.bool_]:
    """Which rows are missing samples, shape (T + 1, n) -> (T + 1,)."""
    return np.asarray(np.isnan(state).all(axis=1))


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
            row, *column = place = np.argwhere(bad)[0]
            where = {"state": robot.state_names, "action": robot.action_names}.get(name)
            what = f"{name} {where[column[0]]!r}" if where else name
            raise EpisodeError(
                f"{path}: {what} is {array[tuple(place)]} in row {row}: all must be finite, at most {LARGEST:g}"
                " in magnitude; a missing sample is a row of state that is NaN throughout"
            )
    late = np.flatnonzero(np.diff(numbers["time"]) < SHORTEST)
    if len(late):
        before, after = numbers["time"][late[0] : late[0] + 2]
        raise EpisodeError(
            f"{path}: time goes from {before} to {after} s at row {late[0] + 1}: it must increase from row to row"
        )
    return numbers


@dataclass(frozen=True)
class Folder:
    """Episodes of a folder, in the order of their files' names.

    Attributes:
        path: The folder.
        files: Files of the episodes.
        episodes: What is in them.
        constant: Columns that never vary, such as ``action 'brake'``, with their values.
        hash: SHA-256 of the files' names and contents, in hexadecimal.
    """

    path: Path
    files: tuple[Path, ...]
    episodes: tuple[Episode, ...]
    constant: dict[str, float]
    hash: str

    @property
    def robot(self) -> Robot:
        """The robot."""
        return self.episodes[0].robot

    @property
    def features(self) -> Features:
        """What a model of this robot sees and predicts."""
        return self.episodes[0].features

    @property
    def rate(self) -> float:
        """Control rate, Hz, to six digits: the inverse of the median interval."""
        intervals = np.concatenate([np.diff(episode.time) for episode in self.episodes])
        if not len(intervals):
            raise EpisodeError(f"{self.path}: time has a single row in each file: there are no transitions")
        return float(f"{1.0 / np.median(intervals):.6g}")


def read_folder(path: Path, robot: Robot | None = None) -> Folder:
    """Read all episodes of a folder; a robot that is given is that of all of them.

    Raises:
        EpisodeError: If there are none, or one cannot be used, or they are not of one robot.
    """
    if not path.is_dir():
        raise EpisodeError(f"there is no folder {path}")
    files = tuple(sorted(path.glob("*.npz")))
    if not files:
        raise EpisodeError(f"{path} holds no episodes: no file there ends in .npz")
    digest = hashlib.sha256()
    episodes = []
    for file in files:
        episodes.append(Episode.load(file, robot))
        digest.update(f"{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
        first, this = (episode.robot.description.as_json() for episode in (episodes[0], episodes[-1]))
        for name in first | this:
            if first.get(name) != this.get(name):
                raise EpisodeError(
                    f"{file}: {name} is {this.get(name)}, and {first.get(name)} in {files[0].name}:"
                    " the episodes of a folder must be of one robot"
                )
    return Folder(path, files, tuple(episodes), _constant(path, episodes), digest.hexdigest())


def _constant(path: Path, episodes: list[Episode]) -> dict[str, float]:
    """Columns that never vary; EpisodeError where no state does."""
    robot = episodes[0].robot
    constant: dict[str, float] = {}
    for kind, names in (("state", robot.state_names), ("action", robot.action_names)):
        values = np.concatenate([_present(episode, kind) for episode in episodes])
        if not len(values):
            continue
        same = (values == values[0]).all(axis=0)
        constant |= {f"{kind} {name!r}": float(values[0, index]) for index, name in enumerate(names) if same[index]}
        if kind == "state" and same.all():
            columns = ", ".join(f"{name} is always {value:g}" for name, value in constant.items())
            raise EpisodeError(f"{path}: {columns}: at least one column of state must vary in the data")
    return constant


def _present(episode: Episode, kind: str) -> Array:
    """Rows of an array next to no missing sample."""
    missing = missing_samples(episode.state)
    return episode.state[~missing] if kind == "state" else episode.action[~(missing[1:] | missing[:-1])]
