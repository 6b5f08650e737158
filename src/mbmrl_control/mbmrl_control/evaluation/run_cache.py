"""Evaluated runs: learners x planners x tasks x scenarios x seeds, in lock-step, in parallel, each kept in a file."""

from __future__ import annotations

import ast
import copy
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.robots.simulator import World
from mbmrl_base.system.files import write_text
from mbmrl_base.system.parallel import each
from mbmrl_base.system.plugins import blamed
from mbmrl_base.toolkit.settings import part_of
from mbmrl_control.control.closed_loop import walk
from mbmrl_control.control.run_record import Record, choice, in_a_word
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.evaluation.metrics import OPEN_LOOP_STEPS, before_and_after
from mbmrl_control.evaluation.scenarios import schedule
from mbmrl_control.learners import load_learner
from mbmrl_control.planning import SamplingSettings, load_planner
from mbmrl_control.tasks import Task, make_task
from mbmrl_sim.catalogue import fault_kinds, make_simulator

_CODE: Final = {
    "mbmrl_base": (
        *("robots/**/*.py", "toolkit/settings.py"),
        *(
            f"system/{name}.py"
            for name in ("files", "parallel", "plugins", "refusals", "surroundings", "versions", "yaml_text")
        ),
    ),
    "mbmrl_control": (
        *("control/*.py", "dynamics/*.py", "learners/*.py", "planning/*.py", "tasks/**/*.py"),
        *("training/collect.py", "training/episodes.py", "training/npz.py"),
        *(f"evaluation/{name}.py" for name in ("metrics", "run_cache", "scenarios", "units")),
    ),
    "mbmrl_sim": ("*.py", "millirobot/*.py"),
}
"""What runs depend on, in each package."""
TRACE_STEP: Final = 0.5
"""Time over which the cost is averaged where it is kept over time, s."""


def hash_of_code(files: Iterable[Path]) -> str:
    """SHA-256, in hexadecimal, of Python files; comments and layout play no part."""
    trees = [ast.dump(ast.parse(file.read_bytes())) for file in files]
    return hashlib.sha256("".join(trees).encode()).hexdigest()


def own_files() -> list[Path]:
    """The code that runs depend on."""
    folders = {name: Path(str(find_spec(name).origin)).parent for name in _CODE}  # type: ignore[union-attr]
    return sorted(file for name, parts in _CODE.items() for part in parts for file in folders[name].glob(part))


@cache
def own_code() -> str:
    """Hash of the code that runs depend on."""
    return hash_of_code(own_files())


@dataclass(frozen=True, eq=False)
class Job:
    """A run to be made: a prior, planner, precision, task (as of `choice`), scenario, seed, times in s, simulator.

    The file of the prior's learner is that of one that does not come with the package.
    """

    prior: Prior
    planner: str
    precision: str
    task: dict[str, Any]
    scenario: str
    seed: int
    duration: float
    fault_time: float
    simulator: str = DEFAULT_ROBOT
    learner_file: str = ""
    planner_settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the planner that are not its defaults."""
    judged_as: dict[str, Any] | None = None
    """The task by whose cost and figures the run is judged, as of `choice`; None: that which is done."""

    def make_task(self, judged: bool = False) -> Task[Any]:
        """What is done, at its beginning; or by what it is judged."""
        task = (self.judged_as if judged else None) or self.task
        return make_task(task["name"], self.prior.robot, task["settings"], 1.0 / self.prior.settings.rate)

    @property
    def sampling(self) -> SamplingSettings:
        """All settings of the planner.

        Raises:
            ValueError: If one is refused.
        """
        return part_of(self.planner_settings, load_planner(self.planner).settings_type)

    @cached_property
    def key(self) -> dict[str, Any]:
        """All that the run depends on."""
        own = (self.task["name"], self.planner, self.simulator, self.learner_file)
        return {
            "prior": self.prior.hash,
            **{each.name: getattr(self, each.name) for each in fields(self) if each.name != "prior"},
            "planner": choice(self.planner, self.sampling),
            "code": own_code(),
            "files": hash_of_code(Path(name).expanduser() for name in own if name.endswith(".py")),
            "versions": {name: version(name) for name in ("mbmrl_control", "mbmrl_sim", "numpy", "pybullet", "torch")},
        }

    @property
    def file_name(self) -> str:
        """Name of the run's file; another run has another name."""
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()
        planner, task = (Path(name).stem for name in (self.planner, in_a_word(self.task)))
        return "-".join(
            [self.prior.settings.learner, planner, task, self.scenario, str(self.seed), f"{digest[:12]}.json"]
        )


def make_run(job: Job, given: World | None = None) -> dict[str, Any]:
    """Make a run.

    Args:
        job: What to run.
        given: Where the robot walks, without faults; None: in the job's simulator.

    Returns:
        ``figures`` (see `before_and_after`), ``faults`` as they came, and ``cost_trace``: mean cost per step over
        each TRACE_STEP of the run, None where it was not measured.

    Raises:
        PluginError: If a task, planner or learner of the user's own raises an error.
    """
    torch.set_num_threads(1)
    if job.learner_file:
        load_learner(job.learner_file)
    # Weights as they lie in a file give products other roundings than those that were sent to a process.
    prior = copy.deepcopy(job.prior)
    simulator = None if given else make_simulator(job.simulator, job.seed, job.prior.settings.rate)
    world = given or simulator
    assert world is not None
    events = []
    if simulator is not None:
        events = schedule(job.scenario, fault_kinds(job.simulator), job.seed, job.fault_time, job.duration)
    learner, key = job.prior.settings.learner, job.key
    record = Record(job.prior.robot, learner, key["task"], key["planner"], job.seed, world.rate, None, job.fault_time)
    came: list[str] = []
    ticks = walk(
        world, prior, job.make_task(), job.seed, job.sampling, job.planner, job.precision, open_loop=OPEN_LOOP_STEPS
    )
    for step, tick in enumerate(ticks):
        record.ticks.append(tick)
        if step >= round(job.duration * world.rate):
            break
        while simulator and events and step >= round(events[0].time * world.rate):
            fault = events.pop(0).fault
            if fault is None:
                simulator.clear_faults()
            came.append(f"{'cleared' if fault is None else simulator.inject(fault)}@{step / world.rate:g}")
    world.close()
    tracking = record.track(job.make_task(judged=True))
    # The cost of the first tick is that of no step.
    per_bin = round(TRACE_STEP * world.rate)
    bins = [tracking["cost"][start + 1 : start + 1 + per_bin] for start in range(0, len(record.ticks) - 1, per_bin)]
    trace = [float(costs.mean()) if np.isfinite(costs).all() else None for costs in bins]
    return {"figures": before_and_after(record, tracking, job.fault_time), "faults": came, "cost_trace": trace}


def _read(job: Job, work: Path) -> dict[str, Any] | None:
    """What the file of a run holds; None if there is none, or it is damaged or of another run."""
    try:
        stored = json.loads((work / job.file_name).read_text())
        return dict(stored["result"]) if stored["key"] == job.key else None
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _make(job: Job) -> dict[str, Any]:
    with blamed():
        return make_run(job)


def make_runs(jobs: Iterable[Job], work: Path, workers: int) -> Iterator[int]:
    """Make runs in parallel; those that are in the work folder already are kept.

    Yields:
        How many are done.
    """
    wanted = {job.file_name: job for job in jobs}
    missing = [job for job in wanted.values() if _read(job, work) is None]
    done = len(wanted) - len(missing)
    yield done
    # Who makes them may be another machine: this one writes.
    for number, result in each(_make, ((job,) for job in missing), workers):
        job = missing[number]
        write_text(work / job.file_name, json.dumps({"key": job.key, "result": result}))
        done += 1
        yield done


def read_run(job: Job, work: Path) -> dict[str, Any]:
    """What `make_run` returned for a run that was made.

    Raises:
        ValueError: If its file is gone.
    """
    stored = _read(job, work)
    if stored is None:
        raise ValueError(f"{work / job.file_name} is gone or damaged")
    return stored
