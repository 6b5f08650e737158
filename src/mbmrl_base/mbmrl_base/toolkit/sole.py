"""Topics that only one node may publish: commands, models and states.

DDS lets several nodes publish a topic, and a message does not name its publisher. So who is to publish such a topic
refuses to start beside another one, and who listens to it takes nothing while several publish it, nor a message that
is of another robot or version, comes late or again.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from rclpy.node import Node
from rclpy.qos import QoSProfile

from mbmrl_base.system.endings import DIED
from mbmrl_base.system.exclusive import hold
from mbmrl_base.system.surroundings import LEASE
from mbmrl_base.toolkit.conversions import to_seconds
from mbmrl_base.toolkit.health import Level, Part
from mbmrl_base.toolkit.order import Order

DISCOVERY_TIME: Final = 0.7
"""Time in which another node on the same domain is found, s."""
FORGOTTEN: Final = LEASE + 0.5
"""Time in which a node that was killed is forgotten, s."""
LOG_PERIOD: Final = 5.0
"""Shortest time between two sentences about what a topic's messages are refused for, s."""
_NAMELESS: Final = "a node without a name"


def full_name(node: Node) -> str:
    """Name of a node with its namespace, such as robot1/mpc_node: how it is called on a topic of all robots."""
    return str(node.get_fully_qualified_name().lstrip("/"))


def publishers(node: Node, topic: str) -> list[str]:
    """Full names of the nodes that publish a topic, as far as they have been discovered, once per publisher."""
    found = node.get_publishers_info_by_topic(topic)
    names = [f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found]
    # A publisher is often discovered before its node's name is.
    return sorted(_NAMELESS if "_NODE_NAME_UNKNOWN_" in name else name for name in names)


def dispute(node: Node, topic: str) -> str:
    """Who publishes a topic, if several do; else empty."""
    if node.count_publishers(topic) < 2:
        return ""
    return f"{topic} has several publishers, {', '.join(publishers(node, topic))}"


def topics(*troubles: str) -> Part:
    """Health of the topics that only one node may publish, of what is wrong with each; empty: nothing."""
    part = Part("topics")
    for text in troubles:
        part.check(bool(text), Level.ERROR, text)
    return part


def claim(
    node: Node, topic: str, kind: str, remedy: str = "or set another ROS_DOMAIN_ID or namespace"
) -> socket.socket:
    """Make sure that nobody else publishes a topic that a node is about to publish.

    Discovery finds nodes of other machines, if it is quick enough; on this one the name is sure. One that it finds
    while the name is free may have been killed, and is waited for until it is forgotten.

    Args:
        node: The node.
        topic: Name of the topic.
        kind: What publishes it, such as "robot".
        remedy: What to do if the other one is not to be stopped.

    Returns:
        What holds the topic's name as long as it is open.

    Raises:
        ValueError: If another node publishes it.
    """
    held = hold(f"{node.resolve_topic_name(topic)}@{node.context.get_domain_id()}")
    # Beside the node that this one replaces, whoever has not forgotten that one would hear neither.
    start = time.monotonic()
    time.sleep(max(0.0, float(os.environ.get(DIED, -math.inf)) + FORGOTTEN - start))
    others = publishers(node, topic)
    while (
        (not others or _NAMELESS in others) and time.monotonic() < start + DISCOVERY_TIME
        if held is None
        else others and time.monotonic() < start + FORGOTTEN
    ):
        time.sleep(0.05)
        others = publishers(node, topic)
    if held is None or others:
        if held is not None:
            held.close()
        names = f" ({', '.join(others)})" if others else ""
        raise ValueError(f"another {kind} publishes {topic} on this ROS domain{names}: stop it, {remedy}")
    return held


class SoleSubscription:
    """A subscription to a topic of one publisher: while there are several, it takes nothing that they send.

    What is not taken is logged, at most once in LOG_PERIOD.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        take: Callable[[Any], None],
        profile: QoSProfile,
        sole: bool = True,
    ) -> None:
        """Subscribe.

        Args:
            node: The node.
            message_type: Type of the messages.
            topic: Name of the topic.
            take: Is called with each message, and raises ValueError if it refuses it.
            profile: Quality of service.
            sole: False: several may publish the topic; only what is refused is looked after.
        """
        self._node, self._topic, self._callback, self._sole = node, topic, take, sole
        self._refusal, self._silent_until = "", 0.0
        self._order = Order() if hasattr(message_type, "sequence") else None
        self._subscription = node.create_subscription(message_type, topic, self._take, profile)

    @property
    def contested(self) -> bool:
        """Whether several publish the topic."""
        return self._sole and bool(self._subscription.get_publisher_count() > 1)

    @property
    def dispute(self) -> str:
        """Who publishes the topic, if several do; else empty."""
        if not self.contested:
            return ""
        return f"{dispute(self._node, self._topic) or self._topic}: none of them is heard"

    @property
    def trouble(self) -> str:
        """Why nothing of the topic is taken: a dispute, or what the newest message is refused for; else empty."""
        return self.dispute or (self._refusal if self._subscription.get_publisher_count() else "")

    def _take(self, message: Any) -> None:
        if not self.contested:
            try:
                if self._order is not None:
                    stamp = message.header.stamp
                    self._order.check(to_seconds(stamp), message.sequence)
                self._callback(message)
                self._refusal = ""
                return
            except ValueError as error:
                self._refusal = f"a message on {self._topic} is refused: {error}"
        if (now := time.monotonic()) >= self._silent_until:
            self._silent_until = now + LOG_PERIOD
            self._node.get_logger().error(self.trouble)
