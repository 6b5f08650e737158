"""``mbmrl runs``: what was trained, evaluated, tuned and driven, by the files that it left."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors

from mbmrl_control.control.run_record import in_a_word

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
        name: Learner, and what it did.
        time: When its last file was written, s since 1970.
        result: What came out, in words.
        config: All that it depends on, by dotted names.
        figures: What came out, by names.
    """

    kind: str
    path: Path
    name: str
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
    for place in places:
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        runs = []
        for file in files:
            if file.suffix == ".safetensors" and not file.name.startswith(WITHIN):
                found += _prior(file)
            elif file.name == "summary.json":
                found += _drive(file)
            elif file.suffix == ".json":
                runs.append(file)
        found += _evaluations(runs)
    return sorted(found, key=lambda known: known.time)


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
    yield Known(PRIOR, file, f"{header['learner']}, {robot}", file.stat().st_mtime, result, config, errors)


def _drive(file: Path) -> Iterator[Known]:
    try:
        summary = json.loads(file.read_text())
        cost, task = summary["tracking_cost"], in_a_word(summary["task"])
        config = _flat({name: summary[name] for name in ("robot", "learner", "task", "planner", "seed", "rate_hz")})
        config["fault"] = summary["fault"]
    except (OSError, KeyError, TypeError, ValueError):
        return
    known = {f"cost_{side}": float(value) for side, value in cost.items() if value is not None}
    result = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in known.items())
    name = f"{summary['learner']}, {task}, {summary['fault'] or 'intact'}"
    yield Known(DRIVE, file.parent, name, file.stat().st_mtime, result, config, known)


def _evaluations(files: Iterable[Path]) -> Iterator[Known]:
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
        learner = file.name.partition("-")[0]
        name = f"{learner}, {in_a_word(key['task'])}, {key['scenario']}"
        result = f"{len(seeds)} seeds, cost after {means['cost_after']:.3g}" if "cost_after" in means else ""
        time = max(each.stat().st_mtime for each, _, _ in several)
        yield Known(EVALUATION, file.parent, name, time, result, config, means)


def differences(first: Known, second: Known) -> tuple[dict[str, tuple[Any, Any]], dict[str, tuple[Any, Any]]]:
    """What two depend on differently, and what came out, by names; None stands for what one has not."""
    config = {
        name: (first.config.get(name), second.config.get(name))
        for name in first.config | second.config
        if first.config.get(name) != second.config.get(name)
    }
    names = first.figures | second.figures
    return config, {name: (first.figures.get(name), second.figures.get(name)) for name in names}
