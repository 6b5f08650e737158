"""Episodes on disk: one ``.npz`` file each.

| array | shape | |
|---|---|---|
| ``state`` | (T + 1, 24) | state vectors, float64 |
| ``action`` | (T, 2) | leg speed set-points in force between two states, as applied, rad/s |
| ``time`` | (T + 1,) | time of measurement, s |
| ``lost_legs`` | (T + 1, 6) | whether a leg is lost, bool |
| ``metadata`` | () | JSON: seed, rate in Hz, policy |
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbmrl_sim.state import ACTION_SIZE, LEG_NAMES, STATE_SIZE, Array, mirror


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

    def mirrored(self) -> Episode:
        """The mirror image: left and right change places, in states, actions and legs."""
        legs = [3, 4, 5, 0, 1, 2]
        return replace(
            self, state=mirror(self.state), action=self.action[:, ::-1].copy(), lost_legs=self.lost_legs[:, legs]
        )

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
