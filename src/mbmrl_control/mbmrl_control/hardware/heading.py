"""Whether motion capture's heading fits the gyro and the way that the robot walks.

A rigid body whose axes are not the robot's, or angles with another sign, make frames that are in order one by one.

Times are in s of one clock, positions in m, angles in rad, in the frame odom (REP 105).
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np

from mbmrl_base.robots.observation import Array
from mbmrl_control.hardware.pose_checks import LONGEST_GAP, Place

WINDOW: Final = 3.0
"""Time that is looked at, s."""
LEAST_TURN: Final = 1.0
"""Turn by the gyro from which it is compared, rad."""
TURN_TOLERANCE: Final = 0.8
"""How far motion capture's turn may be from it, share of it."""
LEAST_WAY: Final = 0.2
"""Way with both legs forward from which its direction is compared, m."""
FORWARD: Final = 8.0
"""Leg speed that counts as forward, rad/s."""
LARGEST_ANGLE: Final = math.radians(70.0)
"""How far that may be from the heading, rad: robots that lost a leg walk sideways in part."""
LARGEST_SLOPE: Final = math.radians(4.0)
"""Slope by the accelerometer up to which it is compared, rad: down a steeper one robots slide."""
LASTING: Final = 1.0
"""Time from the first finding after which it counts, s."""
STEEPEST: Final = 1.0
"""Roll or pitch beyond which nothing is compared, rad."""


class HeadingCheck:
    """Compares what was turned and walked in the last seconds; what it found stays until enough is seen again."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all, as when the robot is seen elsewhere, or another body is."""
        self._last: Place | None = None
        self._begin()
        # Time; turn by motion capture and by the gyro; way ahead and to the left; specific force times time, odom.
        self._steps: deque[tuple[float, ...]] = deque()
        self._turns_wrong, self._walks_wrong = _Finding(), _Finding()

    def _begin(self) -> None:
        """Begin a step."""
        self._gyro, self._force, self._is_forward = 0.0, np.zeros(3), True

    def measure(self, duration: float, speeds: Array, gyro: Array, acceleration: Array) -> None:
        """Take what the robot measured, as of `PoseFilter.note`; without acceleration the way is not judged."""
        self._gyro += duration * float(gyro[2])
        self._force = self._force + duration * acceleration
        self._is_forward &= bool(np.min(speeds) > FORWARD)

    def fault(self, place: Place) -> str:
        """Why the heading by motion capture cannot be true; empty if it can.

        Args:
            place: Where the robot is by motion capture, at the end of what was measured.
        """
        last, self._last = self._last, place
        turned, force, forward = self._gyro, self._force, self._is_forward
        self._begin()
        level = max(abs(math.sin(tilt)) for tilt in place.angles[:2].tolist()) < math.sin(STEEPEST)
        if last is None or not 0 < place.time - last.time < LONGEST_GAP or not (level and math.isfinite(turned)):
            return self._turns_wrong.settled or self._walks_wrong.settled
        captured = math.remainder(float(place.angles[2] - last.angles[2]), 2 * math.pi)
        x, y, _ = (place.position - last.position).tolist() if forward else (0.0, 0.0, 0.0)
        heading = float(last.angles[2]) + captured / 2
        ahead, left = _turned(x, y, -heading)
        self._steps.append((place.time, captured, turned, ahead, left, *_turned(force[0], force[1], heading), force[2]))
        while place.time - self._steps[0][0] > WINDOW:
            self._steps.popleft()
        self._judge(place.time, *np.sum(self._steps, axis=0)[1:].tolist())
        return self._turns_wrong.settled or self._walks_wrong.settled

    def _judge(
        self, time: float, captured: float, turned: float, ahead: float, left: float, fx: float, fy: float, fz: float
    ) -> None:
        does_not_fit = "motion capture's heading does not fit"
        if abs(turned) > LEAST_TURN:
            fits = abs(captured - turned) <= TURN_TOLERANCE * abs(turned)
            how = "turns the other way than" if captured * turned < -0.5 * turned**2 else "turns otherwise than"
            self._turns_wrong.take(time, "" if fits else f"{does_not_fit}: it {how} the gyro")
        if math.hypot(ahead, left) > LEAST_WAY and math.atan2(math.hypot(fx, fy), fz) < LARGEST_SLOPE:
            off = math.atan2(left, ahead)
            way = f"turned by about {math.degrees(abs(off)):.0f} degrees against the way that the robot walks"
            self._walks_wrong.take(time, f"{does_not_fit}: {way}" if abs(off) > LARGEST_ANGLE else "")


class _Finding:
    """A sentence that settles once it, or one like it, was found for some time; so does that there is none."""

    def __init__(self) -> None:
        self.settled = ""
        self._since = math.nan

    def take(self, time: float, found: str) -> None:
        if bool(found) == bool(self.settled):
            self.settled, self._since = found, math.nan
        elif math.isnan(self._since):
            self._since = time
        elif time - self._since >= LASTING:
            self.settled, self._since = found, math.nan


def _turned(x: float, y: float, angle: float) -> tuple[float, float]:
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)
