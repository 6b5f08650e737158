"""The protocol of the VelociRoACH's own firmware, over the radio or the wired line.

What it has not, the codec makes up from what it has, or says that it is missing:

- telemetry comes as the answer to a command only, so `Capabilities.polled` is true;
- `Acknowledge` of gains compares what the robot reads back; that of `Enable` and `EmergencyStop` is the first
  telemetry that answers the zero command sent after them;
- `Ping` asks for the leg positions;
- the dead-man is a timed run that each command starts anew, if the profile and the mode know one;
- leg speeds are differences of positions; the command in force, and the number of telemetry, are from the host's
  book of what it sent;
- sessions do not exist: a robot whose clock jumped back has started again and is not listened to until `Hello`.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mbmrl_control.hardware.codecs import wire
from mbmrl_control.hardware.codecs.velociroach_book import AnswerBook, Asked
from mbmrl_control.hardware.codecs.velociroach_profiles import PER_COUNT, PROFILES, SENSORS, SPEED_PER_COUNT
from mbmrl_control.hardware.codecs.xbee import FRAMINGS, MAX_PACKET
from mbmrl_control.hardware.robot import MAX_SPEED

FULL_DUTY: Final = 4000
FULL_SPEED: Final = 80.0
"""Leg speed that full duty stands for in the mode pwm, rad/s."""
MAX_DUTY: Final = 3800
"""What the firmware limits the duty to: beyond, there is no time to measure the back-EMF."""
RUN_TIME: Final = 0.2
"""Length of the timed run that each command starts, s."""
MAX_GAP: Final = 1_000_000
"""Time between two frames of telemetry beyond which they do not belong together, us."""
MAX_COUNTS_PER_MS: Final = 1200
"""Twice the highest leg speed: positions that ran faster are damaged."""
ADC: Final = 1024
FIRST_GAINS: Final = ((0,) * 5, (0,) * 5)
"""Gains of a robot that was just switched on."""


def signed(value: int) -> int:
    """A difference of 32-bit counters as a signed number."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


@dataclass(frozen=True)
class _Run:
    """Telemetry as it came, and its time (us) and positions (counts) over the turns of their counters."""

    values: dict[str, int]
    time: int
    positions: tuple[int, int]


class VelociroachCodec(wire.Codec):
    """Codec of the robot's own protocol."""

    name: ClassVar[str] = "velociroach"
    version: ClassVar[int] = 1

    def __init__(
        self,
        side: wire.Side,
        *,
        profile: str = "millirobot",
        framing: str = "xbee",
        address: int = 0x2052,
        mode: str = "",
        timed_run: bool = True,
    ) -> None:
        """Speak for one side.

        Args:
            side: Whose bytes are made.
            profile: Which firmware, a name of `PROFILES`.
            framing: ``xbee`` or ``wired``.
            address: The robot's address on the radio; 0xFFFF: any robot.
            mode: ``velocity``, or ``pwm`` without a speed controller; empty: the first that the firmware knows.
            timed_run: Whether each command starts a timed run, if there is one.

        Raises:
            ValueError: If there is no such profile, framing or mode, or the firmware does not know the mode.
        """
        for what, name, known in (("profile", profile, PROFILES), ("framing", framing, FRAMINGS)):
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}: allowed is {', '.join(known)}")
        if mode not in ("", "velocity", "pwm"):
            raise ValueError(f"unknown mode {mode!r}: allowed is velocity, pwm")
        super().__init__(side)
        self.profile = PROFILES[profile]
        self.mode = mode = mode or ("velocity" if self.profile.velocity else "pwm")
        self._drive = self.profile.velocity if mode == "velocity" else self.profile.pwm
        if not self._drive:
            raise ValueError(f"the firmware {profile!r} has no mode {mode!r}")
        self._per_speed = 1 / SPEED_PER_COUNT if mode == "velocity" else FULL_DUTY / FULL_SPEED
        self._most = 32767 if mode == "velocity" else MAX_DUTY
        self._framing = FRAMINGS[framing](side, address)
        self._rate = 10.0 if framing == "xbee" else 50.0
        # A timed run and a start set the speed controllers to work, so they would end a PWM command.
        self._timed_run = self.profile.timed_run if timed_run and mode == "velocity" else 0
        self._start = self.profile.start if mode == "velocity" else 0
        self._expires = bool(self._timed_run or (self.profile.run_time and mode == "pwm"))
        self._lengths = self.profile.lengths(side)
        self._session = 0
        self.reset()

    def reset(self) -> None:
        """Forget an incomplete frame, and all that belongs to the session."""
        self._buffer = bytearray()
        self._listening = self.side == "robot"
        self._enabled = self._stopped = False
        self._gains: tuple[tuple[int, ...], tuple[int, ...]] = FIRST_GAINS
        self._run_time = 0.0
        self._token = 0
        self._command_sequence = 0
        self._book = AnswerBook()
        self._poll_rate = self._rate
        self._polled = self._echoes = 0
        self._runs: deque[_Run] = deque(maxlen=2)
        self._positions = (0, 0)

    def encode(self, message: wire.Message) -> bytes:
        """As of `Codec`; empty if the firmware has none for it."""
        makers: dict[type, Callable[[Any], list[bytes]]] = (
            {
                wire.Hello: self._hello,
                wire.Configure: self._configure,
                wire.Enable: self._enable,
                wire.EmergencyStop: self._emergency_stop,
                wire.Command: self._command,
                wire.Ping: self._ping,
            }
            if self.side == "host"
            else {
                wire.Capabilities: lambda m: self._some(self.profile.version, m.firmware.encode()[: MAX_PACKET - 2]),
                wire.Acknowledge: self._acknowledge,
                wire.Pong: lambda m: self._some(self.profile.positions, struct.pack("<2l", *self._positions)),
                wire.Telemetry: self._telemetry,
            }
        )
        if type(message) not in makers:
            raise wire.CodecError(f"{type(message).__name__} is not sent by a {self.side}")
        try:
            return b"".join(map(self._framing.wrap, makers[type(message)](message)))
        except (ValueError, OverflowError, struct.error) as error:
            raise wire.CodecError(f"{type(message).__name__} does not fit the protocol velociroach: {error}") from error

    def feed(self, data: bytes) -> list[wire.Message]:
        """Messages that are complete with these bytes, of the other side; never raises."""
        self._buffer += data
        messages: list[wire.Message] = []
        for packet in self._framing.split(self._buffer, self._lengths, self.counts):
            take = self._of_robot if self.side == "host" else self._of_host
            taken = take(packet[1], packet[2:])
            self.counts.good += taken is not None
            messages += taken or []
        return messages

    @staticmethod
    def _some(kind: int, data: bytes = b"") -> list[bytes]:
        """A packet, if the firmware knows its type."""
        return [bytes([0, kind]) + data] if kind else []

    # The host's side

    def _hello(self, message: wire.Hello) -> list[bytes]:
        self.reset()
        self._session = message.session
        self._listening = True
        return self._some(self.profile.stop) + self._drive_packet(0, 0) + self._some(self.profile.version)

    def _configure(self, message: wire.Configure) -> list[bytes]:
        if [len(side) for side in message.gains] != [5, 5]:
            raise ValueError("gains are 5 for each of 2 sides")
        packets = self._some(self.profile.gains, struct.pack("<10h", *message.gains[0], *message.gains[1]))
        self._gains = message.gains
        self._poll_rate = message.rate
        return packets

    def _enable(self, message: wire.Enable) -> list[bytes]:
        refused = message.enabled and self._stopped
        self._enabled = message.enabled and not refused
        reason = "the emergency stop is latched until a new session" if refused else ""
        before = self._some(self._start if self._enabled else self.profile.stop)
        return before + self._set(0.0, 0.0, 0, wire.Acknowledge("Enable", not refused, reason))

    def _emergency_stop(self, message: wire.EmergencyStop) -> list[bytes]:
        self._enabled, self._stopped = False, True
        return self._some(self.profile.stop) + self._set(0.0, 0.0, 0, wire.Acknowledge("EmergencyStop", True))

    def _command(self, message: wire.Command) -> list[bytes]:
        left, right = message.left * self._enabled, message.right * self._enabled
        run = self._some(self._timed_run, struct.pack("<H", round(RUN_TIME * 1000))) if self._enabled else []
        return run + self._set(left, right, message.sequence)

    def _ping(self, message: wire.Ping) -> list[bytes]:
        self._token = message.token
        return self._some(self.profile.positions)

    def _set(
        self, left: float, right: float, sequence: int, acknowledge: wire.Acknowledge | None = None
    ) -> list[bytes]:
        """A drive packet, which telemetry answers; the book has what it really asks for."""
        counts = self._counts(left), self._counts(right)
        self._book.ask(sequence, (counts[0] / self._per_speed, counts[1] / self._per_speed), acknowledge)
        return self._drive_packet(*counts) + self._some(self.profile.poll, bytes(2))

    def _drive_packet(self, left: int, right: int) -> list[bytes]:
        end = struct.pack("<h", self.profile.run_time) if self.profile.run_time and self.mode == "pwm" else b""
        return self._some(self._drive, struct.pack("<2h", left, right) + end)

    def _counts(self, speed: float) -> int:
        if not math.isfinite(speed):
            raise ValueError("a value is not finite")
        return round(min(max(speed * self._per_speed, -self._most), self._most))

    def _of_robot(self, kind: int, data: bytes) -> list[wire.Message] | None:
        """Messages of a packet of the robot; None if it is refused."""
        p = self.profile
        if not self._listening:
            self.counts.stale += 1
            return None
        if kind == p.version:
            text = "".join(chr(byte) if 32 <= byte <= 126 else "?" for byte in data.split(b"\0")[0]).strip()
            dead_man = RUN_TIME if self._expires else 0.0
            return [wire.Capabilities(1, self._session, text, 2, 6, self._rate, dead_man, MAX_SPEED, polled=True)]
        if kind == p.gains:
            sent, got = [*self._gains[0], *self._gains[1]], [*struct.unpack("<10h", data)]
            reason = "" if sent == got else f"the gains read back are {got}"
            return [wire.Acknowledge("Configure", not reason, reason)]
        if kind == p.positions:
            return [wire.Pong(self._token)]
        return self._measured(dict(zip(p.fields, p.packet.unpack(data), strict=True)))

    def _measured(self, now: dict[str, int]) -> list[wire.Message] | None:
        """Messages of telemetry; None where its values are impossible."""
        if not self._within_range(now):
            self.counts.bad += 1
            return None
        if not self._runs:
            self._runs.append(_Run(now, now["time"], (now["left"], now["right"])))
            return self._answered(now, (0, 0), 0)
        # The last frame may be a damaged one with a time to come, so the one before it counts too.
        for dropped, run in enumerate(reversed(self._runs)):
            elapsed = signed(now["time"] - run.values["time"])
            steps = signed(now["left"] - run.values["left"]), signed(now["right"] - run.values["right"])
            if 0 < elapsed <= MAX_GAP and max(map(abs, steps)) <= MAX_COUNTS_PER_MS * (elapsed / 1000 + 5):
                positions = run.positions[0] + steps[0], run.positions[1] + steps[1]
                if dropped:
                    self._runs.pop()
                self._runs.append(_Run(now, run.time + elapsed, positions))
                return self._answered(now, steps, elapsed)
        self.counts.stale += 1
        return None

    def _answered(self, now: dict[str, int], steps: tuple[int, int], elapsed: int) -> list[wire.Message]:
        """What an answer acknowledges, or the telemetry that it is if it answers a `Command`."""
        asked = self._book.answer(elapsed / 1e6 * self._poll_rate)
        if asked is None or not asked.sequence:
            return [asked.acknowledge] if asked and asked.acknowledge else []
        return [self._as_telemetry(asked, now, steps, elapsed)]

    @staticmethod
    def _within_range(now: dict[str, int]) -> bool:
        duties = (now.get(name, 0) for name in ("duty_left", "duty_right"))
        volts = (now.get(name, 0) for name in ("emf_left", "emf_right"))
        return (
            all(abs(duty) <= FULL_DUTY for duty in duties)
            and all(abs(volt) < ADC for volt in volts)
            and 0 <= now.get("battery", 0) < ADC
        )

    def _as_telemetry(self, asked: Asked, now: dict[str, int], steps: tuple[int, int], elapsed: int) -> wire.Telemetry:
        """Telemetry in SI units."""

        sensors: dict[str, Any] = {
            name: tuple(now[field] * scale if field in now else math.nan for field in fields)
            for name, scale, fields in SENSORS
        }
        sensors["battery"] = sensors["battery"][0]
        run = self._runs[-1]
        sequence, applied = asked.before
        speeds = [step * PER_COUNT / (elapsed / 1e6) if elapsed else math.nan for step in steps]
        return wire.Telemetry(
            sequence=asked.sequence,
            time=run.time / 1e6,
            command_sequence=sequence,
            applied=applied,
            phases=(run.positions[0] * PER_COUNT, run.positions[1] * PER_COUNT),
            speeds=(speeds[0], speeds[1]),
            current=(math.nan, math.nan),
            temperature=(math.nan, math.nan),
            enabled=self._enabled,
            emergency_stop=self._stopped,
            **sensors,
        )

    # The robot's side

    def _of_host(self, kind: int, data: bytes) -> list[wire.Message] | None:
        """Messages of a packet of the host."""
        p = self.profile
        if kind == p.version:
            self._session += 1
            self._command_sequence, self._enabled, self._run_time = 0, False, 0.0
            return [wire.Hello(self.version, self._session)]
        if kind == p.gains:
            gains = struct.unpack("<10h", data)
            self._gains = (gains[:5], gains[5:])
            self._echoes += 1
            return [self._settings()]
        if kind == p.poll:
            self._polled += 1
            return []
        if kind == p.positions:
            return [wire.Ping(0)]
        if kind in (p.start, p.stop):
            self._enabled = kind == p.start
            return [wire.Enable(self._enabled)]
        if kind == p.timed_run:
            return self._run_for(data)
        return self._driven(data) if kind == self._drive else []

    def _driven(self, data: bytes) -> list[wire.Message]:
        """The command that a packet is; duty needs no start, so the first one that moves is also an `Enable`."""
        self._polled += not self.profile.poll
        left, right = struct.unpack_from("<2h", data)
        before = self._run_for(data[4:]) if data[4:] else []
        if self.mode == "pwm" and not self._enabled and (left or right):
            self._enabled = True
            before.append(wire.Enable(True))
        self._command_sequence += 1
        return [*before, wire.Command(self._command_sequence, left / self._per_speed, right / self._per_speed)]

    def _run_for(self, data: bytes) -> list[wire.Message]:
        """Settings, if the time after which the motors stop is another than before."""
        before, self._run_time = self._run_time, int.from_bytes(data, "little") / 1000
        return [self._settings()] if self._run_time != before else []

    def _settings(self) -> wire.Configure:
        return wire.Configure(self._rate, self._gains, MAX_SPEED, self._run_time)

    def _acknowledge(self, message: wire.Acknowledge) -> list[bytes]:
        if message.request != "Configure" or not self._echoes:
            return []
        self._echoes -= 1
        return self._some(self.profile.gains, struct.pack("<10h", *self._gains[0], *self._gains[1]))

    def _telemetry(self, message: wire.Telemetry) -> list[bytes]:
        """A packet for a request; none if none came since the last one."""
        m = message
        counts = [round(phase / PER_COUNT) for phase in m.phases]
        self._positions = (signed(counts[0]), signed(counts[1]))
        if not self._polled:
            return []
        self._polled -= 1
        values = dict.fromkeys(self.profile.fields, 0)
        for name, scale, fields in SENSORS:
            measured = getattr(m, name)
            for field, value in zip(fields, measured if isinstance(measured, tuple) else (measured,), strict=True):
                if field in values and math.isfinite(value):
                    values[field] = min(max(round(value / scale), -32768), 32767)
        values |= {"index": m.sequence % 2**32, "time": round(m.time * 1e6) % 2**32}
        values |= {"left": self._positions[0], "right": self._positions[1]}
        return self._some(self.profile.telemetry, self.profile.packet.pack(*values.values()))
