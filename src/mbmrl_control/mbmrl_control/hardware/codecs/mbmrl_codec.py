"""The `mbmrl` protocol: COBS frames with a CRC-32, session and frame number; docs/protocol.md is its description."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cobs import cobs

from mbmrl_control.hardware.codecs import wire

MAX_FRAME: Final = 140
"""Bytes between two delimiters, at most."""
MAX_TEXT: Final = 96
"""Characters of a text, at most."""
COUNTS_PER_TURN: Final = 65536
"""Counts of a leg's encoder in a leg cycle."""

HEADER: Final = struct.Struct("<BHI")
CHECK: Final = struct.Struct("<I")
CAPABILITIES: Final = struct.Struct("<BBBfff")
DEVICE_ID: Final = struct.Struct("<Q")
CONFIGURE: Final = struct.Struct("<fff10i")
COMMAND: Final = struct.Struct("<Iff")
TELEMETRY: Final = struct.Struct("<IQI2f2q2f3f3f2ff2f2fBH")
PER_COUNT: Final = 2 * math.pi / COUNTS_PER_TURN


def _finite(values: Iterable[float]) -> None:
    if not all(map(math.isfinite, values)):
        raise ValueError("a value is not finite")


def _pack(layout: struct.Struct, *values: float) -> bytes:
    _finite(values)
    return layout.pack(*values)


def _unpack(layout: struct.Struct, data: bytes) -> tuple[Any, ...]:
    values = layout.unpack(data)
    _finite(values)
    return values


def _pack_text(text: str) -> bytes:
    """A length and printable ASCII; other characters become ``?``, and what is too long is cut."""
    data = "".join(c if " " <= c <= "~" else "?" for c in text[:MAX_TEXT]).encode("ascii")
    return bytes([len(data)]) + data


def _unpack_text(data: bytes) -> tuple[str, bytes]:
    """Text of `_pack_text`, and what follows it."""
    size, text = data[0], data[1:]
    if size > MAX_TEXT or len(text) < size:
        raise ValueError("wrong length of a text")
    if any(not 32 <= byte <= 126 for byte in text[:size]):
        raise ValueError("a text with unprintable characters")
    return text[:size].decode("ascii"), text[size:]


def _unpack_hello(data: bytes, session: int) -> wire.Hello:
    """Those of other versions may be longer."""
    if data[0] == MbmrlCodec.version and len(data) > 1:
        raise ValueError("wrong length")
    return wire.Hello(data[0], session)


def _pack_capabilities(message: wire.Capabilities) -> bytes:
    if message.polled:
        raise ValueError("telemetry is not polled")
    numbers = (message.version, message.motors, message.legs, message.rate, message.dead_man, message.max_speed)
    device_id = DEVICE_ID.pack(message.device_id) if message.device_id else b""
    return _pack(CAPABILITIES, *numbers) + _pack_text(message.firmware) + device_id


def _unpack_capabilities(data: bytes, session: int) -> wire.Capabilities:
    """Those of other versions may be longer."""
    version, motors, legs, rate, dead_man, max_speed = _unpack(CAPABILITIES, data[: CAPABILITIES.size])
    firmware, rest = _unpack_text(data[CAPABILITIES.size :])
    (device_id,) = DEVICE_ID.unpack(rest) if rest and version == MbmrlCodec.version else (0,)
    return wire.Capabilities(version, session, firmware, motors, legs, rate, dead_man, max_speed, device_id=device_id)


def _pack_configure(message: wire.Configure) -> bytes:
    if [len(side) for side in message.gains] != [5, 5]:
        raise ValueError("gains are 5 for each of 2 sides")
    return _pack(CONFIGURE, message.rate, message.max_speed, message.dead_man, *message.gains[0], *message.gains[1])


def _unpack_configure(data: bytes, session: int) -> wire.Configure:
    rate, max_speed, dead_man, *gains = _unpack(CONFIGURE, data)
    return wire.Configure(rate, (tuple(gains[:5]), tuple(gains[5:])), max_speed, dead_man)


def _unpack_acknowledge(data: bytes, session: int) -> wire.Acknowledge:
    reason, rest = _unpack_text(data[2:])
    if rest:
        raise ValueError("wrong length of a text")
    return wire.Acknowledge(REQUESTS[data[0]], (False, True)[data[1]], reason)


def _pack_telemetry(message: wire.Telemetry) -> bytes:
    t = message
    measured = (*t.speeds, *t.gyro, *t.acceleration, *t.back_emf, t.battery, *t.current, *t.temperature)
    _finite((t.time, *t.applied, *t.phases))
    if any(map(math.isinf, measured)):
        raise ValueError("a value is infinite")
    counts = [round(phase / PER_COUNT) for phase in t.phases]
    flags = t.enabled | t.emergency_stop << 1
    faults = sum(1 << wire.FAULTS.index(fault) for fault in set(t.faults))
    numbers = (t.sequence, round(t.time * 1e6), t.command_sequence, *t.applied, *counts, *measured)
    return TELEMETRY.pack(*numbers, flags, faults)


def _unpack_telemetry(data: bytes, session: int) -> wire.Telemetry:
    sequence, time, command_sequence, *v, flags, faults = TELEMETRY.unpack(data)
    _finite(v[:2])
    if flags > 3 or any(map(math.isinf, v)):
        raise ValueError("a flag that does not exist, or an infinite value")
    return wire.Telemetry(
        sequence=sequence,
        time=time / 1e6,
        command_sequence=command_sequence,
        applied=(v[0], v[1]),
        phases=(v[2] * PER_COUNT, v[3] * PER_COUNT),
        speeds=(v[4], v[5]),
        gyro=(v[6], v[7], v[8]),
        acceleration=(v[9], v[10], v[11]),
        back_emf=(v[12], v[13]),
        battery=v[14],
        current=(v[15], v[16]),
        temperature=(v[17], v[18]),
        enabled=bool(flags & 1),
        emergency_stop=bool(flags & 2),
        faults=tuple(name for bit, name in enumerate(wire.FAULTS) if faults >> bit & 1),
    )


ENABLES: Final = {bytes([enabled]): wire.Enable(enabled) for enabled in (False, True)}


@dataclass(frozen=True)
class Kind:
    """How a class of messages travels: number on the line, sender, payload of a message and message of a payload."""

    code: int
    sender: wire.Side
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes, int], wire.Message]


KINDS: Final[dict[type[wire.Message], Kind]] = {
    wire.Hello: Kind(0x01, "host", lambda m: bytes([m.version]), _unpack_hello),
    wire.Configure: Kind(0x02, "host", _pack_configure, _unpack_configure),
    wire.Enable: Kind(0x03, "host", lambda m: bytes([m.enabled]), lambda data, _: ENABLES[data]),
    wire.EmergencyStop: Kind(0x04, "host", lambda m: b"", lambda data, _: {b"": wire.EmergencyStop()}[data]),
    wire.Command: Kind(
        *(0x05, "host"),
        lambda m: _pack(COMMAND, m.sequence, m.left, m.right),
        lambda data, _: wire.Command(*_unpack(COMMAND, data)),
    ),
    wire.Ping: Kind(0x06, "host", lambda m: CHECK.pack(m.token), lambda data, _: wire.Ping(*CHECK.unpack(data))),
    wire.Capabilities: Kind(0x81, "robot", _pack_capabilities, _unpack_capabilities),
    wire.Acknowledge: Kind(
        *(0x82, "robot"),
        lambda m: bytes([CODES[m.request], m.accepted]) + _pack_text(m.reason),
        _unpack_acknowledge,
    ),
    wire.Pong: Kind(0x83, "robot", lambda m: CHECK.pack(m.token), lambda data, _: wire.Pong(*CHECK.unpack(data))),
    wire.Telemetry: Kind(0x84, "robot", _pack_telemetry, _unpack_telemetry),
}
CODES: Final[dict[str, int]] = {kind.__name__: entry.code for kind, entry in KINDS.items() if entry.sender == "host"}
REQUESTS: Final = {code: name for name, code in CODES.items()}


class MbmrlCodec(wire.Codec):
    """Codec of the `mbmrl` protocol."""

    name: ClassVar[str] = "mbmrl"
    version: ClassVar[int] = 1

    def __init__(self, side: wire.Side) -> None:
        """Speak for one side."""
        super().__init__(side)
        self._unpack = {kind.code: kind.unpack for kind in KINDS.values() if kind.sender != side}
        self.reset()

    def reset(self) -> None:
        """Forget an incomplete frame, and all that belongs to the session."""
        self._buffer = bytearray()
        self._too_long = False
        self._begin(0)

    def _begin(self, session: int) -> None:
        """Begin a session; both sides count their frames from 0, the number of the hand-shake's."""
        self._session = session
        self._foreign = False
        self._next_sent = 0
        self._last_received = 0

    def _open(self, message: wire.Hello | wire.Capabilities) -> None:
        """Begin, or confirm, the session of a message to be sent."""
        if not 0 < message.session < 1 << 32:
            raise wire.CodecError(f"a session is a number from 1 to 2^32 - 1, not {message.session}")
        if isinstance(message, wire.Hello):
            self._begin(message.session)
        elif message.session != self._session:
            raise wire.CodecError(f"session {message.session} is not that of the last Hello, {self._session}")
        self._next_sent = 0

    def encode(self, message: wire.Message) -> bytes:
        """As of `Codec`, with a delimiter before and after."""
        kind = KINDS[type(message)]
        if kind.sender != self.side:
            raise wire.CodecError(f"{type(message).__name__} is not sent by a {self.side}")
        try:
            payload = kind.pack(message)
        except (ValueError, KeyError, struct.error, OverflowError) as error:
            raise wire.CodecError(f"{type(message).__name__} does not fit the protocol mbmrl: {error}") from error
        if isinstance(message, wire.Hello | wire.Capabilities):
            self._open(message)
        data = HEADER.pack(kind.code, self._next_sent, self._session) + payload
        self._next_sent = (self._next_sent + 1) & 0xFFFF
        if isinstance(message, wire.Capabilities) and self._foreign:
            self._begin(0)
        stuffed: bytes = cobs.encode(data + CHECK.pack(zlib.crc32(data)))
        return b"\0" + stuffed + b"\0"

    def feed(self, data: bytes) -> list[wire.Message]:
        """Messages that are complete with these bytes, of the other side; never raises."""
        *complete, rest = data.split(b"\0")
        messages = []
        for piece in complete:
            self._take(piece)
            if self._buffer and not self._too_long:
                message = self._decode(bytes(self._buffer))
                if message is not None:
                    messages.append(message)
            self._buffer.clear()
            self._too_long = False
        self._take(rest)
        return messages

    def _take(self, piece: bytes) -> None:
        """Add bytes of a frame; all of one that grows too long are skipped."""
        self._buffer += piece
        if self._too_long or len(self._buffer) > MAX_FRAME:
            self._too_long = True
            self.counts.skipped += len(self._buffer)
            self._buffer.clear()

    def _decode(self, frame: bytes) -> wire.Message | None:
        """The message of what stood between two delimiters; none if it is refused."""
        try:
            data = cobs.decode(frame)
            (check,) = CHECK.unpack(data[-CHECK.size :])
            data = data[: -CHECK.size]
            if zlib.crc32(data) != check:
                raise ValueError("wrong check sum")
            code, number, session = HEADER.unpack_from(data)
            message = self._unpack[code](data[HEADER.size :], session)
        except (cobs.DecodeError, ValueError, IndexError, KeyError, struct.error):
            self.counts.bad += 1
            return None
        if not self._is_current(message, number, session):
            self.counts.stale += 1
            return None
        self.counts.good += 1
        return message

    def _is_current(self, message: wire.Message, number: int, session: int) -> bool:
        """Whether a frame belongs to this session and is newer than the last one; a stop always counts."""
        if isinstance(message, wire.Hello) and session:
            self._begin(session)
            self._foreign = message.version != self.version
            return True
        if session == 0 or session != self._session:
            return isinstance(message, wire.EmergencyStop)
        ahead = (number - self._last_received) & 0xFFFF
        if isinstance(message, wire.Capabilities):
            self._last_received = number
        elif 0 < ahead < 0x8000:
            self.counts.lost += ahead - 1
            self._last_received = number
        else:
            return isinstance(message, wire.EmergencyStop)
        return True
