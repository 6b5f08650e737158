"""A folder of episodes of one robot, whichever it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mbmrl_base.robots.features import Features
from mbmrl_base.robots.robot import Robot
from mbmrl_control.training.episodes import Episode, EpisodeError, missing_samples


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
        for field in first | this:
            if first.get(field) != this.get(field):
                raise EpisodeError(
                    f"{file}: {field} is {this.get(field)}, and {first.get(field)} in {files[0].name}:"
                    " the episodes of a folder must be of one robot"
                )
    return Folder(path, files, tuple(episodes), _constant(path, episodes), digest.hexdigest())


def _constant(path: Path, episodes: list[Episode]) -> dict[str, float]:
    """Columns that never vary; EpisodeError where no state does."""
    robot = episodes[0].robot
    constant: dict[str, float] = {}
    for field, names in (("state", robot.state_names), ("action", robot.action_names)):
        values = np.concatenate([_present(episode, field) for episode in episodes])
        if not len(values):
            continue
        same = (values == values[0]).all(axis=0)
        constant |= {f"{field} {name!r}": float(values[0, index]) for index, name in enumerate(names) if same[index]}
        if field == "state" and same.all():
            columns = ", ".join(f"{name} is always {value:g}" for name, value in constant.items())
            raise EpisodeError(f"{path}: {columns}: at least one column of state must vary in the data")
    return constant


def _present(episode: Episode, field: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Rows of an array next to no missing sample."""
    missing = missing_samples(episode.state)
    return episode.state[~missing] if field == "state" else episode.action[~(missing[1:] | missing[:-1])]
