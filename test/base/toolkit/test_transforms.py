"""The transform of a robot, with a tf2_msgs that is built here: no wheel has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CMAKE = """
cmake_minimum_required(VERSION 3.16)
project(tf2_msgs)
set(BUILD_TESTING OFF)
find_package(ament_cmake REQUIRED)
find_package(geometry_msgs REQUIRED)
find_package(rosidl_default_generators REQUIRED)
rosidl_generate_interfaces(${PROJECT_NAME} msg/TFMessage.msg DEPENDENCIES geometry_msgs)
ament_package()
"""
PACKAGE = """<package format="3">
  <name>tf2_msgs</name> <version>0.0.1</version> <description>Of a test.</description>
  <maintainer email="test@mbmrl.invalid">test</maintainer> <license>Apache-2.0</license>
  <buildtool_depend>ament_cmake</buildtool_depend> <buildtool_depend>rosidl_default_generators</buildtool_depend>
  <depend>geometry_msgs</depend> <member_of_group>rosidl_interface_packages</member_of_group>
  <export><build_type>ament_cmake</build_type></export>
</package>"""
HEARD = """
import json, sys
import numpy as np, rclpy
from nav_msgs.msg import Odometry
from tf2_msgs.msg import TFMessage
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.robot_topics import RobotTopics

cart = {"name": "cart", "states": ["px", "py", {"name": "theta", "angle": True}], "actions": ["speed"],
        "planar": {"position": ["px", "py"], "heading": "theta"}}
rclpy.init()
node = rclpy.create_node("robot")
topics = RobotTopics(node, Robot(describe(cart)), (), "r1/", publish_tf=sys.argv[1] == "true")
poses, transforms = {}, {}

def stamp(header):
    return header.frame_id, header.stamp.sec, header.stamp.nanosec

def pose(place, turn):
    return [place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w]

def odom(message):
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    poses[stamp(message.header), message.child_frame_id] = pose(place, turn)

def tf(message):
    for each in message.transforms:
        transforms[stamp(each.header), each.child_frame_id] = pose(each.transform.translation, each.transform.rotation)

node.create_subscription(Odometry, "odom", odom, 10)
node.create_subscription(TFMessage, "/tf", tf, 100)
number = 0
while len(poses) < 5 or (node.count_publishers("/tf") and len(poses.keys() & transforms.keys()) < 5):
    number += 1
    state = np.array([0.1 * number, -2.0, 0.3 * number])
    topics.publish(Observation(state, np.array([0.25]), 3.5 + 0.05 * number, number, 1, 0.05), 0)
    for _ in range(3):
        rclpy.spin_once(node, timeout_sec=0.05)
both = poses.keys() & transforms.keys()
print(json.dumps({"frames": sorted({(of[0], to) for of, to in transforms}), "both": len(both),
                  "same": all(poses[key] == transforms[key] for key in both)}))
"""


@pytest.fixture(scope="module")
def with_tf2_msgs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes that have tf2_msgs."""
    try:
        import tf2_msgs  # noqa: F401
    except ImportError:
        folder = tmp_path_factory.mktemp("workspace")
    else:
        return dict(os.environ)
    source = folder / "src" / "tf2_msgs"
    (source / "msg").mkdir(parents=True)
    (source / "CMakeLists.txt").write_text(CMAKE)
    (source / "package.xml").write_text(PACKAGE)
    (source / "msg" / "TFMessage.msg").write_text("geometry_msgs/TransformStamped[] transforms\n")
    build = subprocess.run([sys.executable, "-m", "colcon", "build"], cwd=folder, capture_output=True, text=True)
    assert build.returncode == 0, build.stdout + build.stderr
    # Sourced in a shell, as a user does.
    command = ["/bin/sh", "-c", ". install/local_setup.sh && env -0"]
    text = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in text.split("\0") if line)


@pytest.mark.timeout(600)  # a build takes its time on a loaded machine
@pytest.mark.parametrize("publish_tf", [True, False])
def test_transform_is_that_of_odom_and_of_its_time(
    with_tf2_msgs: dict[str, str], publish_tf: bool, domain: int, tmp_path: Path
) -> None:
    environment = with_tf2_msgs | {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(tmp_path)}
    command = [sys.executable, "-c", HEARD, str(publish_tf).lower()]
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    heard = json.loads(run.stdout)
    if publish_tf:
        assert heard["frames"] == [["r1/odom", "r1/base_link"]]
        assert heard["both"] >= 5
        assert heard["same"]
    else:
        assert heard["frames"] == []
