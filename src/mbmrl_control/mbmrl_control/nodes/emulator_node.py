"""An emulated robot behind a pseudo-terminal, with what a laboratory has beside it: motion capture, and faults."""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseStamped
from pydantic import Field
from rclpy.node import Node

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.parameters import declare, refuse_simulated_time
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.hardware.emulator.board import Firmware, FirmwareSettings
from mbmrl_control.hardware.emulator.emulator import Capture, Emulator, LineSettings, default_link, hold_link
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.hardware.settings import ProtocolSettings
from mbmrl_control.nodes import hardware_conversions
from mbmrl_sim.catalogue import DEFAULT_TERRAIN, check_simulator
from mbmrl_sim.millirobot.terrain import TERRAINS
from mbmrl_sim.millirobot.world import World
from mbmrl_sim.nodes.fault_services import FaultServices
from mbmrl_sim.sensors import Sensors, make_sensors


class EmulatorSettings(LineSettings, ProtocolSettings):
    """Parameters of the emulated robot."""

    tty: str = Field("", description="Link to the pseudo-terminal, to be made; empty: /tmp/mbmrl-tty-UID")
    terrain: str = Field(DEFAULT_TERRAIN, description=f"Ground: {', '.join(TERRAINS)}")
    sensors: str = Field(
        "ideal", description="Imperfections: ideal, or real; exceptions follow it, as in real,delay=0,frozen=0"
    )
    capture_rate: float = Field(100.0, ge=0.0, le=1000.0, description="Frames of motion capture, Hz; 0: none")

    @property
    def link(self) -> Path:
        """Link to the terminal."""
        return Path(self.tty) if self.tty else default_link()

    def check(self) -> None:
        """As of `NodeSettings`."""
        self.codec("robot")
        check_simulator(DEFAULT_ROBOT, terrain=self.terrain, sensors=self.sensors)
        hold_link(self.link).close()


class EmulatorNode(Node):
    """One worker plays the robot; callbacks of `FaultServices` inject faults."""

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
        self._world = World(settings.seed, terrain=settings.terrain, sensors=sensors)
        capture = None
        if settings.capture_rate:
            eyes = Sensors(sensors, np.random.default_rng((settings.seed, 2)), MILLIROBOT)
            capture = Capture(settings.capture_rate, eyes, self._publish_pose)
        firmware = Firmware(self._world, FirmwareSettings(polled=settings.protocol == "velociroach"))
        self._emulator = Emulator(firmware, codec, settings.link, settings, capture)
        self._stop = threading.Event()
        FaultServices(self, self._world, self._emulator.lock, lambda: self._ros_time() - self._world.time)
        self.worker = Worker(lambda: self._emulator.run(self._stop), "robot")
        self.get_logger().info(f"a robot that speaks {settings.protocol} is on {settings.link}")

    def close(self) -> None:
        """Stop the robot and take the terminal away."""
        self._stop.set()
        self.worker.join()
        self._world.close()

    def _publish_pose(self, taken: float, state: Array) -> None:
        # ROS time of what was taken at a time of the monotonic clock.
        seconds = self._ros_time() - (time.monotonic() - taken)
        body = MILLIROBOT.body(state)
        assert body is not None
        self._poses.publish(hardware_conversions.to_pose_stamped(seconds, body.position, body.angles))

    def _ros_time(self) -> float:
        return float(self.get_clock().now().nanoseconds * 1e-9)


main = partial(run, EmulatorNode)

if __name__ == "__main__":
    sys.exit(main())
