"""Starts the nodes of a graph as processes, with the arguments that a launch would give them."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from mbmrl_base.system.endings import DIED, PARENT
from mbmrl_control.bringup.graph import NodeSpec, Values
from mbmrl_control.bringup.nursery import Nursery, NurseryError
from mbmrl_control.bringup.parameters import overrides, params_file
from mbmrl_control.bringup.respawn import Respawn

STOP_TIME = 5.0
"""Time that a node has to end after SIGTERM, s."""


class NodeEndedError(RuntimeError):
    """A node that ended by itself; the text says which one and its last words."""


@dataclass
class _Running:
    spec: NodeSpec
    values: Values
    process: psutil.Process
    log: Path | None
    told: bool = False
    """Whether it was said that it has ended."""

    def code(self) -> int | None:
        """Its exit code, negative if a signal ended it; None while it runs."""
        try:
            return int(self.process.wait(0))
        except psutil.TimeoutExpired:
            return None


def ros_arguments(spec: NodeSpec, values: Values, use_sim_time: bool) -> list[str]:
    """Arguments of a node with those values that are parameters of it; None: as in the file."""
    parameters = overrides(spec, values)
    if spec.uses_sim_time:
        parameters["use_sim_time"] = use_sim_time
    result = ["--ros-args", "--enclave", spec.enclave(values), "--params-file", str(params_file(values))]
    for name, value in parameters.items():
        result += ["-p", f"{name}:={_quote(value)}"]
    if spec.in_namespace and (namespace := values.get("namespace")):
        result += ["-r", f"__ns:={namespace}"]
    for argument, topic, _ in spec.topics:
        if values.get(argument):
            result += ["-r", f"{topic}:={values[argument]}"]
    return result


def _quote(value: Any) -> str:
    """A value as YAML, which ROS arguments are read as: quotes keep strings strings."""
    if not isinstance(value, str):
        return json.dumps(value)
    escaped = re.sub(r'[^ -~]|["\\]', lambda found: f"\\U{ord(found[0]):08x}", value)
    return f'"{escaped}"'


class Processes:
    """The nodes of a graph; a context manager that stops them at its end, the planner first."""

    def __init__(
        self,
        nodes: Sequence[NodeSpec],
        values: Values,
        use_sim_time: bool,
        log_folder: Path | None = None,
        respawn: bool = False,
        nursery: Nursery | None = None,
    ) -> None:
        """Start the nodes; what they print goes to the terminal, or to files in a folder.

        Args:
            nodes: The nodes.
            values: Their arguments.
            use_sim_time: Whether time is /clock, for nodes that follow it.
            log_folder: The folder.
            respawn: Whether a node that dies is started again.
            nursery: From which they are started; one of their own, if none is given.
        """
        self._nursery, self._own_nursery = nursery or Nursery(), nursery is None
        self._running: list[_Running] = []
        self._respawn = Respawn(respawn)
        self._handled: list[int] = []
        self._use_sim_time, self._log_folder = use_sim_time, log_folder
        self.start(nodes, values)

    def start(self, nodes: Sequence[NodeSpec], values: Values) -> None:
        """Start more nodes; they are stopped before those that run already."""
        try:
            for spec in nodes:
                if spec.is_started(values):
                    log = None if self._log_folder is None else self._log_folder / f"{spec.executable}.log"
                    if log is not None:
                        log.write_bytes(b"")
                    self._running.append(_Running(spec, values, self._open(spec, values, log), log))
        except BaseException:  # such as Ctrl-C, in the time that modules take to load
            self.stop()
            raise

    def _open(
        self, spec: NodeSpec, values: Values, log: Path | None, more: dict[str, str] | None = None
    ) -> psutil.Process:
        environment = os.environ | {PARENT: str(os.getpid())} | (more or {})
        if os.environ.get("NO_COLOR"):  # rclpy knows another variable
            environment.setdefault("RCUTILS_COLORIZED_OUTPUT", "0")
        arguments = ros_arguments(spec, values, self._use_sim_time)
        try:
            return self._nursery.start(spec.module, arguments, environment, log)
        except NurseryError as error:
            raise NodeEndedError(str(error)) from None

    @property
    def pids(self) -> dict[str, int]:
        """Numbers of the nodes' processes, by executable."""
        return {node.spec.executable: node.process.pid for node in self._running}

    @property
    def nursery(self) -> int:
        """Number of the process from which nodes are started."""
        return self._nursery.pid

    def check(self) -> None:
        """See whether all nodes run, and start again what died, if that is wanted.

        If one has ended that all end with, all others are ended at once.

        Raises:
            NodeEndedError: If one has ended.
        """
        self._nursery.check()
        for node in self._running:
            if (code := node.code()) is None:
                continue
            if not node.told and (again := self._respawn.again(node.spec, node.values, code)) is not None:
                sentence = f"{node.spec.executable} has ended with exit code {code}: it is started again"
                print(f"warning: {sentence}", file=sys.stderr)
                node.process = self._open(node.spec, again, node.log, {DIED: str(time.monotonic())})
                continue
            if code and not node.told and not node.spec.ends_all(code):
                node.told = True
                print(f"warning: {node.spec.executable} has ended: all else goes on", file=sys.stderr)
            if node.spec.ends_all(code):
                for other in self._running:
                    if other.code() is None:
                        other.process.terminate()
                lines = node.log.read_text(errors="replace").strip().splitlines() if node.log else []
                last = f": {lines[-1].removeprefix('error: ')}" if lines else ""
                place = f" (all of it: {node.log})" if node.log and lines[1:] else ""
                raise NodeEndedError(f"{node.spec.executable} has ended with exit code {code}{last}{place}")

    def stop(self) -> None:
        """Stop the nodes in reverse order, so that the planner's last command, zero, still arrives."""
        for node in reversed(self._running):
            if node.code() is None:
                node.process.terminate()  # by SIGINT, Python breaks off imports with a trace-back
            try:
                node.process.wait(STOP_TIME)
            except psutil.TimeoutExpired:
                node.process.kill()
                node.process.wait()
        if self._own_nursery:
            self._nursery.stop()

    def __enter__(self) -> Processes:
        """Use as a context manager; a kill, or a closed terminal, stops the nodes as Ctrl-C does."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)
                self._handled.append(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the nodes; a second Ctrl-C must not leave them behind."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        self.stop()
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if number in self._handled else handler)
