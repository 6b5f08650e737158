"""Faults of a simulated robot: the kinds that a simulator has, what is asked for, and what is in force."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import numpy as np

SIDES: Final = ("left", "right")
LONGEST_RAMP: Final = 60.0
"""s."""
NUMBERS: Final = ("magnitude", "x", "y", "direction", "loss", "ramp")
"""Fields of a fault that are numbers."""
_UNITS: Final = {"x": "m", "y": "m", "direction": "degrees", "loss": "percent", "ramp": "s"}

Range = tuple[float, float]


@dataclass(frozen=True)
class FaultKind:
    """What a kind of fault is, and what may be asked of it.

    Attributes:
        effect: What the robot suffers.
        unit: Unit of the magnitude; empty if it has none.
        low: Smallest magnitude; equal to the largest one if the kind has no magnitude: then it does not grow.
        high: Largest magnitude.
        default: Magnitude if none is given.
        neutral: Magnitude that changes nothing.
        takes: Bounds of further values, by name: x, y, direction, loss.
        drawn: Bounds of those that are drawn at random, if they are narrower.
        parts: Names of the parts one of which it hits; empty if it hits the robot as a whole.
        terrains: Names of the grounds to which it changes; empty if it leaves the ground as it is.
        spared: Parts, or terrains, that are not drawn for training but for evaluation.
        worse: Bounds of the values that are drawn for evaluation: worse than those for training.
    """

    effect: str
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    default: float = 0.0
    neutral: float = 0.0
    takes: Mapping[str, Range] = field(default_factory=dict)
    drawn: Mapping[str, Range] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    terrains: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    worse: Mapping[str, Range] = field(default_factory=dict)

    @property
    def grows(self) -> bool:
        """Whether it has a magnitude, which it may reach over time."""
        return self.high > self.low

    def shown(self, parts: Sequence[str] = (), ground: str = "") -> tuple[str, ...]:
        """Parts, or terrains, that are drawn for training: of these parts, if it has any, and not the ground there is.

        Of a kind that has neither it is an empty text.
        """
        free = tuple(each for each in (*self.parts, *self.terrains) if each not in (*self.spared, ground))
        return tuple(part for part in self.parts if part in parts) or free or ("",)

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of a fault that it takes."""
        choices = (("part", self.parts), ("terrain", self.terrains))
        grown = ("magnitude", "ramp") if self.grows else ()
        return (*grown, *(name for name, allowed in choices if allowed), *self.takes)


class FaultError(ValueError):
    """A fault that cannot be injected; its text says why and what is allowed."""


@dataclass(frozen=True)
class Fault:
    """A fault that is asked for, or in force; what a kind does not take keeps its default.

    Attributes:
        kind: One of the simulator's kinds; empty means the first of them.
        part: Name of what is hit, or its number among the kind's parts; empty for a random one that still works.
        terrain: Name of a ground; empty for a random other one.
        magnitude: In the kind's unit; 0 for its default.
        x: Offset ahead, m.
        y: Offset to the left, m.
        direction: Heading that leads up a slope, degrees, odom.
        loss: Share of commands that are lost, percent.
        ramp: Time in which the magnitude grows to its value, s.
        since: Simulated time of the injection, s.
    """

    kind: str = ""
    part: str = ""
    terrain: str = ""
    magnitude: float = 0.0
    x: float = 0.0
    y: float = 0.0
    direction: float = 0.0
    loss: float = 0.0
    ramp: float = 0.0
    since: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """What it hits; a fault replaces an earlier one that hits the same."""
        return self.kind, self.part

    def __str__(self) -> str:
        words = [word for word in (self.part, self.terrain) if word]
        values = [f"{name}={getattr(self, name):g}" for name in NUMBERS if getattr(self, name)]
        return ":".join([self.kind, *([",".join(words + values)] if words or values else [])])


@dataclass(frozen=True)
class FaultPlan:
    """Faults that are to come together, and when, s."""

    faults: tuple[Fault, ...]
    time: float

    def __str__(self) -> str:
        return f"{'+'.join(map(str, self.faults))}@{self.time:g}"


class FaultKinds(dict[str, FaultKind]):
    """The kinds of faults that a simulator has, by name; the first one is meant if none is named.

    Attributes:
        severe: Faults together, as ``KIND:VALUE+KIND:VALUE``, or one after the other, with ``..`` between, by a name
            in words, from mild to severe: by these an evaluation shows how much a robot stands.
    """

    severe: Mapping[str, str] = {}

    def choose(
        self,
        request: Fault,
        in_force: Iterable[Fault] = (),
        rng: np.random.Generator | None = None,
        since: float = 0.0,
        ground: str = "",
    ) -> Fault:
        """Check a request for a fault and fill in what it left open.

        Args:
            request: What is asked for.
            in_force: Faults that are in force already.
            rng: Source of a random part or terrain; None if any will do.
            since: Time of the injection, s.
            ground: Terrain under the robot.

        Raises:
            FaultError: If the kind is unknown, a value is not allowed, or the part does not work already.
        """
        name = request.kind or next(iter(self), "")
        if name not in self:
            known = f"allowed is {', '.join(self)}" if self else "the simulator has none"
            raise FaultError(f"unknown fault kind {name!r}: {known}")
        kind, rng = self[name], rng or np.random.default_rng()
        request = replace(request, kind=name, since=since, part=_part(name, kind, request.part))
        _check_values(request, kind)
        if kind.parts:
            hit = {fault.part for fault in in_force if fault.kind == name} if not kind.grows else set()
            working = [part for part in kind.parts if part not in hit]
            if request.part in hit or not working:
                left = f": still working are {', '.join(working)}" if working else ""
                raise FaultError(f"{name} of {request.part or 'each part'} is in force already{left}")
            request = request if request.part else replace(request, part=str(rng.choice(working)))
        if kind.terrains and not request.terrain:
            request = replace(request, terrain=str(rng.choice([other for other in kind.terrains if other != ground])))
        # A pose may be shifted and not turned, commands may be lost and not late.
        alone = request.loss or ("x" in kind.takes and kind.low < kind.neutral and (request.x or request.y))
        return request if request.magnitude or alone else replace(request, magnitude=kind.default)

    def draw(
        self, rng: np.random.Generator, kinds: Sequence[str], parts: Sequence[str] = (), ground: str = ""
    ) -> Fault:
        """A fault for training, of one of some kinds: half to one and a half times the default magnitude.

        Each part of a kind, and each ground, is as likely as a kind without any. It hits none of what the kind spares.
        Half of those that can grow do so, within up to 5 s.

        Args:
            rng: Source of what is drawn.
            kinds: Names of kinds, one of which is drawn.
            parts: Parts that may be hit, of kinds that have one of these; all that are not spared if empty.
            ground: Terrain of the simulator, to which none is changed.
        """
        choices = [(name, hit) for name in kinds for hit in self[name].shown(parts, ground)]
        name, hit = choices[int(rng.integers(len(choices)))]
        kind = self[name]
        values: dict[str, Any] = {
            value: float(rng.uniform(*kind.drawn.get(value, bounds))) for value, bounds in kind.takes.items()
        }
        if kind.grows:
            values["magnitude"] = float(np.clip(kind.default * rng.uniform(0.5, 1.5), max(kind.low, 0.0), kind.high))
            values["ramp"] = float(rng.uniform(0.0, 5.0)) * int(rng.integers(2))
        if hit:
            values["part" if kind.parts else "terrain"] = hit
        return Fault(name, **values)

    def draw_held_out(self, rng: np.random.Generator, name: str) -> Fault:
        """A fault of a kind that training does not show, at once and not over a ramp."""
        kind = self[name]
        values: dict[str, Any] = {
            value: float(rng.uniform(*kind.worse.get(value, kind.drawn.get(value, bounds))))
            for value, bounds in kind.takes.items()
        }
        for what, allowed in (("part", kind.parts), ("terrain", kind.terrains)):
            if allowed:
                values[what] = str(rng.choice(kind.spared or allowed))
        if "magnitude" in kind.worse:
            values["magnitude"] = float(rng.uniform(*kind.worse["magnitude"]))
        return Fault(name, **values)

    def plan(self, text: str) -> FaultPlan:
        """Read ``KIND[:VALUE,...][+KIND...]@T``, faults as of `together` and the time at which they come, s.

        Raises:
            FaultError: If the text has another form, or the faults are impossible on an intact robot.
        """
        faults, at, time = text.rpartition("@")
        if not at or not re.fullmatch(r"\d+(\.\d+)?", time, re.ASCII):
            example = next(iter(self), "KIND")
            raise FaultError(f"a fault is written KIND[:VALUE,...]@T, such as {example}@10, not {text!r}")
        return FaultPlan(self.together(faults), float(time))

    def together(self, text: str) -> tuple[Fault, ...]:
        """Read ``KIND[:VALUE,...][+KIND...]``; a value is ``name=value``, or a value alone.

        A number alone is the magnitude of a kind that has one; any other value is the terrain, or the part.

        Raises:
            FaultError: If the text has another form, or the faults are impossible on an intact robot.
        """
        form = FaultError(
            f"a fault is written KIND[:VALUE,...], such as {next(iter(self), 'KIND')}, several with + between,"
            f" as in KIND+KIND, not {text!r}"
        )
        faults: list[Fault] = []
        in_force: list[Fault] = []
        for part in text.split("+"):
            match = re.fullmatch(r"(\w+)(?::([\w.,=-]+))?", part, re.ASCII)
            if match is None:
                raise form
            try:
                faults.append(self._read(*match.groups(default="")))
            except ValueError as error:
                raise error if isinstance(error, FaultError) else form from None
            chosen = self.choose(faults[-1], in_force)
            in_force += [chosen] if faults[-1].part else []  # a random part is not yet known
        return tuple(faults)

    def _read(self, name: str, values: str) -> Fault:
        """A fault of its kind and its values, with commas between; ValueError if there can be none such."""
        kind = self.get(name, FaultKind(""))
        given: dict[str, Any] = {}
        for entry in values.split(",") if values else ():
            key, _, value = entry.rpartition("=")
            if not key:
                word = "terrain" if kind.terrains else "part"
                key = "magnitude" if kind.grows and re.match(r"[-+]?(\.?\d|(nan|inf)$)", value) else word
            given[key] = float(value) if key in NUMBERS else value
        if not given.keys() <= {"part", "terrain", *NUMBERS}:
            raise ValueError
        return Fault(name, **given)


def _part(name: str, kind: FaultKind, given: str) -> str:
    """The name of a part that is given by its name or number."""
    if not given or not kind.parts:
        return given
    if given.isdecimal() and int(given) < len(kind.parts):
        return kind.parts[int(given)]
    if given not in kind.parts:
        raise FaultError(
            f"{name} hits no part {given!r}: allowed is {', '.join(kind.parts)}, or 0 to {len(kind.parts) - 1}"
        )
    return given


def _check_values(fault: Fault, kind: FaultKind) -> None:
    """Refuse values that are out of bounds, or that the kind does not take."""
    for entry in fields(fault):
        if entry.name in ("kind", "since") or getattr(fault, entry.name) == entry.default:
            continue
        if entry.name not in kind.fields:
            raise FaultError(f"{fault.kind} takes no {entry.name}: allowed is {', '.join(kind.fields) or 'nothing'}")
    if fault.terrain and fault.terrain not in kind.terrains:
        raise FaultError(f"unknown terrain {fault.terrain!r}: allowed is {', '.join(kind.terrains)}")
    bounds = {"magnitude": (kind.low, kind.high), "ramp": (0.0, LONGEST_RAMP), **kind.takes}
    for name, (low, high) in bounds.items():
        value = getattr(fault, name)
        if (value and not low <= value <= high) or not math.isfinite(value):
            unit = kind.unit if name == "magnitude" else _UNITS[name]
            raise FaultError(f"{name} of {fault.kind} is {value:g}: allowed is {low:g} to {high:g} {unit}".rstrip())
