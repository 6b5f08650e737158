"""Names that only one process of a machine can hold."""

from __future__ import annotations

import errno
import hashlib
import socket


def hold(name: str) -> socket.socket | None:
    """Hold a name as long as the socket that is returned is open; None if another process holds it.

    It is held by an abstract socket of Linux, which needs no file, and ends with its process.
    """
    digest = hashlib.sha256(name.encode()).hexdigest()  # socket names are short
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0mbmrl-{digest}")
    except OSError as error:
        held.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return held
