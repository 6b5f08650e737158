"""Which robot is on the line: it is known again after a lost link, or is not taken; over real pseudo-terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hardware_testing import Host, Robot, until
from mbmrl_control.hardware.codecs.wire import Capabilities
from mbmrl_control.hardware.emulator.board import FirmwareSettings
from mbmrl_control.hardware.link import port as ports
from mbmrl_control.hardware.link.identity import AnotherRobotError, Identity
from mbmrl_control.hardware.link.port import Adapter, LinkError, adapter_of
from mbmrl_sim.millirobot.world import World

MakeRobot = Callable[..., Robot]
MakeHost = Callable[..., Host]


@pytest.fixture
def robot_of(tmp_path: Path) -> Iterator[MakeRobot]:
    """A function that starts an emulated robot with a name."""
    with ExitStack() as stack:

        def make(name: str, **settings: Any) -> Robot:
            (tmp_path / name).mkdir()
            world = World()
            stack.callback(world.close)
            return stack.enter_context(Robot(world, tmp_path / name, **settings))

        yield make


@pytest.fixture
def host_of(robot_of: MakeRobot) -> Iterator[MakeHost]:
    """A function that links to a robot; it is ended before the robots are."""
    with ExitStack() as stack:
        yield lambda robot, **settings: stack.enter_context(Host(robot, **settings))


def point(link: Path, robot: Robot) -> None:
    """Let a name of a port be that of a robot."""
    link.unlink(missing_ok=True)
    link.symlink_to(robot.port)


def walking(host: Host, robot: Robot) -> None:
    host.link.wait_open()
    host.link.enable()
    host.drive(lambda: robot.moves)


def test_another_robot_under_the_same_name_is_not_taken(robot_of: MakeRobot, host_of: MakeHost, tmp_path: Path) -> None:
    first, second = robot_of("first"), robot_of("second")
    point(port := tmp_path / "port", first)
    host = host_of(first, port=str(port))
    walking(host, first)
    point(port, second)
    seen = len(host.samples)
    host.drive(lambda: len(host.samples) > seen + 10)
    assert first.moves  # what is open stays open
    first.emulator.unplug()
    until(lambda: host.link.status.another)
    assert "another robot is on the line: its device id is" in host.link.status.reason
    with pytest.raises(LinkError, match="another robot"):
        host.link.enable()
    tries = second.firmware._session
    until(lambda: second.firmware._session != tries)  # it looks again, and
    assert not second.firmware._rate and not second.firmware.enabled  # leaves it as it is
    assert host.link.counts.sessions == 1
    first.emulator.plug()
    until(first.port.exists)
    point(port, first)
    until(lambda: host.link.status.state == "ready")
    assert not host.link.status.another and not host.link.status.doubt
    walking(host, first)


def test_new_link_takes_the_other_robot(robot_of: MakeRobot, host_of: MakeHost, tmp_path: Path) -> None:
    first, second = robot_of("first"), robot_of("second")
    point(port := tmp_path / "port", first)
    with Host(first, port=str(port)) as host:
        walking(host, first)
    point(port, second)
    walking(host_of(second, port=str(port)), second)


@pytest.mark.parametrize(
    ("protocol", "board"),
    [("velociroach", FirmwareSettings(polled=True)), ("mbmrl", FirmwareSettings(device_id=0))],
    ids=["velociroach", "no device id"],
)
def test_robot_that_tells_no_id_is_in_doubt(
    protocol: str, board: FirmwareSettings, robot_of: MakeRobot, host_of: MakeHost
) -> None:
    """A pseudo-terminal has no serial number either: it may be linked, and only a person enables it."""
    robot = robot_of("robot", protocol=protocol, board=board)
    host = host_of(robot)
    walking(host, robot)
    robot.emulator.unplug()
    until(lambda: host.link.counts.losses == 1)
    robot.emulator.plug()
    until(lambda: host.link.status.state == "ready")
    assert host.link.status.doubt == "nothing shows whether it is the same robot"
    walking(host, robot)


def test_board_that_resets_is_the_same_robot_and_gets_its_settings_again(
    robot_of: MakeRobot, host_of: MakeHost
) -> None:
    robot = robot_of("robot")
    host = host_of(robot, lost_time=0.5, max_speed=40.0, dead_man=0.07)
    walking(host, robot)
    robot.emulator.reboot()
    until(lambda: host.link.counts.losses == 1)
    until(lambda: host.link.status.state == "ready")
    assert not host.link.status.doubt
    assert robot.firmware._max_speed == 40.0
    assert robot.firmware._dead_man == pytest.approx(0.07)
    host.link.enable()
    host.drive(lambda: robot.moves, left=1000.0, right=1000.0)
    assert robot.firmware.set_point == pytest.approx((40.0, 40.0))


def test_robot_that_tells_otherwise_than_before_is_in_doubt(robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of("robot")
    host = host_of(robot)
    walking(host, robot)
    robot.emulator.unplug()
    until(lambda: host.link.counts.losses == 1)
    robot.firmware.settings = replace(robot.firmware.settings, rate=60.0)  # another firmware was flashed
    robot.emulator.plug()
    until(lambda: host.link.status.state == "ready")
    assert host.link.status.doubt == "the robot's rate is 60, before 200"
    assert host.link.telemetry_rate == 60.0


@pytest.mark.parametrize("names", [("tty", "other"), ("other", "tty"), ("tty", "device")])
def test_device_is_locked_under_all_its_names(
    names: tuple[str, str], robot_of: MakeRobot, host_of: MakeHost, tmp_path: Path
) -> None:
    robot = robot_of("robot")
    (robot.port.parent / "other").symlink_to("tty")
    paths = {name: robot.port.parent / name for name in names} | {"device": robot.port.resolve()}
    first = host_of(robot, port=str(paths[names[0]]))
    first.link.wait_open()
    with pytest.raises(LinkError, match="is in use by another program"):
        host_of(robot, port=str(paths[names[1]])).link.wait_open()
    assert first.link.status.state == "ready"


# Adapters


def usb(device: str, serial_number: str | None = None, location: str = "1-1", vid: int | None = 0x0403) -> Any:
    return SimpleNamespace(device=device, vid=vid, pid=0x6001, serial_number=serial_number, location=location)


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The serial ports of this machine, as pyserial tells them."""
    plugged: list[Any] = []
    monkeypatch.setattr(ports.list_ports, "comports", lambda: list(plugged))
    return plugged


def test_adapter_on_the_line_is_known_by_its_serial_number(
    robot_of: MakeRobot, host_of: MakeHost, plugged: list[Any], tmp_path: Path
) -> None:
    board = FirmwareSettings(device_id=0)
    first, second = robot_of("first", board=board), robot_of("second", board=board)
    point(port := tmp_path / "port", first)
    plugged[:] = [usb(str(first.port.resolve()), "A1"), usb(str(second.port.resolve()), "B2")]
    host = host_of(first, port=str(port))
    walking(host, first)
    first.emulator.unplug()
    point(port, second)
    until(lambda: host.link.status.another)
    assert "its adapter is USB 0403:6001, serial number B2, that of the one before" in host.link.status.reason
    assert second.firmware._session == 0  # it was not even opened
    first.emulator.plug()
    until(first.port.exists)
    plugged[0] = usb(str(first.port.resolve()), "A1", location="1-4")  # at another socket
    point(port, first)
    until(lambda: host.link.status.state == "ready")
    assert not host.link.status.doubt


def test_cable_of_a_robot_with_an_id_may_be_another(robot_of: MakeRobot, host_of: MakeHost, plugged: list[Any]) -> None:
    robot = robot_of("robot")
    plugged[:] = [usb(str(robot.port.resolve()), "A1")]
    host = host_of(robot)
    walking(host, robot)
    robot.emulator.unplug()
    until(lambda: host.link.counts.losses == 1)
    plugged.clear()
    robot.emulator.plug()
    until(lambda: host.link.status.state == "ready")
    assert not host.link.status.doubt


@pytest.mark.parametrize(
    ("entry", "adapter"),
    [
        (usb("/dev/null", "A1"), Adapter("0403:6001", "A1", "")),
        (usb("/dev/null", "A1", "1-1:1.2"), Adapter("0403:6001", "A1", "1.2")),  # one of four ports
        (usb("/dev/null", None, "1-1:1.0"), Adapter("0403:6001", "", "1-1:1.0")),
        (usb("/dev/null", vid=None), None),
        (usb("/dev/zero"), None),
    ],
)
def test_adapter_of_a_port(entry: Any, adapter: Adapter | None, plugged: list[Any], tmp_path: Path) -> None:
    plugged.append(entry)
    (tmp_path / "link").symlink_to("/dev/null")
    assert adapter_of(str(tmp_path / "link")) == adapter


def test_adapter_that_is_pulled_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports.list_ports, "comports", lambda: int(None))  # type: ignore[call-overload]
    with pytest.raises(LinkError, match="a device was pulled"):
        adapter_of("/dev/null")


# What is known again

A1, B2 = Adapter("0403:6001", "A1", ""), Adapter("0403:6001", "B2", "")
HERE, THERE = Adapter("1a86:7523", "", "1-1"), Adapter("1a86:7523", "", "1-4")
ROBOT = Capabilities(1, 5, "walker 2.1", 2, 6, 100.0, 0.125, 56.5)
SEVEN = replace(ROBOT, device_id=7)
FLASHED = "firmware is 'walker 2.2', before 'walker 2.1'"


@pytest.mark.parametrize(
    ("before", "now", "doubt"),
    [
        ((None, SEVEN), (None, replace(SEVEN, session=6)), ""),
        ((A1, SEVEN), (B2, SEVEN), ""),
        ((None, SEVEN), (None, replace(SEVEN, firmware="walker 2.2")), f"the robot's {FLASHED}"),
        ((A1, ROBOT), (A1, ROBOT), ""),
        ((A1, ROBOT), (A1, replace(ROBOT, firmware="walker 2.2")), f"the robot's {FLASHED}"),
        ((HERE, ROBOT), (HERE, ROBOT), "nothing shows whether it is the same robot"),
        ((None, ROBOT), (None, ROBOT), "nothing shows whether it is the same robot"),
    ],
)
def test_robot_that_may_be_the_same(before: Any, now: Any, doubt: str) -> None:
    assert Identity(*before).doubt(Identity(*now)) == doubt


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ((None, SEVEN), (None, replace(SEVEN, device_id=8)), "its device id is 8, that of the one before 7;"),
        ((A1, SEVEN), (A1, ROBOT), "its device id is none, that of the one before 7;"),
        ((A1, ROBOT), (A1, SEVEN), "its device id is 7, that of the one before none;"),
        ((A1, ROBOT), (B2, ROBOT), "serial number B2"),
        ((A1, ROBOT), (None, ROBOT), "its adapter is not on USB"),
        ((None, ROBOT), (A1, ROBOT), "serial number A1"),
        ((HERE, ROBOT), (THERE, ROBOT), "USB 1a86:7523 at 1-4, no serial number"),
        ((None, ROBOT), (None, replace(ROBOT, firmware="walker 2.2")), f"another robot is on the line: its {FLASHED}"),
    ],
)
def test_robot_that_is_another(before: Any, now: Any, words: str) -> None:
    with pytest.raises(AnotherRobotError) as error:
        Identity(*before).doubt(Identity(*now))
    assert words in str(error.value)
