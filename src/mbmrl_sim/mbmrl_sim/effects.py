"""What faults do to the robot as numbers that may grow over time, and the link that brings commands."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from mbmrl_base.robots.observation import Array
from mbmrl_sim.faults import BATTERY_LOW, LINK, MOTOR_WEAK, PAYLOAD, POSE_MISCALIBRATION, SLOPE, Fault
from mbmrl_sim.terrain import tilt

NEUTRAL: Final = {
    MOTOR_WEAK: np.ones(1),
    PAYLOAD: np.zeros(3),
    SLOPE: np.zeros(2),
    POSE_MISCALIBRATION: np.zeros(3),
    LINK: np.zeros(2),
    BATTERY_LOW: np.zeros(1),
}
"""Effect of each kind on an intact robot: share of torque; mass (kg) and its moments about y and x (kg m);
rise of the ground along x and y; turn (rad) and shift (m) of the pose; delay (s) and share that is lost; V."""


def effect_of(fault: Fault) -> Array:
    """Effect of a fault at its full magnitude, in the units of NEUTRAL."""
    magnitude = fault.magnitude
    if fault.kind == PAYLOAD:
        return magnitude * 1e-3 * np.array([1.0, fault.x, fault.y])
    if fault.kind == SLOPE:
        return tilt(math.radians(magnitude), math.radians(fault.direction))
    if fault.kind == POSE_MISCALIBRATION:
        return np.array([math.radians(magnitude), fault.x, fault.y])
    if fault.kind == LINK:
        return np.array([magnitude * 1e-3, fault.loss * 1e-2])
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

    def __init__(self) -> None:
        """No effects."""
        self._ramps: dict[tuple[str, str], _Ramp] = {}

    def begin(self, fault: Fault) -> None:
        """Let a fault act from its time on, starting from what was in force before."""
        before = self.value(fault.kind, fault.since, fault.side)
        self._ramps[fault.kind, fault.side] = _Ramp(before, effect_of(fault), fault.since, fault.ramp)

    def value(self, kind: str, time: float, side: str = "") -> Array:
        """Effect of a kind of fault at a time, s."""
        ramp = self._ramps.get((kind, side))
        return NEUTRAL[kind] if ramp is None else ramp.at(time)

    def changing(self, time: float) -> bool:
        """Whether an effect has not reached its value yet."""
        return any(time < ramp.start + ramp.duration for ramp in self._ramps.values())


class CommandLink:
    """Brings commands to the robot, late or not at all; the robot stops its legs where none arrives any more."""

    def __init__(self, rng: np.random.Generator, timeout: int) -> None:
        """Take a source of losses, and the time without commands after which the robot stops, physics steps."""
        self.delay = 0
        """Physics steps."""
        self.loss = 0.0
        self._rng = rng
        self._timeout = timeout
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
        """The newest action that has arrived by a physics step; zero where none has come for too long."""
        arrived = None
        while self._under_way and self._under_way[0][0] <= now:
            self._last_arrival, arrived = self._under_way.popleft()
        if arrived is None and now - self._last_arrival >= self._timeout:
            return np.zeros(2)
        return arrived

    def next_change(self, now: int) -> int:
        """Physics step after now at which something may arrive, or the robot may stop."""
        stop = self._last_arrival + self._timeout
        coming = [step for step, _ in self._under_way] + ([stop] if stop > now else [])
        return min((step for step in coming if step > now), default=now + self._timeout)
