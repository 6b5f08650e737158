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
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("state", "action", "time", "lost_legs", "metadata")}
            metadata = json.loads(str(arrays.pop("metadata")))
        except KeyError as error:
            raise EpisodeError(f"{path}: the array {error} is missing") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise EpisodeError(f"{path} is no episode file: {error}") from None
        length = len(arrays["action"])
        wanted = {
            "state": (length + 1, STATE_SIZE),
            "action": (length, ACTION_SIZE),
            "time": (length + 1,),
            "lost_legs": (length + 1, len(LEG_NAMES)),
        }
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                raise EpisodeError(f"{path}: {name} has shape {arrays[name].shape}, wanted is {shape}")
        return Episode(**arrays, metadata=metadata)
