"""Means, intervals and differences over runs that are made up."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from mbmrl_control.evaluation.statistics import Row, bootstrap, differences, mean, pairs, recovery, summarise

FIGURES = {"cost_before": 0.5, "cost_after": 1.0, "cross_track_after_m": 0.25, "model_error_after": 0.125}


def row(contender: str, seed: int, scenario: str = "leg_loss", **figures: Any) -> Row:
    learner, _, planner = contender.partition("/")
    names = {"contender": contender, "learner": learner, "planner": planner or "mppi", "precision": "float32"}
    return names | {"path": "straight", "scenario": scenario, "seed": seed, "recovery_s": 1.0} | FIGURES | figures


# Intervals


def test_interval_of_the_mean_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = bootstrap(values, np.mean)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.02)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap(values, np.mean).tolist() == [low, high]


def test_interval_of_traces_is_taken_at_each_time() -> None:
    values = np.random.default_rng(1).normal(0.0, (1.0, 5.0), (30, 2))
    bounds = bootstrap(values, np.mean)
    assert bounds.shape == (2, 2)
    assert np.allclose(bounds[:, 1], bootstrap(values[:, 1], np.mean))


def test_what_was_not_measured_counts_for_nothing() -> None:
    assert mean([1.0, None, 1.0]) == {"mean": 1.0, "ci95": [1.0, 1.0]}
    assert mean([None]) == {"mean": None, "ci95": [None, None]}


# Recovery


def test_robot_that_never_recovers_is_slower_than_all_others() -> None:
    told = recovery(row("a", seed, recovery_s=time) for seed, time in enumerate([0.5, None, 1.5]))
    assert told["median"] == 1.5
    assert told["ci95"][1] is None
    mostly = recovery(row("a", seed, recovery_s=time) for seed, time in enumerate([0.5, None, None]))
    assert mostly["median"] is None
    assert recovery([row("a", 0, recovery_s=None)]) == {"median": None, "ci95": [None, None]}


def test_run_without_a_fault_has_nothing_to_recover_from() -> None:
    rows = [row("a", 0, "none", recovery_s=None), row("a", 1, recovery_s=2.0)]
    assert recovery(rows) == {"median": 2.0, "ci95": [2.0, 2.0]}
    assert recovery(rows[:1]) == {"median": None, "ci95": [None, None]}


# Differences


def test_what_the_seeds_have_in_common_cancels() -> None:
    rng = np.random.default_rng(2)
    rows = []
    for seed in range(10):
        common = float(rng.normal(0, 10))
        rows += [row("a", seed, cost_after=common), row("b", seed, cost_after=common + 1.0)]
    told = differences(rows, "a", "b")
    assert told["mean"] == pytest.approx(-1.0)
    assert told["ci95"] == pytest.approx([-1.0, -1.0])


def test_only_runs_that_both_have_made_are_compared() -> None:
    rows = [row("a", 0, cost_after=3.0), row("b", 0, cost_after=1.0), row("b", 1, cost_after=99.0)]
    rows += [row("a", 0, "none", cost_after=5.0), row("b", 0, "slope", cost_after=0.0)]
    assert differences(iter(rows), "a", "b")["mean"] == 2.0


def test_learners_are_compared_to_the_baselines_that_take_part() -> None:
    names = [f"{first}-{second}" for first, second in pairs([row(name, 0) for name in ("default", "mb", "mb_de")])]
    assert names == ["default-mb_de", "mb-mb_de", "default-mb", "mb_de-mb"]
    assert pairs([row("default", 0), row("grbal", 0)]) == []


def test_planners_are_compared_to_mppi_and_learners_under_one_planner() -> None:
    rows = [row(f"{learner}/{planner}", 0) for learner in ("grbal", "mb") for planner in ("cem", "mppi")]
    assert set(pairs(rows)) == {
        ("grbal/cem", "grbal/mppi"),
        ("mb/cem", "mb/mppi"),
        ("grbal/cem", "mb/cem"),
        ("grbal/mppi", "mb/mppi"),
    }


def test_what_differs_in_precision_too_is_not_compared() -> None:
    rows = [
        row(f"mb/{planner}", 0) | {"contender": f"{planner}/{precision}", "precision": precision}
        for planner in ("cem", "mppi")
        for precision in ("float32", "bfloat16")
    ]
    own = {pair for pair in pairs([each | {"learner": "grbal"} for each in rows])}
    assert own == {
        ("cem/float32", "mppi/float32"),
        ("cem/bfloat16", "mppi/bfloat16"),
        ("cem/bfloat16", "cem/float32"),
        ("mppi/bfloat16", "mppi/float32"),
    }


# The summary


def test_summary_has_the_keys_of_the_issue() -> None:
    rows = [row(name, seed, recovery_s=None) for name in ("default", "mb") for seed in range(3)]
    told = summarise(rows)
    assert set(told) == {"default", "mb", "paired"}
    means = {"cost_before", "cost_after", "cross_track_after_m", "model_error_after"}
    assert set(told["mb"]) == means | {"recovery_s"}
    assert all(told["mb"][name] == {"mean": FIGURES[name], "ci95": [FIGURES[name]] * 2} for name in means)
    assert told["mb"]["recovery_s"] == {"median": None, "ci95": [None, None]}
    assert told["paired"] == {"default-mb": {"mean": 0.0, "ci95": [0.0, 0.0]}}
    assert not {"NaN", "Infinity"} & set(json.dumps(told).replace(",", " ").split())


def test_scenarios_are_pooled() -> None:
    rows = [row("a", 0, cost_after=1.0), row("a", 0, "slope", cost_after=2.0)]
    assert summarise(rows)["a"]["cost_after"]["mean"] == 1.5
    assert math.isclose(summarise(rows)["a"]["cost_after"]["ci95"][1], 2.0)
