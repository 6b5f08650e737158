"""What a robot does not measure: known from the first frames, made up where that can be."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_testing import telemetry
from mbmrl_base.robots.millirobot.layout import BACK_EMF, BATTERY
from mbmrl_control.hardware import measured as module
from mbmrl_control.hardware.link.link_data import Sample
from mbmrl_control.hardware.link.port import LinkError
from mbmrl_control.hardware.measured import FRAMES, Measured
from mbmrl_control.hardware.pose import DeadReckoning, PoseFilter
from mbmrl_control.hardware.state_builder import StateBuilder

NAN = math.nan


def after(count: int = FRAMES, **values: Any) -> Measured:
    """What is known after some frames."""
    measured = Measured(3.8)
    for number in range(1, count + 1):
        measured.fill(telemetry(number, **values))
    return measured


def test_robot_that_measures_all_is_told_as_it_is() -> None:
    measured = after()
    assert measured.require() == []
    frame = telemetry(9)
    assert measured.fill(frame) == frame


def test_missing_battery_and_back_emf_are_made_up_and_said() -> None:
    gone = {"battery": NAN, "back_emf": (NAN, NAN)}
    measured = after(**gone)
    assert measured.require() == [
        "the robot measures no battery voltage: 3.8 V is taken for it",
        "the robot measures no back-EMF: it is reckoned from the leg speeds",
    ]
    filled = measured.fill(telemetry(9, **gone))
    assert filled.battery == 3.8
    # 1.41 mV s/rad at the rotor, which turns 21.3 times for a leg cycle.
    assert filled.back_emf == pytest.approx((30.0 * 1.41e-3 * 21.3, 35.0 * 1.41e-3 * 21.3))


def test_battery_that_falls_silent_is_as_it_was_last_measured() -> None:
    measured = after(battery=3.7)
    assert measured.require() == []
    assert measured.fill(telemetry(9, battery=NAN)).battery == 3.7


@pytest.mark.parametrize("value", [1e4, -1e4, math.inf, 1e300])
def test_impossible_numbers_are_as_if_they_were_not_measured(value: float) -> None:
    """A damaged number must not reach the reckoned pose, nor the model."""
    measured = after()
    sound = measured.fill(telemetry(8))
    damaged = telemetry(9, gyro=(0.1, value, 0.3), speeds=(30.0, value), back_emf=(value, 1.1), battery=value)
    filled = measured.fill(damaged)
    assert math.isnan(filled.gyro[1])
    assert (filled.gyro[0], filled.speeds[0]) == (0.1, 30.0)
    assert math.isnan(filled.speeds[1])
    assert filled.battery == sound.battery
    assert filled.back_emf[0] == pytest.approx(30.0 * 1.41e-3 * 21.3)


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ({"gyro": (0.1, NAN, 0.2)}, "the robot measures no angular velocity: the model cannot do without"),
        ({"phases": (NAN, NAN), "speeds": (NAN, NAN)}, "the robot measures no leg phases and no leg speeds"),
    ],
)
def test_robot_without_what_the_model_needs_is_refused(gone: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LinkError, match=sentence):
        after(**gone).require()


def test_one_frame_without_a_number_does_not_make_a_sensor_missing() -> None:
    measured = after(FRAMES - 1, speeds=(NAN, NAN), gyro=(NAN, NAN, NAN))
    measured.fill(telemetry(FRAMES))
    assert measured.require() == []


def test_frames_without_what_the_model_needs_are_counted() -> None:
    measured = after(3, battery=NAN)
    assert not measured.missing
    for gyro in (NAN, 1e4):
        measured.fill(telemetry(4, gyro=(0.0, gyro, 0.0), phases=(1.0, NAN)))
    assert measured.missing == {"gyro": 2, "phases": 2}


def test_robot_that_tells_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_TIME", 0.01)
    with pytest.raises(LinkError, match=f"less than {FRAMES} times in 0.01 s"):
        after(FRAMES - 1).require()


@settings(derandomize=True, deadline=None, max_examples=100, database=None)
@given(st.lists(st.sampled_from(["battery", "back_emf", "speeds", "gyro", ""]), min_size=40, max_size=40))
def test_numbers_that_are_missing_for_a_while_leave_no_trace(gone: list[str]) -> None:
    """Battery and back-EMF are always there, and all is there again with the first whole interval."""
    builder = StateBuilder(20.0, PoseFilter(), DeadReckoning())
    missing = {"battery": NAN, "back_emf": (NAN, NAN), "speeds": (NAN, NAN), "gyro": (NAN,) * 3}
    numbers = itertools.count(1)
    states = []
    for name in [*gone, *[""] * 5]:
        number = next(numbers)
        frame = telemetry(number, **({name: missing[name]} if name else {}))
        reading = builder.take(Sample(frame, 50.0 + 0.01 * number, 1, number % 5 == 0, number // 5, True))
        if reading is not None:
            states.append(reading.observation.state)
            assert reading.telemetry is frame
            assert np.isfinite(states[-1][BATTERY]).all()
            if name != "speeds":
                assert np.isfinite(states[-1][BACK_EMF]).all()
    assert np.isfinite(states[-1]).all()
