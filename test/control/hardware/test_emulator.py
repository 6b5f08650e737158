"""The emulated robot: what its board does, and what is wrong with its line."""

from __future__ import annotations

import math
import os
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hardware_testing import Robot, until
from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.layout import ROLL, angle
from mbmrl_control.hardware.codecs.mbmrl_codec import MbmrlCodec
from mbmrl_control.hardware.codecs.wire import (
    Acknowledge,
    Capabilities,
    Command,
    Configure,
    EmergencyStop,
    Enable,
    Hello,
    Ping,
    Pong,
    Telemetry,
)
from mbmrl_control.hardware.emulator import emulator
from mbmrl_control.hardware.emulator.board import BOOT_TIME, Firmware, FirmwareSettings
from mbmrl_control.hardware.emulator.emulator import (
    LARGEST_LAG,
    Capture,
    Emulator,
    LineSettings,
    default_link,
    hold_link,
)
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_sim.millirobot.world import World
from mbmrl_sim.sensors import Sensors, SensorSettings

GAINS = ((1, 2, 3, 4, 5),) * 2
CONFIGURE = Configure(100.0, GAINS, 50.0, 0.1)
Board = Callable[..., Firmware]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def board(world: World) -> Board:
    """A function that makes a board that stands on the ground, configured where that is wanted."""

    def make(configured: bool = True, **settings: Any) -> Firmware:
        world.reset()
        firmware = Firmware(world, FirmwareSettings(**settings))
        if configured:
            firmware.receive(Hello(1, 7))
            assert firmware.receive(CONFIGURE) == [Acknowledge("Configure", True)]
        return firmware

    return make


def walking(firmware: Firmware) -> Firmware:
    assert firmware.receive(Enable(True)) == [Acknowledge("Enable", True)]
    firmware.receive(Command(1, 20.0, 30.0))
    return firmware


def told(firmware: Firmware, steps: int) -> list[Telemetry]:
    """Telemetry of a number of physics steps, ms."""
    return [message for message in firmware.advance(steps) if isinstance(message, Telemetry)]


# The board


def test_hello_is_answered_with_what_it_can(board: Board) -> None:
    (answer,) = board(configured=False).receive(Hello(1, 7))
    assert isinstance(answer, Capabilities)
    assert (answer.session, answer.motors, answer.legs, answer.dead_man) == (7, 2, 6, 0.2)
    assert not answer.polled


def test_ping_is_answered(board: Board) -> None:
    assert board().receive(Ping(123)) == [Pong(123)]


def test_telemetry_comes_at_the_rate_that_was_asked_for(board: Board) -> None:
    firmware = board()
    samples = told(firmware, 205)
    assert len(samples) == 20
    assert [s.sequence for s in samples] == list(range(1, 21))
    assert np.diff([s.time for s in samples]) == pytest.approx(0.01)


def test_telemetry_of_a_standing_robot(board: Board) -> None:
    sample = told(board(), 300)[-1]
    assert np.linalg.norm(sample.acceleration) == pytest.approx(9.81, abs=0.3)
    assert sample.speeds == pytest.approx((0.0, 0.0), abs=0.5)
    assert sample.battery == pytest.approx(3.95, abs=0.05)
    assert not sample.enabled
    assert sample.applied == (0.0, 0.0)


def test_accelerometer_tells_a_slope(board: Board, world: World) -> None:
    firmware = board()
    try:
        world.inject(Fault("slope", magnitude=10.0, direction=90.0))
        uphill, up = np.mean([sample.acceleration for sample in told(firmware, 1000)], axis=0)[1:]
        roll = angle(world.observe().state, ROLL)  # on legs at random phases it does not stand level
    finally:
        world.clear_faults()
    assert math.degrees(math.atan2(uphill, up) - roll) == pytest.approx(10.0, abs=1.0)


def test_phases_grow_without_end_at_the_legs_speed(board: Board) -> None:
    firmware = walking(board())
    samples = []
    for number in range(2, 30):
        firmware.receive(Command(number, 20.0, 30.0))
        samples += told(firmware, 50)
    phases, times = np.array([s.phases for s in samples]), np.array([s.time for s in samples])
    assert np.diff(phases, axis=0).max() < 1.0
    rates = (phases[-1] - phases[0]) / (times[-1] - times[0])
    assert rates == pytest.approx([20.0, 30.0], rel=0.1)
    assert samples[-1].command_sequence == 29


def test_dead_man_stops_the_legs(board: Board) -> None:
    firmware = walking(board())
    assert firmware.set_point.tolist() == [20.0, 30.0]
    told(firmware, 98)
    assert firmware.set_point.any()
    samples = told(firmware, 20)
    assert not firmware.set_point.any()
    assert [s.faults for s in samples if s.faults] == [("dead_man",)]
    assert samples[-1].applied == (0.0, 0.0)
    firmware.receive(Command(2, 20.0, 30.0))
    assert firmware.set_point.any()  # it is still enabled


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Configure(1000.0, GAINS, 50.0, 0.1), "telemetry at 1000 Hz"),
        (Configure(50.0, GAINS, 50.0, 0.5), "dead-man of 0.5 s"),
        (Configure(50.0, GAINS, 50.0, 0.0), "dead-man of 0 s"),
        (Configure(50.0, GAINS, 500.0, 0.1), "speed of 500 rad/s"),
    ],
)
def test_impossible_settings_are_refused(request_: Configure, words: str, board: Board) -> None:
    (answer,) = board(configured=False).receive(request_)
    assert isinstance(answer, Acknowledge)
    assert not answer.accepted
    assert words in answer.reason


def test_it_moves_only_when_configured_and_enabled(board: Board) -> None:
    firmware = board(configured=False)
    (answer,) = firmware.receive(Enable(True))
    assert answer == Acknowledge("Enable", False, "it is not configured")
    firmware.receive(CONFIGURE)
    firmware.receive(Command(1, 20.0, 20.0))
    assert not firmware.set_point.any()


def test_commands_are_limited_and_old_ones_do_not_count(board: Board) -> None:
    firmware = walking(board())
    firmware.receive(Command(3, 1e6, -5.0))
    assert firmware.set_point.tolist() == [50.0, 0.0]
    firmware.receive(Command(2, 10.0, 10.0))
    assert firmware.set_point.tolist() == [50.0, 0.0]


def test_emergency_stop_is_latched_in_the_session(board: Board) -> None:
    firmware = walking(board())
    assert firmware.receive(EmergencyStop()) == [Acknowledge("EmergencyStop", True)]
    assert not firmware.set_point.any()
    (answer,) = firmware.receive(Enable(True))
    assert isinstance(answer, Acknowledge)
    assert not answer.accepted
    assert told(firmware, 20)[-1].emergency_stop
    firmware.receive(Hello(1, 8))
    firmware.receive(CONFIGURE)
    assert walking(firmware).set_point.any()
    assert not told(firmware, 20)[-1].emergency_stop


def test_hello_switches_the_motors_off(board: Board) -> None:
    firmware = walking(board())
    firmware.receive(Hello(1, 8))
    assert not firmware.enabled
    assert not firmware.set_point.any()


def test_reset_takes_its_time_and_forgets_all(board: Board) -> None:
    firmware = walking(board())
    firmware.reboot()
    assert not firmware.set_point.any()
    assert told(firmware, 50) == []
    assert firmware.receive(Hello(1, 8)) == []
    told(firmware, round(BOOT_TIME * 1000))
    assert len(firmware.receive(Hello(1, 8))) == 1
    firmware.receive(CONFIGURE)
    assert told(firmware, 20)[0].time < 0.5


def test_polled_board_tells_its_state_when_asked(board: Board) -> None:
    firmware = board(configured=False, polled=True)
    firmware.receive(Enable(True))
    assert told(firmware, 100) == []
    first, second = (firmware.receive(Command(number, 20.0, 20.0))[0] for number in (1, 2))
    assert isinstance(first, Telemetry)
    assert isinstance(second, Telemetry)
    assert second.time > first.time
    told(firmware, 500)
    assert firmware.set_point.any()  # it has no dead-man unless one is set


# The line


def spoiled(world: World, folder: Path, data: bytes, **line: float) -> bytes:
    firmware = Firmware(world)
    emulator = Emulator(firmware, MbmrlCodec("robot"), folder / "tty", LineSettings(**line))  # type: ignore[arg-type]
    try:
        return emulator._spoil(data)
    finally:
        emulator._unplug()


def test_noise_changes_a_share_of_the_bytes(world: World, tmp_path: Path) -> None:
    data = bytes(100_000)
    got = spoiled(world, tmp_path, data, noise=0.01)
    assert len(got) == len(data)
    assert sum(a != b for a, b in zip(data, got, strict=True)) == pytest.approx(1000, rel=0.2)


def test_loss_takes_a_share_of_the_bytes(world: World, tmp_path: Path) -> None:
    assert len(spoiled(world, tmp_path, bytes(100_000), loss=0.01)) == pytest.approx(99_000, rel=0.005)


def test_clean_line_changes_nothing(world: World, tmp_path: Path) -> None:
    assert spoiled(world, tmp_path, bytes(range(256))) == bytes(range(256))


def test_link_follows_the_terminal(world: World, tmp_path: Path) -> None:
    with Robot(world, tmp_path) as robot:
        first = robot.port.readlink()
        assert first.is_char_device()
        robot.emulator.unplug()
        until(lambda: not robot.port.is_symlink())
        robot.emulator.plug()
        until(robot.port.is_symlink)
        assert robot.port.readlink().is_char_device()
    assert not robot.port.is_symlink()


def test_file_is_not_replaced_by_the_link(world: World, tmp_path: Path) -> None:
    (tmp_path / "tty").write_text("mine")
    with pytest.raises(ValueError, match="is there, and is no link"):
        Emulator(Firmware(world), MbmrlCodec("robot"), tmp_path / "tty")
    assert (tmp_path / "tty").read_text() == "mine"


def test_link_of_another_emulated_robot_is_left_alone(world: World, tmp_path: Path) -> None:
    first = Emulator(Firmware(world), MbmrlCodec("robot"), tmp_path / "tty")
    terminal = os.readlink(tmp_path / "tty")
    (tmp_path / "other").symlink_to(tmp_path)
    for folder in (tmp_path, tmp_path / "other"):
        with pytest.raises(ValueError, match="another emulated robot is at "):
            Emulator(Firmware(world), MbmrlCodec("robot"), folder / "tty")
    assert os.readlink(tmp_path / "tty") == terminal
    over = threading.Event()
    over.set()
    first.run(over)
    hold_link(tmp_path / "tty").close()


def test_link_that_a_killed_robot_left_is_taken(world: World, tmp_path: Path) -> None:
    (tmp_path / "tty").symlink_to(tmp_path / "gone")
    Emulator(Firmware(world), MbmrlCodec("robot"), tmp_path / "tty")
    assert (tmp_path / "tty").is_char_device()


def test_each_user_has_a_link_of_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 7)
    assert default_link() == Path("/tmp/mbmrl-tty-7")


@pytest.mark.parametrize("line", [LineSettings(disconnects=60.0, seed=3), LineSettings(reboots=60.0, seed=3)])
def test_disturbances_happen(line: LineSettings, world: World, tmp_path: Path) -> None:
    with Robot(world, tmp_path, line=line) as robot:
        happened = threading.Event()
        for name in ("_unplug", "reboot"):
            act = getattr(robot.emulator, name)
            setattr(robot.emulator, name, lambda act=act: (happened.set(), act()))
        assert happened.wait(30.0)


def test_nobody_who_reads_holds_nothing_up(world: World, tmp_path: Path) -> None:
    """A host that opens the port and does not read: the board goes on, as on a real line."""
    with Robot(world, tmp_path) as robot:
        port = os.open(robot.port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(port)
        codec = MbmrlCodec("host")
        os.write(port, codec.encode(Hello(1, 9)) + codec.encode(CONFIGURE))
        until(lambda: robot.firmware._sequence > 100)  # ten times what a terminal holds
        assert select.select([port], [], [], 0)[0]
        os.close(port)


def test_bytes_that_are_flushed_hold_nothing_up(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal tells of bytes, and the host has thrown them away when they are to be read."""
    with Robot(world, tmp_path) as robot:
        port = os.open(robot.port, os.O_RDWR | os.O_NOCTTY)
        ready = SimpleNamespace(select=lambda readable, *others: (readable, [], []))
        monkeypatch.setattr(emulator, "select", ready)
        before = world.time
        until(lambda: world.time > before + 0.1)
        os.close(port)


def test_simulated_time_is_real_time(world: World, tmp_path: Path) -> None:
    with Robot(world, tmp_path) as robot:
        start, began = robot.firmware.world.time, time.monotonic()
        until(lambda: robot.firmware.world.time > start + 0.5)
        assert time.monotonic() - began > 0.45


def test_motion_capture_has_its_own_rate(world: World, tmp_path: Path) -> None:
    world.reset()
    frames: list[tuple[float, Any]] = []
    capture = Capture(
        200.0, Sensors(SensorSettings(), np.random.default_rng(0), MILLIROBOT), lambda *frame: frames.append(frame)
    )
    emulator = Emulator(Firmware(world), MbmrlCodec("robot"), tmp_path / "tty", capture=capture)
    stop = threading.Event()
    thread = threading.Thread(target=emulator.run, args=(stop,))
    thread.start()
    until(lambda: len(frames) > 50)
    stop.set()
    thread.join()
    times = np.array([taken for taken, _ in frames])
    assert np.median(np.diff(times)) == pytest.approx(0.005, abs=1e-4)
    assert abs(time.monotonic() - times[-1]) < 5.0
    assert frames[-1][1].shape == (24,)


def test_clock_of_the_board_goes_on_where_the_simulation_is_left_behind(world: World, tmp_path: Path) -> None:
    """A machine that is too slow holds the body up; the board's clock does not run slow for that."""
    world.reset()
    board = Firmware(world)
    emulator = Emulator(board, MbmrlCodec("robot"), tmp_path / "tty")
    simulated, told = world.time, board.clock(world.time)
    emulator._epoch -= 10.0  # as after 10 s in which this thread did not run
    emulator._simulate()
    assert world.time - simulated < LARGEST_LAG
    assert board.clock(world.time) - told > 10.0 - LARGEST_LAG
    stop = threading.Event()
    stop.set()
    emulator.run(stop)
