"""The record of a run: what happened in each control tick."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

import numpy as np

from mbmrl_control.planning.follower import PathTracker
from mbmrl_sim.state import STATE_SIZE, Array, Observation

STATE_NAMES: Final = (
    *("x_m", "y_m", "z_m", "vx_m_s", "vy_m_s", "vz_m_s"),
    *("cos_roll", "sin_roll", "cos_pitch", "sin_pitch", "cos_yaw", "sin_yaw"),
    *("wx_rad_s", "wy_rad_s", "wz_rad_s"),
    *("cos_left_phase", "sin_left_phase", "cos_right_phase", "sin_right_phase"),
    *("left_speed_rad_s", "right_speed_rad_s", "left_back_emf_v", "right_back_emf_v", "battery_v"),
)


@dataclass
class Tick:
    """One control tick; errors are dimensionless, times in s, NaN where unmeasured."""

    observation: Observation
    commanded: bool
    """Whether a new command was in force in the interval that ended."""
    lost_legs: frozenset[int] = frozenset()
    prior_error: float = np.nan
    adapted_error: float = np.nan
    adaptation_time: float = np.nan
    planning_time: float = np.nan


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

    def write_csv(self, path: Path, tracking: dict[str, Array]) -> None:
        """Write one row for each tick, with units in the names of the columns."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                [
                    *("time_s", "interval_s", "commanded", "left_action_rad_s", "right_action_rad_s"),
                    *("lost_legs", "cross_track_m", "progress_m", "heading_error_rad", "tracking_cost"),
                    *("prior_error", "adapted_error", "adaptation_time_s", "planning_time_s"),
                    *STATE_NAMES,
                ]
            )
            for index, (tick, time) in enumerate(zip(self.ticks, self.time, strict=True)):
                values = [
                    *(time, tick.observation.interval, int(tick.commanded), *tick.observation.action),
                    " ".join(map(str, sorted(tick.lost_legs))),
                    *(tracking[name][index] for name in ("cross_track", "progress", "heading_error", "cost")),
                    *(tick.prior_error, tick.adapted_error, tick.adaptation_time, tick.planning_time),
                    *tick.observation.state,
                ]
                writer.writerow([f"{v:.9g}" if isinstance(v, float) else v for v in values])
