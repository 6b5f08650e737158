"""The topics of a robot: what it has, and nothing else, is published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from rclpy.qos import (
    QoSCompatibility,
    QoSProfile,
    qos_check_compatible,
    qos_profile_sensor_data,
    qos_profile_system_default,
)
from sensor_msgs.msg import BatteryState, JointState

from mbmrl_base.robots.description import describe
from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.robot_topics import RobotTopics
from mbmrl_msgs.msg import RobotDescription, RobotState
from ros_testing import Peer, number_of, peer_in

ARM: dict[str, Any] = {
    "name": "arm",
    "states": [{"name": "joint", "unit": "rad", "angle": True}, {"name": "rate", "unit": "rad/s"}],
    "actions": [{"name": "target", "unit": "rad", "low": -1.5, "high": 2.0, "safe": "joint"}],
}
CART: dict[str, Any] = {
    "name": "cart",
    "states": ["px", "py", {"name": "theta", "unit": "rad", "angle": True}, "volts"],
    "actions": ["speed"],
    "planar": {"position": ["px", "py"], "heading": "theta"},
    "battery": "volts",
}


def topics_of(peer: Peer) -> set[str]:
    """Topics that the peer's node publishes."""
    found = peer.node.get_publisher_names_and_types_by_node(peer.node.get_name(), peer.node.get_namespace())
    return {name.lstrip("/") for name, _ in found} - {"rosout", "parameter_events"}


@pytest.mark.parametrize(
    ("description", "joints", "topics"),
    [
        (ARM, (), {"robot", "robot_state"}),
        (ARM, ("hinge",), {"robot", "robot_state", "joint_states"}),
        (CART, (), {"robot", "robot_state", "odom", "imu/data", "battery_state"}),
    ],
    ids=["arm", "arm with a joint", "cart"],
)
def test_only_what_a_robot_has_is_published(
    description: dict[str, Any], joints: tuple[str, ...], topics: set[str], peer: Peer
) -> None:
    RobotTopics(peer.node, Robot(describe(description)), joints)
    peer.spin_until(lambda: topics_of(peer) == topics)


def test_what_is_published_is_heard_and_what_the_robot_is_also_later(peer: Peer, domain: int) -> None:
    topics = RobotTopics(peer.node, Robot(describe(CART)), ("axle",), "robot1/")
    with peer_in(domain) as other:
        states, odometry, batteries, joints = (
            other.record(kind, topic, qos.STATE)
            for kind, topic in (
                (RobotState, "robot_state"),
                (Odometry, "odom"),
                (BatteryState, "battery_state"),
                (JointState, "joint_states"),
            )
        )
        what = other.record(RobotDescription, "robot", qos.LATCHED)
        other.spin_until(lambda: what)
        assert (what[0].robot, list(what[0].state_names), list(what[0].angles)) == (
            "cart",
            ["px", "py", "theta", "volts"],
            ["theta"],
        )
        assert (list(what[0].action_low), list(what[0].action_high)) == ([-np.inf], [np.inf])
        heard = (states, odometry, batteries, joints)
        observation = Observation(np.array([1.0, 2.0, np.pi, 11.5]), np.array([0.25]), 3.5, 7, 2, 0.05)

        def all_heard() -> bool:
            """Publish until discovery is done, whose order over topics is not defined."""
            topics.publish(observation, 6, (np.array([0.5]), np.array([0.1])))
            return all(heard)

        other.spin_until(all_heard)
    assert (number_of(states[0], "py"), number_of(states[0], "speed")) == (2.0, 0.25)
    assert (states[0].header.frame_id, states[0].command_sequence) == ("robot1/odom", 6)
    assert odometry[0].pose.pose.orientation.z == pytest.approx(1.0)
    assert batteries[0].voltage == pytest.approx(11.5)
    assert (list(joints[0].name), list(joints[0].position), list(joints[0].velocity)) == (["axle"], [0.5], [0.1])


@pytest.mark.parametrize("topic", ["odom", "joint_states", "imu/data", "robot_state", "battery_state"])
@pytest.mark.parametrize(
    "reader",
    [QoSProfile(depth=5), qos_profile_system_default, qos_profile_sensor_data],
    ids=["reliable, as RViz", "as the system has it", "best effort, as filters of sensors"],
)
def test_who_reads_as_is_usual_is_served(topic: str, reader: QoSProfile, peer: Peer) -> None:
    """A recorder and Foxglove ask for what the publishers have."""
    RobotTopics(peer.node, Robot(describe(CART)), ("axle",))
    (publisher,) = peer.node.get_publishers_info_by_topic(topic)
    # It warns of what is left to the system.
    assert qos_check_compatible(publisher.qos_profile, reader)[0] != QoSCompatibility.ERROR
