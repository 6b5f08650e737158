"""The simulated robot is steered while all nodes run: it walks where it is sent, and says so."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Point, Pose, PoseStamped, Twist, Vector3
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient
from std_msgs.msg import Header

from mbmrl_base.toolkit import qos
from mbmrl_control.nodes.conversions import to_path
from mbmrl_msgs.action import FollowPath
from mbmrl_msgs.msg import PlannerStatus
from ros_testing import Peer

StartCommand = Callable[..., subprocess.Popen[str]]


def test_robot_walks_where_an_action_a_velocity_and_a_goal_send_it(start_command: StartCommand, peer: Peer) -> None:
    statuses: list[Any] = peer.record(PlannerStatus, "planner_status", qos.STATE)
    poses: list[Any] = peer.record(Odometry, "odom", qos.SENSOR)
    goals = peer.node.create_publisher(PoseStamped, "goal_pose", qos.LATEST)
    velocities = peer.node.create_publisher(Twist, "cmd_vel", qos.LATEST)
    action = ActionClient(peer.node, FollowPath, "follow_path")
    sim = start_command("sim", "--seed", "1")

    def until(predicate: Callable[[], Any]) -> None:
        peer.spin_until(lambda: sim.poll() is not None or predicate())
        assert sim.poll() is None, sim.communicate()

    def place() -> Any:
        point = poses[-1].pose.pose.position
        return np.array([point.x, point.y])

    until(action.server_is_ready)
    until(lambda: statuses and statuses[-1].outcome == PlannerStatus.PLANNED and poses)
    x, y = place()
    path = to_path(np.array([[x, y, 0.0], [x + 0.5, y + 0.2, 0.0]]), 0.0)
    feedback: list[Any] = []
    sent = action.send_goal_async(FollowPath.Goal(path=path), feedback_callback=feedback.append)
    until(sent.done)
    result = sent.result().get_result_async()
    until(result.done)
    answer = result.result()
    assert (answer.status, answer.result.error_msg) == (GoalStatus.STATUS_SUCCEEDED, "")
    assert math.dist(place(), (x + 0.5, y + 0.2)) < 0.1
    left = [each.feedback.distance_to_goal for each in feedback]
    assert left[-1] < 0.2 < left[0]

    # A velocity, as a teleop sends it, until the robot has turned.
    velocity = Twist(linear=Vector3(x=0.2), angular=Vector3(z=1.0))
    teleop = peer.node.create_timer(0.1, lambda: velocities.publish(velocity))
    start = place()
    until(lambda: statuses[-1].steered_by == "cmd_vel" and math.dist(place(), start) > 0.2)
    peer.node.destroy_timer(teleop)

    x, y = place()
    until(goals.get_subscription_count)
    goals.publish(PoseStamped(header=Header(frame_id="odom"), pose=Pose(position=Point(x=x + 0.4, y=y + 0.4))))
    until(lambda: (statuses[-1].steered_by, statuses[-1].steering) == ("goal_pose", PlannerStatus.REACHED))
    assert math.dist(place(), (x + 0.4, y + 0.4)) < 0.1
