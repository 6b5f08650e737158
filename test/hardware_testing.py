"""Helpers of the tests of the serial line: an emulated robot behind a real pseudo-terminal, and a host."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.observation import Array
from mbmrl_control.hardware.codecs.wire import Telemetry
from mbmrl_control.hardware.emulator.board import Firmware, FirmwareSettings
from mbmrl_control.hardware.emulator.emulator import Capture, Emulator, LineSettings
from mbmrl_control.hardware.link.link import Link
from mbmrl_control.hardware.link.link_data import Sample
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.hardware.settings import BridgeSettings, ProtocolSettings
from mbmrl_sim.millirobot.world import World
from mbmrl_sim.sensors import Sensors, SensorSettings

LIMIT: Final = 30.0
"""Longest wait for an event, s."""


def until(predicate: Callable[[], Any], limit: float = LIMIT) -> None:
    """Wait until a predicate holds."""
    end = time.monotonic() + limit
    while not predicate():
        assert time.monotonic() < end, f"waited for {limit:g} s in vain"
        time.sleep(0.001)


def telemetry(number: int, **values: Any) -> Telemetry:
    """A frame of a robot that walks, numbered from 1, one each 10 ms, but for some values."""
    told = Telemetry(
        sequence=number,
        time=number * 0.01,
        command_sequence=number,
        applied=(30.0, 35.0),
        phases=(number * 0.3, number * 0.35),
        speeds=(30.0, 35.0),
        gyro=(0.1, 0.2, 0.3),
        acceleration=(0.0, 0.0, 9.81),
        back_emf=(1.0, 1.1),
        battery=3.9,
        current=(math.nan, math.nan),
        temperature=(math.nan, math.nan),
        enabled=True,
        emergency_stop=False,
    )
    return replace(told, **values)


class Robot:
    """An emulated robot in a thread, which remembers when its legs were told to move."""

    def __init__(
        self,
        world: World,
        folder: Path,
        protocol: str = "mbmrl",
        line: LineSettings | None = None,
        board: FirmwareSettings | None = None,
        profile: str = "millirobot",
        capture_rate: float = 0.0,
    ) -> None:
        self.protocol = protocol
        self.on_capture: Callable[[float, Array], None] = lambda taken, state: None
        """Called with each frame of motion capture, as of `Capture`, in the robot's thread."""
        self.port = folder / "tty"
        world.reset()
        self.firmware = Firmware(world, board or FirmwareSettings(polled=protocol == "velociroach"))
        codec = ProtocolSettings(protocol=protocol, profile=profile).codec("robot")
        capture = None
        if capture_rate:
            eyes = Sensors(SensorSettings(), np.random.default_rng(0), MILLIROBOT)
            capture = Capture(capture_rate, eyes, lambda taken, state: self.on_capture(taken, state))
        self.emulator = Emulator(self.firmware, codec, self.port, line, capture)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.emulator.run, args=(self._stop,))

    def __enter__(self) -> Robot:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def moves(self) -> bool:
        """Whether its legs are told to move."""
        return bool(self.firmware.set_point.any())


class Host:
    """A link in a thread, with what it has handed over."""

    def __init__(self, robot: Robot, **settings: Any) -> None:
        self.samples: list[Sample] = []
        self.stops: list[str] = []
        self.number = 0
        codec = ProtocolSettings(protocol=robot.protocol).codec("host")
        # A loaded machine may be slow: a link is lost late.
        # Not validated: some tests want what no node would take.
        wanted = BridgeSettings.model_construct(**({"port": str(robot.port), "lost_time": 5.0} | settings))
        self.link = Link(wanted, codec, self.samples.append, self._note)
        self._thread = threading.Thread(target=self.link.run)

    def __enter__(self) -> Host:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.link.close()
        self._thread.join()

    def _note(self, reason: str, lost: bool) -> None:
        self.stops.append(reason)

    @property
    def ticks(self) -> list[Sample]:
        """Samples that ended a control interval."""
        return [sample for sample in self.samples if sample.tick]

    def drive(self, predicate: Callable[[], Any], left: float = 30.0, right: float = 35.0) -> None:
        """Give a command each control interval until a predicate holds."""
        end = time.monotonic() + LIMIT
        seen = -1
        while not predicate():
            assert time.monotonic() < end, f"drove for {LIMIT:g} s in vain"
            if (ticks := len(self.ticks)) != seen:
                seen = ticks
                self.number += 1
                self.link.command(left, right, self.number)
            time.sleep(0.001)
