"""Means and medians over runs with bootstrap intervals (Efron and Tibshirani, 1993), and paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.observation import Array
from mbmrl_control.evaluation.scenarios import NONE
from mbmrl_control.learners import LEARNER_TYPES

RESAMPLES: Final = 2000
BASELINES: Final = tuple(name for name, learner in LEARNER_TYPES.items() if learner.baseline)
"""Learners to which the others are compared, if they take part."""
DEFAULT_PLANNER: Final = ("mppi", "float32")
"""And its precision; others are compared to it that differ from it in one of the two."""
POOLED: Final = ("cost_before", "cost_after", "cross_track_after_m", "model_error_after")

Row = dict[str, Any]
"""A run: robot, contender, learner, task, path, planner, precision, scenario, seed, figures (`before_and_after`)."""
Interval = list[float | None]


def bootstrap(values: Array, statistic: Callable[..., Any]) -> Array:
    """95 % percentile interval of a statistic over runs, seeded.

    Args:
        values: Shape (n, ...); infinite ones are allowed for statistics that allow them.
        statistic: Of an axis, such as numpy.mean.

    Returns:
        Bounds, shape (2, ...).
    """
    drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    # Without interpolation, which between infinite numbers is none.
    return np.asarray(np.percentile(statistic(values[drawn], axis=1), (2.5, 97.5), axis=0, method="inverted_cdf"))


def _finite(value: Any) -> float | None:
    """A number for JSON."""
    return float(value) if math.isfinite(value) else None


def _estimate(values: Array, statistic: Callable[..., Any]) -> tuple[float | None, Interval]:
    if not len(values):
        return None, [None, None]
    return _finite(statistic(values)), [_finite(bound) for bound in bootstrap(values, statistic)]


def mean(values: Iterable[float | None]) -> dict[str, Any]:
    """``mean`` and ``ci95`` of what was measured."""
    middle, bounds = _estimate(np.array([value for value in values if value is not None]), np.mean)
    return {"mean": middle, "ci95": bounds}


def recovery(rows: Iterable[Row]) -> dict[str, Any]:
    """``median`` and ``ci95`` of the recovery time, s, of runs with a fault; None if it is never."""
    times = [row["recovery_s"] for row in rows if row["scenario"] != NONE]
    middle, bounds = _estimate(np.array([math.inf if time is None else time for time in times]), np.median)
    return {"median": middle, "ci95": bounds}


def differences(rows: Iterable[Row], first: str, second: str, what: str = "cost_after") -> dict[str, Any]:
    """``mean`` and ``ci95`` of one contender's figure minus another's, over runs with the same fault and seed."""

    def by_run(contender: str) -> dict[tuple[Any, ...], float]:
        return {
            (row["path"], row["scenario"], row["seed"]): row[what]
            for row in rows
            if row["contender"] == contender and row[what] is not None
        }

    rows = list(rows)
    left, right = by_run(first), by_run(second)
    return mean(left[run] - right[run] for run in sorted(left.keys() & right.keys()))


def pairs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Which contenders to compare: each with the baselines of its planner, and with its learner's own MPPI.

    Of contenders of one learner that differ in precision too, those of the same planner, or precision, are compared.
    """
    kinds = {row["contender"]: (row["learner"], (row["planner"], row["precision"])) for row in rows}
    return [
        (first, second)
        for second, (base_learner, base_planner) in sorted(
            kinds.items(), key=lambda kind: BASELINES.index(kind[1][0]) if kind[1][0] in BASELINES else len(BASELINES)
        )
        for first, (learner, planner) in kinds.items()
        if first != second
        and (
            (base_learner in BASELINES and planner == base_planner)
            or (learner == base_learner and _is_base(planner, base_planner))
        )
    ]


def _is_base(planner: tuple[str, str], base: tuple[str, str]) -> bool:
    """Whether a planner and its precision differ from the base's in one of the two, in which that is the default."""
    differing = [
        own == default for own, each, default in zip(base, planner, DEFAULT_PLANNER, strict=True) if own != each
    ]
    return differing == [True]


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """The object that ``mbmrl evaluate --json`` prints: all paths and scenarios pooled."""
    summary: dict[str, Any] = {}
    for contender in dict.fromkeys(row["contender"] for row in rows):
        own = [row for row in rows if row["contender"] == contender]
        summary[contender] = {name: mean(row[name] for row in own) for name in POOLED}
        summary[contender]["recovery_s"] = recovery(own)
    summary["paired"] = {f"{first}-{second}": differences(rows, first, second) for first, second in pairs(rows)}
    return summary
