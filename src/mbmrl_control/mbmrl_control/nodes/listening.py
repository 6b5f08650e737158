"""Listens to the topics of a robot for a while, as a contract names them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

from rclpy.node import Node

from mbmrl_base.robots.contract.contract import Contract, Reliability
from mbmrl_base.toolkit.spin import beside
from mbmrl_control.nodes.contract_topics import absolute, classes_of, profile_of


def listen(contract: Contract, take: Callable[[str, Any, int], None], duration: float) -> list[str]:
    """Hand over each message of a contract's topics, with its topic and when it came, ns, for a time, s.

    Returns:
        Sentences about topics of actions to which nobody listens.

    Raises:
        ValueError: If a type is not installed, or has no such field.
    """
    kinds, come = classes_of(contract), SimpleQueue[tuple[str, Any, int]]()

    def make() -> Node:
        node = Node("robot_check")

        def put(topic: str, message: Any) -> None:
            come.put((topic, message, int(node.get_clock().now().nanoseconds)))

        for topic, kind in kinds.items():
            profile = profile_of(contract, topic, Reliability.BEST_EFFORT)
            node.create_subscription(kind, absolute(topic), partial(put, topic), profile)
        return node

    with beside(make) as node:
        time.sleep(duration)
        said = {absolute(action.topic) for action in contract.actions}
        unheard = [name for name in sorted(said) if node.count_subscribers(name) < 2]  # one is this node
    while not come.empty():
        take(*come.get())
    return [f"{name}: nobody listens to it, as a robot that is to be commanded does" for name in unheard]
