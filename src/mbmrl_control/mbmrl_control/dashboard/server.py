"""Serves a page to browsers, and to nobody else."""

from __future__ import annotations

import hmac
import io
import ipaddress
import re
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import redirect_stdout
from http import HTTPStatus
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import parse_qs, quote, unquote, urlsplit

import viser
import websockets.asyncio.server
from websockets.http11 import Request, Response

_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_COOKIE: Final = "mbmrl_token"
REQUESTS: Final = 300
"""Requests that an address may make at once; opening the page takes some ten."""
_RECOVERY: Final = 10.0
"""Time in which it may make as many again, s."""
_REFUSED: Final = 10
"""Requests as which one counts that is refused: whoever guesses tokens gets nowhere."""
_ADDRESSES: Final = 1000
"""Addresses of which it is known what they asked for."""


class Requests:
    """How much each address may still ask for: a bucket of REQUESTS that fills in _RECOVERY."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock, s."""
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, address: str) -> bool:
        """Whether an address may ask for something now."""
        return self._left(address) >= 1.0

    def count(self, address: str, refused: bool) -> None:
        """Count a request of an address, which was refused or not."""
        self._seen[address] = (self._left(address) - (_REFUSED if refused else 1), self._clock())
        self._seen.move_to_end(address)
        if len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)

    def _left(self, address: str) -> float:
        left, seen = self._seen.get(address, (REQUESTS, 0.0))
        return min(REQUESTS, left + (self._clock() - seen) * REQUESTS / _RECOVERY)


class PageServer:
    """A server of a page at an address.

    A browser sends what any page in it asks for, with the name of that page: only requests of this page are answered
    (cross-site WebSocket hijacking, DNS rebinding). Whoever comes from another machine needs a token, which is part of
    the address that is to be opened.
    """

    def __init__(self, host: str, port: int, token: str = "") -> None:
        """Serve.

        Args:
            host: Address of this machine; 0.0.0.0: all of them.
            port: 0: any that is free.
            token: Beyond this machine: if none is given one is made up.

        Raises:
            ValueError: If nothing can be served there.
        """
        try:
            # viser goes on to the next port if one is in use: who typed an address would see another robot's page.
            with socket.create_server((host, port)) as free:
                port = free.getsockname()[1]
        except OSError as error:
            why = str(error.strerror).partition(" (while")[0]  # Python adds the address, which is named already
            raise ValueError(f"no page can be served at {host}:{port}: {why}") from None
        self._requests = Requests()
        # Two pages of a machine have their own.
        self._cookie = f"{_COOKIE}_{port}"
        self._token = "" if _is_local(host) else token or secrets.token_urlsafe(12)
        real = websockets.asyncio.server.serve

        def serve(handler: Any, host: str, port: int, *, process_request: Any, **others: Any) -> Any:
            return real(handler, host, port, process_request=self._checked(process_request), **others)

        # viser has no place for a check of its own; it looks serve up when its thread starts, within the constructor.
        with redirect_stdout(io.StringIO()), patch.object(websockets.asyncio.server, "serve", serve):
            self.viser = viser.ViserServer(host, port, verbose=False)
        self.viser.gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
        self.viser.gui.main_panel.dock_right()
        self.viser.gui.set_panel_label("mbmrl")
        names = [socket.gethostname(), *_addresses()] if host in ("0.0.0.0", "::") else [host]
        query = f"/?token={quote(self._token, safe='')}" if self._token else ""
        self.address = " or ".join(f"http://{name}:{port}{query}" for name in names)
        """What is to be opened."""

    def close(self) -> None:
        """Serve no more."""
        with redirect_stdout(io.StringIO()):
            self.viser.stop()

    def _checked(self, answer: Callable[[Any, Request], Response | None]) -> Callable[[Any, Request], Response | None]:
        def checked(connection: Any, request: Request) -> Response | None:
            address = str(connection.remote_address[0])
            # Without a token there is none to guess, and a flood must not lock out who wants to stop the robot.
            if self._token and not self._requests.allow(address):
                busy: Response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many requests: wait 10 s\n")
                return busy
            why = self._refusal(request)
            self._requests.count(address, bool(why))
            if why:
                refused: Response = connection.respond(HTTPStatus.FORBIDDEN, f"{why}\n")
                return refused
            response = answer(connection, request)
            if response is not None and self._token:
                value = f"{self._cookie}={quote(self._token, safe='')}"
                response.headers["Set-Cookie"] = f"{value}; HttpOnly; SameSite=Strict; Path=/"
            return response

        return checked

    def _refusal(self, request: Request) -> str:
        """Why a request is not answered; empty if it is."""
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if origin is not None and _place(origin) != host:
            return f"this is asked for by another page, {origin}"
        if not self._token:
            return "" if _name(host) in _LOCAL else f"{host} is not an address of this page"
        # Cookies are shared by all ports of a host: others may be of any form.
        cookie = re.search(rf"(?:^|;)\s*{self._cookie}=([^;]*)", request.headers.get("Cookie", ""))
        given = parse_qs(urlsplit(request.path).query).get("token", [unquote(cookie[1]) if cookie else ""])[0]
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return ""
        return "the token is missing or wrong: open the address that was shown at the start"


def _place(address: str) -> str | None:
    """Host and port of an address; None if it is none."""
    try:
        return urlsplit(address).netloc
    except ValueError:
        return None


def _name(host: str) -> str | None:
    """Name of a host with a port; None if it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _addresses() -> list[str]:
    """The address by which other machines know this one, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # of nobody (RFC 5737); nothing is sent
        except OSError:
            return []
        return [str(probe.getsockname()[0])]


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
