"""Serves a page to browsers."""

from __future__ import annotations

import io
import socket
from contextlib import redirect_stdout

import viser


def serve(host: str, port: int) -> viser.ViserServer:
    """A server at an address and a port; 0: any that is free.

    Raises:
        ValueError: If nothing can be served there.
    """
    try:
        # viser goes on to the next port if one is in use: who typed an address would see another robot's page.
        with socket.create_server((host, port)) as free:
            port = free.getsockname()[1]
    except OSError as error:
        raise ValueError(f"no page can be served at {host}:{port}: {error.strerror}") from None
    with redirect_stdout(io.StringIO()):  # it prints a banner
        return viser.ViserServer(host, port, verbose=False)
