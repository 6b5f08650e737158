"""The topics of a contract in ROS 2: their names, types and quality of service."""

from __future__ import annotations

from typing import Any

from rclpy.qos import QoSProfile, ReliabilityPolicy

from mbmrl_base.robots.contract.contract import Contract, Reliability
from mbmrl_base.robots.contract.fields import Field, LackingError
from mbmrl_base.robots.contract.writer import Writer
from mbmrl_control.nodes.message_definitions import message_class


def absolute(topic: str) -> str:
    """Name of a topic of a contract: it is of no namespace but its own."""
    return f"/{topic.strip('/')}"


def profile_of(contract: Contract, topic: str, default: Reliability) -> QoSProfile:
    """Quality of service of a topic, with the reliability that it has if none is given."""
    given = contract.topics[topic]
    wanted = given.reliability or default
    policy = ReliabilityPolicy.RELIABLE if wanted is Reliability.RELIABLE else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(depth=given.depth, reliability=policy)


def classes_of(contract: Contract) -> dict[str, Any]:
    """Python classes of the messages of topics; all fields are in them.

    Raises:
        ValueError: If a type is not installed, or has no such field.
    """
    found = {name: message_class(topic.type) for name, topic in contract.topics.items()}
    for state in contract.states:
        field, message = Field(state.field), found[state.topic]()
        try:
            field.read(message)
        except LackingError:
            field.write(message, 0.0)  # an empty message has no items; some lists cannot have more than they have
    for action in contract.actions:
        Writer(contract, action.topic, found[action.topic])
    return found
