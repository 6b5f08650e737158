"""Clocks of the robot and of motion capture against this machine's."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_testing import telemetry
from mbmrl_base.robots.observation import Array
from mbmrl_control.hardware.link.clocks import BOARD_DRIFT, MEMORY, PATIENCE, CaptureClock, Clock, Progress
from mbmrl_control.hardware.link.link_data import Sample
from mbmrl_control.hardware.pose import DeadReckoning, PoseFilter
from mbmrl_control.hardware.state_builder import StateBuilder

STEP = 0.01
LEAST_DELAY = 0.002
EPOCH = 100.0


def board() -> Clock:
    return Clock("the robot's clock", BOARD_DRIFT, 3.0)


def arrivals(times: Array, rng: np.random.Generator, jitter: float, bursts: float = 0.0) -> Array:
    """When what was sent at times, s, arrives: late by an exponential jitter, and in bursts, so many a second."""
    delays = LEAST_DELAY + rng.exponential(jitter, len(times))
    for start in rng.uniform(times[0], times[-1], round(bursts * (times[-1] - times[0]))):
        delays[(times >= start) & (times < start + rng.uniform(0.1, 1.5))] += rng.uniform(0.02, 0.2)
    return np.maximum.accumulate(times + delays)  # bytes keep their order


@dataclass
class Heard:
    """What a clock told: errors of stamps, s, and when it was first in doubt and at fault, s."""

    errors: Array
    doubt: float
    fault: float
    clock: Clock


def listen(clock: Clock, slow: float, duration: float, rate: float = 100.0, **line: float) -> Heard:
    """Let a clock that is slow by a share be heard for some time, s."""
    host = EPOCH + np.arange(0.0, duration, 1.0 / rate)
    errors, doubt, fault = [], math.inf, math.inf
    for sent, arrival in zip(host, arrivals(host, np.random.default_rng(0), **({"jitter": 0.003} | line)), strict=True):
        errors.append(clock.to_host(7.0 + (sent - EPOCH) * (1.0 - slow), arrival) - sent - LEAST_DELAY)
        doubt = min(doubt, sent - EPOCH) if clock.doubt else doubt
        fault = min(fault, sent - EPOCH) if clock.fault(arrival) else fault
    return Heard(np.array(errors), doubt, fault, clock)


# The robot's


@pytest.mark.parametrize("slow", [0.0, 5e-5, 0.005, -0.005, 0.02, -0.02])
def test_stamps_of_ten_minutes_stay_within_a_millisecond(slow: float) -> None:
    heard = listen(board(), slow, 600.0)
    assert np.abs(heard.errors[200:]).max() < 1e-3
    assert np.abs(heard.errors).max() < 0.02  # while the rate is not known
    assert heard.clock.rate == pytest.approx(1 / (1 - slow), abs=1e-4)
    assert heard.doubt == math.inf


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.floats(-0.02, 0.02),
    st.floats(0.0, 0.005),
    st.sampled_from([20.0, 100.0, 200.0]),
    st.floats(0.0, 0.1),
)
def test_stamps_bear_jitter_and_bursts(slow: float, jitter: float, rate: float, bursts: float) -> None:
    heard = listen(board(), slow, 40.0, rate, jitter=jitter, bursts=bursts)
    assert np.abs(heard.errors[round(5 * rate) :]).max() < 5e-3
    assert heard.fault == math.inf


@pytest.mark.parametrize("slow", [0.03, -0.05])
def test_rate_that_is_far_off_is_in_doubt_and_then_a_fault(slow: float) -> None:
    heard = listen(board(), slow, 20.0)
    assert heard.doubt < 4.0
    assert heard.fault == pytest.approx(heard.doubt + PATIENCE, abs=0.1)
    told = re.fullmatch(r"the robot's clock runs (.*)% (slow|fast): allowed is 2.5%", heard.clock.doubt)
    assert told is not None
    assert float(told[1]) == pytest.approx(abs(100 * slow), abs=0.4)
    assert told[2] == ("slow" if slow > 0 else "fast")
    assert heard.clock.fault(EPOCH + 20.0)
    assert not heard.clock.fault(EPOCH + 25.0)  # it is not heard of any more


@pytest.mark.parametrize(
    ("rate", "is_fault"),
    [
        *((0.0, True), (0.2, True), (0.5, True), (0.8, True), (0.87, True), (0.97, True), (0.98, False)),
        *((1.0, False), (1.02, False), (1.03, True), (1.13, True), (1.2, True), (2.0, True), (10.0, True)),
    ],
)
@pytest.mark.parametrize("telemetry_rate", [20.0, 100.0])
def test_any_rate_is_right_or_a_fault(rate: float, is_fault: bool, telemetry_rate: float) -> None:
    heard = listen(board(), 1.0 - rate, 20.0, telemetry_rate, jitter=0.0005)
    assert (heard.fault < 2 * PATIENCE + 1.0) == is_fault
    assert bool(heard.clock.fault(EPOCH + 20.0)) == is_fault
    told = re.search(r"runs (.*)% (slow|fast)", heard.clock.doubt)
    if told is not None and not 0.8 < rate < 1.2:  # in between the line's slope is bounded
        assert float(told[1]) == pytest.approx(100 * abs(1 - rate), rel=0.05)
        assert told[2] == ("slow" if rate < 1 else "fast")
    assert bool(told) == (is_fault and rate > 0)


def test_clock_that_stops_is_a_fault() -> None:
    clock = board()
    for n in range(2000):
        clock.to_host(min(n, 1000) * STEP, EPOCH + n * STEP)
    assert clock.fault(EPOCH + 20.0) == "the robot's clock stands"
    for n in range(2000, 2500):
        clock.to_host(n * STEP, EPOCH + n * STEP)
    assert not clock.fault(EPOCH + 25.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.floats(-0.02, 0.02),
    st.floats(0.0, 0.02),
    st.sampled_from([10.0, 50.0, 200.0]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 0.3),
    st.sampled_from([0.0, 30.0, -30.0, 0.5]),
)
def test_line_is_not_taken_for_a_rate_that_is_far_off(
    slow: float, jitter: float, rate: float, bursts: float, bunch: float, step: float
) -> None:
    """Neither jitter, nor bursts, nor a machine that reads now and then, nor a board that starts anew."""
    host = EPOCH + np.arange(0.0, 30.0, 1.0 / rate)
    progress, right = Progress(), EPOCH
    when = arrivals(host, np.random.default_rng(0), jitter, bursts)
    when = np.ceil(when / bunch) * bunch if bunch > STEP else when
    for sent, arrival in zip(host, when, strict=True):
        progress.take((sent - EPOCH) * (1 - slow) + step * (sent > EPOCH + 15.0), arrival)
        right = right if progress.drift else arrival
        assert arrival - right < PATIENCE


def test_stamps_rise_and_are_never_of_the_future() -> None:
    rng, clock = np.random.default_rng(1), board()
    host = EPOCH + np.arange(0.0, 30.0, STEP)
    when = arrivals(host, rng, 0.02, 0.2)
    stamps = np.array([clock.to_host(h * 1.01, a) for h, a in zip(host, when, strict=True)])
    assert (np.diff(stamps) >= 0).all()
    assert (stamps <= when).all()
    assert np.diff(stamps[200:]).std() < 0.2 * np.diff(when[200:]).std()


@pytest.mark.parametrize("step", [30.0, -30.0, 0.5])
def test_clock_that_is_set_is_followed(step: float) -> None:
    clock = board()
    for n in range(2000):
        host = EPOCH + n * STEP
        stamp = clock.to_host(host + (step if n >= 1000 else 0.0), host + LEAST_DELAY)
        assert stamp == pytest.approx(host + LEAST_DELAY, abs=1e-6)
    assert not clock.doubt


def test_delay_that_has_changed_for_good_is_no_other_rate() -> None:
    clock = CaptureClock()
    for n in range(6000):
        host = EPOCH + n * STEP
        clock.take(host, host + (0.005 if n < 3000 else 0.03))
        assert not clock.doubt


@pytest.mark.parametrize("slow", [0.005, 0.02, -0.02])
def test_intervals_are_of_this_machines_seconds(slow: float) -> None:
    """A board that is paced by this machine tells other lengths than they are."""
    builder = StateBuilder(20.0, PoseFilter(), DeadReckoning())
    lengths = []
    for number in range(1, 2000):
        host = EPOCH + number * STEP
        sample = Sample(telemetry(number, time=number * STEP * (1 - slow)), host, 1, number % 5 == 0, number // 5, True)
        reading = builder.take(sample)
        lengths += [reading.observation.interval] if reading else []
    assert lengths[20:] == pytest.approx([0.05] * len(lengths[20:]), rel=1e-3)


# Motion capture's


def capture(ahead: float = 0.0, slow: float = 0.0, duration: float = 15.0) -> CaptureClock:
    clock = CaptureClock()
    for n in range(round(duration / STEP)):
        host = EPOCH + n * STEP
        clock.taken(host + ahead - n * STEP * slow, host + LEAST_DELAY)
    return clock


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ""),
        ({"ahead": 0.005}, ""),
        ({"ahead": -0.3}, ""),  # late, not another clock
        ({"ahead": 0.4}, "0.40 s ahead of this machine's"),
        ({"slow": 0.005}, "runs 0.5% slow"),
        ({"slow": 5e-4}, ""),  # a clock that is being synchronised
        ({"ahead": 1e9}, ""),  # of another clock altogether: arrival counts
    ],
    ids=str,
)
def test_capture_clock_is_held_against_arrival(given: Any, words: str) -> None:
    clock = capture(**given)
    now = EPOCH + 15.0
    assert words in clock.doubt
    assert bool(clock.doubt) == bool(clock.fault(now)) == bool(words)
    assert clock.is_another == (given == {"ahead": 1e9})


def test_capture_in_the_future_is_a_doubt_at_once_and_a_fault_later() -> None:
    clock = capture(ahead=0.4, duration=0.1)
    assert clock.doubt
    assert not clock.fault(EPOCH + 0.1)
    clock = capture(ahead=0.4, duration=PATIENCE + 0.1)
    assert clock.fault(EPOCH + PATIENCE + 0.1)


def test_synchronised_capture_is_in_order_again() -> None:
    clock = capture(ahead=0.4)
    for n in range(round(2 * MEMORY / STEP)):
        clock.taken(EPOCH + 15.0 + n * STEP, EPOCH + 15.0 + n * STEP + LEAST_DELAY)
    assert not clock.doubt


def test_stamps_of_another_clock_give_way_to_arrival() -> None:
    clock = CaptureClock()
    assert clock.taken(5.0, 1000.0) == 1000.0
    assert clock.taken(999.9, 1000.0) == 999.9
