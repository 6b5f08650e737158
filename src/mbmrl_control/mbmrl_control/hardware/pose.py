"""Where the robot is: from motion capture, matched by time and filtered; without it, reckoned from legs and gyro.

Times are in s of one clock, positions in m, angles in rad, in the frame odom (REP 105).
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mbmrl_sim.robot import RobotParameters
from mbmrl_sim.state import Array

CAPTURED: Final = "motion capture"
RECKONED: Final = "dead reckoning"
LEAST_FRAMES: Final = 4
"""Frames from which a parabola is fitted: one more than it needs."""
GRAVITY: Final = 9.81
"""m/s^2."""
LEVELLING_TIME: Final = 1.0
"""Time over which the accelerometer corrects roll and pitch, s."""


@dataclass(frozen=True)
class Pose:
    """A frame of motion capture.

    Attributes:
        time: When it was taken, s.
        position: shape (3,), m.
        angles: Roll, pitch and yaw, shape (3,), rad.
        velocity: shape (3,), m/s, odom; None where it is not measured.
    """

    time: float
    position: Array
    angles: Array
    velocity: Array | None = None


@dataclass(frozen=True)
class Located:
    """Where the robot is at some time; as in `Pose`, with where it is known from."""

    time: float
    position: Array
    angles: Array
    velocity: Array
    source: str


@dataclass
class PoseCounts:
    """Frames of motion capture that were taken, and those that were refused: out of order, or not finite."""

    taken: int = 0
    refused: int = 0


class PoseFilter:
    """Position, angles and velocity at any time near the newest frames.

    A parabola is fitted by least squares to the frames of the last ``window`` seconds, and read off at the time that
    is asked for, so that frames that are late by some milliseconds cost no more than an extrapolation by these. The
    velocity is its slope: for motion at constant acceleration it has no delay. With n frames that have an error of
    deviation s, its deviation at the window's end is about s / window * sqrt(192 / n). Where frames tell velocity,
    as nav_msgs/Odometry does, the newest one's is taken.
    """

    def __init__(self, window: float = 0.06, timeout: float = 0.1) -> None:
        """Take the time that is fitted, and the age from which the newest frame is too old, s."""
        self.window, self.timeout = window, timeout
        self.counts = PoseCounts()
        self._frames: deque[Pose] = deque(maxlen=400)
        self._lock = threading.Lock()

    def add(self, pose: Pose) -> None:
        """Take a frame; one that is not finite, or not newer than the last, is refused."""
        values = np.concatenate(
            [[pose.time], pose.position, pose.angles, [] if pose.velocity is None else pose.velocity]
        )
        with self._lock:
            last = self._frames[-1] if self._frames else None
            if not np.isfinite(values).all() or (last is not None and pose.time <= last.time):
                self.counts.refused += 1
                return
            self.counts.taken += 1
            if last is not None:  # angles without jumps, so that they can be fitted
                turns = np.round((pose.angles - last.angles) / (2 * np.pi))
                pose = replace(pose, angles=pose.angles - turns * 2 * np.pi)
            self._frames.append(pose)

    def forget(self) -> None:
        """Drop all frames."""
        with self._lock:
            self._frames.clear()

    def at(self, time: float) -> Located | None:
        """Where the robot is at a time; None where the newest frame is too old, or the frames are too few."""
        with self._lock:
            frames = [frame for frame in self._frames if abs(frame.time - time) <= self.window]
            newest = self._frames[-1] if self._frames else None
        if newest is None or time - newest.time > self.timeout:
            return None
        if len(frames) < LEAST_FRAMES:
            if newest.velocity is None:
                return None
            ahead = newest.velocity * (time - newest.time)
            return Located(time, newest.position + ahead, newest.angles, newest.velocity, CAPTURED)
        since = np.array([frame.time for frame in frames]) - time
        values = np.array([[*frame.position, *frame.angles] for frame in frames])
        scaled = since / self.window
        fit = np.linalg.lstsq(np.stack([np.ones_like(scaled), scaled, scaled**2], axis=1), values, rcond=None)[0]
        velocity = fit[1, :3] / self.window if frames[-1].velocity is None else frames[-1].velocity
        return Located(time, fit[0, :3], fit[0, 3:], velocity, CAPTURED)


class DeadReckoning:
    """Pose from leg speeds, gyro and accelerometer: it drifts, slips are not seen."""

    def __init__(self, path_per_turn: float = 0.052) -> None:
        """Take the path walked in a leg cycle, m."""
        self.path_per_turn = path_per_turn
        self.position = np.array([0.0, 0.0, RobotParameters().standing_height])
        self.angles = np.zeros(3)
        self._velocity = np.zeros(3)

    def correct(self, located: Located) -> None:
        """Go on from where the robot was located."""
        self.position, self.angles = located.position.copy(), located.angles.copy()

    def step(self, duration: float, speeds: Array, gyro: Array, acceleration: Array) -> None:
        """Go on for some time, s.

        Args:
            duration: Time since the last step, s.
            speeds: Leg speeds, left and right, rad/s; what is not finite counts as zero, here and below.
            gyro: Angular velocity, body frame, rad/s.
            acceleration: Body frame, m/s^2; not used where it is not finite.
        """
        x, y, z = np.where(np.isfinite(gyro), gyro, 0.0).tolist()
        roll, pitch, yaw = self.angles.tolist()
        # The rates of roll, pitch and yaw about fixed axes that a body's angular velocity makes.
        turning = y * math.sin(roll) + z * math.cos(roll)
        steep = max(0.2, math.cos(pitch))
        rates = (x + turning * math.sin(pitch) / steep, y * math.cos(roll) - z * math.sin(roll), turning / steep)
        self.angles = self.angles + duration * np.array(rates)
        if np.isfinite(acceleration).all():
            ax, ay, az = acceleration.tolist()
            level = np.array([math.atan2(ay, az), math.atan2(-ax, math.hypot(ay, az))])
            self.angles[:2] += min(1.0, duration / LEVELLING_TIME) * (level - self.angles[:2])
        speed = float(np.mean(np.where(np.isfinite(speeds), speeds, 0.0))) / (2 * math.pi) * self.path_per_turn
        self._velocity = speed * np.array([math.cos(yaw), math.sin(yaw), 0.0])
        self.position = self.position + duration * self._velocity

    def located(self, time: float) -> Located:
        """Where the robot is now, by its own account."""
        return Located(time, self.position.copy(), self.angles.copy(), self._velocity.copy(), RECKONED)
