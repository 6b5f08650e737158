"""The real stack under a drill: its nodes as processes that are started again when they die."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import psutil
from rich.console import Console

from mbmrl_base.toolkit.spin import beside
from mbmrl_control.bringup.graph import EMULATOR, HARDWARE, NAMESPACE, SIM, TOPICS, NodeSpec, Values
from mbmrl_control.bringup.node_processes import Processes
from mbmrl_control.drills import rover
from mbmrl_control.drills.watch import Watch

START_TIME: Final = 60.0
"""Longest time until the robot walks at first, s."""
STACKS: Final = ("sim", "serial", "topics")
"""Robots that are drilled: the simulated one, an emulated one on a serial line, and one that speaks ROS."""
MARK: Final = "MBMRL_DRILL"
"""Variable by which all processes of a drill are known."""
_LOOK: Final = 0.005


class _RoverSpec(NodeSpec):
    """A robot of its own, which is none of the project's nodes."""

    @property
    def module(self) -> str:
        """As of `NodeSpec`."""
        return rover.__name__


_ROVER: Final = _RoverSpec("rover", "", (), uses_sim_time=False, in_namespace=False)


class StackError(RuntimeError):
    """A stack that does not work, or works no more."""


class Stack:
    """What runs, and who watches it."""

    def __init__(self, name: str, nodes: Processes, watch: Watch, folder: Path, mark: str) -> None:
        """Take the parts."""
        self.name, self.nodes, self.watch, self.folder, self._mark = name, nodes, watch, folder, mark
        self.pauses: list[float] = []
        """Longest times without a command, each in a time in which the robot has had to walk, s."""

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
        return marked(self._mark)


def marked(mark: str) -> list[int]:
    """Processes with a mark, this one apart."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def _with_threads(nodes: tuple[NodeSpec, ...]) -> list[NodeSpec]:
    """Nodes of which the planner takes the number of its threads as an argument."""
    more = {"mpc_node": ("threads",)}
    return [replace(node, parameters=(*node.parameters, *more.get(node.executable, ()))) for node in nodes]


@contextmanager
def running(name: str, values: Values, folder: Path, console: Console) -> Iterator[Stack]:
    """A stack whose robot walks.

    Args:
        name: One of STACKS.
        values: Arguments of its nodes.
        folder: Where logs and recordings go.
        console: Where progress is shown of what has to be done before.

    Raises:
        StackError: If the robot does not walk within START_TIME.
    """
    mark = os.environ[MARK] = uuid.uuid4().hex
    (folder / "logs").mkdir(parents=True)
    given, namespace, bridge = {**values, "bag": str(folder / "bag")}, "", ""
    first: tuple[tuple[NodeSpec, ...], ...] = (SIM,)
    if name == "serial":
        tty = folder.resolve() / "tty"
        given, bridge, first = {**given, "tty": str(tty), "port": str(tty)}, "serial_bridge_node", (EMULATOR, HARDWARE)
    elif name == "topics":
        namespace, bridge, first = NAMESPACE, "topic_bridge_node", ((_ROVER,), TOPICS)
        given = {**given, **rover.prepare(folder, console), "namespace": namespace}
    with (
        beside(partial(Watch, namespace)) as watch,
        Processes(_with_threads(first[0]), given, name == "sim", folder / "logs", respawn=True) as nodes,
    ):
        watch.bridge, stack = bridge, Stack(name, nodes, watch, folder, mark)
        for more in first[1:]:
            if name == "serial":
                stack.wait((folder / "tty").exists, START_TIME)
            nodes.start(_with_threads(more), given)
        if not stack.wait(lambda: watch.works(0.0), START_TIME):
            raise StackError(f"the robot did not walk within {START_TIME:g} s: see {folder / 'logs'}")
        yield stack
