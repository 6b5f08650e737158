"""The robot's state at the end of each control interval, of telemetry and pose: the same as the simulator's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_control.hardware.codecs.wire import Telemetry
from mbmrl_control.hardware.link.clocks import BOARD_DRIFT, Clock
from mbmrl_control.hardware.link.link_data import Sample
from mbmrl_control.hardware.measured import Measured
from mbmrl_control.hardware.pose import CAPTURED, DeadReckoning, Located, PoseFilter
from mbmrl_control.hardware.pose_checks import turn

LENGTH_TOLERANCE: Final = 0.25
"""How far a control interval may be from its nominal length, share of it."""
DRIFT: Final = (0.1, 0.5, 1.0)
"""How far dead reckoning may be off: at once, m, with time, m/s, and at most, m."""
TURN_DRIFT: Final = (0.5, 1.0)
"""The same of the heading, rad and rad/s."""


@dataclass(frozen=True)
class Reading:
    """A control interval that ended.

    Attributes:
        observation: State vector, action in force, time (s of the host's monotonic clock), as of the simulator.
        command: Number of the command that was in force; 0: none.
        telemetry: The frame that ended it, as it was measured.
        source: Where the pose is known from.
        cause: Why an episode begins with it; empty if none does.
    """

    observation: Observation
    command: int
    telemetry: Telemetry
    source: str
    cause: str = ""


class StateBuilder:
    """Makes a state of the frames of each control interval."""

    def __init__(
        self, rate: float, poses: PoseFilter, reckoning: DeadReckoning, measured: Measured | None = None
    ) -> None:
        """Take the control rate, Hz, what knows the pose, and what fills in that was not measured."""
        self._measured = measured or Measured()
        self._period = 1.0 / rate
        self._poses, self._reckoning = poses, reckoning
        self._sequence = self._episode = self._session = 0
        self._applied: list[tuple[Array, float]] = []
        self._last: Telemetry | None = None
        self._last_tick: Telemetry | None = None
        self._last_place: Located | None = None
        self._last_captured: Located | None = None
        self.clock = Clock("the robot's clock", BOARD_DRIFT, judged_after=3.0)
        """The robot's clock against the host's."""
        self._cause = "the link is new"

    def begin_episode(self) -> None:
        """Let the next state be the first of an episode, as after the robot was moved."""
        self._cause = "the motors were enabled"

    def take(self, sample: Sample) -> Reading | None:
        """Take a frame; returns the state if a control interval ends with it."""
        telemetry = self._measured.fill(sample.telemetry)
        if sample.session != self._session:
            self._session, self._cause = sample.session, "the link is new"
            self._last, self._last_tick, self._applied = None, None, []
            self.clock.restart()
        time = self.clock.to_host(telemetry.time, sample.arrival)
        duration = self._between(self._last, telemetry)
        self._last = telemetry
        self._applied.append((np.array(telemetry.applied), duration))
        measured = np.array(telemetry.speeds), np.array(telemetry.gyro), np.array(telemetry.acceleration)
        self._poses.note(duration, *measured)
        self._reckoning.step(duration, *measured)
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
        length = self._between(last, telemetry)
        cause, self._cause = self._cause or self._was_moved(place), ""
        if cause:
            self._episode, length = self._episode + 1, 0.0
        whole = abs(length - self._period) <= LENGTH_TOLERANCE * self._period
        # Where the pose is known from elsewhere it may jump by as much as dead reckoning is off.
        one_source = self._last_place is not None and self._last_place.source == place.source
        interval = length if whole and one_source and sample.exact and "dead_man" not in telemetry.faults else 0.0
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
        self._last_captured = place if place.source == CAPTURED else self._last_captured
        return Reading(observation, sample.command, sample.telemetry, place.source, cause)

    def _between(self, before: Telemetry | None, after: Telemetry) -> float:
        """Time between two frames by the host's clock, s: the robot's may be fast or slow."""
        return 0.0 if before is None else max(0.0, after.time - before.time) * self.clock.rate

    def _was_moved(self, place: Located) -> str:
        """How frames contradict those before, or dead reckoning by far more than it drifts; empty if they do not."""
        last, captured = self._last_place, self._last_captured
        if last is None or place.source != CAPTURED:
            return ""
        distance, turned = math.dist(last.position, place.position), turn(last.angles, place.angles)
        off = f"motion capture sees the robot {distance:.2f} m and {math.degrees(turned):.0f} degrees off where it"
        if captured is not None and place.moves > captured.moves:
            return f"{off} was last"
        if last.source == CAPTURED:
            return ""
        reckoned = place.time - captured.time if captured is not None else 0.0
        at_once, with_time, at_most = DRIFT
        is_far = distance > min(at_once + with_time * reckoned, at_most)
        return f"{off} was reckoned to be" if is_far or turned > TURN_DRIFT[0] + TURN_DRIFT[1] * reckoned else ""

    def _mean_applied(self) -> Array:
        """What was in force, on average over time; where nothing changed, to the last bit."""
        values, durations = zip(*self._applied, strict=True)
        if all((value == values[0]).all() for value in values):
            return np.array(values[0])
        return np.asarray(np.average(values, axis=0, weights=durations if sum(durations) else None))
