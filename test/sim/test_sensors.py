"""What sensors make of true states: each imperfection alone, and all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot.layout import (
    ANGULAR_VELOCITY,
    BACK_EMF,
    BATTERY,
    LEFT_PHASE,
    LEG_SPEED,
    LINEAR_VELOCITY,
    PITCH,
    POSITION,
    RIGHT_PHASE,
    ROLL,
    YAW,
    angle,
    pack_state,
)
from mbmrl_base.robots.observation import Array
from mbmrl_sim.sensors import SENSORS, Sensors, SensorSettings, make_sensors

POSE = (POSITION, LINEAR_VELOCITY, ROLL, PITCH, YAW)
PHASES = (LEFT_PHASE, RIGHT_PHASE)
REAL = SENSORS["real"]
IMPERFECTIONS = [
    ("position_noise", 0.01, (POSITION,)),
    ("velocity_noise", 0.02, (LINEAR_VELOCITY,)),
    ("angle_noise", 0.03, (ROLL, PITCH, YAW)),
    ("frozen", 0.3, POSE),
    ("delay", 2, POSE),
    ("jitter", 0.002, ()),
    ("gyro_noise", 0.1, (ANGULAR_VELOCITY,)),
    ("gyro_resolution", 0.05, (ANGULAR_VELOCITY,)),
    ("phase_noise", 0.04, PHASES),
    ("phase_resolution", 0.1, PHASES),
    ("speed_noise", 0.5, (LEG_SPEED,)),
    ("back_emf_resolution", 0.01, (BACK_EMF,)),
    ("battery_resolution", 0.01, (BATTERY,)),
]


def true_states(count: int, seed: int = 0) -> Array:
    """Unlike states of a robot that might be anywhere, shape (n, 24)."""
    rng = np.random.default_rng(seed)
    sizes = (3, 3, 3, 3, 2, 2, 2)
    return np.array(
        [pack_state(*(rng.uniform(-3.0, 3.0, size) for size in sizes), rng.uniform(3, 4)) for _ in range(count)]
    )


def measure(settings: SensorSettings, states: Array, seed: int = 0, shift: Sequence[float] | None = None) -> Array:
    """Measurements of states one after the other, shape (n, 24)."""
    sensors = Sensors(settings, np.random.default_rng(seed), load_robot("millirobot"))
    return np.array([sensors.measure(state, None if shift is None else np.array(shift)) for state in states])


def members(parts: Sequence[slice]) -> set[int]:
    """Places of parts in the state."""
    return {place for part in parts for place in range(24)[part]}


# Each imperfection


def test_ideal_sensors_change_nothing() -> None:
    states = true_states(20)
    for shift in (None, (0.0, 0.0, 0.0)):
        np.testing.assert_array_equal(measure(SensorSettings(), states, shift=shift), states)
    rng = np.random.default_rng(3)
    sensors = Sensors(SensorSettings(), rng, load_robot("millirobot"))
    sensors.measure(states[0])
    assert sensors.earliness(1.0) == 0.0
    assert rng.random() == np.random.default_rng(3).random()


def test_each_imperfection_is_tested() -> None:
    assert [name for name, *_ in IMPERFECTIONS] == [entry.name for entry in fields(SensorSettings)]


@pytest.mark.parametrize(("name", "value", "parts"), IMPERFECTIONS)
def test_imperfection_spoils_its_part_of_the_state_and_nothing_else(
    name: str, value: float, parts: tuple[slice, ...]
) -> None:
    states = true_states(50)
    before = states.copy()
    measured = measure(SensorSettings(**{name: value}), states)
    assert set(np.flatnonzero((measured != states).any(0))) == members(parts)
    np.testing.assert_array_equal(states, before)


@pytest.mark.parametrize(
    ("name", "deviation", "parts"), [entry for entry in IMPERFECTIONS if entry[0].endswith("noise")]
)
def test_noise_has_its_deviation_about_the_truth(name: str, deviation: float, parts: tuple[slice, ...]) -> None:
    (state,), count = true_states(1, seed=5), 2000
    measured = measure(SensorSettings(**{name: deviation}), np.tile(state, (count, 1)))
    if parts[0] in (ROLL, *PHASES):
        differences = np.array([angle(measured, pair) - angle(state, pair) for pair in parts])
        errors = (differences + np.pi) % (2 * np.pi) - np.pi
    else:
        errors = (measured - state)[:, parts[0]].T
    np.testing.assert_allclose(errors.std(1), deviation, rtol=0.08)
    assert np.abs(errors.mean(1)).max() < 4 * deviation / math.sqrt(count)
    # Each sensor, and each axis of one, is wrong in its own way.
    assert np.abs(np.corrcoef(errors) - np.eye(len(errors))).max() < 0.1


@pytest.mark.parametrize(
    ("name", "resolution", "parts"), [entry for entry in IMPERFECTIONS if entry[0].endswith("resolution")]
)
def test_resolution_rounds_to_the_nearest_step(name: str, resolution: float, parts: tuple[slice, ...]) -> None:
    states = true_states(200)
    measured = measure(SensorSettings(**{name: resolution}), states)
    for part in parts:
        if part in PHASES:
            values, rounded = angle(states, part), angle(measured, part)
        else:
            values, rounded = states[:, part], measured[:, part]
        steps = rounded / resolution
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)
        assert 0.4 * resolution < np.abs(rounded - values).max() <= 0.5 * resolution + 1e-9


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_motion_capture_is_late_by_as_many_ticks(delay: int) -> None:
    states = true_states(12)
    measured = measure(SensorSettings(delay=delay), states)
    late = np.concatenate([np.repeat(states[:1], delay, axis=0), states[: len(states) - delay]])
    np.testing.assert_array_equal(measured[:, :12], late[:, :12])
    np.testing.assert_array_equal(measured[:, 12:], states[:, 12:])


@pytest.mark.parametrize("share", [0.05, 0.6])
@pytest.mark.parametrize("delay", [0, 2])
def test_frozen_frames_repeat_pose_and_velocity_as_they_were_measured(share: float, delay: int) -> None:
    count = 2000
    states = true_states(count)
    measured = measure(replace(REAL, frozen=share, delay=delay, phase_resolution=0.0), states)
    same = measured[1:] == measured[:-1]
    frozen = same[delay:, :12].all(1)
    assert frozen.mean() == pytest.approx(share, abs=4 * math.sqrt(share / count))
    assert not same[delay:][~frozen, :6].any()
    assert not same[:, sorted(members((*PHASES, LEG_SPEED)))].any()
    assert (frozen[1:] & frozen[:-1]).any()


def test_measurement_is_early_by_the_jitter_and_never_more_than_allowed() -> None:
    sensors = Sensors(SensorSettings(jitter=0.002), np.random.default_rng(0), load_robot("millirobot"))
    early = np.array([sensors.earliness(1.0) for _ in range(3000)])
    assert early.min() >= 0.0
    assert math.sqrt((early**2).mean()) == pytest.approx(0.002, rel=0.05)
    assert max(sensors.earliness(0.001) for _ in range(100)) == 0.001


# Miscalibration


def test_miscalibrated_frame_turns_and_shifts_what_motion_capture_sees() -> None:
    turn, shift = 0.7, np.array([0.3, -0.2])
    states = true_states(30)
    measured = measure(SensorSettings(), states, shift=(turn, *shift))
    for state, seen in zip(states, measured, strict=True):
        assert complex(*seen[:2]) == pytest.approx(complex(*state[:2]) * np.exp(1j * turn) + complex(*shift))
        assert complex(*seen[3:5]) == pytest.approx(complex(*state[3:5]) * np.exp(1j * turn))
        assert complex(*seen[YAW]) == pytest.approx(complex(*state[YAW]) * np.exp(1j * turn))
    rest = sorted(set(range(24)) - {0, 1, 3, 4, *members((YAW,))})
    np.testing.assert_array_equal(measured[:, rest], states[:, rest])


def test_measured_velocity_and_heading_are_those_of_the_measured_path() -> None:
    """On an arc: the velocity is the derivative of the position, and the robot goes where it looks."""
    times = np.linspace(0.0, 2.0, 2001)
    nothing, states = np.zeros(3), []
    for time in times:
        heading = 0.4 + 1.5 * time
        position = 0.3 / 1.5 * np.array([np.sin(heading), -np.cos(heading), 0.0])
        velocity = 0.3 * np.array([np.cos(heading), np.sin(heading), 0.0])
        states.append(pack_state(position, velocity, (0.0, 0.0, heading), nothing, (0, 0), (0, 0), (0, 0), 4.0))
    measured = measure(SensorSettings(), np.array(states), shift=(-0.9, 0.2, 0.1))
    derived = np.gradient(measured[:, :2], times, axis=0)[1:-1]
    np.testing.assert_allclose(derived, measured[1:-1, 3:5], atol=1e-6)
    np.testing.assert_allclose(measured[:, 3:5], 0.3 * measured[:, YAW], atol=1e-12)


# All of them


def test_cosines_and_sines_stay_on_the_circle() -> None:
    measured = measure(replace(REAL, angle_noise=0.5, phase_noise=0.5), true_states(200), shift=(0.4, 0.1, 0.1))
    for pair in (ROLL, PITCH, YAW, *PHASES):
        np.testing.assert_allclose(np.linalg.norm(measured[:, pair], axis=1), 1.0, rtol=1e-12)


def test_same_seed_gives_the_same_measurements() -> None:
    states = true_states(50)
    first, again, other = (measure(REAL, states, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# Names


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ideal", SensorSettings()),
        ("real", REAL),
        ("real,delay=0", replace(REAL, delay=0)),
        ("real,frozen=0.1,position_noise=1e-3", replace(REAL, frozen=0.1, position_noise=1e-3)),
        ("ideal,delay=2,jitter=0.001", SensorSettings(delay=2, jitter=0.001)),
        ("ideal,frozen=1", SensorSettings(frozen=1.0)),
    ],
)
def test_sensors_are_a_preset_with_exceptions(name: str, settings: SensorSettings) -> None:
    assert make_sensors(name) == settings
    assert isinstance(make_sensors(name).delay, int)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "unknown sensors '': allowed is ideal, real"),
        ("perfect", "unknown sensors 'perfect': allowed is ideal, real"),
        ("delay=0", "unknown sensors 'delay=0'"),
        ("real,", "'' is no imperfection: allowed is NAME=NUMBER of position_noise, velocity_noise"),
        ("real,colour=1", "'colour=1' is no imperfection"),
        ("real,delay", "'delay' is no imperfection"),
        ("real,delay=soon", "'delay=soon' is no imperfection"),
        ("real,delay=-1", "'delay=-1' is no imperfection"),
        ("real,jitter=nan", "'jitter=nan' is no imperfection"),
        ("real,jitter=inf", "'jitter=inf' is no imperfection"),
        ("real,delay=0.5", "'delay=0.5' is impossible: allowed is frozen=0 to 1, delay=0 to 100"),
        ("real,delay=1e30", "'delay=1e30' is impossible: allowed is frozen=0 to 1, delay=0 to 100"),
        ("real,frozen=1.5", "'frozen=1.5' is impossible: allowed is frozen=0 to 1, delay=0 to 100"),
        ("real,measure=1", "'measure=1' is no imperfection"),
    ],
)
def test_impossible_sensors_are_refused_with_a_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_sensors(name)
