"""How packets of the robot's own firmware are framed: in XBee API frames over the radio, or on the wired line.

A packet is ``status u8, type u8, data``. Neither frame has more than an 8-bit sum, so the length that belongs to a
type is checked as soon as the type is known; that also ends the wait for the rest of a frame that is none.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

from mbmrl_control.hardware.codecs.wire import FrameCounts, Side

BROADCAST: Final = 0xFFFF
"""The address of all radios."""
MAX_PACKET: Final = 100
"""Bytes of a packet, at most: what one frame of the radio carries."""
RSSI: Final = 40
"""Signal strength that the robot's side claims, -dBm."""

Lengths = Mapping[int, range]
"""How many bytes of data a packet to this side may have, by its type."""


class Framing(ABC):
    """Puts packets into frames and finds them again."""

    name: ClassVar[str]
    overhead: ClassVar[int]

    def __init__(self, side: Side, address: int) -> None:
        """Frame for one side of the line to the robot with a radio address."""
        self.side, self.address = side, address

    @abstractmethod
    def wrap(self, packet: bytes) -> bytes:
        """The frame of a packet."""

    @abstractmethod
    def measure(self, data: bytes, lengths: Lengths) -> int | None:
        """Length of the frame that data begins with; 0 if it begins with none, None if more must come."""

    @abstractmethod
    def unwrap(self, frame: bytes) -> bytes | None:
        """The packet of a frame, empty if the frame is not for us; None if its sum is wrong."""

    def split(self, buffer: bytearray, lengths: Lengths, counts: FrameCounts) -> list[bytes]:
        """Take all complete frames from a buffer, and return their packets."""
        packets, start = [], 0
        while start < len(buffer):
            data = bytes(buffer[start : start + MAX_PACKET + self.overhead])
            size = self.measure(data, lengths)
            if size is None:
                break
            packet = self.unwrap(data[:size]) if size else None
            if packet is None:
                counts.bad += size > 0
                counts.skipped += 1
                start += 1
                continue
            start += size
            packets += [packet] if packet else []
        del buffer[:start]
        return packets


class XbeeFraming(Framing):
    """XBee API frames without escaping: ``7E, length u16, id, ..., 0xFF - sum``, big-endian.

    The host sends TX16 (id 0x01: frame id, destination u16, options) and receives RX16 (0x81: source u16, RSSI,
    options), the robot's side the other way round; the radio's own reports on sending and on itself are passed over.
    """

    name: ClassVar[str] = "xbee"
    overhead: ClassVar[int] = 9

    def wrap(self, packet: bytes) -> bytes:
        """The frame of a packet."""
        if self.side == "host":
            body = struct.pack(">BBHB", 0x01, 0, self.address, 0) + packet
        else:
            body = struct.pack(">BHBB", 0x81, self.address, RSSI, 0) + packet
        return struct.pack(">BH", 0x7E, len(body)) + body + bytes([0xFF - sum(body) & 0xFF])

    def measure(self, data: bytes, lengths: Lengths) -> int | None:
        """Length of the frame that data begins with; 0 if it begins with none, None if more must come."""
        if data[0] != 0x7E or data[1:2] not in (b"", b"\0"):
            return 0
        if len(data) < 4:
            return None
        length, kind = data[2], data[3]
        report = self.side == "host" and (length, kind) in ((3, 0x89), (2, 0x8A))
        if not report and (kind != (0x81 if self.side == "host" else 0x01) or not 7 <= length <= 5 + MAX_PACKET):
            return 0
        if not report and len(data) >= 10 and length - 7 not in lengths.get(data[9], ()):
            return 0
        return length + 4 if len(data) >= length + 4 else None

    def unwrap(self, frame: bytes) -> bytes | None:
        """The packet of a frame, empty if the frame is not for us; None if its sum is wrong."""
        if sum(frame[3:]) & 0xFF != 0xFF:
            return None
        if frame[3] in (0x89, 0x8A):
            return b""
        address = int.from_bytes(frame[4:6] if self.side == "host" else frame[5:7], "big")
        return frame[8:-1] if address == self.address or BROADCAST in (address, self.address) else b""


class WiredFraming(Framing):
    """Frames of the wired line: ``L, ~L, packet, sum``; L counts the whole frame, the sum begins with 0xFF."""

    name: ClassVar[str] = "wired"
    overhead: ClassVar[int] = 3

    def wrap(self, packet: bytes) -> bytes:
        """The frame of a packet."""
        length = len(packet) + 3
        return bytes([length, ~length & 0xFF]) + packet + bytes([(0xFF + sum(packet)) & 0xFF])

    def measure(self, data: bytes, lengths: Lengths) -> int | None:
        """Length of the frame that data begins with; 0 if it begins with none, None if more must come."""
        length = data[0]
        if not 5 <= length <= MAX_PACKET + 3 or (len(data) > 1 and data[1] != ~length & 0xFF):
            return 0
        if len(data) >= 4 and length - 5 not in lengths.get(data[3], ()):
            return 0
        return length if len(data) >= length else None

    def unwrap(self, frame: bytes) -> bytes | None:
        """The packet of a frame; None if its sum is wrong."""
        return frame[2:-1] if (0xFF + sum(frame[2:-1])) & 0xFF == frame[-1] else None


FRAMINGS: Final[dict[str, type[Framing]]] = {framing.name: framing for framing in (XbeeFraming, WiredFraming)}
