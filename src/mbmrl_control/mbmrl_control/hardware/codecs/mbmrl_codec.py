"""The `mbmrl` protocol: COBS frames with a CRC-32, session and frame number; docs/protocol.md is its description."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from cobs import cobs

from mbmrl_control.hardware.codecs.codec import (
    FAULTS,
    Acknowledge,
    Capabilities,
    Codec,
    CodecError,
    Command,
    Configure,
    EmergencyStop,
    Enable,
    Hello,
    Message,
    Ping,
    Pong,
    Side,
    Telemetry,
)

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


def pack_text(text: str) -> bytes:
    """A length and printable ASCII; other characters become ``?``, and what is too long is cut."""
    data = "".join(c if " " <= c <= "~" else "?" for c in text[:MAX_TEXT]).encode("ascii")
    return bytes([len(data)]) + data


def unpack_text(data: bytes, *, more: bool = False) -> str:
    """Text of `pack_text`; ``more`` allows bytes after it.

    Raises:
        ValueError: If it is not.
    """
    size, text = data[0] if data else MAX_TEXT + 1, data[1:]
    if size > MAX_TEXT or len(text) < size or (len(text) > size and not more):
        raise ValueError("wrong length of a text")
    if any(not 32 <= byte <= 126 for byte in text[:size]):
        raise ValueError("a text with unprintable characters")
    return text[:size].decode("ascii")


def finite(*values: float) -> None:
    """Refuse what is infinite or not a number.

    Raises:
        ValueError: If a value is.
    """
    if not all(map(math.isfinite, values)):
        raise ValueError("a value is not finite")


def pack_hello(message: Hello) -> bytes:
    """Payload of a `Hello`."""
    return bytes([message.version])


def unpack_hello(data: bytes, session: int) -> Hello:
    """`Hello` of a payload; those of other versions may be longer."""
    if data[0] == MbmrlCodec.version and len(data) > 1:
        raise ValueError("wrong length")
    return Hello(data[0], session)


def pack_capabilities(message: Capabilities) -> bytes:
    """Payload of `Capabilities`."""
    finite(message.rate, message.dead_man, message.max_speed)
    if message.polled:
        raise ValueError("telemetry is not polled")
    numbers = (message.version, message.motors, message.legs, message.rate, message.dead_man, message.max_speed)
    device_id = DEVICE_ID.pack(message.device_id) if message.device_id else b""
    return CAPABILITIES.pack(*numbers) + pack_text(message.firmware) + device_id


def unpack_capabilities(data: bytes, session: int) -> Capabilities:
    """`Capabilities` of a payload; those of other versions may be longer."""
    version, motors, legs, rate, dead_man, max_speed = CAPABILITIES.unpack_from(data)
    finite(rate, dead_man, max_speed)
    firmware = unpack_text(data[CAPABILITIES.size :], more=True)
    rest = data[CAPABILITIES.size + 1 + len(firmware) :] if version == MbmrlCodec.version else b""
    (device_id,) = DEVICE_ID.unpack(rest) if rest else (0,)
    return Capabilities(version, session, firmware, motors, legs, rate, dead_man, max_speed, device_id=device_id)


def pack_configure(message: Configure) -> bytes:
    """Payload of a `Configure`."""
    finite(message.rate, message.max_speed, message.dead_man)
    gains = [gain for side in message.gains for gain in side]
    if [len(side) for side in message.gains] != [5, 5]:
        raise ValueError("gains are 5 for each of 2 sides")
    return CONFIGURE.pack(message.rate, message.max_speed, message.dead_man, *gains)


def unpack_configure(data: bytes, session: int) -> Configure:
    """`Configure` of a payload."""
    rate, max_speed, dead_man, *gains = CONFIGURE.unpack(data)
    finite(rate, max_speed, dead_man)
    return Configure(rate, (tuple(gains[:5]), tuple(gains[5:])), max_speed, dead_man)


def unpack_enable(data: bytes, session: int) -> Enable:
    """`Enable` of a payload."""
    return Enable((False, True)[single(data)])


def single(data: bytes) -> int:
    """The one byte of a payload.

    Raises:
        ValueError: If there are more or none.
    """
    (value,) = data
    return value


def nothing(data: bytes, session: int) -> EmergencyStop:
    """`EmergencyStop`, whose payload is empty."""
    if data:
        raise ValueError("a payload where none belongs")
    return EmergencyStop()


def pack_command(message: Command) -> bytes:
    """Payload of a `Command`."""
    finite(message.left, message.right)
    return COMMAND.pack(message.sequence, message.left, message.right)


def unpack_command(data: bytes, session: int) -> Command:
    """`Command` of a payload."""
    sequence, left, right = COMMAND.unpack(data)
    finite(left, right)
    return Command(sequence, left, right)


def pack_acknowledge(message: Acknowledge) -> bytes:
    """Payload of an `Acknowledge`."""
    return bytes([CODES[message.request], message.accepted]) + pack_text(message.reason)


def unpack_acknowledge(data: bytes, session: int) -> Acknowledge:
    """`Acknowledge` of a payload."""
    return Acknowledge(REQUESTS[data[0]], (False, True)[data[1]], unpack_text(data[2:]))


def pack_telemetry(message: Telemetry) -> bytes:
    """Payload of `Telemetry`."""
    t = message
    finite(t.time, *t.applied, *t.phases)
    measured = (*t.speeds, *t.gyro, *t.acceleration, *t.back_emf, t.battery, *t.current, *t.temperature)
    if any(map(math.isinf, measured)):
        raise ValueError("a value is infinite")
    counts = [round(phase / PER_COUNT) for phase in t.phases]
    flags = t.enabled | t.emergency_stop << 1
    faults = sum(1 << FAULTS.index(fault) for fault in set(t.faults))
    numbers = (t.sequence, round(t.time * 1e6), t.command_sequence, *t.applied, *counts, *measured)
    return TELEMETRY.pack(*numbers, flags, faults)


def unpack_telemetry(data: bytes, session: int) -> Telemetry:
    """`Telemetry` of a payload."""
    sequence, time, command_sequence, *v, flags, faults = TELEMETRY.unpack(data)
    finite(*v[:2])
    if flags > 3 or any(map(math.isinf, v)):
        raise ValueError("a flag that does not exist, or an infinite value")
    return Telemetry(
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
        faults=tuple(name for bit, name in enumerate(FAULTS) if faults >> bit & 1),
    )


@dataclass(frozen=True)
class Kind:
    """How a class of messages travels: number on the line, sender, payload of a message and message of a payload."""

    code: int
    sender: Side
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes, int], Message]


KINDS: Final[dict[type[Message], Kind]] = {
    Hello: Kind(0x01, "host", pack_hello, unpack_hello),
    Configure: Kind(0x02, "host", pack_configure, unpack_configure),
    Enable: Kind(0x03, "host", lambda m: bytes([m.enabled]), unpack_enable),
    EmergencyStop: Kind(0x04, "host", lambda m: b"", nothing),
    Command: Kind(0x05, "host", pack_command, unpack_command),
    Ping: Kind(0x06, "host", lambda m: CHECK.pack(m.token), lambda data, session: Ping(*CHECK.unpack(data))),
    Capabilities: Kind(0x81, "robot", pack_capabilities, unpack_capabilities),
    Acknowledge: Kind(0x82, "robot", pack_acknowledge, unpack_acknowledge),
    Pong: Kind(0x83, "robot", lambda m: CHECK.pack(m.token), lambda data, session: Pong(*CHECK.unpack(data))),
    Telemetry: Kind(0x84, "robot", pack_telemetry, unpack_telemetry),
}
CODES: Final = {kind.__name__: entry.code for kind, entry in KINDS.items() if entry.sender == "host"}
REQUESTS: Final = {code: name for name, code in CODES.items()}


class MbmrlCodec(Codec):
    """Codec of the `mbmrl` protocol."""

    name: ClassVar[str] = "mbmrl"
    version: ClassVar[int] = 1

    def __init__(self, side: Side) -> None:
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

    def _open(self, message: Hello | Capabilities) -> None:
        """Begin, or confirm, the session of a message to be sent."""
        if not 0 < message.session < 1 << 32:
            raise CodecError(f"a session is a number from 1 to 2^32 - 1, not {message.session}")
        if isinstance(message, Hello):
            self._begin(message.session)
        elif message.session != self._session:
            raise CodecError(f"session {message.session} is not that of the last Hello, {self._session}")
        self._next_sent = 0

    def encode(self, message: Message) -> bytes:
        """The bytes of a message, with a delimiter before and after.

        Raises:
            CodecError: If the message is not one of this side, or its values do not fit.
        """
        kind = KINDS[type(message)]
        if kind.sender != self.side:
            raise CodecError(f"{type(message).__name__} is not sent by a {self.side}")
        try:
            payload = kind.pack(message)
        except (ValueError, KeyError, struct.error, OverflowError) as error:
            raise CodecError(f"{type(message).__name__} does not fit the protocol mbmrl: {error}") from error
        if isinstance(message, Hello | Capabilities):
            self._open(message)
        data = HEADER.pack(kind.code, self._next_sent, self._session) + payload
        self._next_sent = (self._next_sent + 1) & 0xFFFF
        if isinstance(message, Capabilities) and self._foreign:
            self._begin(0)
        stuffed: bytes = cobs.encode(data + CHECK.pack(zlib.crc32(data)))
        return b"\0" + stuffed + b"\0"

    def feed(self, data: bytes) -> list[Message]:
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

    def _decode(self, frame: bytes) -> Message | None:
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

    def _is_current(self, message: Message, number: int, session: int) -> bool:
        """Whether a frame belongs to this session and is newer than the last one; a stop always counts."""
        if isinstance(message, Hello) and session:
            self._begin(session)
            self._foreign = message.version != self.version
            return True
        if session == 0 or session != self._session:
            return isinstance(message, EmergencyStop)
        ahead = (number - self._last_received) & 0xFFFF
        if isinstance(message, Capabilities):
            self._last_received = number
        elif 0 < ahead < 0x8000:
            self.counts.lost += ahead - 1
            self._last_received = number
        else:
            return isinstance(message, EmergencyStop)
        return True
