"""Pictures of the robot as a camera's images, in a process of its own: drawing must not stall the physics."""

from __future__ import annotations

import math
import sys
import threading
from contextlib import closing
from functools import partial
from typing import Final

import numpy as np
from builtin_interfaces.msg import Time
from nav_msgs.msg import Path as PathMessage
from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, load_robot
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_robot_state, with_prefix
from mbmrl_base.toolkit.parameters import declare
from mbmrl_base.toolkit.settings import FRAME_PREFIX, NodeSettings
from mbmrl_base.toolkit.sole import SoleSubscription
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.ticker import Ticker
from mbmrl_base.toolkit.worker import Worker
from mbmrl_msgs.msg import FaultArray, RobotState
from mbmrl_sim.nodes import conversions
from mbmrl_sim.render import FIELD_OF_VIEW, Line, Scene

_PATH_COLOUR: Final = (70, 110, 200)


class CameraSettings(NodeSettings):
    """Parameters of the camera node."""

    rate: float = Field(10.0, ge=0.1, le=60.0, description="Images per second of real time, Hz")
    width: int = Field(480, ge=16, le=1920, description="Width of an image, pixels")
    height: int = Field(360, ge=16, le=1080, description="Height of an image, pixels")
    frame_prefix: str = Field("", description=FRAME_PREFIX)

    def check(self) -> Robot:
        """As of `NodeSettings`; there is a scene of this robot only."""
        return load_robot(DEFAULT_ROBOT)


class CameraNode(Node):
    """Keeps the newest state; one worker draws it, where it is another one than before."""

    def __init__(self) -> None:
        """Set up the scene and start the worker.

        Raises:
            ValueError: If a parameter is refused.
        """
        super().__init__("camera_node", automatically_declare_parameters_from_overrides=True)
        self._settings = declare(self, CameraSettings)
        self._stop = threading.Event()
        self._robot = load_robot(DEFAULT_ROBOT)  # what the scene draws
        self._newest: tuple[Array, Time] | None = None
        self._faults: tuple[str, ...] = ()
        self._lines: list[Line] = []
        self._images = self.create_publisher(Image, "camera/image_raw", qos.LATEST)
        self._infos = self.create_publisher(CameraInfo, "camera/camera_info", qos.LATEST)
        SoleSubscription(self, RobotState, "robot_state", self._take_state, qos.LATEST)
        SoleSubscription(self, FaultArray, "faults", self._take_faults, qos.LATCHED)
        self.create_subscription(PathMessage, "reference_path", self._take_path, qos.LATCHED)
        self.worker = Worker(self._film, "camera")
        self.get_logger().info(f"drawing at {self._settings.rate:g} Hz")

    def close(self) -> None:
        """Stop the worker."""
        self._stop.set()
        self.worker.join()

    def _take_state(self, message: RobotState) -> None:
        self._newest = from_robot_state(self._robot, message).state, message.header.stamp

    def _take_faults(self, message: FaultArray) -> None:
        self._faults = tuple(map(str, conversions.from_fault_array(message)))

    def _take_path(self, message: PathMessage) -> None:
        positions = [pose.pose.position for pose in message.poses]
        self._lines = [Line(np.array([(position.x, position.y) for position in positions]), _PATH_COLOUR)]

    def _film(self) -> None:
        ticker = Ticker(1.0 / self._settings.rate)
        drawn = None
        width, height = self._settings.width, self._settings.height
        angle = math.radians(FIELD_OF_VIEW)
        with closing(Scene(width, height, samples=1)) as scene:
            while ticker.wait(self._stop):
                newest = self._newest
                if newest is None or newest is drawn:
                    continue
                state, stamp = newest
                picture = scene.draw(state, self._faults, self._lines)
                # The stamp is that of the state, which is what the image shows.
                image = conversions.to_image(picture, stamp)
                info = conversions.to_camera_info(width, height, angle, stamp)
                self._images.publish(with_prefix(image, self._settings.frame_prefix))
                self._infos.publish(with_prefix(info, self._settings.frame_prefix))
                drawn = newest


main = partial(run, CameraNode)

if __name__ == "__main__":
    sys.exit(main())
