"""Detection of a change from a learner's own errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mbmrl_control.learners.change import RECENT, ChangeDetector


def errors(seed: int, count: int, level: float = 0.1) -> list[float]:
    """Errors with the spread of a walking robot's."""
    return [float(value) for value in level * np.exp(np.random.default_rng(seed).normal(0.0, 0.5, count))]


def test_steady_errors_tell_of_no_change() -> None:
    detector = ChangeDetector()
    changes = sum(detector.update(error) for seed in range(10) for error in errors(seed, 600))
    assert changes <= 12


@pytest.mark.parametrize("seed", range(5))
def test_a_jump_is_told_within_a_few_ticks_and_once(seed: int) -> None:
    detector = ChangeDetector()
    for error in errors(seed, 100):
        detector.update(error)
    told = [tick for tick, error in enumerate(errors(seed + 100, 60, level=0.5)) if detector.update(error)]
    assert len(told) >= 1 and told[0] < 2 * RECENT
    assert len(told) <= 2


def test_a_slow_rise_is_none() -> None:
    detector = ChangeDetector()
    levels = np.geomspace(0.1, 0.3, 2000)
    values = np.exp(np.random.default_rng(1).normal(0.0, 0.5, 2000))
    assert sum(detector.update(float(level * value)) for level, value in zip(levels, values, strict=True)) <= 6


def test_nothing_is_expected_at_first() -> None:
    detector = ChangeDetector()
    assert not any(detector.update(error) for error in [0.1] * 8 + [10.0] * 8)


def test_an_error_that_is_no_number_is_a_change() -> None:
    assert ChangeDetector().update(math.nan)


def test_deviations_say_how_far_errors_are_above_what_was_expected() -> None:
    detector = ChangeDetector()
    detector.update(0.1)
    assert math.isnan(detector.deviations)
    steady = [detector.deviations for error in errors(1, 200) if not detector.update(error)]
    assert abs(np.nanmean(steady)) < 1.0
    while not detector.update(0.5):
        pass
    assert detector.deviations > 3.5
    detector.update(0.1)
    assert math.isnan(detector.deviations)
