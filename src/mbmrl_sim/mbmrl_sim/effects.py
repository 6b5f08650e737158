"""What faults do to the robot as numbers that may grow over time, slopes, and the link that brings commands."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mbmrl_base.robots.faults import Fault, FaultKind
from mbmrl_base.robots.observation import Array

PAYLOAD: Final = "payload"
SLOPE: Final = "slope"
POSE_MISCALIBRATION: Final = "pose_miscalibration"
LINK: Final = "link"
"""Kinds whose effect is more than a magnitude."""
NEUTRAL: Final = {PAYLOAD: np.zeros(3), SLOPE: np.zeros(2), POSE_MISCALIBRATION: np.zeros(3), LINK: np.zeros(2)}
"""Their effect on an intact robot: mass (kg) and its moments about y and x (kg m); rise of the ground along x and y;
turn (rad) and shift (m) of the pose; delay (s) and share of commands that is lost."""
GRAVITY: Final = 9.81
"""m/s^2."""
_SI: Final = {"g": 1e-3, "ms": 1e-3, "degrees": math.pi / 180}


def tilt(angle: float, direction: float) -> Array:
    """Rise of a slope along x and y, shape (2,): sine of its angle, rad, times the direction that leads up it.

    The rises of slopes add up.
    """
    return math.sin(angle) * np.array([math.cos(direction), math.sin(direction)])


def gravity_on(rise: Array) -> list[float]:
    """Acceleration of gravity, m/s^2, seen in the frame of ground that rises by `tilt`, x, y and z."""
    x, y = rise.tolist()
    return [-GRAVITY * x, -GRAVITY * y, -GRAVITY * math.sqrt(max(0.0, 1.0 - x * x - y * y))]


def effect_of(fault: Fault, kind: FaultKind) -> Array:
    """Effect of a fault at its full magnitude, as in NEUTRAL; that of other kinds is the magnitude, in SI units."""
    magnitude = fault.magnitude * _SI.get(kind.unit, 1.0)
    if fault.kind == PAYLOAD:
        return magnitude * np.array([1.0, fault.x, fault.y])
    if fault.kind == SLOPE:
        return tilt(magnitude, math.radians(fault.direction))
    if fault.kind == POSE_MISCALIBRATION:
        return np.array([magnitude, fault.x, fault.y])
    if fault.kind == LINK:
        return np.array([magnitude, fault.loss * 1e-2])
    return np.array([magnitude])


@dataclass(frozen=True)
class _Ramp:
    first: Array
    last: Array
    start: float
    duration: float

    def at(self, time: float) -> Array:
        if time >= self.start + self.duration:
            return self.last
        return self.first + (time - self.start) / self.duration * (self.last - self.first)


class Effects:
    """Effects in force, each of which may still grow or shrink to its value."""

    def __init__(self, kinds: Mapping[str, FaultKind]) -> None:
        """No effects of these kinds of faults."""
        self._kinds = kinds
        self._ramps: dict[tuple[str, str], _Ramp] = {}

    def begin(self, fault: Fault) -> None:
        """Let a fault act from its time on, starting from what was in force before."""
        before = self.value(fault.kind, fault.since, fault.part)
        effect = effect_of(fault, self._kinds[fault.kind])
        self._ramps[fault.key] = _Ramp(before, effect, fault.since, fault.ramp)

    def value(self, kind: str, time: float, part: str = "") -> Array:
        """Effect of a kind of fault on a part at a time, s."""
        ramp = self._ramps.get((kind, part))
        if ramp is not None:
            return ramp.at(time)
        return NEUTRAL[kind] if kind in NEUTRAL else np.array([self._kinds[kind].neutral])

    def scalar(self, kind: str, time: float, part: str = "") -> float:
        """The same of a kind whose effect is its magnitude."""
        return float(self.value(kind, time, part)[0])

    def changing(self, time: float) -> bool:
        """Whether an effect has not reached its value yet."""
        return any(time < ramp.start + ramp.duration for ramp in self._ramps.values())


class CommandLink:
    """Brings commands to the robot, late or not at all; the robot goes to its safe action if none arrives any more."""

    def __init__(self, rng: np.random.Generator, timeout: int, safe: Callable[[], Array]) -> None:
        """Take a source of losses, the time without commands, physics steps, and what comes into force after it."""
        self.delay = 0
        """Physics steps."""
        self.loss = 0.0
        self._rng = rng
        self._timeout = timeout
        self._safe = safe
        self._under_way: deque[tuple[int, Array]] = deque()
        self._last_arrival = 0

    def send(self, action: Array, now: int) -> None:
        """Send an action at a physics step."""
        if self.loss and self._rng.random() < self.loss:
            return
        # A command never overtakes an earlier one.
        arrival = max(now + self.delay, self._under_way[-1][0] if self._under_way else 0)
        self._under_way.append((arrival, action))

    def receive(self, now: int) -> Array | None:
        """The newest action that has arrived by a physics step; the safe one if none has come for too long."""
        arrived = None
        while self._under_way and self._under_way[0][0] <= now:
            self._last_arrival, arrived = self._under_way.popleft()
        if arrived is None and now - self._last_arrival >= self._timeout:
            return self._safe()
        return arrived

    def next_change(self, now: int) -> int:
        """Physics step after now at which something may arrive, or the robot may stop."""
        stop = self._last_arrival + self._timeout
        coming = [step for step, _ in self._under_way] + ([stop] if stop > now else [])
        return min((step for step in coming if step > now), default=now + self._timeout)
