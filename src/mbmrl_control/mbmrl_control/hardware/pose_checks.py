"""Whether frames of motion capture can be true: none is believed for its own sake.

Times are in s of one clock, positions in m, angles in rad, in the frame odom (REP 105).
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mbmrl_base.robots import rotations
from mbmrl_base.robots.observation import Array

FASTEST: Final = 2.0
"""A robot whose pose changes faster than this has been moved by hand, m/s."""
SLACK: Final = 0.02
"""What a position may change at once besides, m."""
FASTEST_TURN: Final = 20.0
"""As `FASTEST`, rad/s: more than it turns at if it falls over."""
TURN_SLACK: Final = 0.2
"""As `SLACK`, rad."""
FARTHEST: Final = 1e3
"""Beyond any motion capture, m."""
PAUSE: Final = 0.1
"""Time after which the last frame that was let through does not vouch for the next, s; more for slow cameras."""
AGREEING: Final = 5
"""Frames that have to agree until a place is believed."""
LASTING: Final = 0.5
"""Time for which they have to where the robot was seen elsewhere just before, s: other bodies pass for it for less."""
NORM_TOLERANCE: Final = 0.01
"""How far the norm of a quaternion may be from 1."""
CROWDED: Final = 0.1
"""Share of the mean time between frames below which two cannot have been made one after the other."""
SHORTEST_PERIOD: Final = 5e-4
"""The same, s, of the fastest cameras."""
LONGEST_GAP: Final = 0.5
"""Time between two frames that does not count in their rate, s."""
LEGS_TURN: Final = 3.0
"""Leg speed at which a robot cannot stand still to the last bit, rad/s."""
LARGEST_TILT: Final = 0.5
"""How far what is up may be from what the accelerometer measures, rad."""
TILT_TIME: Final = 2.0
"""Time over which that is averaged, s."""
LEAST_GRAVITY: Final = 5.0
"""Mean specific force below which it does not show what is up, m/s^2."""

NOT_FINITE: Final = "not finite, or beyond a kilometre"
NO_ROTATION: Final = "no unit quaternion"
ALL_ZERO: Final = "all zero, as of an occluded body"
IN_FUTURE: Final = "stamped in the future"
OUT_OF_ORDER: Final = "out of order"
CROWDED_FRAMES: Final = "stamped closer together than they can have been made"
FROZEN: Final = "the same to the last bit while the legs turn"
TOO_FAR: Final = "further than the robot can have gone"
TOO_FAST: Final = "turned faster than the robot can"


@dataclass(frozen=True)
class Place:
    """Where a robot was at some time, s: position, shape (3,), m, and roll, pitch and yaw, shape (3,), rad."""

    time: float
    position: Array
    angles: Array


@dataclass(frozen=True)
class Pose(Place):
    """A frame of motion capture.

    Attributes:
        velocity: shape (3,), m/s, odom; None if it is not measured.
        norm: Of the quaternion of the angles.
    """

    velocity: Array | None = None
    norm: float = 1.0

    @property
    def values(self) -> Array:
        """All that was measured."""
        return np.concatenate([self.position, self.angles, [] if self.velocity is None else self.velocity])


@dataclass
class PoseCounts:
    """Frames of motion capture that were taken, and those that were refused, by reason."""

    taken: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class PoseGate:
    """Lets frames through that can be true; elsewhere, or after a pause, only once several of them agree."""

    def __init__(self) -> None:
        self.counts = PoseCounts()
        self.legs_turn = False
        """Whether the robot says that its legs turn."""
        self.moves = 0
        """How often frames were let through that contradict those before."""
        self._newest: Pose | None = None
        self._believed: Pose | None = None
        self._agreeing: list[Pose] = []
        self._resumed = -math.inf
        self._times: deque[float] = deque(maxlen=30)

    @property
    def period(self) -> float:
        """Mean time between the newest frames, s; NaN if that is not known."""
        times = list(self._times)
        return (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else math.nan

    def refuse(self, reason: str) -> list[Pose]:
        """Count a frame that is not let through."""
        self.counts.reasons[reason] += 1
        return []

    def take(self, pose: Pose, pause: float) -> list[Pose]:
        """Take a frame; returns the frames that are let through: more than one if they are of another place.

        Args:
            pose: The frame.
            pause: Time after which the last one that was let through does not vouch for the next, s.
        """
        if reason := self._flaw(pose):
            return self.refuse(reason)
        if self._newest is not None and pose.time - self._newest.time > LONGEST_GAP:
            self._resumed = pose.time
        self._newest = pose
        known = self._believed
        reason = "" if known is None else contradiction(known, pose)
        if known is not None and not reason and pose.time - known.time <= pause:
            self.counts.taken += 1
            self._believed, self._agreeing = pose, []
            return [pose]
        if self._agreeing and (other := contradiction(self._agreeing[-1], pose)):
            self._agreeing, reason = [], other
        self._agreeing.append(pose)
        # By the first of them: the others may have had the time to get there.
        elsewhere = "" if known is None else contradiction(known, self._agreeing[0])
        needed = LASTING if known is not None and elsewhere and known.time >= self._resumed else 0.0
        agreed = len(self._agreeing) >= AGREEING and pose.time - self._agreeing[0].time >= needed
        if not agreed and (reason := elsewhere or reason):
            return self.refuse(reason)
        self.counts.taken += 1
        if not agreed:
            return []
        self.moves += bool(elsewhere)
        self._believed, agreeing, self._agreeing = pose, self._agreeing, []
        return agreeing

    def _flaw(self, pose: Pose) -> str:
        """What is wrong with a frame; empty where nothing is."""
        last = self._newest
        if not ((np.abs(pose.values) < FARTHEST).all() and math.isfinite(pose.time + pose.norm)):
            return NOT_FINITE
        if abs(pose.norm - 1.0) > NORM_TOLERANCE:
            return NO_ROTATION
        if not pose.position.any() and not pose.angles.any():
            return ALL_ZERO
        if pose.velocity is not None and np.linalg.norm(pose.velocity) > FASTEST:
            return TOO_FAR
        if last is None:
            self._times.append(pose.time)
            return ""
        if pose.time <= last.time:
            return OUT_OF_ORDER
        if pose.time - self._times[-1] > LONGEST_GAP:
            self._times.clear()
        self._times.append(pose.time)
        usual = self.period if len(self._times) > AGREEING else 0.0
        if pose.time - last.time < max(SHORTEST_PERIOD, CROWDED * usual):
            return CROWDED_FRAMES
        if self.legs_turn and np.array_equal(pose.values, last.values):
            return FROZEN
        return ""


class UpCheck:
    """Whether roll and pitch agree with the accelerometer, on average over some time."""

    def __init__(self) -> None:
        self._force, self._up = _Mean(), _Mean()
        self._last = math.nan

    def measure(self, duration: float, acceleration: Array) -> None:
        """Take what the accelerometer measured for some time, s, m/s^2; not used if it is not finite."""
        if np.isfinite(acceleration).all():
            self._force.take(duration, acceleration)

    def tilt(self, time: float, angles: Array) -> float:
        """Angle between what is up by motion capture and by the accelerometer, rad; 0 if that shows nothing."""
        up = rotations.matrix(angles)[2]
        self._up.take(time - self._last if time > self._last else 0.0, up)
        self._last = time
        force, mean_up = self._force.value, self._up.value
        if np.linalg.norm(force) < LEAST_GRAVITY:
            return 0.0
        return math.atan2(float(np.linalg.norm(np.cross(force, mean_up))), float(force @ mean_up))


class _Mean:
    """Mean over all time, and later exponentially over `TILT_TIME`."""

    def __init__(self) -> None:
        self.value = np.zeros(3)
        self._time = 0.0

    def take(self, duration: float, value: Array) -> None:
        known, self._time = self._time, min(self._time + duration, TILT_TIME)
        weight = min(1.0, duration / self._time) if known else 1.0
        self.value = self.value + weight * (value - self.value)


def contradiction(before: Place, after: Place) -> str:
    """Why a robot cannot have been at one place and then at another; empty if it can."""
    duration = after.time - before.time
    if math.dist(before.position, after.position) > FASTEST * duration + SLACK:
        return TOO_FAR
    if turn(before.angles, after.angles) > FASTEST_TURN * duration + TURN_SLACK:
        return TOO_FAST
    return ""


def turn(before: Array, after: Array) -> float:
    """Angle of the rotation between two orientations, each roll, pitch and yaw, rad."""
    one, other = rotations.quaternion(before), rotations.quaternion(after)
    return 2 * math.acos(min(1.0, abs(float(np.dot(one, other)))))
