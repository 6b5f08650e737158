"""An emulated robot behind a pseudo-terminal, in real time: the other side of the line, without a robot.

The line can be made a bad one: bytes that are changed or lost, a delay, a cable that is pulled, a board that resets.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import Field

from mbmrl_base.robots.observation import Array
from mbmrl_base.system.exclusive import hold
from mbmrl_base.system.files import WriteError, check_folder
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.hardware.codecs.wire import Codec, CodecError, Message
from mbmrl_control.hardware.emulator.board import Firmware
from mbmrl_sim.millirobot.physics import PHYSICS_STEP
from mbmrl_sim.sensors import Sensors

LONGEST_WAIT: Final = 0.01
"""Longest time between two looks at the line, s."""
UNPLUGGED_TIME: Final = 0.5
"""Time for which a cable is pulled at random, s."""
LARGEST_LAG: Final = 0.25
"""How far the simulated time may fall behind before it is left behind, s."""
SPEEDS: Final = {
    getattr(termios, name): int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()
}


def default_link() -> Path:
    """Link to the terminal if none is given, one for each user."""
    return Path(f"/tmp/mbmrl-tty-{os.getuid()}")


def hold_link(tty_link: Path) -> socket.socket:
    """Have a link to a terminal for this process alone, as long as what is returned is open.

    Raises:
        ValueError: If it cannot be made, or another emulated robot has it.
    """
    if os.path.lexists(tty_link) and not tty_link.is_symlink():
        raise ValueError(f"{tty_link} cannot be made: it is there, and is no link")
    if not tty_link.parent.is_dir():
        raise ValueError(f"{tty_link} cannot be made: there is no folder {tty_link.parent}")
    try:
        check_folder(tty_link.parent)
    except WriteError as error:
        raise ValueError(f"{tty_link} cannot be made: {error}") from None
    held = hold(f"{tty_link.parent.resolve() / tty_link.name}")
    if held is None:
        raise ValueError(f"another emulated robot is at {tty_link}: stop it, or give another --tty")
    return held


class LineSettings(NodeSettings):
    """What is wrong with a line."""

    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of leg phases, random faults and a bad line")
    noise: float = Field(0.0, ge=0.0, le=1.0, description="Share of the bytes that are changed on the line")
    loss: float = Field(0.0, ge=0.0, le=1.0, description="Share of the bytes that are lost")
    delay: float = Field(0.0, ge=0.0, le=1.0, description="Time that bytes take in each direction, s")
    disconnects: float = Field(0.0, ge=0.0, le=60.0, description="Cables pulled per minute, for 0.5 s each")
    reboots: float = Field(0.0, ge=0.0, le=60.0, description="Resets of the board per minute")
    baud: int = Field(0, ge=0, le=4_000_000, description="Speed to which the host must set the port, bit/s; 0: any")


@dataclass
class Capture:
    """Motion capture of the emulated robot.

    Attributes:
        rate: Frames per second, Hz.
        sensors: What they are made with.
        take: Called with each frame: its time, s of the monotonic clock, and the state vector that it is part of.
    """

    rate: float
    sensors: Sensors
    take: Callable[[float, Array], None]


class Emulator:
    """Plays the robot on a pseudo-terminal that a link in the file system points to."""

    def __init__(
        self,
        firmware: Firmware,
        codec: Codec,
        tty_link: Path,
        line: LineSettings | None = None,
        capture: Capture | None = None,
    ) -> None:
        """Make the terminal.

        Args:
            firmware: The board.
            codec: The robot's side of a protocol.
            tty_link: Symbolic link to make; it points to the new terminal after the cable was pulled.
            line: What is wrong with the line; nothing where None.
            capture: Motion capture; none where None.

        Raises:
            ValueError: If the link cannot be made.
        """
        self.firmware, self.codec, self.tty_link = firmware, codec, tty_link
        self.line = line or LineSettings()
        self._capture = capture
        self._next_capture = math.inf if capture is None else firmware.world.time
        self.lock = threading.Lock()
        """Held while the world changes."""
        self._rng = np.random.default_rng(self.line.seed)
        self._incoming: deque[tuple[float, bytes]] = deque()
        self._outgoing: deque[tuple[float, bytes]] = deque()
        self._master: int | None = None
        self._wanted = True
        self._plug_at = self._next_disconnect = self._next_reboot = math.inf
        self._epoch = time.monotonic() - firmware.world.time
        self._held = hold_link(tty_link)
        self._plug()

    def plug(self) -> None:
        """Plug the cable in again."""
        self._wanted = True

    def unplug(self) -> None:
        """Pull the cable."""
        self._wanted = False

    def reboot(self) -> None:
        """Reset the board."""
        with self.lock:
            self.firmware.reboot()

    def _plug(self) -> None:
        """Make a terminal, and let the link point to it."""
        master, slave = os.openpty()
        tty.setraw(slave)
        path = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(master, False)
        new = self.tty_link.with_name(f"{self.tty_link.name}.{os.getpid()}")
        try:
            new.symlink_to(path)
            new.replace(self.tty_link)
        except OSError as error:
            os.close(master)
            raise ValueError(f"{self.tty_link} cannot be made: {error.strerror}") from None
        self._master = master

    def _unplug(self) -> None:
        if self._master is not None:
            self.tty_link.unlink(missing_ok=True)
            os.close(self._master)
            self._master = None
            self._incoming.clear()
            self._outgoing.clear()

    def run(self, stop: threading.Event) -> None:
        """Play the robot until an event is set."""
        while not stop.is_set():
            data = self._read()
            with self.lock:
                self._simulate()
                for message in self.codec.feed(data):
                    self._send(self.firmware.receive(message))
            self._write()
            self._disturb()
            if self._wanted and self._master is None:
                self._plug()
            elif not self._wanted:
                self._unplug()
        self._unplug()
        self._held.close()

    def _read(self) -> bytes:
        """Bytes that the board gets next, after a wait until something is due."""
        now = time.monotonic()
        due = [now + LONGEST_WAIT, self._epoch + min(self.firmware.next_event, self._next_capture)]
        due += [queue[0][0] for queue in (self._incoming, self._outgoing) if queue]
        wait = max(0.0, min(due) - now)
        data = b""
        if self._master is None:
            time.sleep(wait)
        else:
            try:
                if select.select([self._master], [], [], wait)[0]:
                    data = os.read(self._master, 4096)
            except BlockingIOError:
                pass  # what was there has been flushed by the host meanwhile
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                time.sleep(wait)  # nobody has opened the terminal
        arrival = time.monotonic()
        if data:
            self._incoming.append((arrival + self.line.delay, self._spoil(data)))
        taken = b""
        while self._incoming and self._incoming[0][0] <= arrival:
            taken += self._incoming.popleft()[1]
        return taken

    def _simulate(self) -> None:
        world = self.firmware.world
        lag = time.monotonic() - self._epoch - world.time
        if lag > LARGEST_LAG:
            self._epoch += lag - PHYSICS_STEP
            self.firmware.left_behind += lag - PHYSICS_STEP
            lag = PHYSICS_STEP
        steps = int(lag / PHYSICS_STEP)
        while steps > 0:
            part = min(steps, max(1, round(min(1.0, self._next_capture - world.time) / PHYSICS_STEP)))
            self._send(self.firmware.advance(part))
            steps -= part
            if self._capture is not None and world.time >= self._next_capture - PHYSICS_STEP / 2:
                self._next_capture += 1.0 / self._capture.rate
                self._capture.take(self._epoch + world.time, world.measure(self._capture.sensors))

    def _send(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                data = self.codec.encode(message)
            except CodecError as error:
                raise RuntimeError(f"the emulated robot cannot say {message}") from error
            self._outgoing.append((time.monotonic() + self.line.delay, self._spoil(data)))

    def _write(self) -> None:
        now = time.monotonic()
        while self._outgoing and self._outgoing[0][0] <= now:
            data = self._outgoing.popleft()[1]
            if self._master is None:
                continue
            try:
                os.write(self._master, data)
            except BlockingIOError:
                continue  # nobody reads: a serial line does not wait either
            except OSError as error:
                if error.errno != errno.EIO:
                    raise

    def _spoil(self, data: bytes) -> bytes:
        """What is left of bytes on the line."""
        line = self.line
        if line.baud and self._master is not None:
            speed = SPEEDS.get(termios.tcgetattr(self._master)[4], 0)
            if speed != line.baud:
                return self._rng.bytes(max(1, len(data) * 2 // 3))
        if not line.noise and not line.loss:
            return data
        values = np.frombuffer(data, dtype=np.uint8).copy()
        wrong = self._rng.random(len(values)) < line.noise
        values[wrong] ^= self._rng.integers(1, 256, int(wrong.sum()), dtype=np.uint8)
        return values[self._rng.random(len(values)) >= line.loss].tobytes()

    def _disturb(self) -> None:
        """Pull the cable, plug it in, reset the board, when their times have come."""
        now = time.monotonic()
        if now >= self._plug_at:
            self._plug_at = math.inf
            self.plug()
        if self.line.disconnects and now >= self._next_disconnect:
            self.unplug()
            self._plug_at = now + UNPLUGGED_TIME
        if self.line.reboots and now >= self._next_reboot:
            self.reboot()
        self._next_disconnect = self._again(self._next_disconnect, self.line.disconnects, now)
        self._next_reboot = self._again(self._next_reboot, self.line.reboots, now)

    def _again(self, due: float, per_minute: float, now: float) -> float:
        """When something random happens next, s."""
        if not per_minute or now < due < math.inf:
            return due
        return now + float(self._rng.exponential(60.0 / per_minute))
