"""``mbmrl evaluate``: who is compared on what, the runs under a progress bar, and what is written of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.robots.faults import FaultKinds
from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.files import write_text
from mbmrl_control.control.run_record import choice
from mbmrl_control.dynamics.prior import Prior, load_prior
from mbmrl_control.evaluation.metrics import RECOVERY_WINDOW, START_UP
from mbmrl_control.evaluation.run_cache import Job, make_runs, read_run
from mbmrl_control.evaluation.scenarios import faults_of, scenarios
from mbmrl_control.evaluation.statistics import Row
from mbmrl_control.evaluation.tables import markdown, write_csv
from mbmrl_control.learners import LEARNER_FILES, LEARNERS, load_learner, make_learner
from mbmrl_control.priors import DEFAULT_LEARNER, load_shipped, shipped_learners
from mbmrl_control.tasks import DEFAULT_TASK, make_task, read_settings
from mbmrl_control.tasks.path import PATH_NAMES
from mbmrl_control.training.pipeline import progress_bar

SEVERE: Final = "severe"
"""Stands for all of `FaultKinds.severe`."""
DEFAULT: Final = "default"
"""Stands for the learner that the nodes have if none is given."""


@dataclass(frozen=True)
class Comparison:
    """What to run; times in s, the simulator as of `make_simulator`."""

    learners: dict[str, Prior]
    """Priors by the names under which they are reported."""
    planners: tuple[str, ...]
    precisions: tuple[str, ...]
    tasks: tuple[dict[str, Any], ...]
    """As of `choice`."""
    scenarios: tuple[str, ...]
    seeds: range
    duration: float = 30.0
    fault_time: float = 10.0
    simulator: str = DEFAULT_ROBOT

    def __post_init__(self) -> None:
        """Check the times; ValueError if a side of the fault is too short to say anything."""
        earliest, latest = START_UP + RECOVERY_WINDOW, self.duration - RECOVERY_WINDOW
        if earliest >= latest:
            raise ValueError(
                f"a run of {self.duration:g} s is too short to compare what is before and after a fault: allowed is"
                f" more than {earliest + RECOVERY_WINDOW:g} s"
            )
        if not earliest <= self.fault_time < latest:
            raise ValueError(
                f"the fault at {self.fault_time:g} s leaves too little of a run of {self.duration:g} s:"
                f" allowed is {earliest:g} s to below {latest:g} s"
            )

    def jobs(self) -> Iterable[tuple[str, str, Job]]:
        """Name of the contender, name of its learner, and the job, of each run."""
        names = product(self.learners.items(), self.planners, self.precisions, self.tasks, self.scenarios, self.seeds)
        for (name, prior), planner, precision, task, scenario, seed in names:
            several = ((self.planners, planner), (self.precisions, precision))
            contender = "/".join([name, *(own for all_of, own in several if len(all_of) > 1)])
            times, file = (self.duration, self.fault_time), LEARNER_FILES.get(prior.settings.learner, "")
            job = Job(prior, planner, precision, task, scenario, seed, *times, self.simulator, file)
            yield contender, name, job


def choose(what: str, given: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Names with commas between, or ``all``.

    Raises:
        ValueError: If a name is unknown or comes twice.
    """
    names = tuple(allowed) if given == "all" else tuple(given.split(","))
    for name in names:
        if name not in allowed:
            raise ValueError(f"unknown {what} {name!r}: allowed is {', '.join(allowed)}, or all")
        if names.count(name) > 1:
            raise ValueError(f"the {what} {name} is given twice")
    return names


def choose_learners(given: str, robot: Robot) -> dict[str, Prior]:
    """Priors of names with commas between: ``default``, a learner with a shipped prior, or NAME=FILE; or of ``all``.

    The name may be the file of a learner, ``*.py``; then it is that of the learner.

    Raises:
        ValueError: If a name is unknown or comes twice, or there is no prior for it.
    """
    chosen: dict[str, Prior] = {}
    shipped = [name for name in LEARNERS if name in shipped_learners(robot.name)] or LEARNERS
    for entry in shipped if given == "all" else given.split(","):
        name, _, text = entry.partition("=")
        if name.endswith(".py"):
            name = load_learner(name).name
        if not re.fullmatch(r"\w+", name) or name == "paired":
            raise ValueError(f"{name!r} is no name of a learner: it has letters, digits and _ only")
        if name in chosen:
            raise ValueError(f"the learner {name} is given twice")
        if text:
            chosen[name] = load_prior(Path(text).expanduser(), robot)
        else:
            chosen[name] = load_shipped(DEFAULT_LEARNER if name == DEFAULT else name, robot)
        make_learner(chosen[name])
    return chosen


def choose_scenarios(given: str, kinds: FaultKinds) -> tuple[str, ...]:
    """Scenarios with commas between, see `scenarios` and `faults_of`; ``all`` kinds, or all of `FaultKinds.severe`.

    Raises:
        ValueError: If there is none such, or one comes twice.
    """
    if given == SEVERE and kinds.severe:
        return tuple(kinds.severe)
    named = scenarios(kinds)
    own = [name for name in given.split(",") if (name in kinds.severe or {*":+."} & {*name}) and faults_of(name, kinds)]
    return choose("scenario", given, [*named, *own])


def choose_tasks(name: str, options: Sequence[str], paths: str, robot: Robot) -> tuple[dict[str, Any], ...]:
    """A task with settings as NAME=VALUE, as of `choice`; to follow paths, names with commas between, one for each.

    Raises:
        ValueError: If there is no such task, setting or path, or the robot cannot do it.
    """
    given = read_settings(name, options)
    follows = name == DEFAULT_TASK and "path" not in given
    several = [{"path": path} for path in choose("path", paths, PATH_NAMES)] if follows else [{}]
    return tuple(choice(name, make_task(name, robot, given | each).settings) for each in several)


def run_with_bar(comparison: Comparison, work: Path, workers: int, console: Console) -> list[Row]:
    """Make the runs under a progress bar; those that the work folder holds are kept."""
    planned = list(comparison.jobs())
    with progress_bar(console) as bar:
        jobs = {job.file_name: job for _, _, job in planned}
        task = bar.add_task("runs", total=len(jobs), note="")
        for done in make_runs(jobs.values(), work, workers):
            bar.update(task, completed=done)
    rows = []
    for contender, learner, job in planned:
        run = read_run(job, work)
        names = {name: getattr(job, name) for name in ("planner", "precision", "scenario", "seed")}
        row = {"robot": job.prior.robot.name, "contender": contender, "learner": learner, "task": job.task["name"]}
        row |= {"path": job.task["settings"].get("path", ""), **names, "faults": run["faults"], **run["figures"]}
        rows.append(row | {"cost_trace": run["cost_trace"]})
    return rows


def result_files(folder: Path) -> list[Path]:
    """Files that `write_results` writes."""
    names = ("runs.csv", "tables.md", "cost_after.png", "cost_over_time.png", "envelope.png")
    return [folder / name for name in names]


def write_results(rows: Sequence[Row], fault_time: float, folder: Path) -> list[Path]:
    """Write runs.csv, tables.md and charts into a folder; returns the files."""
    from mbmrl_control.evaluation import plots  # matplotlib takes its time

    files = result_files(folder)
    write_csv(rows, files[0])
    write_text(files[1], markdown(rows))
    plots.cost_after(rows, files[2])
    plots.cost_over_time(rows, fault_time, files[3])
    plots.envelope(rows, files[4])
    return files
