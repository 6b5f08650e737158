"""The main function that all nodes share, and how another program has a node beside its own work."""

from __future__ import annotations

import gc
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.experimental import EventsExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from mbmrl_base.system import shared_memory, surroundings
from mbmrl_base.system.endings import end_with_parent, exit_within
from mbmrl_base.system.surroundings import SurroundingsError
from mbmrl_base.toolkit.impossible import refuse_impossible

RCLError = rclpy_implementation.RCLError
USAGE_ERROR = 2
"""Exit code if the user asked for something impossible."""
SIGNAL_LATENCY = 0.05
"""Longest time until a node takes notice of a signal, s."""
LEAVING_TIME = 4.0
"""Longest time in which a closed node leaves its domain, s; `ros2 launch` waits 5 s before it sends SIGTERM."""
OPERATOR = "/operator"
"""Enclave of SROS2 of a command."""

NodeT = TypeVar("NodeT", bound=Node)


def _init(arguments: list[str], *more: str) -> None:
    """Start ROS 2 with these arguments and more of ROS; SurroundingsError if it cannot be started."""
    surroundings.prepare()
    refuse_impossible()
    shared_memory.clean()
    # A node works as well if there is no home, such as in a container or as a service of the system.
    unkept = ["--disable-external-lib-logs"] if surroundings.lost_logs() else []
    try:
        # rclpy's own handlers would end the context under the thread that waits with it.
        rclpy.init(args=[*arguments, "--ros-args", *more, *unkept], signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # such as a malformed argument, or a parameter file that cannot be read
        what = "the ROS arguments were refused" if "--ros-args" in arguments else "ROS 2 cannot be started"
        raise SurroundingsError(f"{what}: {_sentence(error)}") from None


def _make(make_node: Callable[[], NodeT]) -> NodeT:
    """Make a node; SurroundingsError if ROS 2 or the system do not allow it."""
    try:
        return make_node()
    except (RCLError, OSError) as error:
        rclpy.try_shutdown()
        raise SurroundingsError(f"the node cannot be started: {_sentence(error)}") from None


def _sentence(error: Exception) -> str:
    """Text of an error in one line, without the places in the sources of ROS 2."""
    return re.sub(r"[\s,]+at \S+:\d+", "", " ".join(str(error).split()))


@contextmanager
def beside(make_node: Callable[[], NodeT]) -> Iterator[NodeT]:
    """A node whose callbacks run in a thread of their own; signals stay with the program."""
    _init(sys.argv, "--enclave", OPERATOR)
    node, executor, end = _make(make_node), SingleThreadedExecutor(), Future()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin_until_future_complete, args=(end,), name=node.get_name())
    thread.start()
    try:
        yield node
    finally:
        end.set_result(None)
        thread.join()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()


def run(make_node: Callable[[], Node], arguments: list[str] | None = None) -> int:
    """Run a node until SIGINT, SIGTERM, SIGHUP, the end of its context, or that of the launch that started it.

    What ROS 2 refuses, and a ValueError while the node is made, are mistakes of the user's: they are printed as one
    sentence. A node has a method ``close`` that stops it and sends what must be sent last, and may have a `Worker`,
    ``worker``, and a sentence, ``over``, once it cannot go on.

    Returns:
        The process's exit code; it is ended with it after LEAVING_TIME if it has not ended by then.
    """
    end_with_parent()  # before there is a node: a robot whose launch has gone is not to be brought up
    surroundings.open_streams()
    try:
        _init(sys.argv if arguments is None else arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    node = None
    code = 1
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What nohup has started outlives its terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: interrupted.set())
    try:
        node = _make(make_node)
        if why := surroundings.lost_logs():
            node.get_logger().warning(f"what is logged is not kept in a file: {why}")
        executor = EventsExecutor()
        executor.add_node(node)
        while not interrupted.is_set() and not getattr(node, "over", ""):
            # Python takes notice of a signal only between calls of C code, so none may wait for long.
            executor.spin_once(timeout_sec=SIGNAL_LATENCY)
        code = 0
        if over := getattr(node, "over", ""):
            print(f"error: {over}", file=sys.stderr)
            code = USAGE_ERROR
    except ExternalShutdownException:
        code = 0
    except ValueError as error:
        if node is not None:
            raise
        print(f"error: {error}", file=sys.stderr)
        code = USAGE_ERROR
    finally:
        # A second signal must not break off the orderly end.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            node.close()
            worker = getattr(node, "worker", None)
            code = code or int(worker is not None and worker.failed)
        sys.stdout.flush()
        # Fast DDS waits for ever if another participant is just being discovered (its issue 6513).
        exit_within(LEAVING_TIME, code)
        if node is not None:
            node.destroy_node()
        else:
            gc.collect()  # a half-made node, which only leaves its domain when it is gone
        rclpy.try_shutdown()
        shared_memory.clean()
    return code
