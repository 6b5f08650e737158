"""Episodes on disk: one ``.npz`` file each.

| array | shape | |
|---|---|---|
| ``state`` | (T + 1, 24) | state vectors, float64 |
| ``action`` | (T, 2) | leg speed set-points in force between two states, as applied, rad/s |
| ``time`` | (T + 1,) | time of measurement, s |
| ``lost_legs`` | (T + 1, 6) | whether a leg is lost, bool |
| ``metadata`` | () | JSON: seed, rate (Hz), policy, robot, terrain, slope (rad), sensors, faults, versions |

``faults`` lists what was injected: the step, the kind, and its values (see `mbmrl_sim.faults.Fault`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mbmrl_sim.state import ACTION_SIZE, LEG_NAMES, STATE_SIZE, Array


class EpisodeError(ValueError):
    """A file that is no episode; its text names the file and the field that is wrong."""


@dataclass(frozen=True)
class Episode:
    """A roll-out of T control intervals; shapes as in the file."""

    state: Array
    action: Array
    time: Array
    lost_legs: NDArray[np.bool_]
    metadata: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(
                file,
                state=self.state,
                action=self.action,
                time=self.time,
                lost_legs=self.lost_legs,
                metadata=np.array(json.dumps(self.metadata)),
            )
        partial.rename(path)

    @staticmethod
    def load(path: Path) -> Episode:
        """Read a file.

        Raises:
            EpisodeError: If the file is no episode.
        """
        names = ("action", "state", "time", "lost_legs", "metadata")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in names if name in file}
            metadata = dict(json.loads(str(arrays.get("metadata", "{}"))))
        except Exception as error:  # a damaged archive fails in as many ways as zipfile, zlib and numpy know
            raise EpisodeError(f"{path} is no episode file: {error}") from None
        for name in names:
            if name not in arrays:
                raise EpisodeError(f"{path}: the array {name!r} is missing")
        length = len(np.atleast_1d(arrays["action"]))
        wanted = {
            "action": ((length, ACTION_SIZE), np.float64),
            "state": ((length + 1, STATE_SIZE), np.float64),
            "time": ((length + 1,), np.float64),
            "lost_legs": ((length + 1, len(LEG_NAMES)), np.bool_),
        }
        for name, (shape, kind) in wanted.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != kind:
                raise EpisodeError(
                    f"{path}: {name} has shape {array.shape} and type {array.dtype},"
                    f" wanted is {shape} and {np.dtype(kind)}"
                )
        return Episode(**{name: arrays[name] for name in wanted}, metadata=metadata)


class Episodes(Sequence[Episode]):
    """Episodes of files, each of which is read when it is asked for."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Take the files, in the order of the episodes."""
        self.files = tuple(files)

    def __len__(self) -> int:
        """Number of files."""
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> Episodes: ...

    def __getitem__(self, index: int | slice) -> Episode | Episodes:
        """The episode of a file, or the episodes of some; EpisodeError where a file holds none."""
        return Episodes(self.files[index]) if isinstance(index, slice) else Episode.load(self.files[index])
