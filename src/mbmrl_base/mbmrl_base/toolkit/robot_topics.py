"""The topics of a robot, the same of a simulator's and of a real one: only what a robot has is published."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import BatteryState, Imu, JointState
from std_msgs.msg import String

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import (
    to_battery_state,
    to_imu,
    to_joint_state,
    to_odometry,
    to_robot_description,
    to_robot_state,
    to_transform,
    with_prefix,
)
from mbmrl_msgs.msg import RobotState

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # an installed ROS 2 has it, its wheels have not
    TFMessage = None


class RobotTopics:
    """Publishes what a robot reports, and once what it is."""

    def __init__(
        self,
        node: Node,
        robot: Robot,
        joint_names: Sequence[str] = (),
        frame_prefix: str = "",
        publish_tf: bool = True,
        taken: Collection[str] = (),
    ) -> None:
        """Start to publish.

        Args:
            node: The node.
            robot: The robot.
            joint_names: Names of its joints, if it has any.
            frame_prefix: Prefix of all names of frames.
            publish_tf: Whether to publish the transform from odom to base_link (REP 105) too, where tf2_msgs is there.
            taken: Full names of topics that the robot itself has: of these none is published.
        """
        self._robot, self._joint_names, self._prefix = robot, joint_names, frame_prefix
        types: dict[str, type] = {"robot_state": RobotState}
        if robot.description.planar is not None:
            types |= {"odom": Odometry, "imu/data": Imu}
        if joint_names:
            types["joint_states"] = JointState
        if robot.description.battery is not None:
            types["battery_state"] = BatteryState
        types = {topic: kind for topic, kind in types.items() if node.resolve_topic_name(topic) not in taken}
        self._publishers = {topic: node.create_publisher(kind, topic, qos.STATE) for topic, kind in types.items()}
        self._transforms = None
        if TFMessage is not None and publish_tf and "odom" in types:
            self._transforms = node.create_publisher(TFMessage, "/tf", qos.TRANSFORMS)
        latched: list[tuple[str, Any]] = [("robot", to_robot_description(robot))]
        if (urdf := robot.urdf()) is not None:
            latched.append(("robot_description", String(data=urdf)))
        for topic, message in latched:
            publisher = node.create_publisher(type(message), topic, qos.LATCHED)
            publisher.publish(message)
            self._publishers[topic] = publisher

    def publish(
        self,
        observation: Observation,
        command_sequence: int,
        joints: tuple[Array, Array] | None = None,
        amend: Callable[[Any], None] | None = None,
    ) -> None:
        """Publish an observation.

        Args:
            observation: Of ROS time.
            command_sequence: Number of the command that was in force; 0: none.
            joints: Positions and velocities of the joints, shape (n,) each.
            amend: Is called with each message before it is published, and adds what more is known.
        """
        seconds, battery = observation.time, self._robot.description.battery
        messages: dict[str, Any] = {"robot_state": to_robot_state(self._robot, observation, command_sequence)}
        if (body := self._robot.body(observation.state)) is not None:
            messages |= {"odom": to_odometry(body, seconds), "imu/data": to_imu(body, seconds)}
        if joints is not None:
            messages["joint_states"] = to_joint_state(self._joint_names, *joints, seconds)
        if battery is not None:
            messages["battery_state"] = to_battery_state(observation.state[self._robot.state(battery)], seconds)
        messages = {topic: message for topic, message in messages.items() if topic in self._publishers}
        for topic, message in messages.items():
            if amend is not None:
                amend(message)
            self._publishers[topic].publish(with_prefix(message, self._prefix))
        if self._transforms is not None and "odom" in messages:
            self._transforms.publish(TFMessage(transforms=[to_transform(messages["odom"])]))
