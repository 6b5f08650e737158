"""The bridge to a robot that speaks ROS as a process, over real DDS; the test is the robot, and the planner."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import Odometry
from std_srvs.srv import Trigger

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_motor_command, to_seconds, to_time
from mbmrl_msgs.msg import MotorCommand, RobotState
from ros_testing import NodeProcess, Peer, number_of
from rover_testing import ROVER

NODE: Final = "mbmrl/topic_bridge_node"
SPEED: Final = 0.4
"""m/s along x that the rover's odometry says."""


class Rover:
    """The robot: its odometry, and what it is commanded; and a planner."""

    def __init__(self, peer: Peer, start: Callable[..., NodeProcess], folder: Path) -> None:
        self.peer, self._start, self.file = peer, start, folder / "rover.yaml"
        self.file.write_text(ROVER)
        self.commands: list[Twist] = peer.record(Twist, "cmd_vel", 10)
        self.states: list[RobotState] = peer.record(RobotState, "mbmrl/robot_state", qos.STATE)
        self.diagnostics: list[DiagnosticArray] = peer.record(DiagnosticArray, "/diagnostics", 10)
        self._odom = peer.node.create_publisher(Odometry, "odom", 10)
        self._planner = peer.node.create_publisher(MotorCommand, "mbmrl/motor_command", qos.LATEST)
        self._timers: dict[str, Any] = {}
        self._begun, self.number = self._now(), 0
        self.moves = self.says = True
        self.late = self.age = 0.0
        """How much later than their stamps odometry and commands come, s."""

    def start(self, **parameters: Any) -> NodeProcess:
        self.bridge = self._start("topic_bridge_node", "-r", "__ns:=/mbmrl", robot=self.file, **parameters)
        self._timers = {
            "odom": self.peer.node.create_timer(0.02, self._measure),
            "command": self.peer.node.create_timer(0.05, self._plan),
        }
        return self.bridge

    def _now(self) -> float:
        return float(self.peer.node.get_clock().now().nanoseconds * 1e-9)

    def _measure(self) -> None:
        if self.moves:
            message, now = Odometry(), self._now()
            message.header.stamp = to_time(now - self.late)
            message.pose.pose.position.x = SPEED * (now - self._begun)
            message.pose.pose.orientation.w = 1.0
            message.twist.twist.linear.x = SPEED
            self._odom.publish(message)

    def _plan(self) -> None:
        if self.says:
            self.number += 1
            robot = load_robot(str(self.file))
            command = to_motor_command(robot, np.array([0.3, -0.5]), self._now() - self.age, self.number, 0)
            self._planner.publish(command)

    def until(self, predicate: Callable[[], Any]) -> None:
        self.peer.spin_until(predicate, self.bridge)

    def drives(self) -> bool:
        return bool(self.commands) and self.commands[-1].linear.x == 0.3

    def stands(self) -> bool:
        return bool(self.commands) and self.commands[-1] == Twist()

    def lifecycle(self) -> int:
        return int(self.peer.call(GetState, f"{NODE}/get_state", self.bridge).current_state.id)

    def change(self, transition: int) -> bool:
        return self.peer.change(transition, self.bridge)

    def told(self, part: str) -> str:
        """Newest diagnostics of a part."""
        found = [
            status for message in self.diagnostics for status in message.status if status.name == f"{NODE}: {part}"
        ]
        return found[-1].message if found else ""


@pytest.fixture
def rover(peer: Peer, start_node: Callable[..., NodeProcess], tmp_path: Path) -> Rover:
    return Rover(peer, start_node, tmp_path)


def test_states_are_those_of_the_robot_at_whole_intervals_with_the_command_in_force(rover: Rover) -> None:
    rover.start()
    rover.until(lambda: len(rover.states) >= 40 and rover.states[-1].command_sequence > 20)
    exact = [state for state in rover.states if state.interval > 0]
    for state in exact:
        time = to_seconds(state.header.stamp)
        assert time * 20 == pytest.approx(round(time * 20), abs=1e-5)
        assert number_of(state, "x") == pytest.approx(SPEED * (time - rover._begun), abs=1e-3)
        assert number_of(state, "forward") == SPEED
        assert state.interval == 0.05
        assert state.robot == "rover"
    driven = [state for state in exact if state.command_sequence > 0]
    assert {tuple(state.action) for state in driven} == {(0.3, -0.5)}
    assert [state.sequence for state in driven] == list(range(driven[0].sequence, driven[-1].sequence + 1))
    assert (rover.commands[-1].linear.x, rover.commands[-1].angular.z) == (0.3, -0.5)
    # One in each tick, whenever the planner's come.
    assert len(rover.commands) == pytest.approx(len(rover.states), abs=5)


def test_odometry_for_the_page_is_that_of_the_states_and_the_robots_own_topic_is_left_alone(rover: Rover) -> None:
    shown = rover.peer.record(Odometry, "mbmrl/odom", qos.STATE)
    rover.start()
    rover.until(lambda: len(shown) > 5 and len(rover.states) > 5)
    by_time = {to_seconds(state.header.stamp): number_of(state, "x") for state in rover.states}
    common = [(each.pose.pose.position.x, by_time.get(to_seconds(each.header.stamp))) for each in shown]
    assert [x for x, state in common if state is not None] == [state for _, state in common if state is not None]
    assert rover.peer.node.count_publishers("/odom") == 1


@pytest.mark.parametrize("silent", ["says", "moves"])
def test_robot_stands_without_commands_or_without_states(rover: Rover, silent: str) -> None:
    """And goes on when they come again."""
    rover.start()
    rover.until(rover.drives)
    setattr(rover, silent, False)
    rover.until(rover.stands)
    if silent == "moves":
        rover.until(lambda: "no state for" in rover.told("states"))
    setattr(rover, silent, True)
    rover.until(rover.drives)


@pytest.mark.parametrize("late", [5.0, -5.0])
def test_robot_stands_if_states_are_of_another_time(rover: Rover, late: float) -> None:
    rover.start()
    rover.until(rover.drives)
    rover.late = late
    rover.until(rover.stands)
    rover.until(lambda: "after their stamps: they are late, or of another clock" in rover.told("states"))


def test_commands_that_come_late_are_refused(rover: Rover) -> None:
    rover.start()
    rover.until(rover.drives)
    rover.age = 1.0
    rover.until(rover.stands)
    rover.until(lambda: "a command issued 1.0" in rover.bridge.errors)


def test_action_that_keeps_a_state_waits_for_the_first_one(rover: Rover) -> None:
    """What to keep is not known before."""
    rover.file.write_text(ROVER.replace("low: -1.0, high: 1.0,", "low: -1.0, high: 1.0, safe: forward,"))
    rover.moves = rover.says = False
    rover.start()
    rover.until(lambda: "nothing has come on /odom" in rover.told("states"))
    assert not rover.commands
    rover.moves = True
    rover.until(lambda: len(rover.commands) > 5)
    assert {message.linear.x for message in rover.commands} == {SPEED}


def test_emergency_stop_holds_until_a_person_activates_the_bridge(rover: Rover) -> None:
    rover.start()
    rover.until(rover.drives)
    assert rover.peer.call(Trigger, "mbmrl/emergency_stop", rover.bridge).success
    rover.until(rover.stands)
    assert rover.lifecycle() == State.PRIMARY_STATE_INACTIVE
    count, number = len(rover.commands), rover.number
    rover.until(lambda: rover.number > number + 10)
    assert len(rover.commands) == count
    assert rover.change(Transition.TRANSITION_ACTIVATE)
    rover.until(rover.drives)


def test_others_command_an_inactive_bridge_s_robot_and_are_learned_from(rover: Rover) -> None:
    rover.start(autostart=False)
    assert rover.change(Transition.TRANSITION_CONFIGURE)
    teleoperation = rover.peer.node.create_publisher(Twist, "cmd_vel", 10)
    command = Twist()
    command.linear.x = 0.2
    timer = rover.peer.node.create_timer(0.1, lambda: teleoperation.publish(command))
    rover.until(lambda: rover.states and list(rover.states[-1].action) == [0.2, 0.0])
    assert rover.states[-1].command_sequence == 0
    assert not rover.change(Transition.TRANSITION_ACTIVATE)
    assert "another controller publishes /cmd_vel" in rover.bridge.errors
    assert {message.linear.x for message in rover.commands} == {0.2}  # nothing came between
    rover.peer.node.destroy_timer(timer)
    rover.peer.node.destroy_publisher(teleoperation)
    rover.until(lambda: rover.change(Transition.TRANSITION_ACTIVATE))
    rover.until(rover.drives)


def test_bridge_leaves_the_robot_to_whoever_begins_to_command_it(rover: Rover) -> None:
    rover.start()
    rover.until(rover.drives)
    rover.peer.node.create_publisher(Twist, "cmd_vel", 10)
    rover.until(lambda: "the robot is not commanded: " in rover.bridge.errors)
    rover.until(rover.stands)
    rover.until(lambda: rover.told("motors").startswith("the robot is not commanded"))
    assert rover.lifecycle() == State.PRIMARY_STATE_INACTIVE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_robot_stands_when_the_bridge_ends(rover: Rover, number: int) -> None:
    bridge = rover.start()
    rover.until(rover.drives)
    assert bridge.end(number) == 0
    rover.peer.spin_until(rover.stands)


def test_messages_without_numbers_make_no_states(rover: Rover) -> None:
    rover.start()
    rover.until(lambda: len(rover.states) > 3)
    rover.moves = False
    odom = rover.peer.node.create_publisher(Odometry, "odom", 10)

    def measure() -> None:
        message = Odometry()
        message.header.stamp = rover.peer.node.get_clock().now().to_msg()
        message.pose.pose.orientation.w = 1.0
        message.twist.twist.linear.x = math.nan
        odom.publish(message)

    rover.peer.node.create_timer(0.02, measure)
    rover.until(rover.stands)
    rover.until(lambda: "for want of odom" in rover.told("states") or "no state for" in rover.told("states"))
    assert not [state for state in rover.states if not np.isfinite(state.state).all()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"topics": {"odom": {"type": "sonar_msgs/msg/Ping"}, "cmd_vel": {"type": "geometry_msgs/msg/Twist"}}},
         "the message type sonar_msgs/msg/Ping is not installed"),
        ({"topics": {"odom": {"type": "std_msgs/msg/Header"}, "cmd_vel": {"type": "geometry_msgs/msg/Twist"}}},
         "there is no 'pose' in Header: it has stamp, frame_id"),
        ({"actions": [{"name": "speed", "low": 0.0, "high": 1.0, "topic": "cmd_vel", "field": "linear.w"}]},
         "there is no 'w' in Vector3: it has x, y, z"),
        ({"actions": []}, "'cmd_vel' is of no state and no action"),
        ({"rate": 3.0}, "timeout is 0.25 s: wanted is more than a control interval, 0.333333 s"),
        ({"topics": {"odom": {"type": "nav_msgs/msg/Odometry"}, "cmd_vel": {"type": "std_msgs/msg/UInt8"}},
          "actions": [{"name": "speed", "low": -1.0, "high": 1.0, "topic": "cmd_vel", "field": "data"}]},
         "'data' cannot hold speed of -1: 0"),
    ],
)  # fmt: skip
def test_contract_that_cannot_be_used_is_refused(rover: Rover, change: dict[str, Any], words: str) -> None:
    rover.file.write_text(yaml.safe_dump(yaml.safe_load(ROVER) | change))
    rover.start().assert_refused(words)


def test_topics_of_the_stack_are_not_those_of_the_robot(start_node: Callable[..., NodeProcess], rover: Rover) -> None:
    """In the namespace of the robot, `cmd_vel` would steer the planner, and the robot too."""
    start_node("topic_bridge_node", robot=rover.file).assert_refused("/cmd_vel", "give it another namespace")
    start_node("topic_bridge_node").assert_refused("a contract is missing")
