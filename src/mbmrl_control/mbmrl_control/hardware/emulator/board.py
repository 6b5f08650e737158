"""What the board of an emulated robot does: sessions, limits, a dead-man, telemetry; its body is the simulated one."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mbmrl_base.robots import rotations
from mbmrl_base.robots.millirobot import layout
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_control.hardware.codecs import wire
from mbmrl_control.hardware.robot import MAX_SPEED
from mbmrl_sim.millirobot.physics import PHYSICS_STEP
from mbmrl_sim.millirobot.world import World

BOOT_TIME: Final = 0.2
"""Time after a reset in which the board says nothing, s."""
NEVER: Final = 10**9
"""Physics steps that nobody waits for."""


@dataclass(frozen=True)
class FirmwareSettings:
    """What a board is like.

    Attributes:
        version: Version of its protocol.
        motors: Number of motors that it reports.
        legs: Number of legs that it reports.
        rate: Highest rate of telemetry, Hz.
        dead_man: Longest time without a command, s.
        clock_rate: Seconds of its clock in a second.
        polled: Whether it reports its state only in answer to a command, and has a dead-man only if it is set.
        device_id: What distinguishes it from all others; 0: nothing does.
    """

    version: int = 1
    motors: int = 2
    legs: int = 6
    rate: float = 200.0
    dead_man: float = 0.2
    clock_rate: float = 1.0
    polled: bool = False
    device_id: int = field(default_factory=lambda: secrets.randbits(64))


class Firmware:
    """The board; it knows messages, and the simulated time."""

    def __init__(self, world: World, settings: FirmwareSettings | None = None) -> None:
        """Start it in a world."""
        self.world = world
        self.settings = settings or FirmwareSettings()
        self.set_point = np.zeros(2)
        """Leg speeds in force, left and right, rad/s."""
        self._phases = np.zeros(2)
        self._newest: Observation | None = None
        if self.settings.polled:
            self._measure_each(NEVER)  # but when it is asked
        self.reboot()
        self._silent_until = 0.0

    def reboot(self) -> None:
        """Reset the board: motors off, no session, its clock at zero."""
        self._silent_until = self.world.time + BOOT_TIME
        self._start, self.left_behind = self.world.time, 0.0
        self._session = 0
        self._estop = False
        self._begin(0)

    def clock(self, time: float) -> float:
        """Its clock at a simulated time, s; it goes on from what is left behind."""
        return (time - self._start + self.left_behind) * self.settings.clock_rate

    def _begin(self, session: int) -> None:
        self._session, self._fresh_session = session, True
        self.enabled = False
        self.set_point = np.zeros(2)
        self._command_sequence = self._sequence = 0
        self._rate = 0.0
        self._next_telemetry = self._last_command = self.world.time
        self._max_speed = MAX_SPEED
        self._dead_man = 0.0 if self.settings.polled else self.settings.dead_man
        self._faults: set[str] = set()

    def receive(self, message: wire.Message) -> list[wire.Message]:
        """Take a message of the host; returns what is answered."""
        if self.world.time < self._silent_until:
            return []
        if isinstance(message, wire.Hello):
            self._begin(message.session)
            board = self.settings
            return [
                wire.Capabilities(
                    *(board.version, message.session, "emulated 1.0", board.motors, board.legs, board.rate),
                    *(board.dead_man, MAX_SPEED),
                    device_id=board.device_id,
                )
            ]
        if isinstance(message, wire.Ping):
            return [wire.Pong(message.token)]
        if isinstance(message, wire.Command):
            if self.settings.polled and self._newest is not None and self._newest.time >= self.world.time:
                self.advance(1)  # its clock goes on between two answers
            self._take_command(message)
            return [self._measure()] if self.settings.polled else []
        reason = self._refusal(message)
        if not reason:
            self._obey(message)
        return [wire.Acknowledge(type(message).__name__, not reason, reason)]

    def _take_command(self, command: wire.Command) -> None:
        if not self.enabled or command.sequence <= self._command_sequence:
            return
        self._command_sequence = command.sequence
        self._last_command = self.world.time
        self.set_point = np.clip([command.left, command.right], 0.0, self._max_speed)

    def _refusal(self, message: wire.HostMessage | wire.Message) -> str:
        if isinstance(message, wire.Configure):
            if not 0 < message.rate <= self.settings.rate:
                return f"telemetry at {message.rate:g} Hz: allowed is up to {self.settings.rate:g} Hz"
            shortest = 0.0 if self.settings.polled else PHYSICS_STEP
            if not shortest <= message.dead_man <= self.settings.dead_man * (1 + 1e-6):
                return f"a dead-man of {message.dead_man:g} s: allowed is up to {self.settings.dead_man:g} s"
            if not 0 < message.max_speed <= MAX_SPEED * (1 + 1e-6):
                return f"a speed of {message.max_speed:g} rad/s: allowed is up to {MAX_SPEED:g} rad/s"
        if isinstance(message, wire.Enable) and message.enabled:
            if not self._rate and not self.settings.polled:
                return "it is not configured"
            if self._estop and not self._fresh_session:
                return "the emergency stop is latched until a new session"
        return ""

    def _obey(self, message: wire.HostMessage | wire.Message) -> None:
        if isinstance(message, wire.Configure):
            self._rate, self._max_speed, self._dead_man = message.rate, message.max_speed, message.dead_man
            if not self.settings.polled:
                self._measure_each(round(1.0 / (message.rate * PHYSICS_STEP)))
                self._next_telemetry = self.world.time + self.world.substeps * PHYSICS_STEP
        elif isinstance(message, wire.Enable):
            self.enabled = message.enabled
            self.set_point = np.zeros(2)
            self._last_command = self.world.time
            self._estop = self._estop and not message.enabled
        elif isinstance(message, wire.EmergencyStop):
            self.enabled, self._estop, self._fresh_session = False, True, False
            self.set_point = np.zeros(2)

    def _measure_each(self, steps: int) -> None:
        """Let the world measure after each so many physics steps, from now on."""
        self.world.rate, self.world.substeps = 1.0 / (steps * PHYSICS_STEP), steps
        self._newest = self.world.finish_interval(exact=False)

    @property
    def next_event(self) -> float:
        """Simulated time at which it will send something, s."""
        return self._next_telemetry if self._streams else math.inf

    @property
    def _streams(self) -> bool:
        return self._rate > 0 and not self.settings.polled and self.world.time >= self._silent_until

    def advance(self, steps: int) -> list[wire.Message]:
        """Let a number of physics steps pass; returns what it sent meanwhile."""
        sent: list[wire.Message] = []
        while steps > 0:
            stops = [steps]
            if self._streams:
                stops.append(round((self._next_telemetry - self.world.time) / PHYSICS_STEP))
            if self.enabled and self._dead_man:
                stops.append(round((self._last_command + self._dead_man - self.world.time) / PHYSICS_STEP))
            part = max(1, min(stop for stop in stops if stop > 0))
            self.world.apply(self.set_point)
            self.world.advance(part)
            steps -= part
            self._watch()
            if self._streams and self.world.time >= self._next_telemetry - PHYSICS_STEP / 2:
                self._next_telemetry += self.world.substeps * PHYSICS_STEP
                sent.append(self._measure())
        return sent

    def _watch(self) -> None:
        if not self.enabled or not self._dead_man or not self.set_point.any():
            return
        if self.world.time - self._last_command >= self._dead_man - PHYSICS_STEP / 2:
            self.set_point = np.zeros(2)
            self._faults.add("dead_man")

    def _measure(self) -> wire.Telemetry:
        last, self._newest = self._newest, self.world.finish_interval()
        now = self._newest
        self._sequence += 1
        self._unwrap(now)
        faults, self._faults = tuple(sorted(self._faults)), set()
        return wire.Telemetry(
            sequence=self._sequence,
            time=self.clock(now.time),
            command_sequence=self._command_sequence,
            applied=tuple(now.action.tolist()),
            phases=tuple(self._phases.tolist()),
            speeds=tuple(now.state[layout.LEG_SPEED].tolist()),
            gyro=tuple(now.state[layout.ANGULAR_VELOCITY].tolist()),
            acceleration=tuple(_specific_force(last, now, -np.array(self.world.gravity)).tolist()),
            back_emf=tuple(now.state[layout.BACK_EMF].tolist()),
            battery=float(now.state[layout.BATTERY.start]),
            current=(math.nan, math.nan),
            temperature=(math.nan, math.nan),
            enabled=self.enabled,
            emergency_stop=self._estop,
            faults=faults,
        )

    def _unwrap(self, now: Observation) -> None:
        """Leg cycles that grow without end, of what was measured, which is within a turn."""
        measured = np.array([layout.angle(now.state, layout.LEFT_PHASE), layout.angle(now.state, layout.RIGHT_PHASE)])
        expected = self._phases + now.state[layout.LEG_SPEED] * now.interval
        self._phases = expected + (measured - expected + np.pi) % (2 * np.pi) - np.pi


def _specific_force(last: Observation | None, now: Observation, standing: Array) -> Array:
    """What an accelerometer measures between two observations, body frame, m/s^2; it shows a slope.

    Args:
        last: The one before.
        now: The newest.
        standing: The same of a robot at rest, odom, shape (3,).
    """
    change = np.zeros(3)
    if last is not None and now.time > last.time and now.episode == last.episode:
        change = (now.state[layout.LINEAR_VELOCITY] - last.state[layout.LINEAR_VELOCITY]) / (now.time - last.time)
    attitude = rotations.matrix(layout.angle(now.state, pair) for pair in (layout.ROLL, layout.PITCH, layout.YAW))
    return np.asarray(attitude.T @ (change + standing))
