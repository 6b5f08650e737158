"""Ticks on a clock that the test turns, and the rate of a clock that is known by stamps only."""

from __future__ import annotations

import random
import threading

import pytest

from mbmrl_base.toolkit.ticker import Pace, Ticker

PERIOD = 0.05


class FakeClock(threading.Event):
    """A clock, and an event whose waiting turns it; each wait ends a little late, as real ones do."""

    def __init__(self, lateness: float = 0.0) -> None:
        super().__init__()
        self.now = 100.0
        self._lateness = lateness

    def __call__(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        assert timeout >= 0
        if not self.is_set():
            self.now += timeout + self._lateness
        return self.is_set()


def test_ticks_do_not_drift() -> None:
    clock = FakeClock(lateness=0.003)
    ticker = Ticker(PERIOD, clock)
    for tick in range(1, 1001):
        clock.now += 0.02  # work
        assert ticker.wait(clock)
        assert clock.now == pytest.approx(100.0 + tick * PERIOD + 0.003)
        assert ticker.current == pytest.approx(100.0 + tick * PERIOD)
    assert (ticker.ticks, ticker.missed) == (1000, 0)


def test_tick_that_is_late_by_less_than_a_period_is_made_up_for() -> None:
    clock = FakeClock()
    ticker = Ticker(PERIOD, clock)
    clock.now += 1.5 * PERIOD
    assert ticker.wait(clock)
    assert clock.now == pytest.approx(100.0 + 1.5 * PERIOD)
    assert ticker.wait(clock)
    assert clock.now == pytest.approx(100.0 + 2 * PERIOD)
    assert (ticker.ticks, ticker.missed) == (2, 0)


@pytest.mark.parametrize(("work", "missed"), [(1.9, 0), (2.1, 1), (3.1, 2), (10.5, 9)])
def test_ticks_that_went_by_are_skipped_and_counted(work: float, missed: int) -> None:
    clock = FakeClock()
    ticker = Ticker(PERIOD, clock)
    clock.now += work * PERIOD
    for _ in range(3):
        assert ticker.wait(clock)
    assert ticker.missed == missed
    assert ticker.ticks == missed + 3
    # Back on the grid of the first tick.
    assert clock.now == pytest.approx(100.0 + ticker.ticks * PERIOD)


def test_event_ends_the_ticks() -> None:
    clock = FakeClock()
    ticker = Ticker(PERIOD, clock)
    clock.set()
    assert not ticker.wait(clock)


@pytest.mark.parametrize("lead", [0.0, 0.01, 0.04])
@pytest.mark.parametrize("phase", [0.0, 0.013, 0.049])
def test_ticks_come_to_fall_a_lead_after_the_arrivals(lead: float, phase: float) -> None:
    clock = FakeClock()
    ticker = Ticker(PERIOD, clock)
    for _ in range(200):
        assert ticker.wait(clock)
        arrival = 100.0 + phase + PERIOD * round((clock.now - 100.0 - phase) / PERIOD)
        ticker.follow(arrival, lead)
    error = (ticker.deadline - phase - lead - 100.0) / PERIOD
    assert error == pytest.approx(round(error), abs=1e-3)
    assert ticker.missed == 0


def test_single_late_arrival_hardly_shifts_the_ticks() -> None:
    clock = FakeClock()
    ticker = Ticker(PERIOD, clock)
    before = ticker.deadline
    ticker.follow(before - 0.02 + 0.4 * PERIOD, lead=0.02, gain=0.1)
    assert ticker.deadline - before == pytest.approx(0.04 * PERIOD)


def test_deadline_that_is_shifted_while_it_is_waited_for_counts_from_the_next_tick_on() -> None:
    clock = FakeClock()
    ticker = Ticker(PERIOD, clock)
    wait = clock.wait

    def shifted(timeout: float | None = None) -> bool:
        ticker.follow(clock.now, 0.4 * PERIOD, gain=1.0)
        return wait(timeout)

    clock.wait = shifted  # type: ignore[method-assign]
    assert ticker.wait(clock)
    assert clock.now == ticker.current == pytest.approx(100.0 + PERIOD)
    clock.wait = wait  # type: ignore[method-assign]
    assert ticker.wait(clock)
    assert clock.now == pytest.approx(100.0 + 1.4 * PERIOD + PERIOD)


# The pace of another clock


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
