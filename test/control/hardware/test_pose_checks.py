"""Frames of motion capture that cannot be true are not believed, and it is told why."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_testing import telemetry
from mbmrl_base.robots.millirobot.layout import POSITION, YAW, angle
from mbmrl_base.robots.observation import Array
from mbmrl_control.hardware.link.link_data import Sample
from mbmrl_control.hardware.pose import CAPTURED, RECKONED, DeadReckoning, Located, PoseFilter
from mbmrl_control.hardware.pose_checks import (
    AGREEING,
    ALL_ZERO,
    CROWDED_FRAMES,
    FROZEN,
    IN_FUTURE,
    LASTING,
    NO_ROTATION,
    NOT_FINITE,
    OUT_OF_ORDER,
    TOO_FAR,
    TOO_FAST,
    Pose,
    turn,
)
from mbmrl_control.hardware.state_builder import Reading, StateBuilder

SPEED = 0.2
STEP = 0.01
SHAKING = 2 * math.pi * 6.0
Spoil = Callable[[Pose], Pose | None]


def true_pose(time: float) -> Pose:
    """A robot that walks on a circle."""
    heading = 0.5 + 0.3 * time
    place = SPEED / 0.3 * np.array([math.sin(heading), -math.cos(heading)])
    return Pose(time, np.array([*place, 0.02]), np.array([0.01, 0.02, heading]))


def walked(filter: PoseFilter, times: Iterable[float]) -> None:
    for t in times:
        filter.add(true_pose(float(t)), float(t))


@pytest.fixture
def filter() -> PoseFilter:
    """A filter that knows where the robot is, until 1 s."""
    filter = PoseFilter()
    filter.note(STEP, np.array([30.0, 35.0]), np.zeros(3), np.array([0.0, 0.0, 9.81]))
    walked(filter, np.arange(0.5, 1.005, STEP))
    assert filter.at(1.0) is not None
    assert filter.counts.reasons.total() == 0
    return filter


def changed(pose: Pose, **values: object) -> Pose:
    return Pose(**(vars(pose) | values))  # type: ignore[arg-type]


def shifted(pose: Pose, x: float = 0.0, z: float = 0.0) -> Pose:
    return changed(pose, position=pose.position + np.array([x, 0.0, z]))


def turned(pose: Pose, roll: float = 0.0, yaw: float = 0.0) -> Pose:
    return changed(pose, angles=pose.angles + np.array([roll, 0.0, yaw]))


BAD: dict[str, tuple[Spoil, str]] = {
    "nan": (lambda p: changed(p, position=np.array([math.nan, 0.0, 0.0])), NOT_FINITE),
    "beyond all bounds": (lambda p: shifted(p, 1e300), NOT_FINITE),
    "nan in the quaternion": (lambda p: changed(p, norm=math.nan), NOT_FINITE),
    "infinite velocity": (lambda p: changed(p, velocity=np.array([math.inf, 0.0, 0.0])), NOT_FINITE),
    "quaternion 0": (lambda p: changed(p, norm=0.0, angles=np.zeros(3)), NO_ROTATION),
    "quaternion of 1 1 1 1": (lambda p: changed(p, norm=2.0), NO_ROTATION),
    "all zero": (lambda p: changed(p, position=np.zeros(3), angles=np.zeros(3)), ALL_ZERO),
    "elsewhere": (lambda p: shifted(p, 0.3), TOO_FAR),
    "below the ground": (lambda p: shifted(p, z=-0.5), TOO_FAR),
    "fast": (lambda p: changed(p, velocity=np.array([5.0, 0.0, 0.0])), TOO_FAR),
    "turned": (lambda p: turned(p, yaw=math.pi), TOO_FAST),
    "on its back": (lambda p: turned(p, roll=math.pi), TOO_FAST),
    "frozen": (lambda p: changed(true_pose(1.0), time=p.time), FROZEN),
    "of before": (lambda p: changed(p, time=0.9), OUT_OF_ORDER),
    "in a burst": (lambda p: changed(p, time=1.0 + 0.05 * (p.time - 1.0)), CROWDED_FRAMES),
    "of the future": (lambda p: changed(p, time=p.time + 0.3), IN_FUTURE),
}


@pytest.mark.parametrize(("spoil", "reason"), BAD.values(), ids=BAD)
def test_frame_that_cannot_be_true_changes_nothing(spoil: Spoil, reason: str, filter: PoseFilter) -> None:
    bad = spoil(true_pose(1.01))
    assert bad is not None
    filter.add(bad, 1.01)
    assert dict(filter.counts.reasons) == {reason: 1}
    walked(filter, [1.02])
    there, truth = filter.at(1.02), true_pose(1.02)
    assert there is not None
    assert there.position == pytest.approx(truth.position, abs=1e-4)
    assert there.angles == pytest.approx(truth.angles, abs=1e-4)
    assert there.velocity[:2] == pytest.approx(SPEED * np.array([math.cos(0.806), math.sin(0.806)]), abs=5e-3)


def test_robot_that_stands_may_stand_still_to_the_last_bit(filter: PoseFilter) -> None:
    filter.note(STEP, np.zeros(2), np.zeros(3), np.array([0.0, 0.0, 9.81]))
    for t in np.arange(1.01, 1.2, STEP):
        filter.add(changed(true_pose(1.0), time=float(t)), float(t))
    assert filter.counts.reasons.total() == 0


def test_frames_stamped_in_bursts_are_not_fitted(filter: PoseFilter) -> None:
    """Five frames are told at once, with the time at which they are told."""
    for t in np.arange(1.05, 2.0, 0.05):
        for n in range(5):
            at = t + n * 2e-4
            filter.add(changed(true_pose(t - 0.04 + 0.01 * n), time=float(at)), float(at))
            there = filter.at(float(at))
            if there is not None:
                assert np.linalg.norm(there.velocity) < 2 * SPEED
    assert filter.counts.reasons[CROWDED_FRAMES] == 4 * 19


def test_quick_camera_is_no_burst() -> None:
    filter = PoseFilter()
    walked(filter, np.arange(0.0, 0.3, 1e-3))
    assert filter.counts.reasons.total() == 0


@pytest.mark.parametrize("pause", [0.0, 1.0], ids=["seen just before", "after a pause"])
def test_new_place_is_believed_once_frames_agree(pause: float, filter: PoseFilter) -> None:
    there: list[Located | None] = []
    needed = AGREEING if pause else round(LASTING / STEP) + 1
    for n in range(1, 60):
        t = 1.0 + pause + n * STEP
        filter.add(shifted(true_pose(t), 5.0), t)
        there.append(filter.at(t))
    moved = [n for n, place in enumerate(there, 1) if place is not None and place.position[0] > 4.0]
    assert moved[0] in (needed, needed + 1)
    assert filter.counts.reasons == {TOO_FAR: moved[0] - 1}


@pytest.mark.parametrize("body", [lambda p: turned(p, yaw=math.pi), lambda p: shifted(p, 0.5)], ids=["flip", "another"])
def test_another_body_is_not_believed_within_half_a_second(body: Spoil) -> None:
    line = Line()
    line.walk(1.0)
    readings = line.walk(10.0, lambda n, p: body(p) if n % 100 < 45 else p)
    assert len({reading.observation.episode for reading in readings}) == 1
    assert off(readings) < 0.03


def test_frames_that_contradict_each_other_are_never_believed(filter: PoseFilter) -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 100):
        t = 1.0 + n * STEP
        filter.add(changed(true_pose(t), position=rng.uniform(-2, 2, 3)), t)
        place = filter.at(t)
        assert place is None or np.linalg.norm(place.position - true_pose(t).position) < 0.02
    assert filter.at(2.0) is None


ANY = st.lists(st.one_of(st.floats(), st.floats(-3.0, 3.0)), min_size=6, max_size=6).map(np.array)
FRAMES = st.lists(st.tuples(st.floats(0.0, 0.05), st.floats(0.0, 0.01), st.booleans()), min_size=10, max_size=40)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ANY, ANY, FRAMES)
def test_nothing_that_is_told_makes_a_pose_that_is_not_finite(
    often: Array, seldom: Array, frames: list[tuple[float, float, bool]]
) -> None:
    filter, now = PoseFilter(), 100.0
    for later, late, is_often in frames:
        now += later
        values = often if is_often else seldom
        filter.add(Pose(now - late, values[:3], values[3:]), now)
        there = filter.at(now)
        assert there is None or np.isfinite([*there.position, *there.angles, *there.velocity]).all()


def test_turn_is_the_angle_between_two_orientations() -> None:
    assert turn(np.array([0.1, 0.2, 3.1]), np.array([0.1, 0.2, -3.1])) == pytest.approx(2 * math.pi - 6.2, abs=1e-6)
    assert turn(np.zeros(3), np.array([math.pi, 0.0, 0.0])) == pytest.approx(math.pi)


# The state that is made of it


class Line:
    """A robot that walks, with a frame each 10 ms and motion capture beside it, which a test spoils.

    Its legs shake the heading by an amplitude, rad, six times a second.
    """

    def __init__(self, rate: float = 100.0, shake: float = 0.0) -> None:
        self._shake = shake
        self.poses = PoseFilter()
        self.builder = StateBuilder(20.0, self.poses, DeadReckoning())
        self._number = 0
        self._each = 1 / rate
        self._next = 0.0
        self._frames = 0

    def walk(self, duration: float, spoil: Callable[[int, Pose], Pose | None] = lambda n, p: p) -> list[Reading]:
        readings = []
        for _ in range(round(duration / STEP)):
            self._number += 1
            now = self._number * STEP
            while self._next <= now:
                shaken = turned(true_pose(self._next), yaw=self._shake * math.sin(SHAKING * self._next))
                pose = spoil(self._frames, shaken)
                self._frames += 1
                if pose is not None:
                    self.poses.add(pose, now)
                self._next += self._each
            rate = 0.3 + self._shake * SHAKING * math.cos(SHAKING * now)
            told = telemetry(self._number, gyro=(0.0, 0.0, rate), speeds=(24.2, 24.2))
            sample = Sample(told, now, 1, self._number % 5 == 0, self._number // 5, True)
            reading = self.builder.take(sample)
            readings += [reading] if reading else []
        return readings


def yaws(readings: list[Reading]) -> Array:
    return np.unwrap([angle(reading.observation.state, YAW) for reading in readings])


def off(readings: list[Reading]) -> float:
    """Largest distance from where the robot truly is, m."""
    return max(
        math.dist(r.observation.state[POSITION][:2], true_pose(r.observation.time).position[:2]) for r in readings
    )


OCCLUDED: Spoil = BAD["quaternion 0"][0]
SPOILT: dict[str, Callable[[int, Pose], Pose | None]] = {
    "occluded: 0 0 0 and 0 0 0 0": lambda n, p: changed(p, position=np.zeros(3), angles=np.zeros(3), norm=0.0),
    "occluded: 0 0 0 and 0 0 0 1": lambda n, p: changed(p, position=np.zeros(3), angles=np.zeros(3)),
    "one in 20 with quaternion 0": lambda n, p: p if n % 20 else OCCLUDED(p),
    "one in 20 elsewhere": lambda n, p: p if n % 20 else BAD["elsewhere"][0](p),
    "half of them turned": lambda n, p: p if n % 2 else BAD["turned"][0](p),
    "frozen": lambda n, p: changed(true_pose(1.0), time=p.time),
    "seen no more": lambda n, p: None,
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_bad_capture_moves_no_robot(spoil: Callable[[int, Pose], Pose | None]) -> None:
    line = Line()
    before = line.walk(1.0)
    during = line.walk(1.0, spoil)
    after = line.walk(1.0)
    readings = before + during + after
    assert before[-1].source == after[-1].source == CAPTURED
    assert {r.observation.episode for r in before[2:] + during + after} == {before[-1].observation.episode}
    assert np.abs(np.diff(yaws(readings[2:]))).max() < 0.05
    assert off(during + after) < 0.03


@pytest.mark.parametrize("gap", [3, 5, 7, 9, 11, 15, 30])
def test_drop_outs_move_no_robot_whose_legs_shake_it(gap: int) -> None:
    line = Line(shake=0.15)
    line.walk(1.0)
    readings = line.walk(10.0, lambda n, p: None if n % 99 < gap else p)
    assert len({reading.observation.episode for reading in readings}) == 1
    assert off(readings) < 0.03
    shakes = [0.15 * math.sin(SHAKING * r.observation.time) for r in readings]
    truth = np.array([true_pose(r.observation.time).angles[2] for r in readings]) + shakes
    assert np.abs(np.unwrap(yaws(readings) - truth)).max() < 0.3
    reckoned = sum(reading.source == RECKONED for reading in readings)
    assert (line.poses.asked, line.poses.missed) == (220, reckoned)


def test_transition_over_a_change_of_source_is_not_exact() -> None:
    line = Line()
    line.walk(1.0)
    readings = line.walk(0.5) + line.walk(0.5, lambda n, p: None) + line.walk(0.5)
    for before, after in itertools.pairwise(readings):
        assert (after.observation.interval > 0) == (before.source == after.source)
    assert {reading.source for reading in readings} == {CAPTURED, RECKONED}


def test_robot_that_was_carried_while_it_was_not_seen_begins_one_episode() -> None:
    line = Line()
    before = line.walk(1.0)[-1].observation.episode
    unseen = line.walk(1.0, lambda n, p: None)
    assert {reading.observation.episode for reading in unseen} == {before}
    readings = line.walk(1.0, lambda n, p: shifted(p, 1.5))
    assert [reading.observation.episode for reading in readings[1:]] == [before + 1] * 19


def test_robot_that_was_carried_begins_one_episode() -> None:
    line = Line()
    before = line.walk(1.0)[-1].observation.episode
    line.walk(LASTING + 0.05, lambda n, p: shifted(p, 2.0))
    readings = line.walk(1.0, lambda n, p: shifted(p, 2.0))
    assert {reading.observation.episode for reading in readings} == {before + 1}
    assert readings[-1].source == CAPTURED


def y_up(_: int, pose: Pose) -> Pose:
    """A level robot in a frame whose y is up: its z axis is told as along y, by a roll of -90 degrees."""
    x, y, z = pose.position
    return changed(pose, position=np.array([x, z, -y]), angles=np.array([-math.pi / 2, pose.angles[2], 0.0]))


def test_frame_that_is_y_up_is_refused_by_the_accelerometer() -> None:
    line = Line()
    readings = line.walk(3.0, y_up)
    assert {reading.source for reading in readings} == {RECKONED}
    assert {reading.observation.episode for reading in readings} == {1}
    assert line.poses.lacking.startswith("motion capture seems not to be z-up")
    assert "90 degrees" in line.poses.lacking


def test_body_with_axes_that_are_turned_is_refused_by_the_way_that_it_walks() -> None:
    line = Line()
    line.walk(4.0, lambda n, p: turned(p, yaw=math.pi / 2))
    assert {reading.source for reading in line.walk(2.0, lambda n, p: turned(p, yaw=math.pi / 2))} == {RECKONED}
    assert line.poses.lacking == line.poses.misfit
    assert "turned by about 90 degrees against the way that the robot walks" in line.poses.lacking


def test_robot_on_its_back_is_no_tilted_frame() -> None:
    poses = PoseFilter()
    builder = StateBuilder(20.0, poses, DeadReckoning())
    sources = []
    for number in range(1, 600):
        now = number * STEP
        roll = min(math.pi, max(0.0, 8.0 * (now - 2.0)))
        force = 9.81 * np.array([0.0, math.sin(roll), math.cos(roll)])
        poses.add(Pose(now, np.array([1.0, 1e-4 * now, 0.02]), np.array([roll, 0.0, 0.3])), now)
        told = telemetry(number, acceleration=tuple(force.tolist()))
        reading = builder.take(Sample(told, now, 1, number % 5 == 0, number // 5, True))
        sources += [reading.source] if reading else []
    assert set(sources[1:]) == {CAPTURED}


# Its rate


@pytest.mark.parametrize("rate", [1000.0, 240.0, 100.0, 50.0, 30.0, 25.0, 12.0, 10.0])
def test_capture_of_any_usual_rate_is_used(rate: float) -> None:
    line = Line(rate)
    line.walk(1.5)
    readings = line.walk(2.0)
    assert {reading.source for reading in readings} == {CAPTURED}
    assert line.poses.lacking == ""
    assert off(readings) < 1e-3


@pytest.mark.parametrize("window", [0.01, 0.06, 0.5])
def test_window_that_is_too_short_follows_the_rate(window: float) -> None:
    filter = PoseFilter(window)
    walked(filter, np.arange(0.0, 1.0, 1 / 60))
    assert filter.at(1.0) is not None


@pytest.mark.parametrize("rate", [8.0, 4.0, 2.5])
def test_capture_that_is_too_slow_is_told_so(rate: float) -> None:
    line = Line(rate)
    assert {reading.source for reading in line.walk(4.0)} == {RECKONED}
    assert line.poses.lacking == f"motion capture at {rate:.1f} Hz, at least 10 Hz are needed"


def test_why_a_pose_is_lacking() -> None:
    filter = PoseFilter()
    assert filter.at(0.0) is None
    assert filter.lacking == "no frames of motion capture"
    walked(filter, np.arange(0.0, 1.0, STEP))
    assert filter.at(1.2) is None
    assert filter.lacking == "the newest frame of motion capture is 0.21 s old, allowed is 0.03 s"
    assert filter.at(3.0) is None
    assert filter.lacking == "no frames of motion capture"
