"""The real stack under a drill: its nodes as processes that are started again when they die."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from mbmrl_base.toolkit.spin import beside
from mbmrl_control.bringup.graph import EMULATOR, HARDWARE, SIM, NodeSpec, Values
from mbmrl_control.bringup.node_processes import Processes
from mbmrl_control.drills.watch import Watch

START_TIME: Final = 60.0
"""Longest time until the robot walks at first, s."""
STACKS: Final = ("sim", "serial")
"""Robots that are drilled: the simulated one, and an emulated one on a serial line."""
_MARK: Final = "MBMRL_DRILL"
"""Variable by which all processes of a drill are known."""
_LOOK: Final = 0.005


class StackError(RuntimeError):
    """A stack that does not work, or works no more."""


class Stack:
    """What runs, and who watches it."""

    def __init__(self, nodes: Processes, watch: Watch, folder: Path, mark: str) -> None:
        """Take the parts."""
        self.nodes, self.watch, self.folder, self._mark = nodes, watch, folder, mark

    def wait(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, at most a time in s, while nodes that die are started again; whether it did."""
        end = time.monotonic() + seconds
        while not holds():
            self.nodes.check()
            if time.monotonic() > end:
                return False
            time.sleep(_LOOK)
        return True

    def rest(self, seconds: float) -> None:
        """Let a time pass, s."""
        self.wait(lambda: False, seconds)

    def tracebacks(self) -> int:
        """Trace-backs in the logs of all nodes."""
        texts = (file.read_text(errors="replace") for file in (self.folder / "logs").iterdir())
        return sum(len(re.findall(r"^(?:\S+ )*Traceback \(most", text, re.MULTILINE)) for text in texts)

    def left(self) -> list[int]:
        """Processes of the drill that still run, this one apart."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(_MARK) == self._mark:
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found


@contextmanager
def running(name: str, values: Values, folder: Path) -> Iterator[Stack]:
    """A stack whose robot walks.

    Args:
        name: One of STACKS.
        values: Arguments of its nodes.
        folder: Where logs and recordings go.

    Raises:
        StackError: If the robot does not walk within START_TIME.
    """
    mark = os.environ[_MARK] = uuid.uuid4().hex
    (folder / "logs").mkdir(parents=True)
    given = {**values, "bag": str(folder / "bag")}
    with beside(Watch) as watch:
        if name == "serial":
            tty = folder.resolve() / "tty"
            watch.bridge, given = "serial_bridge_node", {**given, "tty": str(tty), "port": str(tty)}
            first: tuple[tuple[NodeSpec, ...], ...] = (EMULATOR, HARDWARE)
        else:
            first = (SIM,)
        with Processes(first[0], given, name == "sim", folder / "logs", respawn=True) as nodes:
            stack = Stack(nodes, watch, folder, mark)
            if name == "serial":
                stack.wait((folder / "tty").exists, START_TIME)
                nodes.start(HARDWARE, given)
            if not stack.wait(lambda: watch.works(0.0), START_TIME):
                raise StackError(f"the robot did not walk within {START_TIME:g} s: see {folder / 'logs'}")
            yield stack
