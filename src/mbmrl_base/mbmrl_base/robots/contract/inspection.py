"""What messages of a robot look like beside its contract: what is missing, late, constant, out of bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.contract.contract import Contract, ContractAction, ContractState
from mbmrl_base.robots.contract.fields import Field, LackingError
from mbmrl_base.robots.contract.sampler import SECOND, Sampler, stamp_of

SLOW: Final = 1.1
"""Share of a control interval from which on the usual interval of a topic is too long."""
LATE: Final = 1.0
"""Time, s, from a stamp to its arrival from which on clocks are taken to be apart."""
ALMOST: Final = 1e-6
"""Beyond a bound by less than this share of the range is not beyond it: messages may be in single precision."""


@dataclass
class TopicFigures:
    """Messages of a topic.

    Attributes:
        count: How many have come.
        lacking: What some lacked.
        times: When they came, ns.
        delays: From their stamps to their arrivals, s.
    """

    count: int = 0
    lacking: str = ""
    times: list[int] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)

    @property
    def intervals(self) -> Any:
        """Times from message to message, s, shape (count - 1,)."""
        return np.diff(self.times) / SECOND

    def as_json(self) -> dict[str, Any]:
        """The figures by name; None for what is not known."""
        between = self.intervals
        return {
            "messages": self.count,
            "rate_hz": float(1.0 / np.median(between)) if len(between) and np.median(between) > 0 else None,
            "longest_gap_s": float(between.max()) if len(between) else None,
            "delay_s": float(np.median(self.delays)) if self.delays else None,
        }


@dataclass
class NumberFigures:
    """Values of a state or an action.

    Attributes:
        low: The least one that was finite.
        high: The greatest one.
        unknown: Messages in which it was not finite, or an angle of what is no rotation.
        beyond: Messages in which it was beyond the action's bounds.
    """

    low: float = math.inf
    high: float = -math.inf
    unknown: int = 0
    beyond: int = 0

    def as_json(self) -> dict[str, Any]:
        """The figures by name; None for what is not known."""
        known = self.low <= self.high
        found = {"least": self.low if known else None, "greatest": self.high if known else None}
        return found | {"unknown": self.unknown, "out_of_bounds": self.beyond}


class Inspection:
    """Takes messages, and says what is wrong with them."""

    def __init__(self, contract: Contract, commanded: bool = True) -> None:
        """Take the contract, and whether the robot should be commanded meanwhile."""
        self.contract, self._commanded = contract, commanded
        robot = contract.robot
        self._bounds = dict(
            zip(robot.action_names, zip(robot.low.tolist(), robot.high.tolist(), strict=True), strict=True)
        )
        parts: tuple[ContractState | ContractAction, ...] = (*contract.states, *contract.actions)
        self._all = parts
        self._sampler = Sampler(contract)
        self._states = 0
        self.topics = {name: TopicFigures() for name in contract.topics}
        self.numbers = {part.name: NumberFigures() for part in parts}
        self._parts: dict[str, list[tuple[Field, ContractState | ContractAction]]] = {
            name: [(Field(part.field), part) for part in parts if part.topic == name] for name in contract.topics
        }

    def take(self, topic: str, message: Any, received: int) -> None:
        """Take in a message that came at a time, ns.

        Raises:
            FieldError: If no message of its type has a field.
        """
        figures = self.topics[topic]
        figures.count += 1
        figures.times.append(received)
        if (stamp := stamp_of(message)) is not None:
            figures.delays.append((received - stamp) / SECOND)
        for path, part in self._parts[topic]:
            try:
                self._take(part, part.scale * path.read(message) + part.offset)
            except LackingError as error:
                figures.lacking = str(error)
        self._states += len(self._sampler.take(topic, message, received))

    def _take(self, part: ContractState | ContractAction, value: float) -> None:
        figures = self.numbers[part.name]
        if not math.isfinite(value):
            figures.unknown += 1
            return
        figures.low, figures.high = min(figures.low, value), max(figures.high, value)
        low, high = self._bounds.get(part.name, (-math.inf, math.inf))
        slack = ALMOST * (high - low) if math.isfinite(high - low) else 0.0
        figures.beyond += not low - slack <= value <= high + slack

    def as_json(self) -> dict[str, Any]:
        """What was found: of topics, of numbers, of states, and what is wrong."""
        missing = self._sampler.counts["missing"]
        return {
            "topics": {name: figures.as_json() for name, figures in self.topics.items()},
            "numbers": {name: figures.as_json() for name, figures in self.numbers.items()},
            "states": {"complete": self._states, "missing": missing},
            "problems": list(self.problems()),
        }

    def problems(self) -> Iterator[str]:
        """A sentence for each thing that looks wrong."""
        for name, figures in self.topics.items():
            yield from self._of_topic(name, figures)
        for part in self._all:
            yield from self._of_number(part, self.numbers[part.name])
        missing, late = self._sampler.counts["missing"], self._sampler.late
        if missing:
            yield (
                f"{missing} of {missing + self._states} states were not complete, for want of"
                f" {', '.join(f'{name} ({count})' for name, count in late.items())}"
            )

    def unused(self) -> Iterator[str]:
        """A sentence for each topic of actions on which nothing came, where nothing has to."""
        for name in dict.fromkeys(part.topic for part in self.contract.actions):
            if not (self.topics[name].count or self._commanded):
                yield f"/{name.strip('/')}: nobody commands the robot: nothing is known of these actions"

    def _of_topic(self, name: str, figures: TopicFigures) -> Iterator[str]:
        full = f"/{name.strip('/')}"
        measured = any(part.topic == name for part in self.contract.states)
        if not figures.count:
            if measured or self._commanded:
                yield f"{full}: nothing has come"
            return
        if figures.lacking:
            yield f"{full}: {figures.lacking}"
        between, told = figures.intervals, figures.as_json()
        if measured and len(between):
            if (usual := float(np.median(between))) > SLOW / self.contract.rate:
                yield f"{full} comes each {usual:.3g} s: states are wanted each {1.0 / self.contract.rate:g} s"
            if gaps := int((between > self.contract.max_age(name)).sum()):
                longest = self.contract.max_age(name)
                yield f"{full}: {gaps} gaps, up to {between.max():.3g} s, are longer than its max_age, {longest:g} s"
        if told["delay_s"] is not None and abs(told["delay_s"]) > LATE:
            yield f"{full}: messages come {told['delay_s']:.4g} s after their stamps: their clock is another one"

    def _of_number(self, part: ContractState | ContractAction, figures: NumberFigures) -> Iterator[str]:
        where = f"{part.name} ({part.topic}: {part.field})"
        if figures.unknown:
            angle = Field(part.field).is_angle
            what = "is of a quaternion whose length is not 1" if angle else "is not finite"
            yield f"{where} {what} in {figures.unknown} messages"
        # A robot that stands still says nothing about that.
        moves = any(each.low < each.high for each in self.numbers.values())
        if moves and figures.low == figures.high and self.topics[part.topic].count > 1:
            yield f"{where} is always {figures.low:g}"
        if figures.beyond:
            low, high = self._bounds[part.name]
            yield (
                f"{where} goes from {figures.low:g} to {figures.high:g}, in {figures.beyond} messages beyond its"
                f" bounds, {low:g} to {high:g}"
            )
        if isinstance(part, ContractState) and part.angle and figures.high - figures.low > 4.0 * math.pi:
            yield f"{where} is declared an angle, rad, and goes from {figures.low:g} to {figures.high:g}: degrees?"
