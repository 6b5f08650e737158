"""The record of a run: what happened in each control tick."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

import numpy as np

from mbmrl_base.robots.millirobot.layout import STATE_NAMES, STATE_SIZE
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.system.files import whole, write_text
from mbmrl_control.control.follower import PathTracker

COLUMNS: Final = (
    *("time_s", "interval_s", "commanded", "left_action_rad_s", "right_action_rad_s"),
    *("lost_legs", "cross_track_m", "progress_m", "heading_error_rad", "tracking_cost"),
    *("prior_error", "adapted_error", "adaptation_time_s", "planning_time_s"),
    *STATE_NAMES,
)
"""Columns of ticks.csv."""
_TIMES_AND_ERRORS: Final = {
    "prior_error": "prior_error",
    "adapted_error": "adapted_error",
    "adaptation_time": "adaptation_time_s",
    "planning_time": "planning_time_s",
}


_TOLD: Final = ("learner", "path", "seed", "rate", "fault", "fault_time")


class RecordError(ValueError):
    """Files that hold no record of a run; its text names the file and what is wrong."""


@dataclass
class Tick:
    """One control tick; one-step errors are dimensionless, times in s, NaN where unmeasured."""

    observation: Observation
    commanded: bool
    """Whether a new command was in force in the interval that ended."""
    lost_legs: frozenset[int] = frozenset()
    prior_error: float = np.nan
    adapted_error: float = np.nan
    adaptation_time: float = np.nan
    planning_time: float = np.nan
    model_error: float = np.nan
    """One-step error of the model that was planned with: the prior where an update was withheld."""
    open_loop_error: float = np.nan
    """Distance of where the robot is from where it was predicted some steps ago, m."""


@dataclass
class Record:
    """A run: its ticks in order, and where the robot was relative to the path in each."""

    learner: str
    path: str
    seed: int
    rate: float
    fault: str | None
    fault_time: float | None
    """Time of the fault since the first tick, s."""
    ticks: list[Tick] = field(default_factory=list)
    origin: Array | None = None
    """x, y (m) and yaw (rad) of the path's start; None: where the robot was in the first tick."""

    def array(self, name: str) -> Array:
        """A number of each tick, shape (n,)."""
        return np.array([float(getattr(tick, name)) for tick in self.ticks])

    def fault_in_words(self, lost_legs: frozenset[int]) -> str:
        """What the fault is, for a picture: the legs that are lost, else the fault as it was asked for."""
        asked, _, _ = (self.fault or "").rpartition("@")
        asked = asked.replace(":", ": ").replace(",", ", ")
        return ", ".join(f"leg {leg} lost" for leg in sorted(lost_legs)) or asked

    @property
    def states(self) -> Array:
        """States, shape (n, 24)."""
        return np.array([tick.observation.state for tick in self.ticks]).reshape(-1, STATE_SIZE)

    @property
    def time(self) -> Array:
        """Time since the first tick, shape (n,), s."""
        start = self.ticks[0].observation.time if self.ticks else 0.0
        return np.array([tick.observation.time - start for tick in self.ticks])

    def track(self, tracker: PathTracker) -> dict[str, Array]:
        """Where the robot was: cross_track (m), progress (m), heading_error (rad), cost; shape (n,) each."""
        tracker.reset()
        tracker.origin = self.origin
        trackings = [tracker.observe(tick.observation) for tick in self.ticks]
        names = [entry.name for entry in fields(trackings[0])] if trackings else []
        return {name: np.array([getattr(tracking, name) for tracking in trackings]) for name in names}

    def write(self, folder: Path, tracking: dict[str, Array]) -> None:
        """Write run.json, and ticks.csv with a row for each tick and units in the names of the columns."""
        told = {name: getattr(self, name) for name in _TOLD}
        told["origin"] = None if self.origin is None else self.origin.tolist()
        write_text(folder / "run.json", json.dumps(told, indent=2) + "\n")
        with whole(folder / "ticks.csv") as part, part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for index, (tick, time) in enumerate(zip(self.ticks, self.time, strict=True)):
                values = [
                    *(time, tick.observation.interval, int(tick.commanded), *tick.observation.action),
                    " ".join(map(str, sorted(tick.lost_legs))),
                    *(tracking[name][index] for name in ("cross_track", "progress", "heading_error", "cost")),
                    *(tick.prior_error, tick.adapted_error, tick.adaptation_time, tick.planning_time),
                    *tick.observation.state,
                ]
                writer.writerow([f"{v:.9g}" if isinstance(v, float) else v for v in values])

    @staticmethod
    def read(folder: Path) -> Record:
        """Read what `write` has written.

        Raises:
            RecordError: If a file is missing or damaged.
        """
        run_file, ticks_file = folder / "run.json", folder / "ticks.csv"
        for file in (run_file, ticks_file):
            if not file.is_file():
                raise RecordError(f"{folder} holds no run: there is no {file.name}")
        try:
            told = json.loads(run_file.read_text())
            origin = None if told["origin"] is None else np.array(told["origin"], dtype=np.float64).reshape(3)
            record = Record(**{name: told[name] for name in _TOLD}, origin=origin)
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{run_file} tells of no run: {error!r}") from None
        try:
            with ticks_file.open(newline="") as rows:
                record.ticks = [_tick(row, index) for index, row in enumerate(csv.DictReader(rows))]
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{ticks_file} is no record of a run: {error!r}") from None
        if not record.ticks:
            raise RecordError(f"{ticks_file} is empty")
        return record


def _tick(row: dict[str, str], sequence: int) -> Tick:
    """Tick of a row of ticks.csv."""
    state = np.array([float(row[name]) for name in STATE_NAMES])
    if not np.isfinite(state).all():
        raise ValueError(f"the state of row {sequence + 1} is not finite")
    action = np.array([float(row["left_action_rad_s"]), float(row["right_action_rad_s"])])
    observation = Observation(state, action, float(row["time_s"]), sequence, 1, float(row["interval_s"]))
    return Tick(
        observation,
        commanded=row["commanded"] == "1",
        lost_legs=frozenset(map(int, row["lost_legs"].split())),
        **{name: float(row[column]) for name, column in _TIMES_AND_ERRORS.items()},
    )
