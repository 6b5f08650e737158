"""The link over a real pseudo-terminal, with an emulated robot at its other end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serial
from pydantic import ValidationError

from hardware_testing import Host, Robot, until
from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED
from mbmrl_base.toolkit import settings as node_settings
from mbmrl_control.hardware.codecs.wire import Command, EmergencyStop, Ping
from mbmrl_control.hardware.emulator.board import BOOT_TIME, FirmwareSettings
from mbmrl_control.hardware.emulator.emulator import LineSettings
from mbmrl_control.hardware.link.port import LinkError
from mbmrl_control.hardware.settings import BridgeSettings
from mbmrl_sim.millirobot.world import World

PROTOCOLS = ("mbmrl", "velociroach")
MakeRobot = Callable[..., Robot]
MakeHost = Callable[..., Host]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def robot_of(world: World, tmp_path: Path) -> Iterator[MakeRobot]:
    """A function that starts an emulated robot."""
    with ExitStack() as stack:
        yield lambda *given, **named: stack.enter_context(Robot(world, tmp_path, *given, **named))


@pytest.fixture
def host_of(robot_of: MakeRobot) -> Iterator[MakeHost]:
    """A function that links to a robot; it is ended before the robot is."""
    with ExitStack() as stack:
        yield lambda robot, **settings: stack.enter_context(Host(robot, **settings))


def enabled(host: Host) -> Host:
    host.link.wait_open()
    host.link.enable()
    return host


# Commands and states


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_state_tells_which_command_was_in_force(protocol: str, robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of(protocol)
    host = enabled(host_of(robot))
    host.drive(lambda: len([s for s in host.ticks if s.command > 0]) >= 10)
    told = [s for s in host.ticks if s.command > 0 and s.exact][1:]
    assert told
    numbers = [s.command for s in told]
    assert numbers == sorted(numbers)
    # All, but for what a loaded machine makes late.
    right = [sample.telemetry.applied == pytest.approx((30.0, 35.0), abs=0.02) for sample in told]
    assert sum(right) >= len(right) / 2
    assert host.ticks[-1].telemetry.speeds == pytest.approx((30.0, 35.0), abs=25.0)
    assert host.link.codec.counts.bad == 0
    if protocol == "mbmrl":  # the other one numbers nothing, so that what is late may count as lost
        assert host.link.counts.dropped == host.link.counts.reordered == 0


def test_pace_is_the_robots(robot_of: MakeRobot, host_of: MakeHost) -> None:
    host = host_of(robot_of(), rate=20.0, telemetry_rate=100.0)
    until(lambda: len(host.ticks) >= 8)
    times = np.array([sample.telemetry.time for sample in host.ticks])
    assert np.diff(times[1:]) == pytest.approx(0.05, abs=1e-4)
    assert {s.telemetry.sequence % 5 for s in host.ticks} == {0}


def test_commands_are_clipped_and_the_state_says_what_was_sent(robot_of: MakeRobot, host_of: MakeHost) -> None:
    host = enabled(host_of(robot_of(), max_speed=40.0))
    host.drive(lambda: host.ticks and host.ticks[-1].command > 3, left=1000.0, right=-5.0)
    assert host.ticks[-1].telemetry.applied == pytest.approx((40.0, 0.0))
    assert host.link.counts.clipped > 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_motors_stay_off_until_they_are_enabled(protocol: str, robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of(protocol)
    host = host_of(robot)
    host.drive(lambda: len(host.ticks) > 5)
    assert not robot.moves
    assert not any(any(s.telemetry.applied) for s in host.samples)
    host.link.enable()
    host.drive(lambda: robot.moves)
    host.link.disable()
    assert not robot.moves


# It stops


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_old_command_is_not_repeated(
    protocol: str, robot_of: MakeRobot, host_of: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero follows 100 ms after the last command, though the link lives."""
    robot = robot_of(protocol)
    host = enabled(host_of(robot))
    host.drive(lambda: robot.moves)
    sent: list[tuple[float, Any]] = []
    send = host.link._line.send
    monkeypatch.setattr(
        host.link._line, "send", lambda message: (sent.append((time.monotonic(), message)), send(message))
    )
    given = time.monotonic()
    host.link.command(20.0, 20.0, 1_000)
    until(lambda: not robot.moves)
    moving = [moment for moment, message in sent if isinstance(message, Command) and message.left]
    assert moving
    assert moving[-1] - given <= 0.1 + 0.02  # what a thread may lose between its look at the clock and its writing
    until(lambda: host.ticks[-1].command == 0)
    assert host.link.status.state == "enabled"
    assert not host.stops


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_dead_man_stops_the_legs_when_the_host_is_gone(
    protocol: str, robot_of: MakeRobot, host_of: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = robot_of(protocol)
    host = enabled(host_of(robot))
    host.drive(lambda: robot.moves)
    # From now on the host is silent, as one that was killed.
    monkeypatch.setattr(host.link._line, "send", lambda message: None)
    silent = robot.firmware.world.time
    until(lambda: not robot.moves)
    assert robot.firmware.world.time - silent <= 0.2 + 0.05
    monkeypatch.undo()


def test_robot_that_tells_nothing_is_stopped(robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of()
    host = enabled(host_of(robot, lost_time=60.0))
    host.drive(lambda: robot.moves)
    robot.firmware._rate = 0.0  # it listens, but tells nothing
    before = host.link.counts.stalls
    given = time.monotonic()
    while robot.moves:
        host.number += 1
        host.link.command(30.0, 30.0, host.number)
        assert time.monotonic() - given < 10.0
        time.sleep(0.001)
    until(lambda: host.link.counts.stalls == before + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pulled_cable_needs_a_new_hand_shake_and_an_explicit_enable(
    protocol: str, robot_of: MakeRobot, host_of: MakeHost
) -> None:
    robot = robot_of(protocol)
    host = enabled(host_of(robot))
    host.drive(lambda: robot.moves)
    robot.emulator.unplug()
    until(lambda: host.stops)
    until(lambda: not robot.moves)
    assert host.link.status.state == "connecting"
    with pytest.raises(LinkError, match="there is no link"):
        host.link.enable()
    robot.emulator.plug()
    until(lambda: host.link.status.state == "ready")
    seen = len(host.samples)
    host.drive(lambda: len(host.samples) > seen + 10)
    assert not robot.moves
    assert {s.session for s in host.samples[-5:]} == {2}
    assert {s.command for s in host.samples[seen:]} == {0}
    host.link.enable()
    until(lambda: len(host.samples) > seen + 20)
    assert not robot.moves  # what was given before does not count
    host.drive(lambda: robot.moves)
    assert host.link.counts.losses == 1
    assert len(host.stops) == 1


def test_request_brings_the_next_attempt_forward(
    robot_of: MakeRobot, host_of: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mbmrl_control.hardware.link.link.BACK_OFF", (1e6, 1e6))
    robot = robot_of()
    host = enabled(host_of(robot))
    robot.emulator.unplug()
    until(lambda: host.stops)
    robot.emulator.plug()
    until(robot.port.exists)
    host.link.enable()
    assert host.link.counts.sessions == 2
    assert not robot.moves  # what was given before does not count
    host.drive(lambda: robot.moves)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_board_that_resets_is_found_again_with_its_motors_off(
    protocol: str, robot_of: MakeRobot, host_of: MakeHost
) -> None:
    robot = robot_of(protocol)
    host = enabled(host_of(robot, lost_time=0.5))
    # A clock that has not yet run for as long as the board takes to start does not jump back.
    host.drive(lambda: robot.moves and host.samples and host.samples[-1].telemetry.time > 5 * BOOT_TIME)
    robot.emulator.reboot()
    until(lambda: host.stops)
    assert not robot.moves
    until(lambda: host.link.status.state == "ready")
    seen = len(host.samples)
    host.drive(lambda: len(host.samples) > seen + 5)
    assert not robot.moves
    enabled(host).drive(lambda: robot.moves)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_emergency_stop_is_latched_until_a_new_session(protocol: str, robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of(protocol)
    host = enabled(host_of(robot))
    host.drive(lambda: robot.moves)
    host.link.emergency_stop()
    assert not robot.moves
    seen = len(host.ticks)
    host.drive(lambda: len(host.ticks) > seen + 4)
    assert not robot.moves
    host.link.enable()
    assert host.link.counts.sessions == 2
    host.drive(lambda: robot.moves)


def test_random_disconnects_are_survived(robot_of: MakeRobot, host_of: MakeHost) -> None:
    rng = np.random.default_rng(0)
    robot = robot_of()
    host = enabled(host_of(robot))
    for losses in range(1, 9):
        host.drive(lambda: robot.moves)
        walked = len(host.samples) + int(rng.integers(0, 20))
        host.drive(lambda walked=walked: len(host.samples) > walked)
        robot.emulator.unplug()
        until(lambda losses=losses: host.link.counts.losses == losses)
        robot.emulator.plug()
        until(lambda: host.link.status.state == "ready")
        host.link.enable()
    assert host.link.counts.sessions == 9


# A bad line


def test_noise_costs_frames_but_no_wrong_command(robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of(line=LineSettings(noise=0.003, seed=1))
    host = host_of(robot)
    wanted: set[tuple[float, float]] = {(0.0, 0.0), (30.0, 35.0)}
    seen: set[tuple[float, float]] = set()

    def watch() -> bool:
        seen.add((float(robot.firmware.set_point[0]), float(robot.firmware.set_point[1])))
        return host.link.codec.counts.bad > 20 and len(host.samples) > 200

    host.link.wait_open()
    host.link.enable()
    host.drive(watch)
    assert seen == wanted
    assert host.link.counts.dropped > 0
    assert all(min(s.telemetry.applied) >= 0 and max(s.telemetry.applied) <= MAX_LEG_SPEED for s in host.samples)


def test_port_that_takes_no_more_bytes_is_lost(robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of()
    host = enabled(host_of(robot, lost_time=60.0, stale_time=60.0))
    host.drive(lambda: robot.moves)
    with robot.emulator.lock:  # it does not read any more
        for _ in range(10_000):
            host.link._requests.put(lambda: host.link._line.send(Ping(1)))
        until(lambda: host.stops)
    assert host.stops[0].endswith("takes no more bytes")


def test_delay_of_the_line_is_measured(robot_of: MakeRobot, host_of: MakeHost) -> None:
    host = host_of(robot_of(line=LineSettings(delay=0.02)))
    until(lambda: host.link.status.round_trip > 0)
    assert 0.04 <= host.link.status.round_trip < 0.5


# What is refused


def refusal(host: Host) -> str:
    with pytest.raises(LinkError) as error:
        host.link.wait_open()
    text = str(error.value)
    assert "\n" not in text
    return text


def test_wrong_speed_is_told(robot_of: MakeRobot, host_of: MakeHost) -> None:
    text = refusal(host_of(robot_of(line=LineSettings(baud=115200)), baud=57600))
    assert "no robot that speaks mbmrl answers on" in text
    assert "57600 baud" in text


@pytest.mark.parametrize(
    ("board", "settings", "words"),
    [
        (FirmwareSettings(version=0), {}, ("version 0", "bring its firmware up to date")),
        (FirmwareSettings(version=9), {}, ("version 9", "bring this host up to date")),
        (FirmwareSettings(legs=4), {}, ("4 legs", "6 legs")),
        (FirmwareSettings(motors=12), {}, ("12 motors", "2 motors")),
        (FirmwareSettings(rate=10.0), {}, ("10 Hz at most", "wanted is 20")),
        (FirmwareSettings(dead_man=0.05), {}, ("refuses Configure", "dead-man")),
        (FirmwareSettings(rate=20.0), {"stale_time": 0.04}, ("stale_time is 0.04 s", "0.05 s between frames")),
        (
            FirmwareSettings(),
            {"rate": 10.0, "telemetry_rate": 19.0, "stale_time": 0.15, "lost_time": 0.1},
            ("lost_time is 0.1 s", "0.1 s between"),
        ),
        (FirmwareSettings(), {"telemetry_rate": 20.0, "dead_man": 0.05}, ("dead_man is 0.05 s", "0.05 s between")),
    ],
    ids=["old", "new", "legs", "motors", "slow", "dead-man", "silence", "loss", "rare commands"],
)
def test_robot_that_does_not_fit_is_refused(
    board: FirmwareSettings, settings: dict[str, Any], words: tuple[str, ...], robot_of: MakeRobot, host_of: MakeHost
) -> None:
    robot = robot_of(board=board)
    text = refusal(host_of(robot, **settings))
    assert all(word in text for word in words), text
    assert not robot.firmware.enabled


def test_command_that_would_expire_within_its_interval_is_refused() -> None:
    assert BridgeSettings(rate=8.0, command_timeout=0.13).rate == 8.0
    with pytest.raises(ValidationError) as refused:
        BridgeSettings(rate=8.0)
    assert node_settings.refusal(refused.value) == (
        "parameter 'command_timeout' is 0.1: allowed is more than the control interval, 0.125"
    )


def test_port_in_use(robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of()
    first = host_of(robot)
    first.link.wait_open()
    assert "is in use by another program" in refusal(host_of(robot))
    assert first.link.status.state == "ready"


def test_closed_port_is_free_again(robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of()
    with Host(robot) as host:
        enabled(host).drive(lambda: robot.moves)
    until(lambda: not robot.firmware.enabled)
    assert host.link.status.state == "closed"
    with serial.Serial(str(robot.port), exclusive=True):
        pass
    host_of(robot).link.wait_open()


def test_robot_that_acknowledges_a_stop_and_goes_on_is_told(robot_of: MakeRobot, host_of: MakeHost) -> None:
    """It is sent again until it is obeyed."""
    robot = robot_of()
    host = enabled(host_of(robot))
    host.drive(lambda: robot.moves)
    board, obeyed, heard = robot.firmware, robot.firmware._obey, []
    board._obey = heard.append  # type: ignore[method-assign]
    board._take_command = lambda command: None  # type: ignore[method-assign]
    board._dead_man = 0.0
    with pytest.raises(LinkError, match="acknowledges it, but the robot says that its motors are on, though they were"):
        host.link.emergency_stop()
    seen = len(heard)
    until(lambda: sum(isinstance(message, EmergencyStop) for message in heard) > seen + 1)
    board._obey = obeyed  # type: ignore[method-assign]
    until(lambda: not host.link.rest.wrong)
    assert not robot.moves
    host.link.enable()
    host.drive(lambda: host.link.status.newest is not None and host.link.status.newest.enabled)
    assert not host.link.rest.wrong


def test_leg_speeds_tell_of_a_robot_whose_protocol_has_no_flags(robot_of: MakeRobot, host_of: MakeHost) -> None:
    robot = robot_of("velociroach")
    host = enabled(host_of(robot))
    host.drive(lambda: host.ticks and min(host.ticks[-1].telemetry.speeds) > 20.0)
    board, kept = robot.firmware, robot.firmware.set_point
    take = board._take_command
    board._take_command = lambda command: setattr(board, "set_point", kept)  # type: ignore[method-assign]
    board._obey = lambda message: None  # type: ignore[method-assign]
    board._dead_man = 0.0
    with pytest.raises(LinkError, match=r"the legs turn at .* though the motors were switched off"):
        host.link.emergency_stop()
    assert not host.link.status.newest.enabled
    board._take_command = lambda command: (take(command), board.set_point.fill(0.0))  # type: ignore[method-assign]
    until(lambda: not host.link.rest.wrong)
