"""Messages of actions, as a contract says in which fields of them they stand."""

from __future__ import annotations

import math
from typing import Any

from mbmrl_base.robots.contract.contract import Contract
from mbmrl_base.robots.contract.fields import Field, FieldError
from mbmrl_base.robots.contract.sampler import LARGEST, SECOND
from mbmrl_base.robots.observation import Array


class Writer:
    """Makes the messages of a topic of actions."""

    def __init__(self, contract: Contract, topic: str, kind: type[Any]) -> None:
        """Take the type of the messages.

        Raises:
            FieldError: If it has no such fields, or they cannot hold what the actions may be.
        """
        self._kind = kind
        self._parts = [
            (place, part.scale, part.offset, Field(part.field))
            for place, part in enumerate(contract.actions)
            if part.topic == topic
        ]
        robot = contract.robot
        for action in (robot.safe_action(), robot.low, robot.high):
            made = self.message(action, 0)
            for place, scale, offset, field in self._parts:
                wanted, there = float(action[place]), scale * field.read(made) + offset
                if math.isfinite(wanted) and not abs(there - wanted) <= 0.501 * abs(scale) + 1e-6 * abs(wanted):
                    raise FieldError(f"{field.path!r} cannot hold {robot.action_names[place]} of {wanted:g}: {there:g}")

    def message(self, action: Array, time: int) -> Any:
        """The message of an action, shape (actions,), in force from a time on, ns; stamped if it has a header."""
        message = self._kind()
        for place, scale, offset, field in self._parts:
            value = (float(action[place]) - offset) / scale
            field.write(message, value if math.isfinite(value) else math.copysign(LARGEST, value))
        if (stamp := getattr(getattr(message, "header", None), "stamp", None)) is not None:
            stamp.sec, stamp.nanosec = divmod(time, SECOND)
        return message
