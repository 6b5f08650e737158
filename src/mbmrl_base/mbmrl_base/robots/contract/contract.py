"""The contract of a robot that speaks ROS: its description, and which fields of which topics its numbers are.

A YAML file, as that of a robot, whose states and actions say where they come from and go to:

    topics:
      odom: {type: nav_msgs/msg/Odometry}
      cmd_vel: {type: geometry_msgs/msg/Twist}
    states:
      - {name: x, unit: m, topic: odom, field: pose.pose.position.x}
    actions:
      - {name: speed, unit: m/s, low: 0.0, high: 1.0, topic: cmd_vel, field: linear.x}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, field_validator, model_validator
from typing_extensions import Self

from mbmrl_base.robots.catalogue import ROBOTS, read_yaml
from mbmrl_base.robots.contract import fields
from mbmrl_base.robots.description import MOST_PARTS, Action, Part, RobotDescription, State
from mbmrl_base.robots.robot import Robot

LONGEST_TOPIC: Final = 247
"""Characters of a topic's name, with the slash before it, that ROS 2 allows."""


class _Text(str, Enum):
    """An enumeration of texts; Python has its own from 3.11 on."""

    __str__ = str.__str__


class Sampling(_Text):
    """How the value at a time is made of messages."""

    NEWEST = "newest"
    INTERPOLATE = "interpolate"


class Reliability(_Text):
    """Quality of service of a subscription or a publisher."""

    RELIABLE = "reliable"
    BEST_EFFORT = "best_effort"


class Clock(_Text):
    """Whose clock says when a message was measured."""

    HEADER = "header"
    RECEIVED = "received"


def _type(name: str) -> str:
    if not re.fullmatch(r"[a-z]\w*/msg/[A-Z]\w*", name, re.ASCII):
        raise ValueError(f"{name!r} is no type of messages: wanted is such as nav_msgs/msg/Odometry")
    return name


def _path(path: str) -> str:
    fields.Field(path)
    return path


FieldPath = Annotated[str, AfterValidator(_path)]


class Topic(Part):
    """A topic that is listened to, or published."""

    type: Annotated[str, AfterValidator(_type)]
    """Such as nav_msgs/msg/Odometry; any that is installed."""
    reliability: Reliability | None = Field(None, strict=False)
    """If not given, of states best_effort, which hears every publisher, of actions reliable, which all hear."""
    depth: int = Field(10, ge=1, le=1000)
    """Messages that are kept until they are taken."""
    sampling: Sampling = Field(Sampling.NEWEST, strict=False)
    """`interpolate` between the messages before and after a time, or the `newest` before it."""
    max_age: float | None = Field(None, gt=0.0)
    """Longest time, s, from the message that a value is of, or between the two it is interpolated between; two
    control intervals if it is not given."""
    clock: Clock = Field(Clock.HEADER, strict=False)
    """`header`: the stamp of a message that has one; `received`: when it came."""


class InRos(Part):
    """Where a number is in ROS: it is SCALE times a field of a topic plus OFFSET."""

    topic: str
    field: FieldPath
    scale: float = 1.0
    offset: float = 0.0

    @field_validator("scale")
    @classmethod
    def _is_not_zero(cls, scale: float) -> float:
        if scale == 0.0:
            raise ValueError("it is 0: nothing would be left of the field")
        return scale


class ContractState(State, InRos):
    """A state, and where it is measured."""


class ContractAction(Action, InRos):
    """An action, and where it is published."""


class Contract(RobotDescription):
    """A robot, and what its numbers are in ROS."""

    states: tuple[ContractState, ...] = Field(min_length=1, max_length=MOST_PARTS)
    actions: tuple[ContractAction, ...] = Field((), max_length=MOST_PARTS)
    topics: dict[str, Topic] = Field(min_length=1, max_length=2 * MOST_PARTS)
    timeout: float = Field(0.25, gt=0.0, le=10.0)
    """Time without a state after which the robot takes its safe action, s."""

    @model_validator(mode="after")
    def _names_topics(self) -> Self:
        if not self.name:
            raise ValueError("name is missing: messages, priors and episodes name the robot")
        if self.name in ROBOTS:
            raise ValueError(f"{self.name} comes with the package: another robot needs another name")
        if wrong := [name for name in self.topics if not re.fullmatch(r"(/?[A-Za-z_]\w*)+", name, re.ASCII)]:
            raise ValueError(f"{wrong[0]!r} is no topic: its parts, with slashes between, are letters, digits and _")
        names = [name.strip("/") for name in self.topics]
        if long := [name for name in names if len(name) >= LONGEST_TOPIC]:
            raise ValueError(
                f"the topic {long[0][:20]}... has {len(long[0])} characters: allowed are at most {LONGEST_TOPIC - 1}"
            )
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the topic {twice[0]!r} stands in topics twice, with a slash and without")
        parts: tuple[ContractState | ContractAction, ...] = (*self.states, *self.actions)
        for part in parts:
            if part.topic not in self.topics:
                raise ValueError(f"{part.name!r} is of the topic {part.topic!r}: allowed is {', '.join(self.topics)}")
        places = [(part.topic, part.field) for part in self.actions]
        if same := [part for part in self.actions if places.count((part.topic, part.field)) > 1]:
            names_of = [part.name for part in same if (part.topic, part.field) == (same[0].topic, same[0].field)]
            raise ValueError(f"the actions {' and '.join(names_of)} are the same field of {same[0].topic!r}")
        if self.timeout <= 1.0 / self.rate:
            raise ValueError(
                f"timeout is {self.timeout:g} s: wanted is more than a control interval, {1 / self.rate:g} s"
            )
        heard, said = ({part.topic for part in parts} for parts in (self.states, self.actions))
        if both := sorted(heard & said):
            raise ValueError(f"the topic {both[0]!r} is both of states and of actions: one of them must be another one")
        if idle := [name for name in self.topics if name not in heard | said]:
            raise ValueError(f"the topic {idle[0]!r} is of no state and no action")
        return self

    def gaps(self) -> Iterator[str]:
        """Sentences about items of lists, before those that are actions, which are none: they are sent as 0."""
        items: dict[tuple[str, str], set[int]] = {}
        for action in self.actions:
            if found := re.fullmatch(r"(.*)\[(\d+)\]", action.field):
                items.setdefault((action.topic, found[1]), set()).add(int(found[2]))
        for (topic, name), numbers in items.items():
            if absent := sorted({*range(max(numbers))} - numbers):
                yield f"{topic}: {name}[{absent[0]}] is no action: it is sent as 0, as are {len(absent) - 1} others"

    @cached_property
    def robot(self) -> Robot:
        """The robot alone, as priors and data know it."""
        given = self.as_json()
        for name in ("topics", "timeout"):
            given.pop(name, None)
        for part in (*given["states"], *given.get("actions", ())):
            for name in InRos.model_fields:
                part.pop(name, None)
        return Robot(RobotDescription.model_validate(given))

    def max_age(self, topic: str) -> float:
        """That of a topic, s."""
        own = self.topics[topic].max_age
        return 2.0 / self.rate if own is None else own


def load_contract(path: Path) -> Contract:
    """The contract in a YAML file.

    Raises:
        ValueError: If it is none; its text names file, line and rule.
    """
    return read_yaml(path, Contract)
