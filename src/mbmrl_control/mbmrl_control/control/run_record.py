"""The record of a run: what happened in each control tick."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.catalogue import as_metadata, of_metadata
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.files import whole, write_text
from mbmrl_base.system.versions import check_version
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.tasks import Task, make_task

_TIMES_AND_ERRORS: Final = {
    "prior_error": "prior_error",
    "adapted_error": "adapted_error",
    "adaptation_time": "adaptation_time_s",
    "planning_time": "planning_time_s",
}
VERSION: Final = 1
"""Of run.json; one without it is of the first."""
_HEADER: Final = ("learner", "task", "planner", "seed", "rate", "fault", "fault_time")


def choice(name: str, settings: NodeSettings) -> dict[str, Any]:
    """A task or a planner as records name it: by its name or file, and its settings."""
    return {"name": name, "settings": settings.model_dump(mode="json")}


def in_a_word(task: dict[str, Any]) -> str:
    """A task, as of `choice`, in a title: the path that is followed, else its name."""
    return str(task["settings"].get("path", task["name"]))[:40]


class RecordError(ValueError):
    """Files that hold no record of a run; its text names the file and what is wrong."""


@dataclass
class Tick:
    """One control tick; one-step errors are dimensionless, times in s, NaN where unmeasured."""

    observation: Observation
    commanded: bool
    """Whether a new command was in force in the interval that ended."""
    faults: tuple[str, ...] = ()
    """Faults in force, such as payload:magnitude=15."""
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
    """A run: its ticks in order."""

    robot: Robot
    learner: str
    task: dict[str, Any]
    """As of `choice`; so is the planner."""
    planner: dict[str, Any]
    seed: int
    rate: float
    fault: str | None
    fault_time: float | None
    """Time of the fault since the first tick, s."""
    ticks: list[Tick] = field(default_factory=list)
    origin: Array | None = None
    """x, y (m) and yaw (rad) of the task's frame; None: that in which the task puts itself in the first tick."""

    def array(self, name: str) -> Array:
        """A number of each tick, shape (n,)."""
        return np.array([float(getattr(tick, name)) for tick in self.ticks])

    def fault_in_words(self, faults: Iterable[str]) -> str:
        """What the fault is, for a picture: those in force, else the one that was asked for."""
        asked, _, _ = (self.fault or "").rpartition("@")
        return ",".join(faults or [asked]).replace(":", ": ").replace(",", ", ")

    @property
    def states(self) -> Array:
        """States, shape (n, size of the state)."""
        states = [tick.observation.state for tick in self.ticks]
        return np.array(states).reshape(-1, len(self.robot.state_names))

    @property
    def places(self) -> Array | None:
        """x and y, shape (n, 2), m; None if the robot does not move on a plane."""
        planar = self.robot.description.planar
        return None if planar is None else self.states[:, [self.robot.state(name) for name in planar.position]]

    @property
    def time(self) -> Array:
        """Time since the first tick, shape (n,), s."""
        start = self.ticks[0].observation.time if self.ticks else 0.0
        return np.array([tick.observation.time - start for tick in self.ticks])

    def make_task(self) -> Task[Any]:
        """The task as it was.

        Raises:
            ValueError: If it is of a file that is not there.
        """
        return make_task(self.task["name"], self.robot, self.task["settings"], 1.0 / self.rate)

    def track(self, task: Task[Any]) -> dict[str, Array]:
        """How a task went, see `Task.observe`: figures by name, shape (n,) each."""
        task.reset()
        if self.origin is not None:
            task.frame = self.origin
        unknown = dict.fromkeys(task.figures, np.nan)
        figures = [task.observe(tick.observation) or unknown for tick in self.ticks]
        return {name: np.array([each[name] for each in figures]) for name in task.figures}

    def write(self, folder: Path, tracking: dict[str, Array]) -> None:
        """Write run.json, and ticks.csv with a row for each tick and units in the names of the columns."""
        header = {"version": VERSION, "robot": as_metadata(self.robot)}
        header |= {name: getattr(self, name) for name in _HEADER}
        header["origin"] = None if self.origin is None else self.origin.tolist()
        write_text(folder / "run.json", json.dumps(header, indent=2) + "\n")
        with whole(folder / "ticks.csv") as part, part.open("w", newline="") as file:
            writer = csv.writer(file)
            states, actions = _columns(self.robot)
            timing = ("time_s", "interval_s", "commanded")
            writer.writerow([*timing, *actions, "faults", *tracking, *_TIMES_AND_ERRORS.values(), *states])
            for index, (tick, time) in enumerate(zip(self.ticks, self.time, strict=True)):
                values = [
                    *(time, tick.observation.interval, int(tick.commanded), *tick.observation.action),
                    " ".join(tick.faults),
                    *(figures[index] for figures in tracking.values()),
                    *(getattr(tick, name) for name in _TIMES_AND_ERRORS),
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
            header = json.loads(run_file.read_text())
            check_version(header.get("version", 1), VERSION)
            origin = None if header["origin"] is None else np.array(header["origin"], dtype=np.float64).reshape(3)
            record = Record(of_metadata(header["robot"]), **{name: header[name] for name in _HEADER}, origin=origin)
        except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise RecordError(f"{run_file} holds no run: {error!r}") from None
        try:
            with ticks_file.open(newline="") as rows:
                record.ticks = [_tick(record.robot, row, index) for index, row in enumerate(csv.DictReader(rows))]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise RecordError(f"{ticks_file} is no record of a run: {error!r}") from None
        if not record.ticks:
            raise RecordError(f"{ticks_file} is empty")
        return record


def _columns(robot: Robot) -> tuple[list[str], list[str]]:
    """Names of the columns of states, and of actions, with their units, such as vx_m_s."""

    def named(names: Iterable[str], units: Iterable[str]) -> list[str]:
        return ["_".join([name, *re.findall(r"\w+", unit.lower())]) for name, unit in zip(names, units, strict=True)]

    return named(robot.state_names, robot.state_units), named(robot.action_names, robot.action_units)


def _tick(robot: Robot, row: dict[str, str], sequence: int) -> Tick:
    """Tick of a row of ticks.csv."""
    state, action = (np.array([float(row[name]) for name in names]) for names in _columns(robot))
    if not np.isfinite(state).all():
        raise ValueError(f"the state of row {sequence + 1} is not finite")
    observation = Observation(state, action, float(row["time_s"]), sequence, 1, float(row["interval_s"]))
    return Tick(
        observation,
        commanded=row["commanded"] == "1",
        faults=tuple(row["faults"].split()),
        **{name: float(row[column]) for name, column in _TIMES_AND_ERRORS.items()},
    )
