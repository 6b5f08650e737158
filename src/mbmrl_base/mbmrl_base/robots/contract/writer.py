"""Messages of actions, as a contract says in which fields of them they stand."""

from __future__ import annotations

from typing import Any

from mbmrl_base.robots.contract.contract import Contract
from mbmrl_base.robots.contract.fields import Field
from mbmrl_base.robots.contract.sampler import SECOND
from mbmrl_base.robots.observation import Array


class Writer:
    """Makes the messages of a topic of actions."""

    def __init__(self, contract: Contract, topic: str, kind: type[Any]) -> None:
        """Take the type of the messages.

        Raises:
            FieldError: If it has no such fields.
        """
        self._kind = kind
        self._parts = [
            (place, part.scale, part.offset, Field(part.field))
            for place, part in enumerate(contract.actions)
            if part.topic == topic
        ]
        self.message(contract.robot.safe_action(), 0)

    def message(self, action: Array, time: int) -> Any:
        """The message of an action, shape (actions,), in force from a time on, ns; stamped if it has a header."""
        message = self._kind()
        for place, scale, offset, field in self._parts:
            field.write(message, (float(action[place]) - offset) / scale)
        if (stamp := getattr(getattr(message, "header", None), "stamp", None)) is not None:
            stamp.sec, stamp.nanosec = divmod(time, SECOND)
        return message
