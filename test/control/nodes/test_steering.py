"""Who steers: the MPC node as a process, over real DDS, with a robot that the test plays and carries about."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Twist, Vector3
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from std_msgs.msg import Header

from mbmrl_base.toolkit import qos
from mbmrl_control.nodes.conversions import from_figures, to_path
from mbmrl_msgs.action import FollowPath
from mbmrl_msgs.msg import PlannerStatus
from planner_testing import Robot, StartNode, speeds
from ros_testing import NodeProcess, Peer

Result = FollowPath.Result
STRAIGHT = [[1.0, -2.0], [2.0, -2.0]]
"""From where the robot stands, 1 m ahead."""


class Steerer:
    """What steers a planner, and hears what it says."""

    def __init__(self, peer: Peer, robot: Robot, planner: NodeProcess) -> None:
        self.peer, self.robot, self.planner = peer, robot, planner
        self.diagnostics: list[Any] = peer.record(DiagnosticArray, "/diagnostics", 10)
        self._action = ActionClient(peer.node, FollowPath, "follow_path")
        self._publishers: dict[str, Publisher] = {}
        robot.start()
        self.until(self._action.server_is_ready)
        self.until(lambda: robot.outcome() == PlannerStatus.PLANNED)

    def until(self, predicate: Any) -> None:
        self.peer.spin_until(predicate, self.planner)

    def publish(self, topic: str, message: Any) -> None:
        if topic not in self._publishers:
            self._publishers[topic] = self.peer.node.create_publisher(type(message), topic, qos.LATEST)
            self.until(self._publishers[topic].get_subscription_count)
            # A node that answers knows what the peer had made before it asked.
            self.peer.call(GetParameters, "mpc_node/get_parameters", self.planner, names=["rate"])
        self._publishers[topic].publish(message)

    def go(self, x: float, y: float, frame: str = "odom", **orientation: float) -> None:
        pose = Pose(position=Point(x=x, y=y), orientation=Quaternion(**orientation))
        self.publish("goal_pose", PoseStamped(header=Header(frame_id=frame), pose=pose))

    def drive(self, forward: float, turn: float = 0.0, **linear: float) -> None:
        self.publish("cmd_vel", Twist(linear=Vector3(x=forward, **linear), angular=Vector3(z=turn)))

    def walk(self, points: list[list[float]]) -> Walk:
        return Walk(self, path(points))

    def by(self, source: str, task: str) -> None:
        """Wait until this steers."""
        self.until(lambda: (self.status.steered_by, self.status.task) == (source, task))

    def stands(self) -> None:
        """Wait until the robot stands because it is to."""
        self.until(lambda: (self.status.outcome, *speeds(self.robot.commands[-1])) == (PlannerStatus.PLANNED, 0.0, 0.0))

    def says(self, words: str) -> None:
        """Wait until the diagnostics say something."""
        self.until(lambda: any(words in part.message for message in self.diagnostics[-1:] for part in message.status))

    def set(self, **values: Any) -> None:
        given = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        answer = self.peer.call(SetParameters, "mpc_node/set_parameters", self.planner, parameters=given)
        for result in answer.results:
            assert result.successful, result.reason

    @property
    def status(self) -> PlannerStatus:
        return self.robot.statuses[-1]


class Walk:
    """A goal of the action, from its acceptance to its result."""

    def __init__(self, steerer: Steerer, message: PathMessage) -> None:
        self._steerer, self.feedback = steerer, list[Any]()
        future = steerer._action.send_goal_async(FollowPath.Goal(path=message), feedback_callback=self.feedback.append)
        steerer.until(future.done)
        self.handle = future.result()
        assert self.handle.accepted
        self._result = self.handle.get_result_async()

    @property
    def ended(self) -> bool:
        return bool(self._result.done())

    def result(self) -> tuple[int, int, str]:
        """Status, code and text of the result."""
        self._steerer.until(self._result.done)
        answer = self._result.result()
        return answer.status, answer.result.error_code, answer.result.error_msg


def path(points: list[list[float]], frame: str = "odom") -> PathMessage:
    message = to_path(np.array([[*point, 0.0] for point in points]).reshape(-1, 3), 0.0)
    for part in (message, *message.poses):
        part.header.frame_id = frame
    return message


@pytest.fixture
def steerer(peer: Peer, robot: Robot, start_planner: StartNode) -> Steerer:
    """It steers a robot that is patient, since the machine may be loaded."""
    return Steerer(peer, robot, start_planner(patience=600.0, velocity_timeout=2.0))


def test_goal_pose_steers_and_is_reached(steerer: Steerer, robot: Robot) -> None:
    assert (steerer.status.steered_by, steerer.status.steering) == ("parameters", PlannerStatus.UNDER_WAY)
    steerer.go(3.0, -2.0, z=math.sin(0.5), w=math.cos(0.5))
    steerer.by("goal_pose", "go_to_goal")
    steerer.until(lambda: steerer.status.remaining == pytest.approx(2.0, abs=1e-4))
    steerer.until(lambda: any(speeds(robot.commands[-1])))
    assert from_figures(steerer.status)["heading_error_rad"] == pytest.approx(0.5 - 1.0, abs=1e-4)
    robot.position = (2.97, -2.0, 0.02)
    steerer.until(lambda: steerer.status.steering == PlannerStatus.REACHED and steerer.status.remaining == 0.0)
    steerer.stands()
    steerer.says("in order")
    assert "goal_pose steers" in steerer.planner.errors


def test_goal_that_comes_no_nearer_ends_with_the_reason(peer: Peer, robot: Robot, start_planner: StartNode) -> None:
    """The robot stands until something else steers."""
    steerer = Steerer(peer, robot, start_planner(patience=0.5))
    steerer.go(3.0, -2.0)
    steerer.by("goal_pose", "track_velocity")
    steerer.stands()
    assert steerer.status.steering == PlannerStatus.NOT_REACHED
    sentence = "no nearer to the end in 0.5 s, 2.00 m are left: "
    steerer.says(sentence)
    assert f"goal_pose has ended: {sentence}" in steerer.planner.errors
    steerer.set(task="follow_path")
    steerer.by("parameters", "follow_path")
    steerer.until(lambda: any(speeds(robot.commands[-1])))
    assert steerer.status.steering == PlannerStatus.UNDER_WAY


REFUSED = {
    "it is in the frame 'map', wanted is 'odom'": ("goal_pose", {"frame_id": "map"}, {}, {}),
    "its orientation is no unit quaternion": ("goal_pose", {}, {}, {"w": 0.0}),
    "parameter 'goal.0' is nan": ("goal_pose", {}, {"x": math.nan}, {}),
    "parameter 'goal.1' is 1e+300: input should be less than": ("goal_pose", {}, {"y": 1e300}, {}),
    "parameter 'forward_speed' is nan": ("cmd_vel", {}, {"x": math.nan}, {}),
    "parameter 'turn_rate' is inf": ("cmd_vel", {}, {}, {"z": math.inf}),
    "parameter 'forward_speed' is 7: millirobot cannot go as fast": ("cmd_vel", {}, {"x": 7.0}, {}),
    "parameter 'turn_rate' is -9: millirobot cannot turn as fast": ("cmd_vel", {}, {}, {"z": -9.0}),
    "its linear.y is 0.1, angular.x is nan: the robot goes ahead and turns": (
        "cmd_vel",
        {},
        {"y": 0.1},
        {"x": math.nan},
    ),
}


def test_what_cannot_be_is_refused_and_the_robot_goes_on(steerer: Steerer) -> None:
    steerer.publish("path", path(STRAIGHT))
    steerer.by("path", "follow_path")
    for words, (topic, header, first, second) in REFUSED.items():
        if topic == "goal_pose":
            pose = Pose(position=Point(**first), orientation=Quaternion(**second))
            steerer.publish(topic, PoseStamped(header=Header(**({"frame_id": "odom"} | header)), pose=pose))
        else:
            steerer.publish(topic, Twist(linear=Vector3(**first), angular=Vector3(**second)))
        steerer.says(f"a message on {topic} is refused: {words}")
        assert (steerer.status.steered_by, steerer.status.task) == ("path", "follow_path")
    steerer.go(3.0, -2.0)
    steerer.by("goal_pose", "go_to_goal")


def test_velocity_counts_for_its_time_and_then_the_robot_stands(steerer: Steerer, robot: Robot) -> None:
    steerer.drive(0.2, 0.5)
    steerer.by("cmd_vel", "track_velocity")
    steerer.until(lambda: from_figures(steerer.status)["speed_error_m_s"] == pytest.approx(-0.2, abs=1e-3))
    assert from_figures(steerer.status)["turn_rate_error_rad_s"] == pytest.approx(-0.5, abs=1e-3)
    steerer.until(lambda: any(speeds(robot.commands[-1])))
    steerer.stands()
    steerer.says("no cmd_vel for 2 s: the robot stands")
    assert (steerer.status.steered_by, math.isnan(steerer.status.remaining)) == ("cmd_vel", True)
    # A velocity after that counts again; one of zero stops the robot at once.
    steerer.drive(0.3)
    steerer.until(lambda: any(speeds(robot.commands[-1])))
    steerer.drive(0.0)
    steerer.stands()
    # What says how, and not where to, leaves who steers.
    steerer.set(speed=0.3)
    steerer.drive(0.3)
    steerer.until(lambda: any(speeds(robot.commands[-1])))
    assert steerer.status.steered_by == "cmd_vel"
    steerer.set(task="follow_path")
    steerer.by("parameters", "follow_path")


def test_velocities_of_several_nodes_are_not_heard(steerer: Steerer, peer: Peer) -> None:
    steerer.publish("path", path(STRAIGHT))
    steerer.by("path", "follow_path")
    other = peer.node.create_publisher(Twist, "cmd_vel", 10)
    steerer.drive(0.2)
    steerer.says("cmd_vel has several publishers")
    steerer.drive(0.2)
    steerer.says("cmd_vel has several publishers")
    assert steerer.status.steered_by == "path"
    peer.node.destroy_publisher(other)
    steerer.says("in order")
    steerer.until(lambda: not any("several" in part.message for part in steerer.diagnostics[-1].status))
    steerer.drive(0.2)
    steerer.by("cmd_vel", "track_velocity")


def test_path_of_an_action_is_followed_to_its_end(steerer: Steerer, robot: Robot) -> None:
    walk = steerer.walk(STRAIGHT)
    steerer.by("follow_path", "follow_path")
    steerer.until(lambda: walk.feedback)
    assert walk.feedback[-1].feedback.distance_to_goal == pytest.approx(1.0, abs=0.02)
    assert walk.handle.status in (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING)
    for x in np.arange(1.1, 1.95, 0.1):
        robot.position = (float(x), -2.0, 0.02)
        steerer.until(lambda x=x: steerer.status.remaining == pytest.approx(2.0 - x, abs=0.02))
    steerer.until(lambda: walk.feedback[-1].feedback.distance_to_goal == pytest.approx(0.1, abs=0.02))
    assert np.nanmax([feedback.feedback.speed for feedback in walk.feedback]) > 0.0
    assert not walk.ended
    robot.position = (2.01, -2.0, 0.02)
    assert walk.result() == (GoalStatus.STATUS_SUCCEEDED, Result.NONE, "")
    steerer.until(lambda: steerer.status.steering == PlannerStatus.REACHED)
    steerer.stands()


def test_action_that_is_cancelled_lets_the_robot_stand(steerer: Steerer) -> None:
    walk = steerer.walk(STRAIGHT)
    steerer.by("follow_path", "follow_path")
    walk.handle.cancel_goal_async()
    assert walk.result() == (GoalStatus.STATUS_CANCELED, Result.NONE, "the goal was cancelled")
    steerer.stands()


def test_whatever_steers_next_ends_the_action(steerer: Steerer) -> None:
    """The robot goes on without a halt; another goal of the action is one such thing."""
    first = steerer.walk(STRAIGHT)
    steerer.by("follow_path", "follow_path")
    number = len(steerer.robot.statuses)
    second = steerer.walk([[1.0, -2.0], [1.0, 5.0]])
    assert first.result() == (GoalStatus.STATUS_ABORTED, Result.PREEMPTED, "follow_path steers")
    steerer.until(lambda: steerer.status.remaining == pytest.approx(7.0, abs=0.02))
    steerer.go(9.0, 9.0)
    assert second.result() == (GoalStatus.STATUS_ABORTED, Result.PREEMPTED, "goal_pose steers")
    steerer.by("goal_pose", "go_to_goal")
    outcomes = {status.outcome for status in steerer.robot.statuses[number:]}
    assert outcomes <= {PlannerStatus.PLANNED, PlannerStatus.LAST_PLAN}
    third = steerer.walk(STRAIGHT)
    steerer.by("follow_path", "follow_path")
    steerer.set(distance_weight=40.0)  # says how, not where to
    steerer.set(task="move_forward")
    assert third.result() == (GoalStatus.STATUS_ABORTED, Result.PREEMPTED, "parameters steers")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (path([[0.0, 0.0]]), "the list of points holds no path: wanted are 2 points"),
        (path([[0.0, 0.0], [math.nan, 1.0]]), "each a finite x and y"),
        (path(STRAIGHT, "map"), "it is in the frame 'map', wanted is 'odom'"),
        (PathMessage(), "it is in the frame ''"),
    ],
    ids=["one point", "nan", "frame", "empty"],
)
def test_path_that_cannot_be_followed_ends_with_the_reason(steerer: Steerer, message: PathMessage, words: str) -> None:
    """What steered before goes on."""
    before = steerer.walk(STRAIGHT)
    status, code, text = Walk(steerer, message).result()
    assert (status, code) == (GoalStatus.STATUS_ABORTED, Result.INVALID_PATH)
    assert text.startswith("the path is refused: ")
    assert words in text
    assert words in steerer.planner.errors
    steerer.by("follow_path", "follow_path")
    assert not before.ended


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ((1.0, -2.0, 0.02), Result.NO_PROGRESS, "no nearer to the end in 0.5 s, "),
        ((1.12, -2.3, 0.02), Result.END_MISSED, "past the end, 0.30 m beside it"),
    ],
    ids=["stuck", "missed"],
)
def test_end_that_cannot_be_reached_is_the_result(
    peer: Peer, robot: Robot, start_planner: StartNode, place: tuple[float, float, float], code: int, words: str
) -> None:
    steerer = Steerer(peer, robot, start_planner(patience=0.5 if code == Result.NO_PROGRESS else 600.0))
    walk = steerer.walk([[1.0, -2.0], [1.1, -2.0]])
    steerer.until(lambda: walk.feedback or walk.ended)
    robot.position = place
    status, found, text = walk.result()
    assert (status, found) == (GoalStatus.STATUS_ABORTED, code)
    assert words in text
    steerer.stands()
    assert steerer.status.steering == PlannerStatus.NOT_REACHED
