"""The rate of a clock that is known by stamps only."""

from __future__ import annotations

import random

import pytest

from mbmrl_base.toolkit.pace import Pace

PERIOD = 0.05


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5, 2.0, 5.0, 10.0])
def test_rate_is_found_from_the_second_message_on_and_when_it_changes(rate: float) -> None:
    pace = Pace()
    assert pace.rate == 1.0
    time = 50.0
    for count in range(20):
        pace.observe(count * PERIOD, time)
        time += PERIOD / rate
        if count:
            assert pace.rate == pytest.approx(rate)
    for count in range(20, 26):
        pace.observe(count * PERIOD, time)
        time += PERIOD / 3.0
    assert pace.rate == pytest.approx(3.0)


def test_real_time_is_exact_however_messages_are_held_up() -> None:
    pace, rng = Pace(), random.Random(3)
    for count in range(500):
        late = 0.4 * PERIOD if count % 9 == 5 else 0.0
        pace.observe(count * PERIOD, count * PERIOD + late + rng.uniform(0.0, 1e-3))
        assert pace.rate == 1.0


def test_stamps_that_stand_still_or_go_back_tell_nothing() -> None:
    pace = Pace()
    for stamp, arrival in ((1.0, 1.0), (1.0, 2.0), (0.0, 3.0)):
        pace.observe(stamp, arrival)
        assert pace.rate == 1.0
    pace.observe(0.5, 4.0)
    assert pace.rate == 0.5
