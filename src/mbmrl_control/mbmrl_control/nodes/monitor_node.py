"""Listens to a run and records it; injects faults through the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.msg import Log
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.task import Future

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import check_message, from_robot_state
from mbmrl_base.toolkit.sole import SoleSubscription
from mbmrl_control.control.run_record import Tick
from mbmrl_control.nodes.conversions import path_start
from mbmrl_msgs.msg import AdaptationStatus, FaultArray, PlannerStatus, RobotState
from mbmrl_msgs.srv import ClearFaults, InjectFault
from mbmrl_sim.nodes.conversions import from_fault_array, to_fault_request

SIMULATED = ("simulator_node", "emulator_node")
"""Nodes of robots that take faults."""
ANSWER_TIME = 0.5
"""Time after which a question is asked again, s."""


class MonitorNode(Node):
    """Keeps a tick for each robot state, and the newest status of each node."""

    def __init__(self, namespace: str = "", robot: Robot | None = None) -> None:
        """Subscribe to what the nodes of a robot in a namespace publish; without a robot it only calls services."""
        super().__init__("monitor_node", namespace=namespace)
        self.ticks: list[Tick] = []
        """A tick for each robot state, in order."""
        self.planner: PlannerStatus | None = None
        self.adaptation: AdaptationStatus | None = None
        self.faults: tuple[Fault, ...] = ()
        """Faults in force."""
        self.path_start: Array | None = None
        """x, y (m) and yaw (rad) of the first pose of the planner's path."""
        self.moved = threading.Event()
        """Set when the first command is in force."""
        self._by_sequence: dict[int, Tick] = {}
        self._last_command = 0
        if robot is not None:
            for message_type, topic, take in (
                (RobotState, "robot_state", partial(self._take_state, robot)),
                (PlannerStatus, "planner_status", partial(self._take_planner, robot)),
                (AdaptationStatus, "adaptation_status", partial(self._take_adaptation, robot)),
            ):
                SoleSubscription(self, message_type, topic, take, qos.STATE)
        SoleSubscription(self, FaultArray, "faults", self._take_faults, qos.LATCHED)
        self.create_subscription(PathMessage, "reference_path", self._take_path, qos.LATCHED)
        self._inject = self.create_client(InjectFault, "inject_fault")
        self._clear = self.create_client(ClearFaults, "clear_faults")

    def _take_state(self, robot: Robot, message: RobotState) -> None:
        observation = from_robot_state(robot, message)
        fresh = message.command_sequence > self._last_command
        self._last_command = max(self._last_command, message.command_sequence)
        tick = Tick(observation, commanded=fresh, faults=tuple(map(str, self.faults)))
        self.ticks.append(tick)
        self._by_sequence[message.sequence] = tick
        if fresh:
            self.moved.set()

    def _take_planner(self, robot: Robot, message: PlannerStatus) -> None:
        check_message(message, robot.name)
        self.planner = message
        if message.state_sequence in self._by_sequence:
            self._by_sequence[message.state_sequence].planning_time = message.planning_time

    def _take_adaptation(self, robot: Robot, message: AdaptationStatus) -> None:
        check_message(message, robot.name)
        self.adaptation = message
        if (tick := self._by_sequence.get(message.state_sequence)) is not None:
            tick.prior_error, tick.adapted_error = message.prior_error, message.adapted_error
            tick.adaptation_time = message.adaptation_time

    def _take_faults(self, message: FaultArray) -> None:
        self.faults = from_fault_array(message)

    def _take_path(self, message: PathMessage) -> None:
        self.path_start = path_start(message)

    def inject(self, fault: Fault) -> Future:
        """Ask for a fault; the future holds the service's response."""
        return self._inject.call_async(to_fault_request(fault))

    def clear(self) -> Future:
        """Ask for all faults to be undone; the future holds the service's response."""
        return self._clear.call_async(ClearFaults.Request())

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
        """Wait until a robot that takes faults answers, at most a time in s."""
        return self.ask(GetParameters, (f"{name}/get_parameters" for name in SIMULATED), timeout) is not None


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
