"""Listens to the topics of a robot for a while, as a contract names them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any

from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage

from mbmrl_base.robots.contract.contract import Contract, Reliability
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.sole import dispute
from mbmrl_base.toolkit.spin import beside
from mbmrl_control.nodes.contract_topics import absolute, classes_of, profile_of


def listen(contract: Contract, take: Callable[[str, Any, int], None], duration: float) -> list[str]:
    """Hand over each message of a contract's topics, with its topic and when it came, ns, for a time, s.

    Where /clock is published, it says when.

    Returns:
        Sentences about topics of actions to which nobody listens, about topics of states that several publish, and
        about topics on which nothing can come since the others have another type or quality of service.

    Raises:
        ValueError: If a type is not installed, or has no such field.
    """
    kinds, come = classes_of(contract), SimpleQueue[tuple[str, Any, int, int]]()
    simulated = 0
    """Newest time on /clock, ns; 0: there is none."""

    def make() -> Node:
        node = Node("robot_check")

        def tick(message: ClockMessage) -> None:
            nonlocal simulated
            simulated = message.clock.sec * 10**9 + message.clock.nanosec

        def put(topic: str, message: Any) -> None:
            come.put((topic, message, int(node.get_clock().now().nanoseconds), simulated))

        node.create_subscription(ClockMessage, "/clock", tick, qos.SENSOR)
        for topic, kind in kinds.items():
            profile = profile_of(contract, topic, Reliability.BEST_EFFORT)
            node.create_subscription(kind, absolute(topic), partial(put, topic), profile)
        return node

    with beside(make) as node:
        time.sleep(duration)
        said = {action.topic for action in contract.actions}
        told = [sentence for topic in kinds for sentence in _differences(node, contract, topic, topic in said)]
        told += filter(None, (dispute(node, absolute(topic)) for topic in kinds if topic not in said))
        unheard = [name for name in sorted(map(absolute, said)) if node.count_subscribers(name) < 2]  # one is this node
    while not come.empty():
        topic, message, now, then = come.get()
        if then or not simulated:  # what came before the first time of /clock came at no time that is known
            take(topic, message, then or now)
    return told + [f"{name}: nobody listens to it, as a robot that is to be commanded does" for name in unheard]


def _differences(node: Node, contract: Contract, topic: str, commanded: bool) -> Iterator[str]:
    """Sentences about the others on a topic who cannot be heard, or, if it is commanded, cannot hear."""
    name, kind = absolute(topic), contract.topics[topic].type
    if commanded:
        profile, there = profile_of(contract, topic, Reliability.RELIABLE), node.get_subscriptions_info_by_topic(name)
        others = [(each, profile, each.qos_profile) for each in there if each.node_name != node.get_name()]
    else:
        profile, there = profile_of(contract, topic, Reliability.BEST_EFFORT), node.get_publishers_info_by_topic(name)
        others = [(each, each.qos_profile, profile) for each in there]
    for each, published, read in others:
        who = f"{name}: node {each.node_name} {'listens to' if commanded else 'publishes'} it"
        if each.topic_type != kind:
            yield f"{who} as {each.topic_type}, the contract says {kind}"
        for policy in ("reliability", "durability"):
            offered, asked = getattr(published, policy), getattr(read, policy)
            if each.topic_type == kind and (offered, asked) == (2, 1):  # the smaller number promises more
                theirs, ours = (getattr(it, policy).name.lower() for it in (each.qos_profile, profile))
                yield f"{who} with {policy} {theirs}, by the contract it is {ours}: nothing comes"
