"""The MPC node as a process, over real DDS, with a robot that the test plays."""

from __future__ import annotations

import array
import itertools
import math
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMessage
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED, MIN_LEG_SPEED
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_motor_command, to_seconds, to_time
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.learners import make_learner
from mbmrl_control.nodes.conversions import from_figures, to_path
from mbmrl_control.priors import load_shipped
from mbmrl_msgs.msg import AdaptedModel, PlannerStatus, RobotState
from pages import example
from planner_testing import PERIOD, Robot, StartNode, speeds, ticks
from robot_testing import INPUT_SIZE, OUTPUT_SIZE
from ros_testing import STRANGE, NodeProcess, Peer, changed


def assert_ends_in_order(planner: NodeProcess, number: signal.Signals) -> None:
    assert planner.end(number) == 0
    assert "Traceback" not in planner.errors
    assert planner.output == ""


def told(diagnostics: list[Any], node: str, words: str) -> bool:
    """Whether a node has said something in its diagnostics."""
    found = (status for array in diagnostics for status in array.status)
    return any(status.name.startswith(f"{node}: ") and words in status.message for status in found)


def models_to(planner: NodeProcess, peer: Peer) -> Publisher:
    """A publisher of adapted models that the planner knows."""
    models = peer.node.create_publisher(AdaptedModel, "adapted_model", qos.LATEST)
    peer.spin_until(models.get_subscription_count, planner)
    # A node that answers knows what the peer had made before it asked.
    peer.call(GetParameters, "mpc_node/get_parameters", planner, names=["rate"])
    return models


def test_command_in_each_tick_and_zero_without_a_state(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    planner = start_planner()
    peer.spin_until(lambda: len(robot.statuses) > 40 and len(robot.commands) > 40, planner)
    assert all(speeds(command) == (0.0, 0.0) for command in robot.commands)
    assert all(command.state_sequence == 0 for command in robot.commands)
    assert all(status.outcome == PlannerStatus.NO_STATE for status in robot.statuses)
    for earlier, later in itertools.pairwise(robot.statuses):
        assert later.command_sequence == earlier.command_sequence + 1
        # A command for each tick that was not missed.
        assert (later.ticks - earlier.ticks) - (later.missed_ticks - earlier.missed_ticks) == 1
    # Ticks are due at whole periods, however late the machine was with some.
    # A stamp is older than the lateness beside it by what sending took, which a loaded machine may hold up.
    punctual = [tick for tick in ticks(robot, PlannerStatus.NO_STATE) if tick[0].lateness < PERIOD]
    (first, first_command), *_, (last, last_command) = punctual
    elapsed = to_seconds(last_command.header.stamp) - to_seconds(first_command.header.stamp)
    due = elapsed - (last.lateness - first.lateness)
    assert due == pytest.approx((last.ticks - first.ticks) * PERIOD, abs=PERIOD)
    assert_ends_in_order(planner, signal.SIGINT)


def test_robot_is_stopped_when_states_end_and_at_the_end(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    planner = start_planner(state_timeout=0.5)
    robot.start()
    peer.spin_until(lambda: len(ticks(robot, PlannerStatus.PLANNED)) > 3, planner)
    for status, command in ticks(robot, PlannerStatus.PLANNED):
        assert all(MIN_LEG_SPEED - 1e-3 <= speed <= MAX_LEG_SPEED + 1e-3 for speed in speeds(command))
        assert command.state_sequence == status.state_sequence > 0
        assert status.planning_time > 0

    robot.stop()
    stopped = len(robot.statuses)
    peer.spin_until(lambda: len(ticks(robot, PlannerStatus.NO_STATE, stopped)) > 3, planner)
    assert all(speeds(command) == (0.0, 0.0) for _, command in ticks(robot, PlannerStatus.NO_STATE))

    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    peer.spin_until(lambda: any(speeds(robot.commands[-1])), planner)
    assert_ends_in_order(planner, signal.SIGTERM)
    peer.spin_until(lambda: speeds(robot.commands[-1]) == (0.0, 0.0))
    assert robot.commands[-1].state_sequence == 0


def test_status_and_diagnostics_tell_how_ticks_are_kept(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 10)
    planner = start_planner()
    robot.start()
    # A machine that is held up may cut a plan short.
    peer.spin_until(lambda: any(status.candidates == 40 for status in robot.statuses), planner)
    peer.spin_until(lambda: len(diagnostics) > 1, planner)
    status = next(status for status in robot.statuses if status.candidates == 40)
    assert status.outcome == PlannerStatus.PLANNED
    assert status.candidate_budget == 40
    assert 0 <= status.start_delay < status.lateness
    assert status.planning_time < status.state_to_command
    part, topics, steering = diagnostics[-1].status
    assert (topics.name, topics.message) == ("mpc_node: topics", "in order")
    assert (steering.name, steering.message) == ("mpc_node: steering", "in order")
    values = {value.key: value.value for value in part.values}
    assert part.name == "mpc_node: ticks"
    assert part.hardware_id
    assert int(values["ticks"]) > int(values["missed"])
    assert 0 <= int(values["candidates, fewest"]) <= 40


def test_machine_that_is_too_slow_tries_fewer_candidates(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    """Two threads of no machine try as many in the time; the robot walks nevertheless."""
    planner = start_planner(candidates=6000, horizon=40, min_candidates=20, plan_share=0.3)
    robot.start()
    peer.spin_until(lambda: len(ticks(robot, PlannerStatus.PLANNED)) > 20, planner)
    planned = [status for status, _ in ticks(robot, PlannerStatus.PLANNED)]
    assert all(0 < status.candidates < 6000 for status in planned)
    assert all(20 <= status.candidate_budget < 6000 for status in planned)
    for status, command in ticks(robot, PlannerStatus.LAST_PLAN):
        assert status.candidates == 0
        assert all(MIN_LEG_SPEED - 1e-3 <= speed <= MAX_LEG_SPEED + 1e-3 for speed in speeds(command))


def test_standby_takes_over_where_the_first_planner_is_deactivated(
    start_planner: StartNode, peer: Peer, robot: Robot
) -> None:
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 100)
    first = start_planner()
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, first)
    standby = start_planner("-r", "__node:=standby", autostart=False)
    assert peer.change(Transition.TRANSITION_CONFIGURE, standby)
    peer.spin_until(lambda: told(diagnostics, "standby", "the node is not active: the robot is not commanded"), standby)
    assert not peer.change(Transition.TRANSITION_ACTIVATE, standby)
    assert "another planner publishes motor_command on this ROS domain" in standby.errors
    assert peer.node.count_publishers("motor_command") == 1

    assert peer.change(Transition.TRANSITION_DEACTIVATE, first)
    peer.spin_until(lambda: speeds(robot.commands[-1]) == (0.0, 0.0), first)
    peer.spin_until(lambda: not peer.node.count_publishers("motor_command"), first)
    assert robot.commands[-1].state_sequence == 0
    before, planned = len(robot.commands), len(robot.statuses)
    assert peer.change(Transition.TRANSITION_ACTIVATE, standby)
    peer.spin_until(lambda: len(ticks(robot, PlannerStatus.PLANNED, planned)) > 3, standby)
    assert robot.commands[before].sequence < robot.commands[before - 1].sequence

    assert not peer.change(Transition.TRANSITION_ACTIVATE, first)
    assert peer.change(Transition.TRANSITION_CLEANUP, first)
    assert_ends_in_order(first, signal.SIGINT)
    assert_ends_in_order(standby, signal.SIGTERM)


def test_planner_is_configured_anew_as_its_parameters_say_then(
    start_planner: StartNode, peer: Peer, robot: Robot
) -> None:
    planner = start_planner(autostart=False)
    robot.start()

    def set_task(name: str) -> Any:
        given = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=name)
        request = [Parameter(name="task", value=given)]
        return peer.call(SetParameters, "mpc_node/set_parameters", planner, parameters=request).results[0]

    assert not (refused := set_task("fly")).successful
    assert "unknown task 'fly'" in refused.reason
    for name in ("move_forward", "follow_path"):
        assert set_task(name).successful
        began = len(robot.statuses)
        assert peer.change(Transition.TRANSITION_CONFIGURE, planner)
        assert peer.change(Transition.TRANSITION_ACTIVATE, planner)
        peer.spin_until(lambda began=began: len(ticks(robot, PlannerStatus.PLANNED, began)) > 3, planner)
        assert robot.statuses[-1].task == name
        assert peer.change(Transition.TRANSITION_DEACTIVATE, planner)
        assert peer.change(Transition.TRANSITION_CLEANUP, planner)
        peer.spin_until(lambda: not peer.node.count_publishers("planner_status"), planner)
    assert_ends_in_order(planner, signal.SIGINT)


def test_second_planner_is_refused(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    first = start_planner()
    peer.spin_until(lambda: robot.commands, first)
    start_planner().assert_refused("another planner publishes motor_command on this ROS domain", "namespace")
    seen = len(robot.commands)
    peer.spin_until(lambda: len(robot.commands) > seen + 3, first)
    assert {later.sequence - earlier.sequence for earlier, later in itertools.pairwise(robot.commands[seen:])} == {1}


@pytest.mark.parametrize(
    ("topic", "message", "outcome"),
    [
        ("motor_command", to_motor_command(MILLIROBOT, np.array([0.0, 50.0]), 0.0, 1, 0), PlannerStatus.STOPPED),
        ("robot_state", RobotState(sequence=1, episode=7), PlannerStatus.NO_STATE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_robot_is_stopped_while_a_stranger_publishes(
    start_planner: StartNode, peer: Peer, robot: Robot, topic: str, message: Any, outcome: int
) -> None:
    """What it sends is not heard, it is said who it is, and the robot walks on when it has gone."""
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 10)
    paths = peer.record(PathMessage, "reference_path", qos.LATCHED)
    planner = start_planner()
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED and paths, planner)
    stranger = peer.node.create_publisher(type(message), topic, qos.STATE)
    timer = peer.node.create_timer(0.01, lambda: stranger.publish(message))
    peer.spin_until(lambda: robot.outcome() == outcome, planner)
    first = len(robot.statuses)
    peer.spin_until(lambda: len(robot.statuses) > first + 20 and diagnostics[-1].status[1].level == b"\2", planner)
    assert {status.outcome for status in robot.statuses[first:]} == {outcome}
    assert all(speeds(command) == (0.0, 0.0) for _, command in ticks(robot, outcome, first))
    assert f"{topic} has several publishers, /" in diagnostics[-1].status[1].message
    assert f"{topic} has several publishers, /" in planner.errors
    peer.node.destroy_timer(timer)
    peer.node.destroy_publisher(stranger)
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    assert all(path == paths[0] for path in paths)


def test_robot_is_at_its_safe_action_while_two_publish_the_clock(
    start_planner: StartNode, peer: Peer, robot: Robot
) -> None:
    clock = peer.node.create_publisher(ClockMessage, "/clock", qos.LATEST)
    peer.node.create_timer(0.01, lambda: clock.publish(ClockMessage(clock=to_time(time.monotonic()))))
    planner = start_planner(use_sim_time=True)
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    second = peer.node.create_publisher(ClockMessage, "/clock", qos.LATEST)
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.STOPPED, planner)
    first = len(robot.statuses)
    peer.spin_until(lambda: len(ticks(robot, PlannerStatus.STOPPED, first)) > 3, planner)
    assert all(speeds(command) == (0.0, 0.0) for _, command in ticks(robot, PlannerStatus.STOPPED, first))
    assert "/clock has several publishers, " in planner.errors
    peer.node.destroy_publisher(second)
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)


@pytest.mark.parametrize("words", STRANGE)
def test_robot_is_at_its_safe_action_while_states_are_of_another_one(
    words: str, start_planner: StartNode, peer: Peer, robot: Robot
) -> None:
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 10)
    planner = start_planner()
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    robot.strange = STRANGE[words]
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.NO_STATE, planner)
    first = len(robot.statuses)
    sentence = f"a message on robot_state is refused: {words}"
    peer.spin_until(lambda: any(sentence in status.message for status in diagnostics[-1].status), planner)
    peer.spin_until(lambda: ticks(robot, PlannerStatus.NO_STATE, first), planner)
    assert {status.outcome for status in robot.statuses[first:]} == {PlannerStatus.NO_STATE}
    assert all(speeds(command) == (0.0, 0.0) for _, command in ticks(robot, PlannerStatus.NO_STATE, first))
    assert sentence in planner.errors
    robot.strange = {}
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)


def test_models_of_several_nodes_are_not_used(start_planner: StartNode, peer: Peer, robot: Robot, prior: Prior) -> None:
    planner = start_planner()
    models = models_to(planner, peer)
    robot.start()
    models.publish(AdaptedModel(robot="millirobot", sequence=3, prior_hash=prior.hash))
    peer.spin_until(lambda: robot.statuses and robot.statuses[-1].model_sequence == 3, planner)
    stranger = models_to(planner, peer)
    for publisher in (models, stranger):
        publisher.publish(AdaptedModel(robot="millirobot", sequence=9, prior_hash=prior.hash))
    peer.spin_until(lambda: planner.errors.count("adapted_model has several publishers"), planner)
    seen = len(robot.statuses)
    peer.spin_until(lambda: len(robot.statuses) > seen + 4, planner)
    assert robot.statuses[-1].model_sequence == 3
    assert robot.outcome() == PlannerStatus.PLANNED


def test_stop_is_latched_until_released(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    planner = start_planner()
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    response = peer.call(SetBool, "stop", planner, data=True)
    assert (response.success, response.message) == (True, "the robot takes its safe action until released")
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.STOPPED, planner)
    first = len(robot.statuses) - 1
    robot.episode += 1  # not even a reset of the robot releases it
    peer.spin_until(lambda: len(robot.statuses) > first + 10, planner)
    stopped = robot.statuses[first:]
    assert all(status.outcome == PlannerStatus.STOPPED for status in stopped)
    assert all(math.isfinite(from_figures(status)["cross_track_m"]) for status in stopped)
    assert all(speeds(command) == (0.0, 0.0) for _, command in ticks(robot, PlannerStatus.STOPPED))
    assert "the robot takes its safe action until released" in planner.errors
    assert peer.call(SetBool, "stop", planner, data=False).success
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)


def test_reference_path_is_latched_and_starts_at_the_robot(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    planner = start_planner(path="left")
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    late, volatile = (peer.record(PathMessage, "reference_path", profile) for profile in (qos.LATCHED, 10))
    planned, lossy = (peer.record(PathMessage, "planned_path", profile) for profile in (10, qos.SENSOR))
    # Where a machine is held up, what the last plan has left is shorter.
    peer.spin_until(lambda: late and volatile and lossy and any(len(path.poses) == 6 for path in planned), planner)
    assert max(len(path.poses) for path in planned) == 6
    assert volatile[0] == late[0]
    start = late[0].poses[0].pose.position
    assert (start.x, start.y) == pytest.approx(robot.position[:2])
    assert late[0].header.frame_id == planned[0].header.frame_id == "odom"
    for path in (late[0], planned[0]):
        assert to_seconds(path.header.stamp) > 0
        assert all(pose.header == path.header for pose in path.poses)
    # In a new episode the path starts where the robot stands then.
    robot.position, robot.episode = (5.0, 5.0, 0.02), 2
    peer.spin_until(lambda: late[-1].poses[0].pose.position.x == pytest.approx(5.0), planner)
    peer.spin_until(lambda: abs(from_figures(robot.statuses[-1])["cross_track_m"]) < 1e-6, planner)


def test_path_walked_is_shown_as_it_was_in_this_episode(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    planner = start_planner(frame_prefix="r1/")
    walked = peer.record(PathMessage, "path_walked", 10)
    robot.start()
    peer.spin_until(lambda: walked and walked[-1].poses, planner)
    robot.position = (1.5, -2.0, 0.02)
    peer.spin_until(lambda: walked[-1].poses[-1].pose.position.x == 1.5, planner)
    first = walked[-1].poses[0]
    assert (first.pose.position.x, first.pose.position.y, first.header.frame_id) == (1.0, -2.0, "r1/odom")
    robot.position, robot.episode = (7.0, 0.0, 0.02), 2
    peer.spin_until(lambda: {pose.pose.position.x for pose in walked[-1].poses} == {7.0}, planner)


def test_markers_are_drawn_of_what_the_plan_was_chosen_among(
    start_planner: StartNode, peer: Peer, robot: Robot
) -> None:
    planner = start_planner(frame_prefix="r1/")
    drawn = peer.record(MarkerArray, "plan_markers", qos.LATEST)
    robot.start()
    peer.spin_until(lambda: drawn, planner)
    candidates, by_prior, expected = drawn[0].markers
    assert [marker.ns for marker in drawn[0].markers] == ["candidates", "expected by the prior", "expected"]
    assert {marker.header.frame_id for marker in drawn[0].markers} == {"r1/odom"}
    assert all(len(marker.points) == len(marker.colors) for marker in drawn[0].markers)
    assert len(expected.points) == len(by_prior.points) == 6  # the horizon and its start
    assert len(candidates.points) % (2 * 5) == 0
    # Each candidate is a chain of pieces that starts with the plan, near the robot.
    ends = [(point.x, point.y) for point in candidates.points[:10]]
    assert ends[1:-1:2] == ends[2::2]
    for first in (ends[0], (expected.points[0].x, expected.points[0].y)):
        assert first == pytest.approx(robot.position[:2], abs=0.1)
    # No adaptation has come: both expect the same.
    for one, other in zip(expected.points, by_prior.points, strict=True):
        assert (one.x, one.y) == pytest.approx((other.x, other.y), abs=1e-6)


def as_bytes(update: dict[str, torch.Tensor]) -> array.array:
    return array.array("B", safetensors.torch.save(update))


def test_only_models_of_its_own_prior_are_used(
    start_planner: StartNode, peer: Peer, robot: Robot, prior: Prior
) -> None:
    """Whatever else comes is refused, and the planner goes on with the last one that did fit."""
    planner = start_planner()
    models = models_to(planner, peer)
    inputs, targets = torch.ones(4, INPUT_SIZE), torch.ones(4, OUTPUT_SIZE)
    update = make_learner(prior).adapt(inputs, targets)
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)

    def model_after(sequence: int, prior_hash: str, content: array.array, **fields: Any) -> int:
        """Number of the model that plans are made with some ticks after this one was sent."""
        model = AdaptedModel(robot="millirobot", sequence=sequence, prior_hash=prior_hash, update=content)
        models.publish(changed(model, fields))
        count = len(robot.statuses)
        peer.spin_until(lambda: len(robot.statuses) > count + 4, planner)
        # A loaded machine may be late for a new plan.
        assert robot.outcome() in (PlannerStatus.PLANNED, PlannerStatus.LAST_PLAN)
        assert robot.statuses[-1].prior_hash == prior.hash
        return int(robot.statuses[-1].model_sequence)

    assert robot.statuses[-1].model_sequence == 0
    assert model_after(5, "0" * 64, as_bytes(update)) == 0
    assert model_after(5, prior.hash, as_bytes(update), version=2) == 0
    assert model_after(5, prior.hash, as_bytes(update), robot="husky") == 0
    assert model_after(6, prior.hash, as_bytes(update)) == 6
    foreign = {
        7: array.array("B", b"garbage"),
        8: as_bytes({name: tensor.double() for name, tensor in update.items()}),
        9: as_bytes({name: tensor[..., :3].contiguous() for name, tensor in update.items()}),
        10: as_bytes({"precision": torch.eye(3)}),
    }
    for sequence, content in foreign.items():
        assert model_after(sequence, prior.hash, content) == 6
    assert model_after(11, prior.hash, array.array("B")) == 11
    assert "a message on adapted_model is refused: it is of another prior, 000000000000, this one is" in planner.errors
    assert "a model is refused" in planner.errors


def test_prior_is_planned_with_once_no_model_comes_any_more(
    start_planner: StartNode, peer: Peer, robot: Robot, prior: Prior
) -> None:
    planner = start_planner(model_timeout=0.3)
    models = models_to(planner, peer)
    reports = peer.record(DiagnosticArray, "/diagnostics", qos.STATE)
    robot.start()
    for sequence in (5, 6):
        models.publish(AdaptedModel(robot="millirobot", sequence=sequence, prior_hash=prior.hash))
        peer.spin_until(
            lambda sequence=sequence: robot.statuses and robot.statuses[-1].model_sequence == sequence, planner
        )
        reports.clear()
        peer.spin_until(lambda: robot.statuses[-1].model_sequence == 0, planner)
        assert robot.outcome() in (PlannerStatus.PLANNED, PlannerStatus.LAST_PLAN)
    sentence = "no model has come for"
    peer.spin_until(lambda: any(sentence in part.message for report in reports for part in report.status), planner)


def test_learner_is_switched_with_the_first_model_of_the_other_prior(
    start_planner: StartNode, peer: Peer, robot: Robot
) -> None:
    """Without a tick that is not planned, and back; what neither node has is refused and changes nothing."""
    old, new = (load_shipped(learner, MILLIROBOT) for learner in ("mb", "bayes_replay"))
    planner = start_planner(learner="mb", checkpoint="''")
    models = models_to(planner, peer)
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    began = len(robot.statuses)

    def switch(name: str, value: str) -> Any:
        given = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
        request = [Parameter(name=name, value=given)]
        return peer.call(SetParameters, "mpc_node/set_parameters", planner, parameters=request).results[0]

    def planned_with(sequence: int, prior: Prior) -> tuple[str, int]:
        """Hash and number of what plans are made with some ticks after a model was sent."""
        models.publish(AdaptedModel(robot="millirobot", sequence=sequence, prior_hash=prior.hash))
        count = len(robot.statuses)
        peer.spin_until(lambda: len(robot.statuses) > count + 4, planner)
        return robot.statuses[-1].prior_hash, robot.statuses[-1].model_sequence

    assert planned_with(5, old) == (old.hash, 5)
    assert planned_with(6, new) == (old.hash, 5)
    assert not (refused := switch("learner", "maml")).successful
    assert "unknown learner 'maml'" in refused.reason
    assert not (refused := switch("checkpoint", "/no/such.safetensors")).successful
    assert "/no/such.safetensors" in refused.reason
    assert switch("learner", "bayes_replay").successful
    assert planned_with(7, old) == (old.hash, 7)
    assert planned_with(8, new) == (new.hash, 8)
    assert planned_with(9, old) == (new.hash, 8)
    assert switch("learner", "mb").successful
    assert planned_with(10, new) == (new.hash, 10)
    assert planned_with(11, old) == (old.hash, 11)
    outcomes = {status.outcome for status in robot.statuses[began:]}
    assert outcomes <= {PlannerStatus.PLANNED, PlannerStatus.LAST_PLAN}
    assert speeds(robot.commands[-1]) != (0.0, 0.0)


def test_model_that_predicts_nothing_finite_stops_the_robot(
    start_planner: StartNode, peer: Peer, robot: Robot, prior: Prior
) -> None:
    planner = start_planner()
    models = models_to(planner, peer)
    update = make_learner(prior).adapt(torch.ones(4, INPUT_SIZE), torch.ones(4, OUTPUT_SIZE))
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    broken = as_bytes({name: torch.full_like(tensor, math.nan) for name, tensor in update.items()})
    models.publish(AdaptedModel(robot="millirobot", sequence=1, prior_hash=prior.hash, update=broken))
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.NO_FINITE_PLAN, planner)
    peer.spin_until(lambda: ticks(robot, PlannerStatus.NO_FINITE_PLAN), planner)
    assert all(speeds(command) == (0.0, 0.0) for _, command in ticks(robot, PlannerStatus.NO_FINITE_PLAN))
    models.publish(AdaptedModel(robot="millirobot", sequence=2, prior_hash=prior.hash, update=as_bytes(update)))
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    assert robot.statuses[-1].model_sequence == 2


def test_state_that_is_not_finite_stops_the_robot(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    """From the first state on, and later: it is planned again when states are finite again."""
    planner = start_planner()
    good, nan, infinite = robot.position, (math.nan,) * 3, (math.inf,) * 3
    robot.position = nan
    robot.start()
    peer.spin_until(lambda: robot.statuses and robot.statuses[-1].state_sequence > 2, planner)
    assert robot.outcome() == PlannerStatus.NO_STATE
    for position in (good, infinite, good, nan, good):
        robot.position = position
        wanted = PlannerStatus.PLANNED if position is good else PlannerStatus.NO_STATE
        peer.spin_until(lambda wanted=wanted: robot.outcome() == wanted, planner)
    assert abs(from_figures(robot.statuses[-1])["cross_track_m"]) < 1e-6
    assert all(np.isfinite(speeds(command)).all() for command in robot.commands)


def test_parameters_at_run_time(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    planner = start_planner()

    def change(name: str, value: float) -> Any:
        parameter = Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))
        (result,) = peer.call(SetParameters, "mpc_node/set_parameters", planner, parameters=[parameter]).results
        return result

    def value_of(name: str) -> float:
        (value,) = peer.call(GetParameters, "mpc_node/get_parameters", planner, names=[name]).values
        return float(value.double_value)

    assert change("speed", 0.125).successful
    assert value_of("speed") == 0.125
    for name, value in (("speed", 7.0), ("speed", 0.05), ("speed", -0.1), ("rate", 10.0), ("colour", 1.0)):
        result = change(name, value)
        assert not result.successful
        assert result.reason
    assert (value_of("speed"), value_of("rate")) == (0.125, 20.0)
    # The new wanted speed is what standing still is judged by.
    assert change("distance_weight", 0.0).successful
    assert change("heading_weight", 0.0).successful
    assert change("progress_weight", 1.0).successful
    robot.start()
    peer.spin_until(
        lambda: robot.statuses and robot.statuses[-1].cost == pytest.approx(0.125 * PERIOD, rel=1e-2), planner
    )
    assert any(speeds(robot.commands[-1]))
    assert change("speed", 0.0).successful
    peer.spin_until(lambda: speeds(robot.commands[-1]) == (0.0, 0.0) and robot.outcome() == PlannerStatus.PLANNED)
    assert change("speed", 0.2).successful
    peer.spin_until(lambda: all(speed >= MIN_LEG_SPEED - 1e-3 for speed in speeds(robot.commands[-1])), planner)


def test_task_is_changed_while_the_node_runs(start_planner: StartNode, peer: Peer, robot: Robot) -> None:
    planner = start_planner(task="track_velocity")

    def change(**values: Any) -> Any:
        request = [
            Parameter(
                name=name,
                value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
                if isinstance(value, str)
                else ParameterValue(type=ParameterType.PARAMETER_DOUBLE_ARRAY, double_array_value=value),
            )
            for name, value in values.items()
        ]
        return peer.call(SetParameters, "mpc_node/set_parameters", planner, parameters=request).results

    robot.start()
    # Without a velocity the robot stands.
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    assert robot.statuses[-1].task == "track_velocity"
    assert speeds(robot.commands[-1]) == (0.0, 0.0)

    paths = peer.record(PathMessage, "reference_path", qos.LATCHED)
    for answer in (change(goal=[3.0, -2.0]), change(task="go_to_goal")):
        assert answer[0].successful, answer[0].reason
    peer.spin_until(lambda: robot.statuses[-1].task == "go_to_goal" and paths, planner)
    assert from_figures(robot.statuses[-1])["distance_m"] == pytest.approx(2.0, abs=1e-5)
    assert paths[-1].poses[0].pose.position.x == 3.0
    peer.spin_until(lambda: any(speeds(robot.commands[-1])), planner)
    # The robot is where it is to go.
    assert change(goal=[1.0, -2.0])[0].successful
    peer.spin_until(lambda: from_figures(robot.statuses[-1])["distance_m"] == 0.0, planner)
    peer.spin_until(lambda: speeds(robot.commands[-1]) == (0.0, 0.0), planner)

    for values, words in (({"task": "dance"}, "unknown task 'dance'"), ({"goal": [1.0]}, "'goal'")):
        (result,) = change(**values)
        assert not result.successful
        assert words in result.reason
    assert all(result.successful for result in change(path="left") + change(task="follow_path"))
    peer.spin_until(lambda: "progress_m" in robot.statuses[-1].figure_names, planner)
    assert planner.running


def test_path_of_a_message_is_followed_from_the_next_tick_on(
    start_planner: StartNode, peer: Peer, robot: Robot
) -> None:
    """Whatever the task was; one that cannot be followed is refused, and the robot goes on with the last one."""
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 10)
    planner = start_planner(task="track_velocity", frame_prefix="r1/")
    paths = peer.node.create_publisher(PathMessage, "path", qos.LATEST)
    shown = peer.record(PathMessage, "reference_path", qos.LATCHED)
    peer.spin_until(paths.get_subscription_count, planner)
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)

    def send(points: list[list[float]], frame: str = "r1/odom") -> None:
        message = to_path(np.array([[*point, 0.0] for point in points]).reshape(-1, 3), 0.0)
        for part in (message, *message.poses):
            part.header.frame_id = frame
        paths.publish(message)

    def cross_track() -> float:
        return from_figures(robot.statuses[-1]).get("cross_track_m", math.nan)

    # The robot stands at 1, -2.
    send([[0.0, -2.3], [4.0, -2.3]])
    peer.spin_until(lambda: cross_track() == pytest.approx(0.3, abs=1e-4) and any(speeds(robot.commands[-1])), planner)
    assert robot.statuses[-1].task == "follow_path"
    assert from_figures(robot.statuses[-1])["progress_m"] == pytest.approx(1.0, abs=1e-3)
    peer.spin_until(lambda: shown, planner)
    first = shown[-1].poses[0]
    assert (first.pose.position.x, first.pose.position.y, first.header.frame_id) == (0.0, -2.3, "r1/odom")
    refused = {
        "it is in the frame 'map', wanted is 'r1/odom'": ([[0.0, 0.0], [4.0, 0.0]], "map"),
        "the list of points holds no path: wanted are 2 points": ([[0.0, 0.0]], "r1/odom"),
        "the list of points is a path of 0 m": ([[1.0, 1.0], [1.0, 1.0]], "r1/odom"),
        "each a finite x and y": ([[0.0, 0.0], [math.nan, 0.0]], "r1/odom"),
    }
    for words, given in refused.items():
        send(*given)
        peer.spin_until(lambda words=words: diagnostics and words in diagnostics[-1].status[1].message, planner)
        assert "a message on path is refused: " in diagnostics[-1].status[1].message
        assert (cross_track(), robot.statuses[-1].task) == (pytest.approx(0.3, abs=1e-4), "follow_path")
    assert "a message on path is refused: it is in the frame 'map'" in planner.errors
    send([[0.0, -1.9], [4.0, -1.9]])
    peer.spin_until(lambda: cross_track() == pytest.approx(-0.1, abs=1e-4), planner)
    peer.spin_until(lambda: diagnostics[-1].status[1].message == "in order", planner)
    speed = Parameter(name="speed", value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.0))
    peer.call(SetParameters, "mpc_node/set_parameters", planner, parameters=[speed])
    peer.spin_until(lambda: speeds(robot.commands[-1]) == (0.0, 0.0), planner)
    assert cross_track() == pytest.approx(-0.1, abs=1e-4)


# A task and a planner of the user's own

SHARP = """
from pathlib import Path
from pydantic import Field
from mbmrl_control.planning.mppi import Mppi, MppiSettings

class SharpSettings(MppiSettings):
    rounds: int = Field(2, ge=1, le=9, description="Rounds")

class Sharp(Mppi):
    name = "sharp"
    settings_type = SharpSettings

    def _search(self, evaluate, count):
        if Path(FLAG).exists():
            raise RuntimeError(f"no {self.settings.rounds}\\nrounds")
        return super()._search(evaluate, count)

def planner():
    return Sharp
"""


def test_settings_of_files_are_parameters(start_planner: StartNode, peer: Peer, robot: Robot, tmp_path: Path) -> None:
    task, sharp = str(example("task", tmp_path / "hold.py")), tmp_path / "sharp.py"
    sharp.write_text(SHARP.replace("FLAG", "'none'"))
    for given, words in (
        ({"heading": 7.0}, "parameter 'heading' is 7.0: "),
        ({"rounds": 0}, "parameter 'rounds' is 0: "),
        ({"tempo": 1}, "unknown parameter 'tempo': allowed is "),
        ({"task": "hold_none.py"}, "there is no file hold_none.py"),
    ):
        start_planner(**({"task": task, "planner": str(sharp)} | given)).assert_refused(words)
    planner = start_planner(task=task, planner=str(sharp), heading=0.25, rounds=3)
    robot.start()
    # The robot looks along x.
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    first = from_figures(robot.statuses[-1])["heading_error_rad"]

    def change(value: float) -> Any:
        parameter = Parameter(
            name="heading", value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
        )
        return peer.call(SetParameters, "mpc_node/set_parameters", planner, parameters=[parameter]).results[0]

    assert not change(7.0).successful
    assert change(0.75).successful
    peer.spin_until(
        lambda: from_figures(robot.statuses[-1])["heading_error_rad"] == pytest.approx(first - 0.5), planner
    )
    (value,) = peer.call(GetParameters, "mpc_node/get_parameters", planner, names=["rounds"]).values
    assert value.integer_value == 3


FAIL = "if __import__('os').path.exists(FLAG): raise RuntimeError('no 3\\nrounds')\n        "
COST = "torch.cos(trajectories.poses[:, 1:, 2] - heading)"


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ("planner", "Sharp._search"),
        ("        return {", "HoldHeading.observe"),
        ("        heading = self", "HoldHeading.costs"),
        (COST, "HoldHeading.costs.<locals>.<lambda>"),
    ],
)
def test_robot_is_at_its_safe_action_while_a_task_or_a_planner_fails(
    start_planner: StartNode, peer: Peer, robot: Robot, tmp_path: Path, part: str, place: str
) -> None:
    """One sentence says where it fails, and the robot goes on when it works again."""
    flag, file = tmp_path / "flag", tmp_path / "own.py"
    if part == "planner":
        file.write_text(SHARP.replace("FLAG", repr(str(flag))))
        planner = start_planner(planner=str(file), rounds=3)
    else:
        failing = f"{part[:8]}{FAIL}{part[8:]}" if part != COST else f"fails() + {part}"
        text = example("task", file).read_text().replace(part, failing.replace("FLAG", repr(str(flag))))
        file.write_text(
            text
            + f"""

def fails():
    {FAIL.replace("FLAG", repr(str(flag)))}
    return 0.0
"""
        )
        planner = start_planner(task=str(file))
        place = "fails" if part == COST else place
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 10)
    robot.start()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    flag.touch()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.NO_FINITE_PLAN, planner)
    first = len(robot.statuses)
    peer.spin_until(lambda: len(robot.statuses) > first + 25 and diagnostics[-1].status[0].level == b"\2", planner)
    assert all(speeds(command) == (0.0, 0.0) for _, command in ticks(robot, PlannerStatus.NO_FINITE_PLAN))
    sentence = re.compile(rf"{file}, line \d+, {place}: RuntimeError: no 3 rounds")
    assert sentence.search(diagnostics[-1].status[0].message)
    assert 0 < len(sentence.findall(planner.errors)) < 6  # at most one in 5 s
    assert "Traceback" not in planner.errors
    flag.unlink()
    peer.spin_until(lambda: robot.outcome() == PlannerStatus.PLANNED, planner)
    peer.spin_until(lambda: diagnostics[-1].status[0].level != b"\2", planner)


def test_task_that_fails_at_the_start_is_refused(start_planner: StartNode, tmp_path: Path) -> None:
    file = example("task", tmp_path / "hold.py")
    file.write_text(file.read_text().replace("error = yaw", "error = yaw + None"))
    start_planner(task=str(file)).assert_refused("hold.py, line ", "HoldHeading.observe: TypeError: ")
