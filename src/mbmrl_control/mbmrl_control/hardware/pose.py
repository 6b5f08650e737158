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

from mbmrl_base.robots.millirobot.body import RobotParameters
from mbmrl_base.robots.observation import Array
from mbmrl_control.hardware.heading import HeadingCheck
from mbmrl_control.hardware.link.clocks import FUTURE, CaptureClock
from mbmrl_control.hardware.pose_checks import (
    IN_FUTURE,
    LARGEST_TILT,
    LEGS_TURN,
    LONGEST_GAP,
    PAUSE,
    Place,
    Pose,
    PoseGate,
    UpCheck,
)

CAPTURED: Final = "motion capture"
RECKONED: Final = "dead reckoning"
LEAST_FRAMES: Final = 4
"""Frames from which a parabola is fitted: one more than it needs."""
LONGEST_WINDOW: Final = 0.33
"""Time that so many frames may take at most, s: what is fitted to is late and smooth."""
LEAST_RATE: Final = 10.0
"""Rate of motion capture that this needs, with some jitter, Hz."""
LEAST_SPAN: Final = 0.5
"""Share of the window that frames have to span, or their noise is what is fitted."""
TIMEOUT_PERIODS: Final = 1.5
"""Age of the newest frame that is in order, in periods of motion capture."""
GRAVITY: Final = 9.81
"""m/s^2."""
LEVELLING_TIME: Final = 1.0
"""Time over which the accelerometer corrects roll and pitch, s."""


@dataclass(frozen=True)
class Located(Place):
    """Where the robot is at some time.

    Attributes:
        velocity: shape (3,), m/s, odom.
        source: Where that is known from.
        moves: How often motion capture has shown by then that the robot was moved by hand.
    """

    velocity: Array
    source: str
    moves: int = 0


class PoseFilter:
    """Position, angles and velocity at any time near the newest frames that can be true.

    A parabola is fitted by least squares to the frames of the last ``window`` seconds, and read off at the time that
    is asked for, so that frames that are late by some milliseconds cost no more than an extrapolation by these. Where
    motion capture is too slow for that, it is the last four frames. The velocity is its slope: for motion at constant
    acceleration it has no delay. With n frames that have an error of deviation s, its deviation at the window's end
    is about s / window * sqrt(192 / n). If frames have a velocity, as nav_msgs/Odometry does, the newest one's is
    taken.
    """

    def __init__(self, window: float = 0.06, timeout: float = 0.03) -> None:
        """Take the time that is fitted, and the age from which the newest frame is too old, s.

        The legs shake the body at several Hz: what is extrapolated by more than some 0.03 s is worse than reckoned.
        """
        self.window, self.timeout = window, timeout
        self.clock = CaptureClock()
        self.lacking = "no frames of motion capture"
        """Why the robot was not located when that was asked last; empty if it was."""
        self.last_lacking = ""
        """The same of the last time that it was not."""
        self.asked = self.missed = 0
        """How often it was asked where the robot is, and how often that was not known."""
        self.misfit = ""
        """Why the frame or the axes of motion capture cannot be the robot's; empty if they can."""
        self.tilt = 0.0
        """How far what is up by motion capture is from what the accelerometer measures, rad."""
        self._gate = PoseGate()
        self.counts = self._gate.counts
        """Frames that were taken and refused."""
        self._up = UpCheck()
        self._heading = HeadingCheck()
        self._moves = 0
        self._frames: deque[Pose] = deque(maxlen=400)
        self._lock = threading.Lock()

    def add(self, pose: Pose, arrival: float) -> None:
        """Take a frame that arrived at a time, s; its own time is by motion capture's clock."""
        taken = self.clock.taken(pose.time, arrival)
        with self._lock:
            if taken - arrival > FUTURE:
                self._gate.refuse(IN_FUTURE)
                return
            new = self._gate.take(replace(pose, time=taken), self._longest(PAUSE))
            if len(new) > 1:
                self._frames.clear()
            for frame in new:
                if self._frames:  # angles without jumps, so that they can be fitted
                    turns = np.round((frame.angles - self._frames[-1].angles) / (2 * np.pi))
                    frame = replace(frame, angles=frame.angles - turns * 2 * np.pi)
                self._frames.append(frame)

    def note(self, duration: float, speeds: Array, gyro: Array, acceleration: Array) -> None:
        """Take what the robot reports about itself, by which frames are judged.

        Args:
            duration: Time since it last did, s.
            speeds: Leg speeds, left and right, rad/s.
            gyro: Angular velocity, body frame, rad/s.
            acceleration: Body frame, m/s^2; not used if it is not finite.
        """
        with self._lock:
            self._gate.legs_turn = bool(np.max(np.abs(speeds)) > LEGS_TURN)
        self._up.measure(duration, acceleration)
        self._heading.measure(duration, speeds, gyro, acceleration)

    def at(self, time: float) -> Located | None:
        """Where the robot is at a time, to be asked in rising order; None if that is not known, see `lacking`."""
        with self._lock:
            frames, longest, period = list(self._frames), self._longest(self.timeout), self._gate.period
            moves = self._gate.moves
        located, self.lacking = None, ""
        if not frames or time - frames[-1].time > LONGEST_GAP:
            self.lacking = "no frames of motion capture"
        elif (LEAST_FRAMES - 1) * period > LONGEST_WINDOW:
            self.lacking = f"motion capture at {1 / period:.1f} Hz, at least {LEAST_RATE:g} Hz are needed"
        elif (age := time - frames[-1].time) > longest:
            self.lacking = f"the newest frame of motion capture is {age:.2f} s old, allowed is {longest:.2f} s"
        else:
            located = self._fit(frames, time)
            self.lacking = "" if located else "too few frames of motion capture"
        if located is not None:
            if moves > self._moves:
                self._moves = moves
                self._heading.restart()
            self.misfit = self.lacking = self._find_misfit(located)
        self.asked += 1
        if self.lacking or located is None:
            self.missed, self.last_lacking = self.missed + 1, self.lacking
            return None
        return replace(located, moves=moves)

    def _find_misfit(self, located: Located) -> str:
        self.tilt = self._up.tilt(located.time, located.angles)
        fault = self._heading.fault(located)
        if self.tilt <= LARGEST_TILT:
            return fault
        return (
            f"motion capture seems not to be z-up: its roll and pitch are {math.degrees(self.tilt):.0f} degrees off the"
            " accelerometer's"
        )

    def _longest(self, time: float) -> float:
        """The same time, s, or as much as a slow camera needs."""
        period = self._gate.period
        return max(time, min(TIMEOUT_PERIODS * period, LONGEST_WINDOW)) if period > 0 else time

    def _fit(self, frames: list[Pose], time: float) -> Located | None:
        newest = frames[-1]
        since = min(time, newest.time) - self.window
        fitted = [frame for frame in frames if since <= frame.time <= time + self.window]
        if len(fitted) < LEAST_FRAMES:
            fitted = frames[-LEAST_FRAMES:]
        span = fitted[-1].time - fitted[0].time
        if len(fitted) < LEAST_FRAMES or not LEAST_SPAN * self.window <= span <= max(LONGEST_WINDOW, 2 * self.window):
            if newest.velocity is None:
                return None
            ahead = newest.velocity * (time - newest.time)
            return Located(time, newest.position + ahead, newest.angles, newest.velocity, CAPTURED)
        values = np.array([[*frame.position, *frame.angles] for frame in fitted])
        scaled = np.array([frame.time - time for frame in fitted]) / span
        fit = np.linalg.lstsq(np.stack([np.ones_like(scaled), scaled, scaled**2], axis=1), values, rcond=None)[0]
        velocity = fit[1, :3] / span if newest.velocity is None else newest.velocity
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
        """Go on for some time, with arguments as of `PoseFilter.note`; what is not finite counts as zero."""
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
