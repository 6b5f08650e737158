"""Who is answered: real requests over real sockets."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest
import websockets.exceptions
from websockets.sync.client import connect

from mbmrl_control.dashboard.server import REQUESTS, PageServer, Requests


@pytest.fixture
def local() -> Iterator[PageServer]:
    server = PageServer("127.0.0.1", 0)
    yield server
    server.close()


@pytest.fixture
def public() -> Iterator[PageServer]:
    server = PageServer("0.0.0.0", 0, "secret")
    yield server
    server.close()


def get(server: PageServer, path: str = "/", **headers: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.viser.get_port())
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, text, answer.headers.get("Set-Cookie", "")


def knock(server: PageServer, **headers: str) -> int:
    """Status of the answer to who wants a connection that stays open."""
    port = server.viser.get_port()
    try:
        with connect(f"ws://127.0.0.1:{port}", additional_headers=headers, compression=None):
            return 101
    except websockets.exceptions.InvalidStatus as refusal:
        return refusal.response.status_code


def test_own_page_is_answered_without_a_token(local: PageServer) -> None:
    code, text, _ = get(local)
    assert code == 200 and "<html" in text
    assert knock(local, Origin=f"http://127.0.0.1:{local.viser.get_port()}") == 101


def test_other_pages_are_refused(local: PageServer) -> None:
    assert knock(local, Origin="http://elsewhere.example") == 403
    code, text, _ = get(local, Host="elsewhere.example")
    assert code == 403 and text == "elsewhere.example is not an address of this page\n"


def test_other_machines_need_the_token(public: PageServer) -> None:
    code, text, _ = get(public)
    assert code == 403 and text.startswith("the token is missing or wrong")
    assert get(public, "/?token=wrong")[0] == 403
    assert knock(public) == 403
    code, _, cookie = get(public, "/?token=secret")
    assert code == 200
    name = cookie.split(";")[0]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert get(public, "/index.html", Cookie=name)[0] == 200
    assert knock(public, Cookie=name) == 101
    assert public.address.endswith("/?token=secret")


def test_token_is_made_up_for_other_machines() -> None:
    servers = [PageServer("0.0.0.0", 0) for _ in range(2)]
    tokens = {server.address.partition("token=")[2] for server in servers}
    for server in servers:
        server.close()
    assert len(tokens) == 2 and all(len(token) >= 16 for token in tokens)


def test_port_in_use_and_a_foreign_address_are_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"no page can be served at 127\.0\.0\.1:{port}: Address already in use"):
            PageServer("127.0.0.1", port)
    with pytest.raises(ValueError, match=r"no page can be served at 192\.0\.2\.1:8080"):
        PageServer("192.0.2.1", 8080)


def test_cookies_of_others_and_headers_of_any_form_do_no_harm(local: PageServer, public: PageServer) -> None:
    code, _, cookie = get(public, "/?token=secret", Cookie='foo@bar=1; "=; mbmrl_token=old')
    assert code == 200
    assert get(public, Cookie=f"foo@bar=1; {cookie.partition(';')[0]}")[0] == 200
    for headers in ({"Host": "["}, {"Origin": "http://["}):
        assert get(local, **headers)[0] == 403


def test_token_may_be_of_any_letters() -> None:
    server = PageServer("0.0.0.0", 0, 'a b&c;"ö')
    try:
        path = server.address.split(" or ")[0].partition(f":{server.viser.get_port()}")[2]
        code, _, cookie = get(server, path)
        assert code == 200
        assert get(server, Cookie=cookie.partition(";")[0])[0] == 200
        assert get(server, "/?token=a")[0] == 403
    finally:
        server.close()


def test_address_that_guesses_tokens_is_not_looked_at_for_a_while(local: PageServer, public: PageServer) -> None:
    answers = [get(public, "/?token=guessed")[0] for _ in range(40)]
    assert answers.count(403) >= 30 and answers[-1] == 429
    assert get(public, "/?token=secret")[:2] == (429, "too many requests: wait 10 s\n")
    assert {get(local, Host="elsewhere.example")[0] for _ in range(40)} == {403}


def test_each_address_has_its_own_requests_which_come_back() -> None:
    now = 100.0
    requests = Requests(lambda: now)
    for _ in range(REQUESTS):
        assert requests.allow("one")
        requests.count("one", refused=False)
    assert not requests.allow("one") and requests.allow("two")
    now += 1.0
    allowed = 0
    while requests.allow("one"):
        requests.count("one", refused=False)
        allowed += 1
    assert allowed == REQUESTS // 10
    for number in range(2000):
        requests.count(f"address {number}", refused=True)
    assert requests.allow("one"), "old addresses are forgotten: memory is bounded"
