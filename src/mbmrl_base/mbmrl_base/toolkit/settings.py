"""What the parameters of all nodes have in common: types, bounds and texts in one pydantic model each."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from typing_extensions import Self

from mbmrl_base.robots.catalogue import ROBOTS
from mbmrl_base.system.refusals import reason

if TYPE_CHECKING:
    from mbmrl_base.robots.robot import Robot


class NodeSettings(BaseModel):
    """Parameters of a node, read-only unless made by `runtime_field`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _arrays(cls, given: Any) -> Any:
        # YAML and ROS 2 know no tuples.
        return tuple(given) if isinstance(given, list | array) else given

    @classmethod
    def with_own(cls, given: Mapping[str, Any]) -> type[Self]:
        """The same, with the parameters that files of users declare, if values that are given name such files."""
        del given
        return cls

    def check(self) -> Robot | None:
        """See before the node is started whether it would refuse what its parameters stand for.

        Returns:
            Its robot, which all nodes have to share, if there are several.

        Raises:
            ValueError: If it would.
        """
        return None

    def in_use(self) -> Self:
        """The same, with what a value leaves open filled in."""
        return self


Kind = TypeVar("Kind", bound=NodeSettings)


def part_of(settings: NodeSettings | Mapping[str, Any], kind: type[Kind]) -> Kind:
    """Settings of a kind by values by name, or by settings that have some of them among others.

    Raises:
        ValueError: If one is refused.
    """
    if isinstance(settings, NodeSettings):
        settings = {name: getattr(settings, name) for name in kind.model_fields if hasattr(settings, name)}
    try:
        return kind(**settings)
    except ValidationError as error:
        raise ValueError(refusal(error)) from None


FRAME_PREFIX: Final = "Prefix of all names of frames, such as robot1/"
ROBOT: Final = f"Robot: {', '.join(ROBOTS)}, or a file, *.yaml or *.py"
PUBLISH_TF: Final = "Whether to publish the transform from odom to base_link, where tf2_msgs is installed"
SEED: Final = "Seed of all that is random"

RUNTIME: Final[dict[str, Any]] = {"runtime": True}
"""Marks a field that can be set while the node runs."""


def runtime_field(
    default: float, low: float, high: float, description: str, tuned: tuple[float, float] | None = None
) -> Any:
    """A number within bounds that can be set while the node runs, and be tuned, see `tuned_between`."""
    extra = RUNTIME if tuned is None else {**RUNTIME, **tuned_between(*tuned, log=True)}
    return Field(default, ge=low, le=high, description=description, json_schema_extra=extra)


def tuned_between(low: float, high: float, log: bool = False) -> dict[str, Any]:
    """Marks a number whose best value is looked for between two others, on a logarithmic scale or not."""
    return {"tuned": [low, high, log]}


def tuned_fields(kind: type[BaseModel]) -> dict[str, tuple[float, float, bool]]:
    """Fields that are marked by `tuned_between`, with what they are marked with."""
    extras = {name: field.json_schema_extra for name, field in kind.model_fields.items()}
    found: dict[str, Any] = {
        name: extra["tuned"] for name, extra in extras.items() if isinstance(extra, dict) and "tuned" in extra
    }
    return {name: tuple(marks) for name, marks in found.items()}


def runtime_text(default: str, description: str, choices: Iterable[str] = ()) -> Any:
    """A text that can be set while the node runs, with texts that suit among others."""
    extra: dict[str, Any] = {**RUNTIME, "choices": list(choices)}
    return Field(default, description=description, json_schema_extra=extra)


def is_runtime(field: FieldInfo) -> bool:
    """Whether a field was made by `runtime_field` or `runtime_text`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("runtime"))


def choices_of(field: FieldInfo) -> list[str]:
    """Texts that suit a field of `runtime_text` among others."""
    extra = field.json_schema_extra
    found: Any = extra.get("choices", []) if isinstance(extra, dict) else []
    return list(found)


def bounds(field: FieldInfo) -> tuple[float | None, float | None]:
    """Least and greatest value of a field; None without one."""
    found = {type(bound).__name__: bound for bound in field.metadata}
    low, high = found.get("Ge"), found.get("Le")
    return None if low is None else low.ge, None if high is None else high.le


def refusal(error: ValidationError) -> str:
    """One sentence that says which parameter was refused, and why."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"])) or "the parameters"
    if first["type"] == "extra_forbidden":
        return f"unknown parameter {name!r}"
    value = first["input"]
    return f"parameter {name!r} is {list(value) if isinstance(value, array | tuple) else value!r}: {reason(first)}"
