"""A serial port with a codec: messages go in and out, and another thread can wake up the one that waits."""

from __future__ import annotations

import os
import select
import socket

import serial

from mbmrl_control.hardware.codecs.wire import Codec, HostMessage, Message
from mbmrl_control.hardware.link.port import WRITE_TIME, LinkLostError, close_port, open_port


class Line:
    """The host's end of a line; only `wake` may be called by several threads."""

    def __init__(self, port: str, baud: int, codec: Codec) -> None:
        """Take a port, its speed, bit/s, and the host's side of a protocol."""
        self.port, self.baud, self.codec = port, baud, codec
        self.received = 0
        """Bytes that have arrived."""
        self._opened: serial.Serial | None = None
        self._alarm, self._bell = socket.socketpair()
        self._bell.setblocking(False)

    @property
    def is_open(self) -> bool:
        """Whether the port is open."""
        return self._opened is not None

    def open(self) -> None:
        """Open the port.

        Raises:
            LinkError: If it cannot be opened.
        """
        self._opened = open_port(self.port, self.baud)

    def close(self) -> None:
        """Close the port, if it is open."""
        if self._opened is not None:
            close_port(self._opened)
            self._opened = None

    def end(self) -> None:
        """Close it for good."""
        self.close()
        self._alarm.close()
        self._bell.close()

    def wake(self) -> None:
        """End the wait of the thread that receives."""
        try:
            self._bell.send(b"!")
        except OSError:
            return  # it is awake already, or has ended

    def send(self, message: HostMessage) -> None:
        """Write a message.

        Raises:
            LinkLostError: If the port does not take it.
        """
        assert self._opened is not None
        port, data = self._opened.fd, self.codec.encode(message)
        try:
            while data:
                # Not by pyserial, which takes a thread that was held up for a port that was.
                if not select.select([], [port], [], WRITE_TIME)[1]:
                    raise LinkLostError(f"{self.port} takes no more bytes")
                data = data[os.write(port, data) :]
        except OSError as error:
            raise LinkLostError(f"{self.port} was lost: {os.strerror(error.errno or 0)}") from None

    def receive(self, longest: float) -> list[Message]:
        """Messages that have arrived, after a wait of at most a time, s, until bytes are there.

        Raises:
            LinkLostError: If the port is gone.
        """
        port = [] if self._opened is None else [self._opened.fd]
        try:
            readable, _, _ = select.select([*port, self._alarm], [], [], max(0.0, longest))
            if self._alarm in readable:
                self._alarm.recv(4096)
            if not port or port[0] not in readable:
                return []
            data = os.read(port[0], 4096)
        except OSError as error:
            raise LinkLostError(f"{self.port} was lost: {os.strerror(error.errno or 0)}") from None
        if not data:
            raise LinkLostError(f"{self.port} was lost: its other end is closed")
        self.received += len(data)
        return self.codec.feed(data)
