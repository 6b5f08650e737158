"""An emulated robot behind a pseudo-terminal, with what a laboratory has beside it: motion capture, and faults."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from pydantic import Field
from rclpy.node import Node

from mbmrl_base.robots.faults import FaultError
from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.parameters import declare, refuse_simulated_time
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.hardware.emulator.board import Firmware, FirmwareSettings
from mbmrl_control.hardware.emulator.emulator import Capture, Emulator, LineSettings, default_link
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.hardware.settings import ProtocolSettings
from mbmrl_control.nodes import hardware_conversions
from mbmrl_msgs.msg import FaultArray
from mbmrl_msgs.srv import ClearFaults, InjectFault
from mbmrl_sim.millirobot.terrain import DEFAULT_TERRAIN, TERRAINS
from mbmrl_sim.millirobot.world import World
from mbmrl_sim.nodes.conversions import from_fault, to_fault, to_fault_array
from mbmrl_sim.sensors import Sensors, make_sensors


class EmulatorSettings(LineSettings, ProtocolSettings):
    """Parameters of the emulated robot."""

    tty: str = Field("", description="Link to the pseudo-terminal, to be made; empty: /tmp/mbmrl-tty-UID")
    terrain: str = Field(DEFAULT_TERRAIN, description=f"Ground: {', '.join(TERRAINS)}")
    sensors: str = Field(
        "ideal", description="Imperfections: ideal, or real; exceptions follow it, as in real,delay=0,frozen=0"
    )
    capture_rate: float = Field(100.0, ge=0.0, le=1000.0, description="Frames of motion capture, Hz; 0: none")


class EmulatorNode(Node):
    """One worker plays the robot; callbacks inject faults."""

    def __init__(self) -> None:
        """Set up the world and the terminal.

        Raises:
            ValueError: If a parameter is refused, or the link to the terminal cannot be made.
        """
        super().__init__("emulator_node", automatically_declare_parameters_from_overrides=True)
        settings = declare(self, EmulatorSettings)
        refuse_simulated_time(self)
        codec = settings.codec("robot")
        sensors = make_sensors(settings.sensors)
        self._poses = self.create_publisher(PoseStamped, "motion_capture/pose", qos.STATE)
        self._faults = self.create_publisher(FaultArray, "faults", qos.LATCHED)
        self._world = World(settings.seed, terrain=settings.terrain, sensors=sensors)
        capture = None
        if settings.capture_rate:
            eyes = Sensors(sensors, np.random.default_rng((settings.seed, 2)), MILLIROBOT)
            capture = Capture(settings.capture_rate, eyes, self._publish_pose)
        tty = Path(settings.tty) if settings.tty else default_link()
        firmware = Firmware(self._world, FirmwareSettings(polled=settings.protocol == "velociroach"))
        self._emulator = Emulator(firmware, codec, tty, settings, capture)
        self._stop = threading.Event()
        self.create_service(InjectFault, "inject_fault", self._inject)
        self.create_service(ClearFaults, "clear_faults", self._clear)
        self._publish_faults()
        self.worker = Worker(lambda: self._emulator.run(self._stop), "robot")
        self.get_logger().info(f"a robot that speaks {settings.protocol} is on {tty}")

    def close(self) -> None:
        """Stop the robot and take the terminal away."""
        if hasattr(self, "worker"):
            self._stop.set()
            self.worker.join()
            self._world.close()

    def _publish_pose(self, taken: float, state: Array) -> None:
        # ROS time of what was taken at a time of the monotonic clock.
        seconds = self.get_clock().now().nanoseconds * 1e-9 - (time.monotonic() - taken)
        body = MILLIROBOT.body(state)
        assert body is not None
        self._poses.publish(hardware_conversions.to_pose_stamped(seconds, body.position, body.angles))

    def _publish_faults(self) -> None:
        now = self.get_clock().now().nanoseconds * 1e-9
        self._faults.publish(to_fault_array(self._world.faults, now))

    def _inject(self, request: InjectFault.Request, response: InjectFault.Response) -> InjectFault.Response:
        with self._emulator.lock:
            try:
                fault = self._world.inject(from_fault(request))
            except FaultError as error:
                response.success, response.message = False, str(error)
                return response
        self._publish_faults()
        response.success = True
        response.message = f"in force: {fault}"
        response.fault = to_fault(fault)
        self.get_logger().info(response.message)
        # The host's clock: the simulated one is the robot's own.
        response.fault.since = self.get_clock().now().to_msg()
        return response

    def _clear(self, _: ClearFaults.Request, response: ClearFaults.Response) -> ClearFaults.Response:
        with self._emulator.lock:
            cleared = self._world.clear_faults()
        self._publish_faults()
        names = ", ".join(map(str, cleared))
        response.success, response.message = True, f"undone: {names}" if names else "no fault was in force"
        self.get_logger().info(response.message)
        return response


def main() -> None:
    """Entry point."""
    sys.exit(run(EmulatorNode))


if __name__ == "__main__":
    main()
