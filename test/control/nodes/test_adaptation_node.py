"""The adaptation node as a process, over real DDS."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from std_srvs.srv import SetBool

from mbmrl_base.robots.observation import Observation
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_robot_state, to_robot_state
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.learners import LEARNERS, make_learner
from mbmrl_control.learners.online import OnlineAdapter
from mbmrl_control.nodes import conversions
from mbmrl_control.priors import load_shipped
from mbmrl_control.training.episodes import Episode
from mbmrl_msgs.msg import AdaptationStatus, AdaptedModel, RobotState
from ros_testing import STRANGE, NodeProcess, Peer, changed

StartNode = Callable[..., NodeProcess]
WINDOW = 8


class Robot:
    """Sends states one by one, each when the last one was answered with a model and a status."""

    def __init__(self, peer: Peer) -> None:
        self.models: list[Any] = peer.record(AdaptedModel, "adapted_model", 100)
        self.statuses: list[Any] = peer.record(AdaptationStatus, "adaptation_status", 100)
        self._peer = peer
        self._publisher = peer.node.create_publisher(RobotState, "robot_state", qos.STATE)

    def wait_for(self, node: NodeProcess) -> None:
        """Wait until what is sent is heard, and the answers too."""
        counts = self._peer.node.count_publishers
        self._peer.spin_until(
            lambda: (
                self._publisher.get_subscription_count() and counts("adapted_model") and counts("adaptation_status")
            ),
            node,
        )
        # A node that answers knows what the peer had made before it asked.
        response = self._peer.call(GetParameters, "adaptation_node/get_parameters", node, names=["learner"])
        assert response.values[0].string_value in LEARNERS  # the one in use, though the default is empty

    def send(self, message: RobotState, node: NodeProcess) -> None:
        count = len(self.models)
        self._publisher.publish(message)
        self._peer.spin_until(lambda: len(self.models) > count and len(self.statuses) > count, node)


@pytest.fixture
def prior(make_prior: Callable[..., Prior]) -> Prior:
    return make_prior(window=WINDOW, psi=0.005)


@pytest.fixture
def states(episodes: list[Episode], observations_of: Callable[..., list[Observation]]) -> list[RobotState]:
    """What a robot would report of a walk; sequence numbers from 100 on."""
    messages = [to_robot_state(MILLIROBOT, observation, 1) for observation in observations_of(episodes[0])[:30]]
    for message in messages:
        message.sequence += 100
    return messages


@pytest.fixture
def node(prior: Prior, tmp_path: Path, start_node: StartNode) -> NodeProcess:
    file = tmp_path / "prior.safetensors"
    prior.save(file)
    return start_node("adaptation_node", checkpoint=str(file))


def assert_ends_in_order(node: NodeProcess, number: signal.Signals) -> None:
    assert node.end(number) == 0
    assert "Traceback" not in node.errors
    assert node.output == ""


def test_model_for_each_state(node: NodeProcess, peer: Peer, prior: Prior, states: list[RobotState]) -> None:
    """The node says what the core says to the same states."""
    robot, adapter = Robot(peer), OnlineAdapter(prior)
    robot.wait_for(node)
    for message in states[:20]:
        robot.send(message, node)
    assert [model.sequence for model in robot.models] == list(range(1, 21))
    for message, model, status in zip(states, robot.models, robot.statuses, strict=False):
        expected = adapter.observe(from_robot_state(MILLIROBOT, message))
        assert (model.prior_hash, model.learner) == (prior.hash, "grbal")
        assert model.state_sequence == status.state_sequence == message.sequence
        assert model.header.stamp == status.header.stamp == message.header.stamp
        update = conversions.from_adapted_model(model)
        assert update.keys() == expected.update.keys()
        for name, tensor in update.items():
            torch.testing.assert_close(tensor, expected.update[name])
        assert (status.sequence, status.rejected) == (model.sequence, expected.rejected)
        assert (status.window_length, status.window_capacity) == (expected.window, WINDOW)
        assert status.prior_error == pytest.approx(expected.prior_error, rel=1e-4, nan_ok=True)
        assert status.adapted_error == pytest.approx(expected.adapted_error, rel=1e-4, nan_ok=True)
        assert status.adaptation_time > 0
    assert robot.models[-1].update

    assert_ends_in_order(node, signal.SIGTERM)


def test_committee_of_shipped_priors_says_whom_it_trusts(
    start_node: StartNode, peer: Peer, states: list[RobotState]
) -> None:
    members = "grbal,bayes_replay"
    node, robot = start_node("adaptation_node", learner="committee", members=members), Robot(peer)
    robot.wait_for(node)
    learner = make_learner(load_shipped("committee", MILLIROBOT, members))
    for message in states:
        robot.send(message, node)
    for model, status in zip(robot.models, robot.statuses, strict=True):
        assert status.members == ["grbal", "bayes_replay"]
        update = conversions.from_adapted_model(model)
        assert int(update["member"]) == status.member
        learner.adapted_model(update)
    assert np.isfinite(status.member_errors).all()
    assert_ends_in_order(node, signal.SIGTERM)


def test_bad_states_and_gaps_are_lived_through(node: NodeProcess, peer: Peer, states: list[RobotState]) -> None:
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 100)
    robot = Robot(peer)
    robot.wait_for(node)
    bad = states[5]
    bad.state[bad.state_names.index("wx")] = math.nan
    for message in [*states[:6], *states[8:]]:
        robot.send(message, node)
    assert [status.window_length for status in robot.statuses][4:9] == [4, 4, 4, 5, 6]
    assert [status.skipped for status in robot.statuses][4:9] == [0, 1, 1, 1, 1]
    # The model stays as it is meanwhile.
    assert robot.models[4].update
    assert robot.models[4].update == robot.models[5].update == robot.models[6].update
    assert robot.models[-1].update != robot.models[6].update

    def told() -> list[str]:
        return [status.message for array in diagnostics for status in array.status if "adaptation" in status.name]

    peer.spin_until(lambda: any("1 transitions skipped: a number in them is missing" in line for line in told()), node)
    assert node.running


def test_node_adapts_while_it_is_active_each_time_from_the_prior_on(
    prior: Prior, peer: Peer, states: list[RobotState], tmp_path: Path, start_node: StartNode
) -> None:
    file = tmp_path / "prior.safetensors"
    prior.save(file)
    node, robot = start_node("adaptation_node", checkpoint=str(file), autostart=False), Robot(peer)
    assert peer.change(Transition.TRANSITION_CONFIGURE, node)
    assert not peer.node.count_publishers("adapted_model")
    windows = []
    for walk in (states[:6], states[10:14]):
        assert peer.change(Transition.TRANSITION_ACTIVATE, node)
        robot.wait_for(node)
        began = len(robot.statuses)
        for message in walk:
            robot.send(message, node)
        windows.append([status.window_length for status in robot.statuses[began:]])
        assert peer.change(Transition.TRANSITION_DEACTIVATE, node)
        peer.spin_until(lambda: not peer.node.count_publishers("adapted_model"), node)
    assert windows == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3]]
    assert peer.change(Transition.TRANSITION_CLEANUP, node)
    file.write_bytes(b"no prior")
    assert not peer.change(Transition.TRANSITION_CONFIGURE, node)
    assert str(file) in node.errors
    prior.save(file)
    assert peer.change(Transition.TRANSITION_CONFIGURE, node)
    assert_ends_in_order(node, signal.SIGINT)


def test_state_that_comes_late_or_again_is_not_learned_from(
    node: NodeProcess, peer: Peer, states: list[RobotState]
) -> None:
    robot = Robot(peer)
    robot.wait_for(node)
    for message in states[:4]:
        robot.send(message, node)
    for message in (states[3], states[1]):
        robot._publisher.publish(message)
    robot.send(states[4], node)
    assert [status.state_sequence for status in robot.statuses] == [100, 101, 102, 103, 104]
    assert [status.window_length for status in robot.statuses] == [0, 1, 2, 3, 4]
    assert "a message on robot_state is refused: number 103 has come before" in node.errors


def test_second_node_is_refused(
    node: NodeProcess, peer: Peer, prior: Prior, tmp_path: Path, start_node: StartNode
) -> None:
    robot = Robot(peer)
    robot.wait_for(node)
    second = start_node("adaptation_node", checkpoint=str(tmp_path / "prior.safetensors"))
    second.assert_refused("another adaptation publishes adapted_model")
    assert node.running


@pytest.mark.parametrize("interval", [math.nan, 1e30, -1.0])
def test_impossible_interval_is_lived_through(
    interval: float, node: NodeProcess, peer: Peer, states: list[RobotState]
) -> None:
    robot = Robot(peer)
    robot.wait_for(node)
    states[2].interval = interval
    for message in states[:6]:
        robot.send(message, node)
    assert [status.window_length for status in robot.statuses] == [0, 1, 1, 2, 3, 4]
    assert node.running


@pytest.mark.parametrize("words", STRANGE)
def test_state_of_another_robot_or_version_is_not_learned_from(
    words: str, node: NodeProcess, peer: Peer, states: list[RobotState]
) -> None:
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", 100)
    robot = Robot(peer)
    robot.wait_for(node)
    for message in states[:4]:
        robot.send(message, node)
    robot._publisher.publish(changed(states[4], STRANGE[words]))
    sentence = f"a message on robot_state is refused: {words}"
    peer.spin_until(lambda: any(sentence in status.message for array in diagnostics for status in array.status), node)
    robot.send(states[5], node)
    # Between the states before and after it there is a gap of one that was never seen.
    assert [status.state_sequence for status in robot.statuses] == [100, 101, 102, 103, 105]
    assert node.errors.count(sentence) == 1


def test_states_of_several_robots_are_not_learned_from(node: NodeProcess, peer: Peer, states: list[RobotState]) -> None:
    robot = Robot(peer)
    robot.wait_for(node)
    for message in states[:4]:
        robot.send(message, node)
    stranger = Robot(peer)
    stranger.wait_for(node)
    for _ in range(3):
        stranger._publisher.publish(RobotState(sequence=1, episode=9))
    peer.spin_until(lambda: "robot_state has several publishers" in node.errors, node)
    peer.node.destroy_publisher(stranger._publisher)
    count = len(robot.statuses)

    def is_heard() -> bool:
        """Whether the node takes states again, once it has learned that the stranger is gone."""
        robot._publisher.publish(states[4])
        return len(robot.statuses) > count

    peer.spin_until(is_heard, node)
    assert [status.window_length for status in robot.statuses][:5] == [0, 1, 2, 3, 4]


def test_frozen_model_is_kept_until_released(node: NodeProcess, peer: Peer, states: list[RobotState]) -> None:
    robot = Robot(peer)
    robot.wait_for(node)
    for message in states[:6]:
        robot.send(message, node)
    assert peer.call(SetBool, "freeze", node, data=True).success
    assert "the adapted model is kept as it is" in node.errors
    for message in states[6:9]:
        robot.send(message, node)
    assert [status.frozen for status in robot.statuses] == [False] * 6 + [True] * 3
    before = robot.models[5].update
    assert before
    assert all(model.update == before for model in robot.models[6:])
    assert peer.call(SetBool, "freeze", node, data=False).success
    robot.send(states[9], node)
    assert robot.models[-1].update != before
    assert_ends_in_order(node, signal.SIGINT)


def test_learner_is_switched_and_knows_what_was_seen_before(
    node: NodeProcess, peer: Peer, prior: Prior, states: list[RobotState]
) -> None:
    robot, adapter = Robot(peer), OnlineAdapter(load_shipped("bayes_last_layer", MILLIROBOT))
    robot.wait_for(node)

    def switch(**values: str) -> Any:
        given = {
            name: ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
            for name, value in values.items()
        }
        request = [Parameter(name=name, value=value) for name, value in given.items()]
        service = "adaptation_node/set_parameters_atomically"
        return peer.call(SetParametersAtomically, service, node, parameters=request).result

    for message in states[:9]:
        robot.send(message, node)
    assert not (refused := switch(learner="bayes_last_layer")).successful
    assert "is a prior of grbal, wanted is one of bayes_last_layer" in refused.reason
    robot.send(states[9], node)
    assert robot.models[-1].prior_hash == prior.hash
    assert robot.statuses[-1].weights_moved > 0
    assert switch(learner="bayes_last_layer", checkpoint="").successful
    robot.send(states[10], node)
    # As if it had seen the last WINDOW + 1 states.
    for message in states[9 - WINDOW : 11]:
        expected = adapter.observe(from_robot_state(MILLIROBOT, message))
    model, status = robot.models[-1], robot.statuses[-1]
    assert (model.learner, status.members) == ("bayes_last_layer", ["bayes_last_layer"])
    assert status.window_length == expected.window == WINDOW + 1
    assert status.prior_error == pytest.approx(expected.prior_error, rel=1e-4)
    update = conversions.from_adapted_model(model)
    assert update.keys() == expected.update.keys()
    for name, tensor in update.items():
        torch.testing.assert_close(tensor, expected.update[name])
