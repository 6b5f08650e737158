"""What is no port, or has no robot behind it: one sentence each; over real pseudo-terminals and files."""

from __future__ import annotations

import os
import select
import socket
import threading
import tty
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hardware_testing import LIMIT
from mbmrl_control.hardware.link import link as links
from mbmrl_control.hardware.link import port as ports
from mbmrl_control.hardware.link.link import Link
from mbmrl_control.hardware.link.port import LinkError, open_port
from mbmrl_control.hardware.settings import BridgeSettings, ProtocolSettings

PROTOCOLS = ("mbmrl", "velociroach")


def refusal(port: Path | str) -> str:
    with pytest.raises(LinkError) as error:
        open_port(str(port), 115200)
    text = str(error.value)
    assert "\n" not in text
    assert "Errno" not in text and "(25" not in text
    return text


def test_path_that_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for port in (*(tmp_path / name for name in ("none", "dangling", "loop", "file/tty")), "x" * 5000, "a\0b"):
        assert refusal(port).startswith(f"there is no port {port}: ")
    assert refusal("").startswith("no serial port is given: ")


def test_file_that_is_no_port(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for port in (tmp_path, *(tmp_path / name for name in ("file", "fifo", "socket")), "/dev/null", "/dev/random"):
            assert refusal(port) == f"{port} is no serial port"


def test_folder_that_is_closed_to_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ports.os, "stat", closed)
    assert refusal(tmp_path) == f"{tmp_path} may not be opened by this user: a folder on its path is closed to it"


def test_port_that_is_pulled_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    (tmp_path / "tty").symlink_to(os.ttyname(slave))
    monkeypatch.setattr(ports.os, "access", lambda *_: not (tmp_path / "tty").unlink())
    text = refusal(tmp_path / "tty")
    assert text == f"{tmp_path / 'tty'} cannot be opened as a serial port: No such file or directory"
    os.close(slave)
    os.close(master)


def test_other_device_that_is_pulled_while_ports_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyserial reads numbers of files that are gone then."""
    monkeypatch.setattr(ports.list_ports, "comports", lambda: int(None))  # type: ignore[call-overload]
    assert refusal("/dev/ttyNONE") == "a device was pulled while this machine's serial ports were looked for"


def test_port_that_may_not_be_opened_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    monkeypatch.setattr(ports.os, "access", lambda *_: False)
    monkeypatch.setattr(ports.grp, "getgrgid", lambda _: type("Group", (), {"gr_name": "dialout"}))
    monkeypatch.setattr(ports.os, "getgroups", lambda: [])
    with pytest.raises(LinkError, match=r"for the group dialout; `sudo usermod -a -G dialout \$USER`"):
        open_port(os.ttyname(slave), 115200)
    os.close(slave)
    os.close(master)


class Device:
    """Something at the other end of a line that is no robot, and says what it wants to."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self.master, False)
        self.port = os.ttyname(slave)
        self._slave = slave
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def chatter(self, data: bytes) -> None:
        """Say something again and again, as fast as 1 Mbit/s takes."""

        def talk() -> None:
            while not self._stop.wait(len(data) * 10 / 1e6):
                try:
                    os.write(self.master, data)
                    os.read(self.master, 4096)
                except BlockingIOError:
                    pass  # it has all been read, or nobody reads

        self._threads.append(threading.Thread(target=talk))
        self._threads[-1].start()

    def pull(self) -> None:
        """Pull its cable as soon as it was asked something."""

        def wait() -> None:
            select.select([self.master], [], [], LIMIT)
            os.close(self.master)

        self._threads.append(threading.Thread(target=wait))
        self._threads[-1].start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for file in (self.master, self._slave):
            with suppress(OSError):  # it was pulled
                os.close(file)


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    device.end()


@pytest.fixture(params=PROTOCOLS)
def link(device: Device, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Link:
    monkeypatch.setattr(links, "HELLO_TRIES", 3)
    codec = ProtocolSettings(protocol=request.param).codec("host")
    return Link(BridgeSettings(port=device.port), codec, lambda sample: None, lambda reason, lost: None)


def why(link: Link) -> str:
    link.run()
    with pytest.raises(LinkError) as error:
        link.wait_open()
    return str(error.value)


def test_silent_device(device: Device, link: Link) -> None:
    text = why(link)
    assert text.startswith(f"no robot that speaks {link.codec.name} answers on {device.port} at 1000000 baud: nothing")
    assert "\n" not in text


@pytest.mark.parametrize(
    "data", [b"$GPGGA,092750.000,5321.6802,N,00630.3372,W,1,8,1.03,61.7,M*76\r\n", bytes(range(256)) * 4]
)
def test_device_that_says_something_else(data: bytes, device: Device, link: Link) -> None:
    device.chatter(data)
    text = why(link)
    assert text.startswith(f"no robot that speaks {link.codec.name} answers on {device.port} at 1000000 baud: what")
    assert "\n" not in text


def test_cable_that_is_pulled_at_the_start(device: Device, link: Link) -> None:
    device.pull()
    assert why(link).startswith(f"{device.port} was lost: ")
