"""Numbers in messages by their paths, whichever library has made the messages."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from mbmrl_base.robots import rotations

_WHOLE: Final = re.compile(r"(?:(?P<angle>roll|pitch|yaw)\((?P<inner>[^()]+)\)|(?P<plain>[^()]+))")
_STEP: Final = re.compile(r"(?P<name>[A-Za-z]\w*)(?:\[(?P<key>[^\[\]]{1,100})\])?")


_KIND: Final = re.compile(
    r"(?P<list>sequence<)?(?:(?P<real>float|double)|boolean|(?P<unsigned>u)?int(?P<bits>8|16|32|64))"
    r"(?:, \d+)?(?(list)>)(?P<count>\[\d+\])?"
)
"""A number, or a list of numbers, as rclpy names the types of fields."""
_MOST_ITEMS: Final = 10_000
_ANGLES: Final = ("roll", "pitch", "yaw")


class FieldError(ValueError):
    """A path that is none, or that no message of a type has."""


class LackingError(FieldError):
    """An item that a message lacks; others of its type may have it."""


class Field:
    """A number in a message.

    A path is names with dots between, as ``pose.pose.position.x``. ``[3]`` after a name is an item by its number;
    ``[left_wheel]`` is the item whose name stands at the same place of the field ``name`` beside it, as in
    sensor_msgs/JointState. ``yaw(PATH)``, ``pitch(PATH)`` and ``roll(PATH)`` are angles, rad, of a quaternion.
    """

    def __init__(self, path: str) -> None:
        """Parse a path.

        Raises:
            FieldError: If it is none.
        """
        whole = _WHOLE.fullmatch(path)
        steps = [_STEP.fullmatch(step) for step in (whole["inner"] or whole["plain"]).split(".")] if whole else [None]
        if whole is None or None in steps:
            raise FieldError(
                f"{path!r} is no path in a message: wanted is such as twist.twist.linear.x, position[left_wheel],"
                " data[3] or yaw(pose.pose.orientation)"
            )
        self.path = path
        if any(step and (step["key"] or "").isdecimal() and int(step["key"]) >= _MOST_ITEMS for step in steps):
            raise FieldError(f"{path!r}: the number of an item is below {_MOST_ITEMS}")
        self._angle = _ANGLES.index(whole["angle"]) if whole["angle"] else None
        self.is_angle = self._angle is not None
        """Whether it is an angle of a quaternion."""
        self._steps = [(step["name"], step["key"]) for step in steps if step is not None]
        self._place = 0
        self._known: type | None = None
        """Type of messages that have the path."""

    def read(self, message: Any) -> float:
        """The number; NaN for an angle of what is no unit quaternion.

        Raises:
            FieldError: If the message has none there.
        """
        value = self._walk(message)
        self._known = type(message)
        try:
            if isinstance(value, str):
                raise TypeError
            if self._angle is None:
                return float(value)
            w, x, y, z = (float(getattr(value, axis)) for axis in "wxyz")
        except (TypeError, ValueError, AttributeError):
            wanted = "number" if self._angle is None else "quaternion"
            raise FieldError(f"{self.path!r} is no {wanted} but {type(value).__name__}") from None
        # Who has no orientation leaves it at 0 (sensor_msgs/Imu).
        is_rotation = abs(w * w + x * x + y * y + z * z - 1.0) < 0.1
        return rotations.roll_pitch_yaw(w, x, y, z)[self._angle] if is_rotation else math.nan

    def write(self, message: Any, value: float) -> None:
        """Set the number in a message that is to be published; items that it lacks are added.

        Raises:
            FieldError: If no message of its type has one there, it is an angle, or the number is NaN.
        """
        *before, (name, key) = self._steps
        if self._angle is not None:
            raise FieldError(f"{self.path!r} cannot be set: an angle is not a number of a quaternion")
        holder = self._walk(message, before)
        present, kind = self._attribute(holder, name), holder.get_fields_and_field_types()[name]
        number = self._fitting(kind, value, key)
        if key is None:
            setattr(holder, name, number)
        elif hasattr(present, "append"):
            place = int(key) if key.isdecimal() else self._named(holder, key)
            present.extend([type(number)(0)] * (place + 1 - len(present)))
            present[place] = number
        elif key.isdecimal() and int(key) < len(present):
            present[int(key)] = number
        else:
            raise FieldError(f"{self.path!r}: there are {len(present)} items")

    def _fitting(self, kind: str, value: float, key: str | None) -> float | int | bool:
        """The number of a field's type that is nearest; FieldError if the field is no number."""
        whole = _KIND.fullmatch(kind)
        if whole is None or (key is None) == bool(whole["list"] or whole["count"]):
            wanted = "number" if key is None else "list of numbers"
            raise FieldError(f"{self.path!r} is no {wanted} but {kind}")
        if math.isnan(value):
            raise FieldError(f"{self.path!r} cannot be set to NaN: allowed is any number")
        if whole["real"]:
            largest = 3.4e38 if whole["real"] == "float" else 1.7e308
            return max(-largest, min(largest, value))
        if whole["bits"] is None:
            return value >= 0.5
        bits = int(whole["bits"]) - (not whole["unsigned"])
        least = 0 if whole["unsigned"] else -(1 << bits)
        return round(max(least, min((1 << bits) - 1, value)))

    def _named(self, holder: Any, key: str) -> int:
        """Place of an item by its name, which is added if it is not there."""
        if "name" not in fields_of(holder):
            raise self._nameless(holder)
        names = holder.name
        if key not in names:
            names.append(key)
        return int(names.index(key))

    def _nameless(self, holder: Any) -> FieldError:
        return FieldError(
            f"{self.path!r}: there are no items with names in {type(holder).__name__}: items have numbers, from 0 on"
        )

    def _walk(self, message: Any, steps: Sequence[tuple[str, str | None]] | None = None) -> Any:
        value = message
        for name, key in self._steps if steps is None else steps:
            holder, value = value, self._attribute(value, name)
            if key is not None:
                value = self._item(holder, value, key)
        return value

    def _attribute(self, value: Any, name: str) -> Any:
        there = None if self._known else fields_of(value)  # what has been found once is not looked for again
        if there is not None and name not in there:
            beside = f": it has {', '.join(there)}" if there else ""
            raise FieldError(f"{self.path!r}: there is no {name!r} in {type(value).__name__}{beside}")
        return getattr(value, name)

    def _item(self, holder: Any, items: Any, key: str) -> Any:
        names: Sequence[str] = ()
        try:
            if key.isdecimal():
                return items[int(key)]
            names = holder.name
            if len({*names}) < len(names):
                raise LackingError(f"{self.path!r}: names of items stand twice: {', '.join(names)}")
            if not (self._place < len(names) and names[self._place] == key):
                self._place = list(names).index(key)
            return items[self._place]
        except (AttributeError, TypeError):
            raise self._nameless(holder) from None
        except ValueError:
            raise LackingError(f"{self.path!r}: there is no {key!r} in {', '.join(names) or 'no names'}") from None
        except IndexError:
            raise LackingError(f"{self.path!r}: there are {len(items)} items") from None


def fields_of(message: Any) -> list[str]:
    """Names of the fields of a message of rclpy or of rosbags."""
    if hasattr(message, "get_fields_and_field_types"):
        return list(message.get_fields_and_field_types())
    return [name for name in getattr(message, "__dataclass_fields__", {}) if not name.startswith("_")]
