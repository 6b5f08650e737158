"""Pose by motion capture and by dead reckoning, and the state that is made of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from hardware_testing import telemetry
from mbmrl_base.robots.millirobot.layout import ANGULAR_VELOCITY, LINEAR_VELOCITY, POSITION, YAW, angle
from mbmrl_control.hardware.link.link_data import Sample
from mbmrl_control.hardware.pose import CAPTURED, RECKONED, DeadReckoning, PoseFilter
from mbmrl_control.hardware.pose_checks import Pose
from mbmrl_control.hardware.state_builder import Reading, StateBuilder

LEVEL = np.array([0.0, 0.0, 9.81])
STEP = 0.01


def poses(filter: PoseFilter, times: Iterable[float], path: Any, **named: Any) -> None:
    for t in times:
        filter.add(Pose(float(t), np.array(path(t)), np.array([0.0, 0.0, 0.5]), **named), float(t))


# The filter


def test_accelerated_motion_is_told_without_delay() -> None:
    filter = PoseFilter(window=0.1)
    poses(filter, np.arange(0, 0.3, STEP), lambda t: (1 + 0.2 * t + 0.5 * t**2, -t, 0.02))
    there = filter.at(0.295)
    assert there is not None
    assert there.source == CAPTURED
    assert there.position == pytest.approx([1 + 0.2 * 0.295 + 0.5 * 0.295**2, -0.295, 0.02], abs=1e-9)
    assert there.velocity == pytest.approx([0.2 + 0.295, -1.0, 0.0], abs=1e-9)


def test_late_frames_are_extrapolated_to_the_time_that_is_asked_for() -> None:
    filter = PoseFilter(window=0.1, timeout=0.1)
    poses(filter, np.arange(0, 0.3, STEP), lambda t: (0.3 * t, 0.0, 0.0))
    there = filter.at(0.33)
    assert there is not None
    assert there.position[0] == pytest.approx(0.3 * 0.33)


def test_noise_is_as_documented() -> None:
    rng = np.random.default_rng(0)
    window, rate, deviation = 0.1, 200.0, 2e-4
    errors = []
    for _ in range(400):
        filter = PoseFilter(window=window)
        poses(filter, np.arange(0, 0.1, 1 / rate), lambda t: (*rng.normal(0, deviation, 3),))
        there = filter.at(0.1)
        assert there is not None
        errors.append(there.velocity[0])
    expected = deviation / window * math.sqrt(192 / (window * rate))
    assert np.std(errors) == pytest.approx(expected, rel=0.35)


def test_heading_may_pass_half_a_turn() -> None:
    filter = PoseFilter(window=0.1)
    for t in np.arange(0, 0.3, STEP):
        yaw = math.remainder(3.0 + 2 * t, 2 * math.pi)
        filter.add(Pose(float(t), np.zeros(3), np.array([0.0, 0.0, yaw])), float(t))
    there = filter.at(0.29)
    assert there is not None
    assert math.remainder(there.angles[2] - 3.58, 2 * math.pi) == pytest.approx(0, abs=1e-9)


def test_velocity_of_odometry_is_taken() -> None:
    filter = PoseFilter(window=0.1)
    poses(filter, np.arange(0, 0.2, STEP), lambda t: (0.0, 0.0, 0.0), velocity=np.array([0.1, 0.2, 0.3]))
    there = filter.at(0.2)
    assert there is not None
    assert there.velocity.tolist() == [0.1, 0.2, 0.3]


def test_old_or_few_frames_tell_nothing() -> None:
    filter = PoseFilter(window=0.1, timeout=0.1)
    assert filter.at(0.0) is None
    poses(filter, (0.0, STEP), lambda t: (0.0, 0.0, 0.0))
    assert filter.at(STEP) is None
    poses(filter, np.arange(0.1, 0.3, STEP), lambda t: (0.0, 0.0, 0.0))
    assert filter.at(0.3) is not None
    assert filter.at(0.45) is None


@pytest.mark.parametrize("position", [(math.nan, 0.0, 0.0), (math.inf, 0.0, 0.0)])
def test_frame_that_is_not_finite_is_refused(position: tuple[float, ...]) -> None:
    filter = PoseFilter()
    poses(filter, (0.0,), lambda t: position)
    assert (filter.counts.taken, filter.counts.reasons.total()) == (0, 1)


def test_frames_that_are_out_of_order_are_refused() -> None:
    filter = PoseFilter()
    poses(filter, (0.1, 0.1, 0.05, 0.2), lambda t: (0.0, 0.0, 0.0))
    assert (filter.counts.taken, filter.counts.reasons.total()) == (2, 2)


# Dead reckoning


def test_legs_and_gyro_make_a_circle() -> None:
    reckoning = DeadReckoning(path_per_turn=0.05)
    turn, speeds = 2.0, np.full(2, 4 * 2 * math.pi)
    for _ in range(round(2 * math.pi / turn / 1e-3)):
        reckoning.step(1e-3, speeds, np.array([0.0, 0.0, turn]), LEVEL)
    assert reckoning.angles[2] == pytest.approx(2 * math.pi, abs=5e-3)
    assert reckoning.position[:2] == pytest.approx([0.0, 0.0], abs=2e-3)
    there = reckoning.located(1.0)
    assert there.source == RECKONED
    assert np.linalg.norm(there.velocity) == pytest.approx(0.2)


def test_accelerometer_levels_roll_and_pitch() -> None:
    reckoning = DeadReckoning()
    reckoning.angles = np.array([0.3, -0.2, 1.0])
    for _ in range(1000):
        reckoning.step(STEP, np.zeros(2), np.zeros(3), LEVEL)
    assert reckoning.angles == pytest.approx([0.0, 0.0, 1.0], abs=1e-3)


def test_what_is_not_measured_does_not_spoil_the_reckoning() -> None:
    reckoning = DeadReckoning()
    reckoning.step(STEP, np.array([30.0, 30.0]), np.full(3, math.nan), np.full(3, math.nan))
    assert np.isfinite([*reckoning.position, *reckoning.angles]).all()


# The state


class Builder:
    """A state builder that gets a frame each 10 ms, five in a control interval."""

    def __init__(self) -> None:
        self.poses = PoseFilter()
        self.builder = StateBuilder(20.0, self.poses, DeadReckoning())
        self.numbers = itertools.count(1)

    def frames(self, count: int, session: int = 1, exact: bool = True, **values: Any) -> list[Reading]:
        readings = []
        for number in itertools.islice(self.numbers, count):
            arrival = 50.0 + number * STEP
            sample = Sample(telemetry(number, **values), arrival, session, number % 5 == 0, number // 5, exact)
            readings.append(self.builder.take(sample))
        return [reading for reading in readings if reading is not None]


def test_states_are_those_of_the_simulator() -> None:
    built = Builder()
    first, *others = built.frames(20)
    assert first.observation.interval == 0  # nothing is known of what was before
    assert [r.observation.sequence for r in others] == [2, 3, 4]
    for reading in others:
        observation = reading.observation
        assert observation.interval == pytest.approx(0.05)
        assert observation.action.tolist() == [30.0, 35.0]
        assert observation.state[ANGULAR_VELOCITY].tolist() == [0.1, 0.2, 0.3]
        assert observation.episode == 1
        assert reading.source == RECKONED
    assert [r.command for r in others] == [2, 3, 4]
    assert np.diff([r.observation.time for r in others]) == pytest.approx(0.05)


def test_captured_pose_is_matched_by_time() -> None:
    built = Builder()
    poses(built.poses, np.arange(49.9, 50.3, STEP), lambda t: (0.2 * (t - 50), 1.0, 0.02))
    reading = built.frames(20)[-1]
    assert reading.source == CAPTURED
    assert reading.observation.state[POSITION] == pytest.approx([0.2 * 0.2, 1.0, 0.02], abs=1e-6)
    assert reading.observation.state[LINEAR_VELOCITY] == pytest.approx([0.2, 0.0, 0.0], abs=1e-6)
    assert angle(reading.observation.state, YAW) == pytest.approx(0.5)


def test_reckoning_goes_on_from_the_last_captured_pose() -> None:
    built = Builder()
    poses(built.poses, np.arange(49.9, 50.2, STEP), lambda t: (3.0, 4.0, 0.02))
    readings = built.frames(100)
    sources = [reading.source for reading in readings]
    assert sources == sorted(sources, reverse=True)
    assert set(sources) == {CAPTURED, RECKONED}
    assert readings[-1].observation.episode == readings[0].observation.episode
    assert math.dist(readings[-1].observation.state[:2], (3.0, 4.0)) < 0.3


def test_action_is_the_mean_of_what_was_in_force() -> None:
    built = Builder()
    built.frames(10)
    built.frames(2, applied=(10.0, 0.0))
    (reading,) = built.frames(3, applied=(20.0, 0.0))
    assert reading.observation.action == pytest.approx([16.0, 0.0])


@pytest.mark.parametrize("spoil", [{"exact": False}, {"faults": ("dead_man",)}], ids=["host", "dead-man"])
def test_interval_in_which_the_legs_were_stopped_is_not_exact(spoil: dict[str, Any]) -> None:
    built = Builder()
    built.frames(10)
    assert [r.observation.interval for r in built.frames(5, **spoil)] == [0.0]
    assert [r.observation.interval for r in built.frames(5)] == [pytest.approx(0.05)]


def test_interval_with_a_lost_end_is_not_exact() -> None:
    built = Builder()
    built.frames(14)
    next(built.numbers)
    built.frames(4)  # none of these ends an interval
    (reading,) = built.frames(1)
    assert reading.observation.interval == 0.0


def test_new_session_and_moved_robot_begin_episodes() -> None:
    built = Builder()
    built.frames(10)
    (reading,) = built.frames(5, session=2)
    assert (reading.observation.episode, reading.observation.interval) == (2, 0.0)
    poses(built.poses, np.arange(50.1, 50.35, STEP), lambda t: (5.0 + 0.2 * (t - 50), 0.0, 0.02))
    (moved,) = built.frames(5, session=2)
    assert moved.source == CAPTURED
    assert (moved.observation.episode, moved.observation.interval) == (3, 0.0)
    built.builder.begin_episode()
    assert built.frames(5, session=2)[0].observation.episode == 4
