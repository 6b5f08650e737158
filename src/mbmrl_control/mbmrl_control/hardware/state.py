"""The robot's state at the end of each control interval, of telemetry and pose: the same as the simulator's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from mbmrl_control.hardware.codec import Telemetry
from mbmrl_control.hardware.link_data import Sample
from mbmrl_control.hardware.measured import Measured
from mbmrl_control.hardware.pose import DeadReckoning, Located, PoseFilter
from mbmrl_sim.state import Array, Observation, pack_state

CLOCK_DRIFT: Final = 1e-3
"""How much faster or slower the robot's clock may run, share."""
LENGTH_TOLERANCE: Final = 0.25
"""How far a control interval may be from its nominal length, share of it."""
FASTEST: Final = 2.0
"""A robot whose pose changes faster than this has been moved by hand, m/s."""
SLACK: Final = 0.02
"""What a pose may change at once besides, m."""


class ClockMap:
    """Time on the host's clock of what happened at a time of the robot's clock.

    Bytes are late by a changing time: the least delay of late is taken as the one that is always there, so that
    times differ as they do on the robot's clock.
    """

    def __init__(self) -> None:
        """Start without knowledge."""
        self._offset: float | None = None
        self._last = 0.0

    def to_host(self, robot_time: float, arrival: float) -> float:
        """Host's time, s, of a robot's time that arrived at a host's time, s."""
        offset = arrival - robot_time
        if self._offset is not None:
            offset = min(offset, self._offset + CLOCK_DRIFT * (arrival - self._last))
        self._offset, self._last = offset, arrival
        return robot_time + offset


@dataclass(frozen=True)
class Reading:
    """A control interval that ended.

    Attributes:
        observation: State vector, action in force, time (s of the host's monotonic clock), as of the simulator.
        command: Number of the command that was in force; 0: none.
        telemetry: The frame that ended it, as it was measured.
        source: Where the pose is known from.
    """

    observation: Observation
    command: int
    telemetry: Telemetry
    source: str


class StateBuilder:
    """Makes a state of the frames of each control interval."""

    def __init__(
        self, rate: float, poses: PoseFilter, reckoning: DeadReckoning, measured: Measured | None = None
    ) -> None:
        """Take the control rate, Hz, what tells the pose, and what fills in that was not measured."""
        self._measured = measured or Measured()
        self._period = 1.0 / rate
        self._poses, self._reckoning = poses, reckoning
        self._sequence = self._episode = self._session = 0
        self._applied: list[tuple[Array, float]] = []
        self._last: Telemetry | None = None
        self._last_tick: Telemetry | None = None
        self._last_place: Located | None = None
        self._clock = ClockMap()
        self._new_episode = True

    def begin_episode(self) -> None:
        """Let the next state be the first of an episode, as after the robot was moved."""
        self._new_episode = True

    def take(self, sample: Sample) -> Reading | None:
        """Take a frame; returns the state where a control interval ends with it."""
        telemetry = self._measured.fill(sample.telemetry)
        if sample.session != self._session:
            self._session, self._new_episode = sample.session, True
            self._clock, self._last, self._last_tick, self._applied = ClockMap(), None, None, []
        time = self._clock.to_host(telemetry.time, sample.arrival)
        duration = 0.0 if self._last is None else max(0.0, telemetry.time - self._last.time)
        self._last = telemetry
        self._applied.append((np.array(telemetry.applied), duration))
        self._reckoning.step(
            duration, np.array(telemetry.speeds), np.array(telemetry.gyro), np.array(telemetry.acceleration)
        )
        if not sample.tick:
            return None
        place = self._poses.at(time)
        if place is None:
            place = self._reckoning.located(time)
        else:
            self._reckoning.correct(place)
        return self._finish(sample, telemetry, time, place)

    def _finish(self, sample: Sample, telemetry: Telemetry, time: float, place: Located) -> Reading:
        last = self._last_tick
        length = 0.0 if last is None else telemetry.time - last.time
        if self._new_episode or self._was_moved(place):
            self._episode, self._new_episode, length = self._episode + 1, False, 0.0
        whole = abs(length - self._period) <= LENGTH_TOLERANCE * self._period
        interval = length if whole and sample.exact and "dead_man" not in telemetry.faults else 0.0
        self._sequence += 1
        state = pack_state(
            place.position,
            place.velocity,
            place.angles,
            telemetry.gyro,
            telemetry.phases,
            telemetry.speeds,
            telemetry.back_emf,
            telemetry.battery,
        )
        observation = Observation(state, self._mean_applied(), time, self._sequence, self._episode, interval)
        self._last_tick, self._last_place, self._applied = telemetry, place, []
        return Reading(observation, sample.command, sample.telemetry, place.source)

    def _was_moved(self, place: Located) -> bool:
        if self._last_place is None:
            return False
        distance = math.dist(place.position[:2], self._last_place.position[:2])
        return distance > FASTEST * (place.time - self._last_place.time) + SLACK

    def _mean_applied(self) -> Array:
        """What was in force, on average over time; where nothing changed, to the last bit."""
        values, durations = zip(*self._applied, strict=True)
        if all((value == values[0]).all() for value in values):
            return np.array(values[0])
        return np.asarray(np.average(values, axis=0, weights=durations if sum(durations) else None))
