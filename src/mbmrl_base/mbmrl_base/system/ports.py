"""Ports of this machine."""

from __future__ import annotations

import socket
from contextlib import suppress


def free_port(port: int) -> int:
    """A port of this machine that is free: the one that is given, if it is."""
    for wanted in (port, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", wanted)) as free:
            return int(free.getsockname()[1])
    raise OSError("no port is free")
