"""Listens to a run; injects faults through the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from rcl_interfaces.msg import Log
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.task import Future

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.sole import SoleSubscription
from mbmrl_control.nodes.run_messages import TOPICS, RunMessages
from mbmrl_msgs.srv import ClearFaults, InjectFault, Push
from mbmrl_sim.nodes.conversions import to_fault_request

SIMULATED = ("simulator_node", "emulator_node")
"""Nodes of robots that take faults."""
ANSWER_TIME = 0.5
"""Time after which a question is asked again, s."""


class MonitorNode(Node):
    """Listens to the robot of a namespace, and calls its services."""

    def __init__(self, namespace: str = "", robot: Robot | None = None) -> None:
        """Subscribe to what the nodes of a robot in a namespace publish; without a robot it only calls services."""
        super().__init__("monitor_node", namespace=namespace)
        if robot is not None:
            self.run = RunMessages(robot)
            """What came of the robot."""
            for topic, (message_type, profile) in TOPICS.items():
                SoleSubscription(self, message_type, topic, partial(self.run.take, topic), profile)
        self._inject = self.create_client(InjectFault, "inject_fault")
        self._clear = self.create_client(ClearFaults, "clear_faults")
        self._push = self.create_client(Push, "push")

    def inject(self, fault: Fault) -> Future:
        """Ask for a fault; the future holds the service's response."""
        return self._inject.call_async(to_fault_request(fault))

    def clear(self) -> Future:
        """Ask for all faults to be undone; the future holds the service's response."""
        return self._clear.call_async(ClearFaults.Request())

    def push(self, ahead: float, left: float, up: float) -> Future:
        """Ask for a push, m/s; the future holds the service's response."""
        return self._push.call_async(Push.Request(ahead=ahead, left=left, up=up))

    def answer(self, future: Future, timeout: float) -> Any | None:
        """Response of a service, or None if it did not come within a time in s."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        return future.result() if done.wait(timeout) else None

    def ask(self, service_type: Any, names: Iterable[str], timeout: float) -> Any | None:
        """Ask services what changes nothing, until one answers, at most a time in s; None if none does.

        A server loses the response to a client that it does not know yet, although the client sees the
        server: so it is asked again. Whoever knows this client, the newest one, knows the node's others.
        """
        clients = [self.create_client(service_type, name) for name in names]
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            for client in clients:
                if client.wait_for_service(min(left, ANSWER_TIME / len(clients))):
                    response = self.answer(client.call_async(service_type.Request()), ANSWER_TIME)
                    if response is not None:
                        return response
        return None

    def wait_for_robot(self, timeout: float) -> bool:
        """Wait until a robot that takes faults answers, and its services are known, at most a time in s each."""
        answer = self.ask(GetParameters, (f"{name}/get_parameters" for name in SIMULATED), timeout)
        clients = (self._inject, self._clear, self._push)
        return answer is not None and all(client.wait_for_service(timeout) for client in clients)


class Complaints:
    """What a node logs as errors, by /rosout."""

    def __init__(self, monitor: MonitorNode, name: str) -> None:
        """Listen to a node of the monitor's namespace."""
        self._logger = f"{monitor.get_namespace()}/{name}".strip("/").replace("/", ".")
        self._newest = ""
        self._told = threading.Event()
        monitor.create_subscription(Log, "/rosout", self._take, qos.STATE)

    def _take(self, message: Log) -> None:
        if message.name == self._logger and message.level >= Log.ERROR:
            self._newest = message.msg
            self._told.set()

    def forget(self) -> None:
        """Let only what comes from now on count."""
        self._told.clear()
        self._newest = ""

    def wait(self, timeout: float) -> str:
        """The newest error, waited for at most a time in s; empty if none came."""
        self._told.wait(timeout)
        return self._newest
