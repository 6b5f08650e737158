"""The services of a node with a simulated robot that break, mend and push it, and the topic of faults in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Lock

import numpy as np
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from mbmrl_base.robots.faults import Fault, FaultError
from mbmrl_base.robots.simulator import Simulator
from mbmrl_base.toolkit import qos
from mbmrl_msgs.msg import FaultArray
from mbmrl_msgs.srv import ClearFaults, InjectFault, Push
from mbmrl_sim.nodes.conversions import from_fault, to_fault, to_fault_array, to_fault_markers


class FaultServices:
    """Answers the services; what is in force is published at each change."""

    def __init__(
        self, node: Node, simulator: Simulator, lock: Lock, offset: Callable[[], float], frame_prefix: str = ""
    ) -> None:
        """Offer the services.

        Args:
            node: The node.
            simulator: The simulator.
            lock: Is held while it changes.
            offset: Returns ROS time less simulated time, s.
            frame_prefix: Prefix of all names of frames.
        """
        self._node, self._simulator, self._lock, self._offset = node, simulator, lock, offset
        self._prefix = frame_prefix
        self._faults = node.create_publisher(FaultArray, "faults", qos.LATCHED)
        self._markers = node.create_publisher(MarkerArray, "fault_markers", qos.LATCHED)
        node.create_service(InjectFault, "inject_fault", self._inject)
        node.create_service(ClearFaults, "clear_faults", self._clear)
        node.create_service(Push, "push", self._push)
        self.publish()

    def publish(self) -> None:
        """Publish the faults in force."""
        faults = self._simulator.faults
        self._faults.publish(to_fault_array(map(self._dated, faults), self._simulator.time + self._offset()))
        self._markers.publish(to_fault_markers(faults, self._simulator.robot.urdf(), self._prefix))

    def _dated(self, fault: Fault) -> Fault:
        """The fault with its time on the clock of all messages."""
        return replace(fault, since=fault.since + self._offset())

    def _inject(self, request: InjectFault.Request, response: InjectFault.Response) -> InjectFault.Response:
        with self._lock:
            try:
                fault = self._simulator.inject(from_fault(request))
            except FaultError as error:
                response.success, response.message = False, str(error)
                return response
            self.publish()
            response.fault = to_fault(self._dated(fault))
        response.success, response.message = True, f"in force: {fault}"
        self._node.get_logger().info(response.message)
        return response

    def _clear(self, _: ClearFaults.Request, response: ClearFaults.Response) -> ClearFaults.Response:
        with self._lock:
            names = ", ".join(map(str, self._simulator.clear_faults()))
            self.publish()
        response.success, response.message = True, f"undone: {names}" if names else "no fault was in force"
        self._node.get_logger().info(response.message)
        return response

    def _push(self, request: Push.Request, response: Push.Response) -> Push.Response:
        velocity = np.array([request.ahead, request.left, request.up])
        with self._lock:
            try:
                self._simulator.push(velocity)
            except ValueError as error:
                response.success, response.message = False, str(error)
                return response
        response.success = True
        response.message = "pushed by " + ", ".join(f"{each:g}" for each in velocity) + " m/s"
        self._node.get_logger().info(response.message)
        return response
