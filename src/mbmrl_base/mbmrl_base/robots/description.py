"""What a robot is, as data: names, units and bounds; a YAML file, or the metadata of episodes and priors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from mbmrl_base.system.refusals import reason
from mbmrl_base.system.versions import check_version


def _printable(name: str) -> str:
    if not name.isprintable() or name != name.strip():
        raise ValueError(f"the name {name!r} cannot be shown as it is: allowed are characters that can be seen")
    return name


MOST_PARTS: Final = 1000
"""States, and actions, that a robot has at most."""
Name = Annotated[str, AfterValidator(_printable)]


class Part(BaseModel):
    """Values by their names; lists stand for tuples."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _of_a_name(cls, given: Any) -> Any:
        if isinstance(given, str) and "name" in cls.model_fields:
            return {"name": given}
        allowed = ", ".join(cls.model_fields)
        if not isinstance(given, dict | cls):
            raise ValueError(f"wanted are values by their names: allowed is {allowed}")
        if unknown := [key for key in given if key not in cls.model_fields] if isinstance(given, dict) else ():
            raise ValueError(f"there is no {unknown[0]!r}: allowed is {allowed}")
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _lists(cls, given: Any) -> Any:
        # YAML and JSON know no tuples; names in pairs lie in the second list.
        listed = given if isinstance(given, list) else None
        return given if listed is None else tuple(tuple(each) if isinstance(each, list) else each for each in listed)


class State(Part):
    """A number of the state vector; its name alone will do if the rest is as by default."""

    name: Name = Field(min_length=1)
    unit: str = ""
    angle: bool = False
    """Whether it is an angle in rad, equal if it differs by full turns."""
    seen: bool = True
    """Whether the model sees it; it predicts its change in any case."""


class Action(Part):
    """A number that the robot is commanded; its name alone will do for data that nothing is planned with."""

    name: Name = Field(min_length=1)
    unit: str = ""
    low: float | None = None
    """Least and greatest value that the robot accepts."""
    high: float | None = None
    planned_low: float | None = None
    """Least and greatest value that is planned, if they are narrower."""
    planned_high: float | None = None
    noise_std: float | None = Field(None, gt=0.0)
    """Deviation of a planner's noise; a quarter of what is planned if not given."""
    safe: float | str = 0.0
    """Value that every failure ends in, or the name of the state whose value it is, such as a joint's position."""

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.low is None and self.high is None and self.planned_low is None and self.planned_high is None:
            return self
        if self.low is None or self.high is None:
            raise ValueError(f"the action {self.name!r} has not both bounds: allowed are low and high, or none")
        if self.low >= self.high:
            raise ValueError(f"the action {self.name!r} has low {self.low:g} and high {self.high:g}: low must be less")
        low, high = self.planned
        if not self.low <= low < high <= self.high:
            raise ValueError(
                f"the action {self.name!r} is planned from {low:g} to {high:g}: allowed is within its bounds,"
                f" {self.low:g} to {self.high:g}"
            )
        if isinstance(self.safe, float) and not self.low <= self.safe <= self.high:
            raise ValueError(
                f"the action {self.name!r} has the safe value {self.safe:g}: allowed is within its bounds,"
                f" {self.low:g} to {self.high:g}"
            )
        return self

    @property
    def planned(self) -> tuple[float, float]:
        """Least and greatest value that is planned; ValueError if the action has no bounds."""
        if self.low is None or self.high is None:
            raise ValueError(f"the action {self.name!r} has no bounds: to be planned with it needs low and high")
        low = self.low if self.planned_low is None else self.planned_low
        return low, self.high if self.planned_high is None else self.planned_high


Angle = str | tuple[str, str]
"""Name of a state that is an angle, or those of its cosine and sine."""
_KINDS = ("str", "float", "tuple[str, str]")
"""What pydantic adds to the place of a value that may be of several types."""


class Planar(Part):
    """What moves on a plane: its model sees the world from its heading, and not where it is."""

    position: tuple[str, str]
    """x and y, m."""
    heading: Angle
    velocity: tuple[str, str] | None = None
    """Components along x and y of the fixed frame, m/s, if the state has them."""


class Pose(Part):
    """Where a robot's `nav_msgs/Odometry` and `sensor_msgs/Imu` come from beside `Planar`; what is left out is 0."""

    height: str | None = None
    vertical_velocity: str | None = None
    roll: Angle | None = None
    pitch: Angle | None = None
    angular_velocity: tuple[str | None, str | None, str | None] = (None, None, None)
    """About the axes of base_link, rad/s."""


class Mirror(Part):
    """The robot's mirror image, if it is as good as its own: names of states and actions."""

    negated: tuple[str, ...] = Field((), max_length=2 * MOST_PARTS)
    swapped: tuple[tuple[str, str], ...] = Field((), max_length=MOST_PARTS)


class RobotDescription(Part):
    """A robot; `mbmrl robots show NAME` prints one."""

    name: Name = ""
    states: tuple[State, ...] = Field(min_length=1, max_length=MOST_PARTS)
    actions: tuple[Action, ...] = Field((), max_length=MOST_PARTS)
    pairs: tuple[tuple[str, str], ...] = Field((), max_length=MOST_PARTS)
    """Cosine and sine of an angle, of which the model predicts how far it turns."""
    planar: Planar | None = None
    pose: Pose | None = None
    battery: str | None = None
    """State that is the battery's voltage, V."""
    mirror: Mirror | None = None
    version: int = 1
    """Of the description."""
    rate: float = Field(20.0, gt=0.0, le=1000.0)
    """Control rate, Hz, unless another one is given."""
    task: str = ""
    """What it does where no task is named; empty: it follows a path."""
    speed: tuple[float, float] | None = None
    """Least and greatest speed at which one that is planar can be made to go, m/s, beside standing; None: any."""
    turn_rate: float | None = Field(None, gt=0.0)
    """Greatest rate at which one that is planar can turn, rad/s; None: any."""

    @field_validator("version")
    @classmethod
    def _is_known(cls, version: int) -> int:
        check_version(version, 1)
        return version

    @field_validator("speed")
    @classmethod
    def _in_order(cls, speed: tuple[float, float] | None) -> tuple[float, float] | None:
        if speed is not None and not 0 <= speed[0] < speed[1]:
            raise ValueError(f"it is {speed[0]:g} to {speed[1]:g} m/s: the first must be less, and neither below 0")
        return speed

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        states, actions = [state.name for state in self.states], [action.name for action in self.actions]
        if twice := sorted({name for name in (*states, *actions) if (*states, *actions).count(name) > 1}):
            raise ValueError(f"the name {twice[0]!r} stands for several states or actions: each needs its own")
        self._check("pairs", _names(self.pairs), states)
        angles = {state.name for state in self.states if state.angle}
        vectors = [*_names(self.pairs), *_names((self.planar.position, self.planar.velocity) if self.planar else ())]
        for name in vectors:
            if vectors.count(name) > 1 or name in angles:
                raise ValueError(f"{name!r} is more than one of an angle, of a pair, of a position and of a velocity")
        for what, part in (("planar", self.planar), ("pose", self.pose)):
            if part is not None:
                self._check(what, _names(part.model_dump().values()), states)
                for field in ("heading", "roll", "pitch"):
                    self._check_angle(f"{what}: {field}", getattr(part, field, None), angles)
        self._check("battery", _names([self.battery]), states)
        self._check("safe", (action.safe for action in self.actions if isinstance(action.safe, str)), states)
        if self.mirror is not None:
            self._check("mirror", _names(self.mirror.model_dump().values()), [*states, *actions])
            negated = self.mirror.negated
            if twice := [name for name in negated if negated.count(name) > 1]:
                raise ValueError(f"mirror negates {twice[0]!r} twice")
            for pair in self.mirror.swapped:
                if (pair[0] in states) != (pair[1] in states):
                    raise ValueError(f"mirror swaps {pair[0]!r} and {pair[1]!r}: one is a state, one is an action")
                if pair[0] == pair[1]:
                    raise ValueError(f"mirror swaps {pair[0]!r} with itself: wanted are two names")
                if sum(name in pair for name in _names(self.mirror.swapped)) > 2:
                    raise ValueError(f"mirror swaps {pair[0]!r} or {pair[1]!r} twice")
        if not any(state.seen for state in self.states) and not actions:
            raise ValueError("states leaves the model nothing to see: at least one state or action must be seen")
        return self

    @staticmethod
    def _check(field: str, names: Iterable[str], allowed: list[str]) -> None:
        for name in names:
            if name not in allowed:
                raise ValueError(f"{field} names {name!r}: allowed is {', '.join(allowed)}")

    def _check_angle(self, field: str, angle: Angle | None, angles: set[str]) -> None:
        if isinstance(angle, str) and angle not in angles:
            raise ValueError(
                f"{field} is {angle!r}, which is no angle: allowed is {', '.join(sorted(angles)) or 'none'}"
            )
        if isinstance(angle, tuple) and angle not in self.pairs:
            raise ValueError(f"{field} is {list(angle)}, which is none of the pairs")

    def as_json(self) -> dict[str, Any]:
        """What differs from the defaults, for JSON and YAML; `describe` makes the same object of it."""
        return self.model_dump(mode="json", exclude_defaults=True)


def _names(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple | list):
            yield from _names(value)


Described = TypeVar("Described", bound=RobotDescription)


class DescriptionError(ValueError):
    """What is no description.

    Attributes:
        place: Keys and numbers of items that lead to what is wrong.
    """

    def __init__(self, text: str, place: tuple[str | int, ...]) -> None:
        """Take a sentence and the place."""
        super().__init__(text)
        self.place = place


def describe(given: Any) -> RobotDescription:
    """The description of a robot, see `describe_as`."""
    return describe_as(RobotDescription, given)


def describe_as(kind: type[Described], given: Any) -> Described:
    """The description that a mapping of YAML or JSON holds.

    Args:
        kind: What it is a description of.
        given: The mapping.

    Raises:
        DescriptionError: If it contradicts itself or lacks something; one sentence that begins with the place.
    """
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = tuple(part for part in first["loc"] if part not in _KINDS)
        words = ".".join(map(str, place))
        raise DescriptionError(f"{words}: {reason(first)}" if words else reason(first), place) from None
