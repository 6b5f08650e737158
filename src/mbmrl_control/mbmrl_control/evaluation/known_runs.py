"""``mbmrl runs``: what was trained, evaluated, tuned and driven, by the files that it left."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, ROBOTS, load_robot
from mbmrl_control.control.run_record import in_a_word
from mbmrl_control.priors import load_shipped

PRIOR, EVALUATION, DRIVE = "training", "evaluation", "drive"
_FOLDED: Final = ("spread", "counts")
"""Entries of a training that are too long to be compared."""


WITHIN: Final = ("iteration-", "plain-")
"""Beginnings of names of priors that are made on the way to another one."""


@dataclass(frozen=True)
class Known:
    """A training, a drive, or the runs of an evaluation that differ in their seeds only.

    Attributes:
        kind: `PRIOR`, `EVALUATION` or `DRIVE`.
        path: Its file, or folder.
        name: Learner, its prior if that is not the one that comes with the package, and what it did.
        robot: Name of the robot.
        time: When its last file was written, s since 1970.
        result: What came out, in words.
        config: All that it depends on, by dotted names.
        figures: What came out, by names.
    """

    kind: str
    path: Path
    name: str
    robot: str
    time: float
    result: str
    config: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The same for JSON."""
        when = datetime.fromtimestamp(self.time).isoformat(timespec="seconds")
        return vars(self) | {"path": str(self.path), "time": when}


def find(places: Iterable[Path]) -> list[Known]:
    """All that lies in some files or folders, or below them, the oldest first; what cannot be read is left out."""
    found: list[Known] = []
    several = [sorted(place.rglob("*")) if place.is_dir() else [place] for place in places]
    priors = [file for files in several for file in files if file.suffix == ".safetensors"]
    names = {hashlib.sha256(file.read_bytes()).hexdigest(): file.name for file in priors if file.is_file()}
    for file in priors:
        if not file.name.startswith(WITHIN):
            found += _prior(file)
    for files in several:
        texts = [file for file in files if file.suffix == ".json"]
        for file in texts:
            if file.name == "summary.json":
                found += _drive(file, names)
        found += _evaluations([file for file in texts if file.name != "summary.json"], names)
    return sorted(found, key=lambda known: known.time)


def _with(learner: str, robot: str, prior: str, names: Mapping[str, str]) -> str:
    """A learner, and the name or the hash of its prior, where that is not the one that comes with the package."""
    return learner if prior in ("", _shipped(learner, robot)) else f"{learner} ({names.get(prior, prior[:8])})"


@cache
def _shipped(learner: str, robot: str) -> str:
    """Hash of the prior that comes with the package; "none" if none does."""
    try:
        return load_shipped(learner, load_robot(robot)).hash if robot in ROBOTS else "none"
    except ValueError:
        return "none"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _prior(file: Path) -> Iterator[Known]:
    try:
        with safetensors.safe_open(file, framework="numpy") as content:
            header = json.loads((content.metadata() or {})["mbmrl"])
        training, robot = dict(header["training"]), str(header["robot"].get("name") or "robot")
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError):
        return
    members = {  # of a committee: in what they differ from it
        each["learner"]: {name: value for name, value in each.items() if value != training.get(name)}
        for each in training.pop("members", ())
    }
    config = _flat({"learner": header["learner"], "robot": robot, "rate": header["rate"], **training, **members})
    config = {name: value for name, value in config.items() if not {*name.split(".")} & {*_FOLDED}}
    errors = {name: config.pop(name) for name in [*config] if "held_out_" in name}
    open_loop = [error for name, error in errors.items() if name.endswith("held_out_open_loop_error")]
    result = f"open-loop error {', '.join(f'{error:g}' for error in open_loop)}" if open_loop else ""
    yield Known(PRIOR, file, f"{header['learner']}, {robot}", robot, file.stat().st_mtime, result, config, errors)


def _drive(file: Path, names: Mapping[str, str]) -> Iterator[Known]:
    try:
        summary = json.loads(file.read_text())
        cost, task = summary["tracking_cost"], in_a_word(summary["task"])
        config = _flat({name: summary[name] for name in ("robot", "learner", "task", "planner", "seed", "rate_hz")})
        config |= {"fault": summary["fault"], "prior": str(summary.get("prior", ""))}
        robot = str(summary["robot"])
    except (OSError, KeyError, TypeError, ValueError):
        return
    known = {f"cost_{side}": float(value) for side, value in cost.items() if value is not None}
    result = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in known.items())
    learner = _with(summary["learner"], robot, config["prior"], names)
    name = f"{learner}, {task}, {summary['fault'] or 'intact'}"
    yield Known(DRIVE, file.parent, name, robot, file.stat().st_mtime, result, config, known)


def _evaluations(files: Iterable[Path], names: Mapping[str, str]) -> Iterator[Known]:
    """Runs of `run_cache.make_runs` in a folder, those together that differ in their seeds only."""
    groups: dict[str, list[tuple[Path, dict[str, Any], dict[str, Any]]]] = defaultdict(list)
    for file in files:
        try:
            stored = json.loads(file.read_text())
            key, figures = dict(stored["key"]), dict(stored["result"]["figures"])
            seed, _ = key.pop("seed"), key["scenario"]
            groups[f"{file.parent}\0{json.dumps(key, sort_keys=True)}"].append((file, key | {"seed": seed}, figures))
        except (OSError, KeyError, TypeError, ValueError):
            continue
    for several in groups.values():
        file, key, _ = several[0]
        seeds = sorted(each["seed"] for _, each, _ in several)
        config = _flat({name: value for name, value in key.items() if name != "seed"})
        config["seeds"] = f"{len(seeds)} from {seeds[0]} to {seeds[-1]}"
        means = {
            name: float(np.mean(known))
            for name in several[0][2]
            if (known := [figures[name] for _, _, figures in several if figures.get(name) is not None])
        }
        robot = Path(str(key.get("simulator", DEFAULT_ROBOT))).stem
        learner = _with(file.name.partition("-")[0], robot, str(key.get("prior", "")), names)
        name = f"{learner}, {in_a_word(key['task'])}, {key['scenario']}"
        result = f"{len(seeds)} seeds, cost after {means['cost_after']:.3g}" if "cost_after" in means else ""
        time = max(each.stat().st_mtime for each, _, _ in several)
        yield Known(EVALUATION, file.parent, name, robot, time, result, config, means)


def differences(first: Known, second: Known) -> tuple[dict[str, tuple[Any, Any]], dict[str, tuple[Any, Any]]]:
    """What two depend on differently, and what came out, by names; None stands for what one has not."""
    config = {
        name: (first.config.get(name), second.config.get(name))
        for name in first.config | second.config
        if first.config.get(name) != second.config.get(name)
    }
    names = first.figures | second.figures
    return config, {name: (first.figures.get(name), second.figures.get(name)) for name in names}
