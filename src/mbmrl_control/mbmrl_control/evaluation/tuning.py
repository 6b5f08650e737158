"""``mbmrl tune``: settings of the planner and weights of the task's cost that let a robot do the task best.

Trials are drawn by Optuna's TPE (Bergstra et al., NeurIPS 2011), made on a few seeds each, and given up on the way
where they are worse than the median of those before (Golovin et al., KDD 2017). All are judged by the cost as it is
without tuned weights. What was found is compared with what was before on seeds that nothing was chosen by.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from mbmrl_base.system.files import write_text
from mbmrl_base.system.parallel import in_order
from mbmrl_base.system.plugins import blamed
from mbmrl_base.toolkit.settings import NodeSettings, part_of, tuned_fields
from mbmrl_control.evaluation.learned_world import learned_world
from mbmrl_control.evaluation.metrics import START_UP
from mbmrl_control.evaluation.run_cache import TRACE_STEP, Job, make_run
from mbmrl_control.evaluation.statistics import bootstrap
from mbmrl_control.planning import load_planner
from mbmrl_control.tasks import load_task
from mbmrl_control.training.transitions import Piece

FRESH: Final = 1_000_000
"""What is added to the seeds on which what was found is compared."""
_LARGEST: Final = 1e9
"""Cost of a run whose cost is not finite."""
_FIRST: Final = 8
"""Trials before any is given up."""


@dataclass(frozen=True)
class Problem:
    """What is to be tuned for.

    Attributes:
        job: A run, with the settings that are not tuned.
        scenarios: What happens in the runs, as of `schedule`.
        seeds: Seeds of each trial.
        past: Windows of data on whose models the robot walks; empty: in the simulator.
    """

    job: Job
    scenarios: tuple[str, ...]
    seeds: range
    past: tuple[Piece, ...] = ()

    @property
    def kinds(self) -> dict[str, type[NodeSettings]]:
        """Types of the settings of the planner and of the task."""
        return {
            "planner": load_planner(self.job.planner).settings_type,
            "task": load_task(self.job.task["name"]).settings_type,
        }

    @property
    def space(self) -> dict[str, tuple[float, float, bool]]:
        """Fields that are tuned, as `PART.FIELD`, with bounds and whether on a logarithmic scale."""
        return {
            f"{part}.{name}": marks for part, kind in self.kinds.items() for name, marks in tuned_fields(kind).items()
        }

    def default(self, name: str) -> Any:
        """The default of a field, as `PART.FIELD`."""
        part, _, field = name.partition(".")
        return self.kinds[part].model_fields[field].default

    def settings(self, drawn: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Settings of the planner and of the task of values by `PART.FIELD`.

        Of longer sequences as many fewer are tried, so that a plan takes no more time.
        """
        found: dict[str, dict[str, Any]] = {part: {} for part in self.kinds}
        for name, value in drawn.items():
            part, _, field = name.partition(".")
            found[part][field] = (value,) if isinstance(self.default(name), tuple) else value
            if field == "noise_std":
                found[part][field] = tuple((value * self.job.prior.robot.noise_std).tolist())
        if horizon := found["planner"].get("horizon"):
            given = self.job.sampling
            found["planner"]["candidates"] = max(2, given.candidates * given.horizon // horizon)
        return found

    def jobs(self, drawn: Mapping[str, Any] | None, offset: int = 0, count: int | None = None) -> list[Job]:
        """Runs with values that were drawn, by `PART.FIELD`, or with none of them."""
        job = self.job
        if drawn is not None:
            own = self.settings(drawn)
            task = job.task | {"settings": job.task["settings"] | own["task"]}
            job = replace(job, task=task, judged_as=job.task, planner_settings=job.planner_settings | own["planner"])
        seeds = range(self.seeds.start + offset, self.seeds.start + offset + (count or len(self.seeds)))
        return [replace(job, seed=seed, scenario=scenario) for seed in seeds for scenario in self.scenarios]

    @property
    def name(self) -> str:
        """A name of all that the trials depend on."""
        key = {**self.job.key, "scenarios": self.scenarios, "seeds": [self.seeds.start, self.seeds.stop]}
        data = b"".join(piece.states.numpy().tobytes() for piece in self.past)
        text = json.dumps(key, sort_keys=True).encode() + hashlib.sha256(data).digest()
        return hashlib.sha256(text).hexdigest()[:12]


def cost_of(job: Job, past: tuple[Piece, ...] = ()) -> float:
    """Mean cost per step of a run after its start-up; infinite where it was not finite."""
    world = learned_world(job.prior, past, job.seed) if past else None
    with blamed():
        trace = make_run(job, world)["cost_trace"]
    costs = [math.inf if each is None else each for each in trace[round(START_UP / TRACE_STEP) :]]
    return float(np.mean(costs))


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        values: The best values by `PART.FIELD`.
        trials: Trials that were made, also those given up.
        seconds: How long they took.
        before: Mean cost of each fresh seed without what was found, shape (n,).
        after: The same with it.
        trace: Best mean cost, by the number of trials.
    """

    values: dict[str, float]
    trials: int
    seconds: float
    before: list[float]
    after: list[float]
    trace: list[float]

    def as_json(self) -> dict[str, Any]:
        """The last line with ``--json``."""
        difference = np.subtract(self.after, self.before)
        low, high = bootstrap(difference, np.mean)
        return {
            "values": self.values,
            "trials": self.trials,
            "seconds": round(self.seconds, 1),
            "cost": {"before": float(np.mean(self.before)), "after": float(np.mean(self.after))},
            "difference": {"mean": float(difference.mean()), "low": float(low), "high": float(high)},
        }


class Search:
    """A search that is kept in a folder, and goes on from there."""

    def __init__(self, problem: Problem, work: Path, seed: int, workers: int, begin_with_present: bool = True) -> None:
        """Begin, or go on.

        Args:
            problem: What is tuned for.
            work: Folder of what was tried.
            seed: Of what is drawn.
            workers: Trials that are made at the same time.
            begin_with_present: Whether the first trial is what the settings are without being tuned.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.problem, self._workers = problem, workers
        backend = JournalFileBackend(str(work / f"{problem.name}-{seed}.log"))
        # Each trial is of a seed of its own, so that a search that goes on is not the same again.
        self._study = optuna.create_study(
            study_name=problem.name,
            storage=JournalStorage(backend),
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_FIRST, n_warmup_steps=1),
        )
        self._study.sampler = optuna.samplers.TPESampler(
            seed=seed + len(self._study.trials), multivariate=True, constant_liar=True, n_startup_trials=2 * workers + 6
        )
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):  # a search was broken off
            self._study.tell(trial.number, state=TrialState.FAIL)
        if begin_with_present and not self._study.trials:
            self._study.enqueue_trial(self._present())

    def _present(self) -> dict[str, float]:
        """The numbers that stand for the settings as they are."""
        job, found = self.problem.job, dict[str, float]()
        settings = {"planner": job.sampling.model_dump(), "task": job.task["settings"]}
        for full, (low, high, _) in self.problem.space.items():
            part, _, name = full.partition(".")
            value = settings[part][name]
            value = value[0] if isinstance(value, list | tuple) else value
            value = 1.0 if name == "noise_std" and value == 0.0 else value
            found[full] = min(max(value, low), high)
        return found

    def _draw(self, trial: optuna.Trial) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        for name, (low, high, log) in self.problem.space.items():
            whole = isinstance(self.problem.default(name), int)
            drawn[name] = (
                trial.suggest_int(name, int(low), int(high), log=log)
                if whole
                else trial.suggest_float(name, low, high, log=log)
            )
        return drawn

    def run(self, trials: int, seconds: float, progress: Callable[[int, float, float], None]) -> float:
        """Make trials until there are so many, or the time is over; returns how long that took, s.

        Args:
            trials: How many there are to be, with those of earlier searches.
            seconds: Longest time, s.
            progress: Is called with the number of trials, the time, s, and the best mean cost.
        """
        start = time.monotonic()
        while (left := trials - len(self._finished())) > 0 and time.monotonic() - start < seconds:
            self._batch(min(left, self._workers))
            progress(len(self._finished()), time.monotonic() - start, self._study.best_value)
        return time.monotonic() - start

    def _finished(self) -> list[optuna.trial.FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))

    def _batch(self, count: int) -> None:
        """Make some trials side by side, run by run; those that are worse than most are given up."""
        asked = [self._study.ask() for _ in range(count)]
        waiting = {trial.number: (trial, self.problem.jobs(self._draw(trial)), list[float]()) for trial in asked}
        for step in range(len(self.problem.jobs(None))):
            if not waiting:
                break
            several = list(waiting.values())
            costs = in_order(cost_of, ((jobs[step], self.problem.past) for _, jobs, _ in several), self._workers)
            for (trial, _, known), cost in zip(several, costs, strict=True):
                known.append(cost)
                trial.report(_finite(known), step)
                if trial.should_prune():
                    self._study.tell(trial, state=TrialState.PRUNED)
                    del waiting[trial.number]
        for trial, _, known in waiting.values():
            self._study.tell(trial, _finite(known))

    def result(self, seconds: float, fresh: int) -> Tuned:
        """Compare the best trial with what was before, on a number of fresh seeds."""
        values = dict(self._study.best_params)
        both = (self.problem.jobs(drawn, FRESH, fresh) for drawn in (None, values))
        jobs = [job for pair in zip(*both, strict=True) for job in pair]
        costs = in_order(cost_of, ((job, self.problem.past) for job in jobs), self._workers)
        trace = list(_best_so_far(self._study))
        # Runs of one seed are no independent ones: a seed counts once.
        before, after = np.reshape(costs, (fresh, -1, 2)).mean(axis=1).T.tolist()
        return Tuned(values, len(self._finished()), seconds, before, after, trace)


def _finite(costs: Sequence[float]) -> float:
    """Mean cost; one that is not finite is large."""
    return min(float(np.mean(costs)), _LARGEST)


def _best_so_far(study: optuna.Study) -> Iterator[float]:
    best = math.inf
    for trial in study.trials:
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            best = min(best, trial.value)
        yield best


def write_parameters(problem: Problem, tuned: Tuned, file: Path) -> None:
    """Write a file of parameters for the nodes.

    Raises:
        WriteError: If it cannot be written.
    """
    job, own = problem.job, problem.settings(tuned.values)
    for part, kind in problem.kinds.items():
        part_of(own[part], kind)
    numbers = {name: _plain(value) for part in own.values() for name, value in part.items()}
    shown = {"planner": job.planner, "task": job.task["name"], **numbers}
    head = f"# Found by `mbmrl tune`, {tuned.trials} trials: mean cost {np.mean(tuned.before):.4g} before,"
    text = yaml.safe_dump({"/**/mpc_node": {"ros__parameters": shown}}, sort_keys=False)
    write_text(file, f"{head} {np.mean(tuned.after):.4g} with it, on fresh seeds.\n{text}")


def _plain(value: Any) -> Any:
    """A value with four digits, as YAML has it."""
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, int) else float(f"{value:.4g}")


def problem_of(job: Job, scenarios: tuple[str, ...], seeds: range, past: tuple[Piece, ...] = ()) -> Problem:
    """A problem, checked.

    Raises:
        ValueError: If neither planner nor task has a field to be tuned.
    """
    problem = Problem(job, scenarios, seeds, past)
    if not problem.space:
        raise ValueError(
            f"nothing of the planner {job.planner} and the task {job.task['name']} is to be tuned: mark fields of its"
            " settings with tuned_between"
        )
    return problem
