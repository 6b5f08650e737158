"""A robot: its description as arrays, its safe action, its mirror image, and what a model of it sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

import numpy as np

from mbmrl_base.robots.description import Angle, Pose, RobotDescription
from mbmrl_base.robots.observation import Array

if TYPE_CHECKING:
    from mbmrl_base.robots.features import Features

ABSURD: Final = 1.0
"""Share of the range of an action beyond a bound from which a command is no command."""


@dataclass(frozen=True)
class Body:
    """Where a robot's body is and how it moves.

    Attributes:
        position: Shape (3,), m, odom.
        angles: Roll, pitch and yaw, rad.
        linear_velocity: Shape (3,), m/s, odom.
        angular_velocity: Shape (3,), rad/s, base_link.
    """

    position: Array
    angles: Array
    linear_velocity: Array
    angular_velocity: Array


class Robot:
    """A robot as all that drives it knows it; one with features of its own is a subclass."""

    def __init__(self, description: RobotDescription, urdf: str | None = None) -> None:
        """Take the description, and the URDF if there is one."""
        self._urdf = urdf
        self.description = description
        self.name = description.name
        self.rate = description.rate
        self.state_names = tuple(state.name for state in description.states)
        self.state_units = tuple(state.unit for state in description.states)
        self.action_names = tuple(action.name for action in description.actions)
        self.action_units = tuple(action.unit for action in description.actions)
        self.low, self.high = (
            np.array([bound if (value := getattr(action, name)) is None else value for action in description.actions])
            for name, bound in (("low", -np.inf), ("high", np.inf))
        )
        self._index = {name: index for index, name in enumerate(self.state_names)}

    def __eq__(self, other: object) -> bool:
        """Whether two have the same description."""
        return isinstance(other, Robot) and self.description == other.description

    def __hash__(self) -> int:
        """Equal robots have equal names."""
        return hash((self.name, self.state_names, self.action_names))

    @cached_property
    def features(self) -> Features:
        """What a model of it sees and predicts."""
        from mbmrl_base.robots.features import Features  # it loads torch, which a simulator does without

        return Features(self.description)

    @property
    def planned(self) -> Array:
        """Least and greatest actions that are planned, shape (2, m).

        Raises:
            ValueError: If an action has no bounds.
        """
        return np.array([action.planned for action in self.description.actions]).T.reshape(2, -1)

    @property
    def noise_std(self) -> Array:
        """Deviation of a planner's noise on each action, shape (m,)."""
        given = [action.noise_std for action in self.description.actions]
        quarter = (self.planned[1] - self.planned[0]) / 4
        return np.array([share if std is None else std for std, share in zip(given, quarter, strict=True)])

    def state(self, name: str) -> int:
        """Place of a state in the state vector."""
        return self._index[name]

    def safe_action(self, state: Array | None = None) -> Array:
        """Action that every failure ends in, shape (m,), within the bounds.

        Args:
            state: The newest state, shape (n,); None if none is known. An action that is to hold a state then
                is in the middle of its bounds.
        """
        values = []
        for action, low, high in zip(self.description.actions, self.low, self.high, strict=True):
            value = action.safe
            if isinstance(value, str):
                value = np.nan if state is None else state[self.state(value)]
            values.append(value if np.isfinite(value) else (low + high) / 2 if np.isfinite(low) else 0.0)
        return np.clip(np.array(values, dtype=np.float64), self.low, self.high)

    def clip(self, action: Any) -> Array:
        """Limit an action, shape (m,), to what the robot accepts.

        Raises:
            ValueError: If it is not m finite numbers.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != self.low.shape or not np.isfinite(action).all():
            names = ", ".join(self.action_names)
            raise ValueError(
                f"an action of {self.name} is {len(self.low)} finite numbers, {names}, not {action.tolist()}"
            )
        clipped: Array = np.clip(action, self.low, self.high)
        return clipped

    def check_command(self, action: Array) -> Array:
        """Refuse an action that cannot be meant; one that is just beyond the bounds can.

        Raises:
            ValueError: If it is not m finite numbers, or one is further beyond a bound than its range is wide.
        """
        self.clip(action)
        beyond = np.maximum(self.low - action, action - self.high)
        for index in np.flatnonzero(beyond >= ABSURD * (self.high - self.low)):
            unit = f" {self.action_units[index]}" if self.action_units[index] else ""
            raise ValueError(
                f"{self.action_names[index]} of {action[index]:g}{unit} is far from what {self.name} accepts,"
                f" {self.low[index]:g} to {self.high[index]:g}"
            )
        return action

    def mirror(self, states: Array, actions: Array) -> tuple[Array, Array]:
        """States and actions of the mirror image, shapes (..., n) and (..., m).

        Raises:
            ValueError: If the robot has none.
        """
        mirror = self.description.mirror
        if mirror is None:
            raise ValueError(f"{self.name} has no mirror image")
        names = (*self.state_names, *self.action_names)
        order, signs = np.arange(len(names)), np.ones(len(names))
        for left, right in mirror.swapped:
            first, second = names.index(left), names.index(right)
            order[[first, second]] = second, first
        signs[[names.index(name) for name in mirror.negated]] = -1.0
        split = len(self.state_names)
        return states[..., order[:split]] * signs[:split], actions[..., order[split:] - split] * signs[split:]

    def angle(self, state: Array, angle: Angle) -> float:
        """An angle of a state, rad."""
        if isinstance(angle, str):
            return float(state[self.state(angle)])
        cosine, sine = (state[self.state(name)] for name in angle)
        return float(np.arctan2(sine, cosine))

    def body(self, state: Array) -> Body | None:
        """Where the body is in a state, shape (n,); None if the description does not say it."""
        planar, pose = self.description.planar, self.description.pose or Pose()
        if planar is None:
            return None

        def values(*names: str | None) -> Array:
            return np.array([0.0 if name is None else state[self.state(name)] for name in names])

        angles = [0.0 if angle is None else self.angle(state, angle) for angle in (pose.roll, pose.pitch)]
        return Body(
            values(*planar.position, pose.height),
            np.array([*angles, self.angle(state, planar.heading)]),
            values(*(planar.velocity or (None, None)), pose.vertical_velocity),
            values(*pose.angular_velocity),
        )

    def joints(self, state: Array) -> dict[str, float]:
        """Positions of joints of the URDF that follow from a state, shape (n,), by name, rad or m."""
        return {name: float(state[self.state(name)]) for name in self._joints}

    @cached_property
    def _joints(self) -> list[str]:
        """States that are positions of joints of the URDF: of the same name, and in rad or m."""
        try:
            named = {joint.get("name") for joint in ElementTree.fromstring(self._urdf or "<robot/>").iter("joint")}
        except ElementTree.ParseError:  # whoever shows it says so
            return []
        return [state.name for state in self.description.states if state.name in named and state.unit in ("rad", "m")]

    def urdf(self) -> str | None:
        """Its URDF, if it has one."""
        return self._urdf

    def difference(self, other: Robot) -> str:
        """What makes another robot's states, actions or features others than these, in words; empty: nothing."""
        if self.name != other.name:
            return f"it is {other.name or 'one without a name'}, this one is {self.name or 'one without a name'}"
        for what in ("state", "action"):
            own, others = (
                [*zip(getattr(robot, f"{what}_names"), getattr(robot, f"{what}_units"), strict=True)]
                for robot in (self, other)
            )
            if own != others:
                theirs, wanted = (
                    ", ".join(f"{name} ({unit})" if unit else name for name, unit in names) for names in (others, own)
                )
                return f"its {what}s are {theirs}, those of {self.name or 'this robot'} are {wanted}"
        for field in ("states", "pairs", "planar"):
            if getattr(self.description, field) != getattr(other.description, field):
                return f"its description differs from that of {self.name or 'this robot'} in {field}"
        return ""
