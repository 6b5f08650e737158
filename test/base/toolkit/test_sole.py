"""Topics that only one node may publish."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mbmrl_base.system.exclusive import hold
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.health import Level
from mbmrl_base.toolkit.sole import SoleSubscription, claim, dispute, publishers, topics
from mbmrl_msgs.msg import MotorCommand
from ros_testing import NodeProcess, Peer, peer_in

TOPIC = "motor_command"


def test_topic_of_another_node_cannot_be_claimed(peer: Peer, domain: int) -> None:
    with peer_in(domain) as other:
        other.node.create_publisher(MotorCommand, TOPIC, qos.LATEST)
        name = f"/{other.node.get_name()}"
        peer.spin_until(lambda: publishers(peer.node, TOPIC) == [name])
        with pytest.raises(ValueError, match=rf"another planner publishes {TOPIC} .*\({name}\): stop it"):
            claim(peer.node, TOPIC, "planner")
    peer.spin_until(lambda: not publishers(peer.node, TOPIC))
    with claim(peer.node, TOPIC, "planner"):
        assert hold(f"/{TOPIC}@{domain}") is None
        with pytest.raises(ValueError, match=f"another planner publishes {TOPIC}"):
            claim(peer.node, TOPIC, "planner")


def test_topic_of_a_node_that_was_killed_is_taken_over(peer: Peer, domain: int, tmp_path: Path) -> None:
    with NodeProcess("mbmrl_sim.nodes.simulator_node", domain, folder=tmp_path) as node:
        peer.spin_until(lambda: publishers(peer.node, "robot_state") == ["/simulator_node"], node)
        assert hold(f"/robot_state@{domain}") is None
        node.end(signal.SIGKILL)
    assert publishers(peer.node, "robot_state")  # it is known still
    claim(peer.node, "robot_state", "robot").close()
    assert not publishers(peer.node, "robot_state")


def test_several_publishers_are_not_heard_and_named(peer: Peer, domain: int) -> None:
    heard: list[MotorCommand] = []
    subscription = SoleSubscription(peer.node, MotorCommand, TOPIC, heard.append, qos.LATEST)
    with peer_in(domain) as one, peer_in(domain) as two:
        first = one.node.create_publisher(MotorCommand, TOPIC, qos.LATEST)
        one.spin_until(first.get_subscription_count)
        first.publish(MotorCommand(sequence=1))
        peer.spin_until(lambda: heard)
        assert (subscription.contested, subscription.dispute, dispute(peer.node, TOPIC)) == (False, "", "")
        second = two.node.create_publisher(MotorCommand, TOPIC, qos.LATEST)
        peer.spin_until(lambda: subscription.contested and dispute(peer.node, TOPIC))
        two.spin_until(second.get_subscription_count)
        for publisher in (first, second):
            publisher.publish(MotorCommand(sequence=2))
        assert subscription.dispute.startswith(f"{TOPIC} has several publishers, ")
        assert topics("", subscription.dispute).level == Level.ERROR
        two.node.destroy_publisher(second)
        peer.spin_until(lambda: not subscription.contested)
        first.publish(MotorCommand(sequence=3))
        peer.spin_until(lambda: heard[-1].sequence == 3)


def test_command_that_comes_late_or_again_is_not_taken(peer: Peer, domain: int) -> None:
    heard: list[MotorCommand] = []
    subscription = SoleSubscription(peer.node, MotorCommand, TOPIC, heard.append, qos.STATE)
    with peer_in(domain) as other:
        publisher = other.node.create_publisher(MotorCommand, TOPIC, qos.STATE)
        other.spin_until(publisher.get_subscription_count)
        for sequence in (1, 2, 2, 1, 3):
            message = MotorCommand(sequence=sequence)
            message.header.stamp.sec = 10
            publisher.publish(message)
        peer.spin_until(lambda: heard and heard[-1].sequence == 3)
    assert [message.sequence for message in heard] == [1, 2, 3]
    assert subscription.trouble == ""


def test_message_that_is_refused_is_in_the_diagnostics_until_one_is_taken(peer: Peer, domain: int) -> None:
    heard: list[int] = []

    def take(message: MotorCommand) -> None:
        if message.version != MotorCommand.VERSION:
            raise ValueError(f"it is of version {message.version}")
        heard.append(message.sequence)

    subscription = SoleSubscription(peer.node, MotorCommand, TOPIC, take, qos.STATE)
    with peer_in(domain) as other:
        publisher = other.node.create_publisher(MotorCommand, TOPIC, qos.STATE)
        other.spin_until(publisher.get_subscription_count)
        publisher.publish(MotorCommand(sequence=1, version=7))
        peer.spin_until(lambda: subscription.trouble)
        assert subscription.trouble == f"a message on {TOPIC} is refused: it is of version 7"
        publisher.publish(MotorCommand(sequence=2))
        peer.spin_until(lambda: heard)
        assert (heard, subscription.trouble) == ([2], "")
        publisher.publish(MotorCommand(sequence=3, version=7))
        peer.spin_until(lambda: subscription.trouble)
        other.node.destroy_publisher(publisher)
        peer.spin_until(lambda: not subscription.trouble)
