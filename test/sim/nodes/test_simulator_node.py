"""The simulator node as a process, over real DDS."""

from __future__ import annotations

import itertools
import math
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import BatteryState, Imu, JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger
from visualization_msgs.msg import Marker, MarkerArray

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot.layout import LEG_NAMES, MAX_LEG_SPEED
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_motor_command
from mbmrl_msgs.msg import FaultArray, MotorCommand, RobotState
from mbmrl_msgs.srv import ClearFaults, InjectFault, Push
from mbmrl_sim.millirobot.faults import FAULT_KINDS
from pages import example
from ros_testing import STRANGE, NodeProcess, Peer, changed, number_of

StartSimulator = Callable[..., NodeProcess]
EVERY_STATE = QoSProfile(depth=1000)

MILLIROBOT = load_robot("millirobot")
OWN = example("simulator", Path(tempfile.mkdtemp()) / "pendulum.py")
"""A simulator of a robot that is not in the project."""


def nanoseconds(stamp: Time) -> int:
    """A stamp as one number."""
    return int(stamp.sec * 10**9 + stamp.nanosec)


def applied(state: RobotState) -> tuple[float, float]:
    """Leg speed set-points that were in force."""
    return number_of(state, "left_leg_speed"), number_of(state, "right_leg_speed")


class Commander:
    """Publishes commands at a steady rate and keeps what it sent, by sequence number."""

    def __init__(
        self, peer: Peer, speeds: Callable[[int], tuple[float, float]], strange: dict[str, Any] | None = None
    ) -> None:
        self._node = peer.node
        self.sent: dict[int, tuple[float, float]] = {}
        self._speeds, self._strange = speeds, strange or {}
        self._publisher = peer.node.create_publisher(MotorCommand, "motor_command", qos.LATEST)
        self._timer = peer.node.create_timer(0.02, self._send)

    def _send(self) -> None:
        sequence = len(self.sent) + 1
        left, right = self.sent[sequence] = self._speeds(sequence)
        command = to_motor_command(MILLIROBOT, np.array([left, right]), 0.0, sequence, 0)
        self._publisher.publish(changed(command, self._strange))

    def stop(self) -> None:
        """Send no more."""
        self._timer.cancel()

    def leave(self) -> None:
        """Send no more, and be no publisher."""
        self.stop()
        self._node.destroy_publisher(self._publisher)


# What it publishes


@pytest.mark.parametrize("rate", [20.0, 50.0])
def test_states_come_one_by_one_at_the_interval(start_simulator: StartSimulator, peer: Peer, rate: float) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    clocks = peer.record(Clock, "/clock", EVERY_STATE)
    simulator = start_simulator(rate=rate, seed=4)
    peer.spin_until(lambda: len(states) >= 15 and len(clocks) >= 15, simulator)

    interval = round(1e9 / rate)
    for earlier, later in itertools.pairwise(states):
        assert later.sequence == earlier.sequence + 1
        assert nanoseconds(later.header.stamp) == nanoseconds(earlier.header.stamp) + interval
        assert later.interval == pytest.approx(1 / rate)
        assert later.episode == 1
        assert later.header.frame_id == "odom"
        assert (applied(later), later.command_sequence) == ((0.0, 0.0), 0)
    times = [nanoseconds(clock.clock) for clock in clocks]
    assert times == sorted(set(times))
    assert min(np.diff(times)) <= 10_000_000


def test_displays_and_recorders_get_what_they_expect(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    sensors: dict[str, list[Any]] = {
        f"{topic}{suffix}": peer.record(message_type, topic, profile)
        for suffix, profile in (("", 10), (" as of a sensor", qos.SENSOR))
        for topic, message_type in (
            ("odom", Odometry),
            ("joint_states", JointState),
            ("imu/data", Imu),
            ("battery_state", BatteryState),
        )
    }
    descriptions = peer.record(String, "robot_description", qos.LATCHED)
    peer.spin_until(lambda: descriptions and all(sensors.values()), simulator)

    robot = ElementTree.fromstring(descriptions[0].data)
    movable = {joint.attrib["name"] for joint in robot.iterfind("joint[@type='continuous']")}
    links = {link.attrib["name"] for link in robot.iterfind("link")}
    assert set(sensors["joint_states"][0].name) == movable
    assert sensors["odom"][0].child_frame_id in links
    assert sensors["imu/data"][0].header.frame_id in links
    assert 3.6 <= sensors["battery_state"][0].voltage <= 4.15


# Commands


@pytest.mark.parametrize("words", STRANGE)
def test_command_for_another_robot_is_refused(words: str, start_simulator: StartSimulator, peer: Peer) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 10)
    simulator = start_simulator()
    commander = Commander(peer, lambda sequence: (30.0, 30.0), STRANGE[words])
    sentence = f"a message on motor_command is refused: {words}"
    peer.spin_until(lambda: any(sentence in s.message for array in diagnostics for s in array.status), simulator)
    assert len(commander.sent) > 1
    assert {applied(state) for state in states} == {(0.0, 0.0)}
    assert sentence in simulator.errors


def test_command_is_in_force_as_the_state_says(start_simulator: StartSimulator, peer: Peer) -> None:
    def speeds(sequence: int) -> tuple[float, float]:
        """Each command another one, a little too fast on the right; some are none that can be meant."""
        return ((20.0 + sequence % 7, math.nan, 1e9, -1e9)[sequence % 4], MAX_LEG_SPEED + 4.0)

    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    simulator = start_simulator(command_timeout=1.0)
    commander = Commander(peer, speeds)
    peer.spin_until(lambda: sum(s.command_sequence > 0 and s.interval > 0 for s in states) >= 15, simulator)

    commanded = [state for state in states if state.command_sequence and state.interval]
    for state in commanded:
        left, _ = commander.sent[state.command_sequence]
        assert applied(state) == (left, MAX_LEG_SPEED)
    sequences = [state.command_sequence for state in commanded]
    assert sequences == sorted(sequences)
    assert len(set(sequences)) > 3
    peer.spin_until(lambda: number_of(states[-1], "right_speed") > 40.0, simulator)
    assert "a message on motor_command is refused: " in simulator.errors
    assert all(0.0 <= left < 30.0 for left, _ in map(applied, states))


def test_legs_stop_when_commands_do(start_simulator: StartSimulator, peer: Peer) -> None:
    timeout, interval = 0.2, 0.02
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    simulator = start_simulator(rate=1 / interval, command_timeout=timeout)
    commander = Commander(peer, lambda _: (30.0, 30.0))
    peer.spin_until(lambda: states and number_of(states[-1], "left_speed") > 20.0, simulator)
    commander.stop()
    last = len(commander.sent)
    peer.spin_until(lambda: states[-1].command_sequence == 0 and states[-2].command_sequence > 0, simulator)

    newest = states[-2].command_sequence
    assert newest == last
    first = next(state for state in states if state.command_sequence == newest)
    stopped = next(s for s in states if s.sequence > first.sequence and applied(s) == (0.0, 0.0))
    in_force = nanoseconds(stopped.header.stamp) - nanoseconds(first.header.stamp)
    # From its arrival: the time-out and one interval. The simulator may make up for two late ticks.
    assert in_force <= 1e9 * (timeout + 3 * interval)
    # Where the legs were stopped within an interval, that interval is no exact transition.
    assert stopped.interval == 0 or stopped.command_sequence == 0
    for state in states:
        assert (applied(state) == (0.0, 0.0)) == (state.command_sequence == 0 or state is stopped)
    peer.spin_until(lambda: abs(number_of(states[-1], "left_speed")) < 2.0, simulator)


def test_robot_stands_while_several_command(start_simulator: StartSimulator, peer: Peer) -> None:
    """It obeys none of them, says so, and goes on by itself when one is left."""
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 100)
    simulator = start_simulator(command_timeout=1.0)

    def level() -> int:
        (part,) = [status for status in diagnostics[-1].status if status.name == "simulator_node: topics"]
        return int.from_bytes(part.level)

    commander = Commander(peer, lambda _: (30.0, 30.0))
    peer.spin_until(lambda: states and applied(states[-1]) == (30.0, 30.0) and diagnostics, simulator)
    assert level() == 0
    stranger = Commander(peer, lambda _: (0.0, 50.0))
    peer.spin_until(lambda: applied(states[-1]) == (0.0, 0.0), simulator)
    seen = len(states)
    peer.spin_until(lambda: len(states) > seen + 20 and level() == 2, simulator)
    assert {applied(state) for state in states[seen:]} == {(0.0, 0.0)}
    message = next(status.message for status in diagnostics[-1].status if status.name == "simulator_node: topics")
    assert message.startswith("motor_command has several publishers, /")
    assert peer.node.get_name() in message
    assert "motor_command has several publishers" in simulator.errors
    stranger.leave()
    peer.spin_until(lambda: applied(states[-1]) == (30.0, 30.0) and level() == 0, simulator)
    assert (0.0, 50.0) not in map(applied, states)
    assert commander.sent


def test_watchdog_counts_simulated_time(start_simulator: StartSimulator, peer: Peer) -> None:
    """At four times real time a command is in force for a quarter of the time-out in real time."""
    factor, timeout, interval = 4.0, 0.2, 0.05
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    simulator = start_simulator(rate=1 / interval, real_time_factor=factor, command_timeout=timeout)
    commander = Commander(peer, lambda _: (30.0, 30.0))
    peer.spin_until(lambda: states and states[-1].command_sequence > 0, simulator)
    commander.stop()
    peer.spin_until(lambda: states[-1].command_sequence == 0, simulator)
    newest = max(state.command_sequence for state in states)
    held = [state for state in states if state.command_sequence == newest]
    assert len(held) * interval <= timeout + 3 * interval


# Faults


def test_random_leg_is_lost_without_any_values(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    response = peer.call(InjectFault, "inject_fault", simulator)
    assert response.success
    assert response.fault.kind == "leg_loss"
    assert response.message == f"in force: leg_loss:{response.fault.part}"
    lost = {response.fault.part}
    for _ in range(5):
        lost.add(peer.call(InjectFault, "inject_fault", simulator).fault.part)
    assert lost == set(LEG_NAMES)
    response = peer.call(InjectFault, "inject_fault", simulator)
    assert (response.success, response.message) == (False, "leg_loss of each part is in force already")


def test_impossible_fault_is_answered_with_a_sentence(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    fine = peer.call(InjectFault, "inject_fault", simulator, kind="leg_loss", part="2")
    assert (fine.success, fine.fault.part) == (True, "left_rear")
    for fields, words in (
        ({"part": "9"}, "leg_loss hits no part '9'"),
        ({"part": "-2"}, "leg_loss hits no part '-2'"),
        ({"part": "2"}, "leg_loss of left_rear is in force already"),
        ({"kind": "rust"}, "unknown fault kind 'rust'"),
        ({"kind": "payload", "magnitude": 99.0}, "magnitude of payload is 99: allowed is 0.1 to 60 g"),
        ({"kind": "motor_weak", "magnitude": -0.5}, "magnitude of motor_weak is -0.5: allowed is 0.01 to 0.99"),
        ({"kind": "battery_low", "magnitude": math.nan}, "magnitude of battery_low is nan: allowed is 0.05 to 1.5 V"),
        ({"kind": "link", "loss": 95.0}, "loss of link is 95: allowed is 0 to 90 percent"),
        ({"kind": "slope", "ramp": 1e3}, "ramp of slope is 1000: allowed is 0 to 60 s"),
        ({"kind": "terrain", "terrain": "ice"}, "unknown terrain 'ice': allowed is "),
    ):
        response = peer.call(InjectFault, "inject_fault", simulator, **fields)
        assert not response.success
        assert response.message.startswith(words)
    arrays = peer.record(FaultArray, "faults", qos.LATCHED)
    peer.spin_until(lambda: arrays, simulator)
    assert list(arrays[-1].faults) == [fine.fault]


def test_each_kind_of_fault_needs_no_values(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    for kind, allowed in FAULT_KINDS.items():
        response = peer.call(InjectFault, "inject_fault", simulator, kind=kind)
        assert (response.success, response.fault.kind, response.fault.magnitude) == (True, kind, allowed.default)
    arrays = peer.record(FaultArray, "faults", qos.LATCHED)
    peer.spin_until(lambda: arrays and len(arrays[-1].faults) == len(FAULT_KINDS), simulator)


def test_late_joiner_learns_of_the_faults_in_force(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    injected = [peer.call(InjectFault, "inject_fault", simulator, part=part).fault for part in ("4", "1")]
    arrays = peer.record(FaultArray, "faults", qos.LATCHED)
    peer.spin_until(lambda: arrays, simulator)
    assert list(arrays[0].faults) == injected[::-1]
    assert nanoseconds(injected[0].since) <= nanoseconds(injected[1].since) > 0


def test_faults_are_drawn_above_the_robot(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator(frame_prefix="robot1/")
    drawn = peer.record(MarkerArray, "fault_markers", qos.LATCHED)
    peer.call(InjectFault, "inject_fault", simulator, kind="leg_loss", part="3")
    peer.spin_until(lambda: drawn and drawn[-1].markers[0].text, simulator)
    (text,) = drawn[-1].markers
    assert (text.action, text.text, text.header.frame_id) == (Marker.ADD, "leg_loss:right_front", "robot1/base_link")
    assert 0.005 < text.scale.z < 0.03  # the robot is 0.1 m long
    peer.call(ClearFaults, "clear_faults", simulator)
    peer.spin_until(lambda: drawn[-1].markers[0].action == Marker.DELETE, simulator)


def test_faults_are_undone_and_said_to_be(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    arrays = peer.record(FaultArray, "faults", qos.LATCHED)
    response = peer.call(ClearFaults, "clear_faults", simulator)
    assert (response.success, response.message) == (True, "no fault was in force")
    for part in ("3", "0"):
        peer.call(InjectFault, "inject_fault", simulator, part=part)
    peer.spin_until(lambda: arrays and len(arrays[-1].faults) == 2, simulator)
    response = peer.call(ClearFaults, "clear_faults", simulator)
    assert (response.success, response.message) == (True, "undone: leg_loss:left_front, leg_loss:right_front")
    peer.spin_until(lambda: not arrays[-1].faults, simulator)
    assert "undone: leg_loss:left_front, leg_loss:right_front" in simulator.errors
    assert peer.call(InjectFault, "inject_fault", simulator, part="3").success


def test_push_moves_the_robot_and_is_no_fault(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    peer.spin_until(lambda: states, simulator)
    response = peer.call(Push, "push", simulator, left=9.0)
    assert (response.success, response.message) == (False, "a push by 0, 9, 0 m/s: allowed is up to 5 m/s")
    start = states[-1].state[1]
    assert abs(start) < 1e-3
    response = peer.call(Push, "push", simulator, left=1.0)
    assert (response.success, response.message) == (True, "pushed by 0, 1, 0 m/s")
    peer.spin_until(lambda: states[-1].state[1] > start + 0.01, simulator)
    assert states[-1].episode == states[0].episode


def test_fault_with_values_is_listed_acts_and_is_undone(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    arrays = peer.record(FaultArray, "faults", qos.LATCHED)
    peer.spin_until(lambda: states, simulator)
    charged = number_of(states[-1], "battery")
    low = {"kind": "battery_low", "magnitude": 0.8, "ramp": 0.3}
    load = {"kind": "payload", "magnitude": 20.0, "x": 0.03, "ramp": 0.3}
    injected = [peer.call(InjectFault, "inject_fault", simulator, **fault) for fault in (load, low)]
    assert [(one.success, one.message) for one in injected] == [
        (True, "in force: payload:magnitude=20,x=0.03,ramp=0.3"),
        (True, "in force: battery_low:magnitude=0.8,ramp=0.3"),
    ]
    for request, response in zip((load, low), injected, strict=True):
        assert request.items() <= {name: getattr(response.fault, name) for name in request}.items()
        assert nanoseconds(response.fault.since) > 0
    peer.spin_until(lambda: arrays and len(arrays[-1].faults) == 2, simulator)
    assert list(arrays[-1].faults) == [injected[1].fault, injected[0].fault]

    full = nanoseconds(injected[1].fault.since) + 320_000_000
    peer.spin_until(lambda: nanoseconds(states[-1].header.stamp) > full, simulator)
    assert number_of(states[-1], "battery") == pytest.approx(charged - 0.8, abs=0.02)
    voltages = [number_of(state, "battery") for state in states]
    assert min(voltages) > charged - 0.85
    growing = [voltage for voltage in voltages if charged - 0.75 < voltage < charged - 0.05]
    assert growing == sorted(growing, reverse=True)
    assert len(growing) >= 3
    undone = peer.call(ClearFaults, "clear_faults", simulator).message
    assert undone == "undone: battery_low:magnitude=0.8,ramp=0.3, payload:magnitude=20,x=0.03,ramp=0.3"
    peer.spin_until(lambda: not arrays[-1].faults, simulator)
    seen = len(states)
    peer.spin_until(lambda: len(states) > seen + 1, simulator)
    assert number_of(states[-1], "battery") == pytest.approx(charged, abs=0.02)


# Ground and sensors


def test_steep_ground_lets_the_robot_slide_down(start_simulator: StartSimulator, peer: Peer) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    simulator = start_simulator(terrain="carpet", slope=25.0, slope_direction=-90.0)
    peer.spin_until(lambda: states and number_of(states[-1], "y") > 0.1, simulator)
    assert abs(number_of(states[-1], "x")) < 0.05


def test_sensors_that_are_not_ideal_measure_at_jittered_times_in_steps(
    start_simulator: StartSimulator, peer: Peer
) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    simulator = start_simulator(sensors="real,jitter=0.004,battery_resolution=0.25", terrain="gravel")
    peer.spin_until(lambda: len(states) >= 15, simulator)
    intervals = np.diff([nanoseconds(state.header.stamp) for state in states]) * 1e-9
    np.testing.assert_allclose([state.interval for state in states[1:]], intervals, atol=1e-9)
    assert len(set(intervals.round(6))) > 3
    assert intervals.mean() == pytest.approx(0.05, rel=0.1)
    assert {number_of(state, "battery") % 0.25 for state in states} == {0.0}


def test_reset_starts_a_new_episode_of_an_intact_robot(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    clocks = peer.record(Clock, "/clock", EVERY_STATE)
    arrays = peer.record(FaultArray, "faults", qos.LATCHED)
    peer.call(InjectFault, "inject_fault", simulator)
    peer.spin_until(lambda: len(states) >= 3 and arrays and arrays[-1].faults, simulator)
    assert peer.call(Trigger, "reset", simulator).success
    peer.spin_until(lambda: states[-1].episode == 2 and states[-2].episode == 2, simulator)
    peer.spin_until(lambda: not arrays[-1].faults, simulator)

    (first, second), last = [s for s in states if s.episode == 2][:2], [s for s in states if s.episode == 1][-1]
    assert (first.interval, second.interval) == (0.0, pytest.approx(0.05))
    assert (first.sequence, second.sequence) == (last.sequence + 1, last.sequence + 2)
    times = [nanoseconds(clock.clock) for clock in clocks]
    assert times == sorted(set(times))


def test_emergency_stop_lasts_until_a_reset(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    Commander(peer, lambda _: (30.0, 30.0))
    peer.spin_until(lambda: states and number_of(states[-1], "left_speed") > 20.0, simulator)
    assert peer.call(Trigger, "emergency_stop", simulator).success
    peer.spin_until(lambda: abs(number_of(states[-1], "left_speed")) < 2.0, simulator)
    stopped = len(states)
    peer.spin_until(lambda: len(states) > stopped + 5, simulator)
    assert {(applied(state), state.command_sequence) for state in states[stopped:]} == {((0.0, 0.0), 0)}
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 10)
    peer.spin_until(lambda: diagnostics, simulator)
    assert any("emergency stop" in status.message for status in diagnostics[-1].status)
    assert peer.call(Trigger, "reset", simulator).success
    peer.spin_until(lambda: states[-1].episode == 2 and number_of(states[-1], "left_speed") > 20.0, simulator)
    for words in ("stopped: reset the robot", "the robot is intact and at the origin"):
        assert words in simulator.errors


# Start and end


def test_window_without_a_screen_is_refused(start_simulator: StartSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", "")
    start_simulator(gui=True).assert_refused("there is no screen for a window")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_in_order(start_simulator: StartSimulator, peer: Peer, number: signal.Signals) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    simulator = start_simulator()
    peer.spin_until(lambda: states, simulator)
    assert simulator.end(number) == 0
    assert "Traceback" not in simulator.errors
    assert simulator.output == ""


def test_second_simulator_on_the_domain_is_refused(start_simulator: StartSimulator, peer: Peer) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    first = start_simulator()
    peer.spin_until(lambda: states, first)
    start_simulator().assert_refused("another robot publishes robot_state", "ROS_DOMAIN_ID")
    seen = len(states)
    peer.spin_until(lambda: len(states) > seen + 3, first)
    assert {later.sequence - earlier.sequence for earlier, later in itertools.pairwise(states)} == {1}


def test_two_simulators_in_two_namespaces(start_simulator: StartSimulator, peer: Peer) -> None:
    """A domain has one /clock: the second one tells ROS time, and names frames of its own where that is wanted."""
    clocks = peer.record(Clock, "/clock", EVERY_STATE)
    states = {name: peer.record(RobotState, f"{name}/robot_state", EVERY_STATE) for name in ("one", "two")}
    first = start_simulator("-r", "__ns:=/one")
    peer.spin_until(lambda: states["one"], first)
    start_simulator("-r", "__ns:=/two").assert_refused("another simulator publishes /clock", "publish_clock:=false")

    odometry = peer.record(Odometry, "two/odom", EVERY_STATE)
    batteries = peer.record(BatteryState, "two/battery_state", EVERY_STATE)
    before = peer.node.get_clock().now().nanoseconds
    second = start_simulator("-r", "__ns:=/two", publish_clock=False, frame_prefix="two/")
    peer.spin_until(lambda: len(states["two"]) > 20 and odometry and batteries, second)
    assert (odometry[-1].header.frame_id, odometry[-1].child_frame_id) == ("two/odom", "two/base_link")
    assert (states["two"][-1].header.frame_id, batteries[-1].header.frame_id) == ("two/odom", "two/base_link")
    stamps = [nanoseconds(state.header.stamp) for state in states["two"]]
    assert before < stamps[0] < stamps[-1] <= peer.node.get_clock().now().nanoseconds
    assert stamps == sorted(set(stamps))
    fault = peer.call(InjectFault, "two/inject_fault", second, kind="leg_loss", part="1").fault
    assert nanoseconds(fault.since) > stamps[0]
    times = [nanoseconds(clock.clock) for clock in clocks]
    assert times == sorted(set(times))
    assert states["one"][-1].header.frame_id == "odom"


def test_time_stands_still_while_paused(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator()
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    paused = peer.record(Bool, "paused", qos.LATCHED)
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 10)
    peer.spin_until(lambda: states and paused, simulator)
    assert not paused[-1].data
    assert peer.call(SetBool, "pause", simulator, data=True).message == "time stands still"
    diagnostics.clear()
    peer.spin_until(lambda: len(diagnostics) >= 2, simulator)
    last, told = states[-1].sequence, len(states)
    assert paused[-1].data
    assert "paused" in [status.message for status in diagnostics[-1].status]
    peer.spin_until(lambda: len(diagnostics) >= 3, simulator)
    assert len(states) == told
    assert peer.call(SetBool, "pause", simulator, data=False).message == "time goes on"
    peer.spin_until(lambda: len(states) >= told + 5, simulator)
    assert [state.sequence for state in states[told:][:5]] == list(range(last + 1, last + 6))
    assert not paused[-1].data
    # One that is paused ends in order too.
    peer.call(SetBool, "pause", simulator, data=True)
    assert simulator.end(signal.SIGINT) == 0


def test_without_a_clock_time_is_real_time(start_simulator: StartSimulator, peer: Peer) -> None:
    simulator = start_simulator(publish_clock=False)
    response = peer.call(SetBool, "pause", simulator, data=True)
    assert (response.success, "does not stand still" in response.message) == (False, True)
    refused = start_simulator(publish_clock=False, real_time_factor=2.0)
    refused.assert_refused("parameter 'real_time_factor' is 2.0", "only 1 is allowed")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-p", "colour:=red"), ("unknown parameter 'colour'", "allowed is robot, simulator, seed, rate")),
        (("-p", "rate:=fast"), ("parameter 'rate' is 'fast'", "number")),
        (("-p", "rate:=1000.0"), ("parameter 'rate' is 1000.0", "less than or equal to 200")),
        (("-p", "rate:=0.0"), ("parameter 'rate' is 0.0", "greater than or equal to 5")),
        (("-p", "rate:=7.0"), ("control rate of 7 Hz is not reachable",)),
        (("-p", "seed:=1.5"), ("parameter 'seed' is 1.5", "integer")),
        (("-p", "terrain:=ice"), ("unknown terrain 'ice'", "allowed is carpet")),
        (("-p", "slope:=40.0"), ("parameter 'slope' is 40.0", "less than or equal to 25")),
        (("-p", "sensors:=perfect"), ("unknown sensors 'perfect'", "allowed is ideal, real")),
        (("-p", "sensors:=real,delay=1e30"), ("'delay=1e30' is impossible", "delay=0 to 100")),
        (("-p", "rate"), ("ROS arguments were refused", "-p rate")),
        (("--params-file", "no_such_file.yaml"), ("ROS arguments were refused", "no_such_file.yaml")),
        (("--nonsense",), ("ROS arguments were refused", "--nonsense")),
    ],
    ids=lambda value: " ".join(value[-1:]) if value[0].startswith("-") else "",
)
def test_impossible_start_ends_with_one_sentence(
    start_simulator: StartSimulator, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    start_simulator(*arguments).assert_refused(*words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/**: {ros__parameters: {colour: red}}", "unknown parameter 'colour'"),
        ("simulator_node: {ros__parameters: {command_timeout: soon}}", "parameter 'command_timeout' is 'soon'"),
        ("/**: [", "ROS arguments were refused"),
    ],
)
def test_impossible_parameter_file_ends_with_one_sentence(
    start_simulator: StartSimulator, tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(text)
    start_simulator("--params-file", str(file)).assert_refused(words)


def test_parameters_at_run_time(start_simulator: StartSimulator, peer: Peer) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    simulator = start_simulator(real_time_factor=0.5)

    def change(name: str, value: float) -> Any:
        parameter = Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))
        (result,) = peer.call(SetParameters, "simulator_node/set_parameters", simulator, parameters=[parameter]).results
        return result

    assert change("real_time_factor", 2.0).successful
    assert "real_time_factor is 2.0" in simulator.errors
    for name, value, reason in (
        ("real_time_factor", 1e3, "real_time_factor"),
        ("rate", 50.0, "read-only"),
        ("colour", 1.0, "undeclared"),
    ):
        result = change(name, value)
        assert not result.successful
        assert reason in result.reason
    seen = len(states)
    peer.spin_until(lambda: len(states) >= seen + 5, simulator)
    # The clock runs faster; what an interval is does not change.
    assert all(state.interval == pytest.approx(0.05) for state in states[-4:])


# Other robots


def test_husky_drives_and_loses_a_wheel(start_simulator: StartSimulator, peer: Peer) -> None:
    husky = load_robot("husky")
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    joints = peer.record(JointState, "joint_states", EVERY_STATE)
    publisher = peer.node.create_publisher(MotorCommand, "motor_command", qos.LATEST)
    numbers = itertools.count(1)
    simulator = start_simulator(robot="husky")
    peer.node.create_timer(
        0.02, lambda: publisher.publish(to_motor_command(husky, np.array([0.5, 0.0]), 0.0, next(numbers), 0))
    )
    peer.spin_until(lambda: states and number_of(states[-1], "vx") > 0.4, simulator)
    assert (states[-1].robot, tuple(states[-1].state_names)) == ("husky", husky.state_names)
    assert joints[-1].name == [f"{end}_{side}_wheel" for end in ("front", "rear") for side in ("left", "right")]
    fault = peer.call(InjectFault, "inject_fault", simulator, kind="wheel_dead", part="front_left")
    assert (fault.success, fault.message) == (True, "in force: wheel_dead:front_left")
    refused = peer.call(InjectFault, "inject_fault", simulator, kind="leg_loss")
    assert refused.message.startswith("unknown fault kind 'leg_loss': allowed is wheel_dead, ice, payload")


def test_simulator_of_a_file_runs(start_simulator: StartSimulator, peer: Peer) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    simulator = start_simulator(simulator=OWN, robot="pendulum")
    peer.spin_until(lambda: len(states) > 5, simulator)
    assert (states[-1].robot, list(states[-1].action_names)) == ("pendulum", ["torque"])
    assert peer.call(InjectFault, "inject_fault", simulator).message == "in force: heavy:magnitude=2"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"robot": "tank"},
            "no simulator of 'tank': there are those of millirobot, husky, half_cheetah, ant, or a file",
        ),
        ({"robot": "husky", "terrain": "turf"}, "unknown terrain 'turf': allowed is carpet, concrete, grass"),
        ({"simulator": OWN, "terrain": "turf"}, "this simulator has no terrain"),
    ],
)
def test_impossible_simulator_is_refused(start_simulator: StartSimulator, given: dict[str, Any], sentence: str) -> None:
    start_simulator(**given).assert_refused(sentence)
