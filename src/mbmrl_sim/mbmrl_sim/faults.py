"""Faults that can be injected into the simulated robot."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.millirobot.layout import LEG_NAMES
from mbmrl_sim.terrain import TERRAINS

ANY_LEG: Final = -1
SIDES: Final = ("left", "right")


@dataclass(frozen=True)
class FaultKind:
    """What a kind of fault is, and what may be asked of it.

    Attributes:
        effect: What the robot suffers.
        unit: Unit of the magnitude; empty where there is none.
        low: Smallest magnitude.
        high: Largest magnitude.
        default: Magnitude where none is given.
        takes: Names of further values.
    """

    effect: str
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    default: float = 0.0
    takes: tuple[str, ...] = ()


LEG_LOSS: Final = "leg_loss"
MOTOR_WEAK: Final = "motor_weak"
PAYLOAD: Final = "payload"
TERRAIN: Final = "terrain"
SLOPE: Final = "slope"
POSE_MISCALIBRATION: Final = "pose_miscalibration"
LINK: Final = "link"
BATTERY_LOW: Final = "battery_low"

FAULT_KINDS: Final = {
    LEG_LOSS: FaultKind("a leg has neither contact nor mass", takes=("leg",)),
    MOTOR_WEAK: FaultKind("the motor of a side has this share of its torque", "", 0.01, 0.99, 0.3, ("side",)),
    PAYLOAD: FaultKind("a load lies on the body at x, y (m)", "g", 0.1, 60.0, 15.0, ("x", "y")),
    TERRAIN: FaultKind("the ground becomes another one", takes=("terrain",)),
    SLOPE: FaultKind(
        "the ground rises towards a direction (degrees, 0: ahead)", "degrees", -25.0, 25.0, 8.0, ("direction",)
    ),
    POSE_MISCALIBRATION: FaultKind(
        "the measured pose is turned, and shifted by x, y (m)", "degrees", -90.0, 90.0, 15.0, ("x", "y")
    ),
    LINK: FaultKind("commands come late, and a share of them (loss, percent) never", "ms", 0.0, 200.0, 25.0, ("loss",)),
    BATTERY_LOW: FaultKind("the battery's voltage is lower", "V", 0.05, 1.5, 0.5),
}
RANGES: Final = {"x": (-0.06, 0.06), "y": (-0.03, 0.03), "direction": (-360.0, 360.0), "loss": (0.0, 90.0)}
"""Bounds of further values, by name; a miscalibrated pose may be shifted by up to SHIFT."""
SHIFT: Final = 0.5
LONGEST_RAMP: Final = 60.0
"""s."""


class FaultError(ValueError):
    """A fault that cannot be injected; its text says why and what is allowed."""


@dataclass(frozen=True)
class Fault:
    """A fault that is asked for, or in force; what a kind does not take keeps its default.

    Attributes:
        kind: One of FAULT_KINDS; empty means leg_loss.
        leg: Leg from 0 to 5; ANY_LEG for a random one that still works.
        side: ``left`` or ``right``; empty for a random one.
        terrain: One of TERRAINS; empty for a random other one.
        magnitude: In the kind's unit; 0 for its default.
        x: Offset ahead, m.
        y: Offset to the left, m.
        direction: Heading that leads up a slope, degrees, odom.
        loss: Share of commands that are lost, percent.
        ramp: Time in which the magnitude grows to its value, s.
        since: Simulated time of the injection, s.
    """

    kind: str = ""
    leg: int = ANY_LEG
    side: str = ""
    terrain: str = ""
    magnitude: float = 0.0
    x: float = 0.0
    y: float = 0.0
    direction: float = 0.0
    loss: float = 0.0
    ramp: float = 0.0
    since: float = 0.0

    @property
    def key(self) -> tuple[str, int, str]:
        """What it hits; a fault replaces an earlier one that hits the same."""
        return self.kind, self.leg, self.side

    def __str__(self) -> str:
        values = [f"{name}={value:g}" for name, value in self._numbers() if value]
        words = [str(self.leg)] if self.leg != ANY_LEG else [word for word in (self.side, self.terrain) if word]
        return ":".join([self.kind, *([",".join(words + values)] if words or values else [])])

    def _numbers(self) -> Iterable[tuple[str, float]]:
        return ((name, getattr(self, name)) for name in ("magnitude", "x", "y", "direction", "loss", "ramp"))


def choose_fault(
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
        rng: Source of a random leg, side or terrain; None where any will do.
        since: Time of the injection, s.
        ground: Terrain under the robot.

    Raises:
        FaultError: If the kind is unknown, a value is not allowed, or the leg is lost already.
    """
    kind = request.kind or LEG_LOSS
    if kind not in FAULT_KINDS:
        raise FaultError(f"unknown fault kind {kind!r}: allowed is {', '.join(FAULT_KINDS)}")
    request = replace(request, kind=kind, since=since)
    _check_values(request)
    rng = rng or np.random.default_rng()
    if kind == LEG_LOSS:
        return replace(request, leg=_working_leg(request.leg, in_force, rng))
    if kind == TERRAIN:
        others = [name for name in TERRAINS if name != ground]
        return request if request.terrain else replace(request, terrain=str(rng.choice(others)))
    if kind == MOTOR_WEAK and not request.side:
        request = replace(request, side=str(rng.choice(SIDES)))
    # A pose may be shifted and not turned, commands may be lost and not late.
    alone = (request.x or request.y) if kind == POSE_MISCALIBRATION else request.loss
    return request if request.magnitude or alone else replace(request, magnitude=FAULT_KINDS[kind].default)


def _check_values(fault: Fault) -> None:
    """Refuse values that are out of bounds, or that the kind does not take."""
    kind = FAULT_KINDS[fault.kind]
    for entry in fields(fault):
        if entry.name in ("kind", "since") or getattr(fault, entry.name) == entry.default:
            continue
        numeric = kind.high > kind.low
        if entry.name not in (*kind.takes, *(("magnitude", "ramp") if numeric else ())):
            allowed = ", ".join((*(("magnitude", "ramp") if numeric else ()), *kind.takes))
            raise FaultError(f"{fault.kind} takes no {entry.name}: allowed is {allowed}")
    if fault.leg != ANY_LEG and not 0 <= fault.leg < len(LEG_NAMES):
        raise FaultError(f"there is no leg {fault.leg}: allowed is 0 to {len(LEG_NAMES) - 1}, or -1 for a random one")
    if fault.side and fault.side not in SIDES:
        raise FaultError(f"there is no side {fault.side!r}: allowed is left or right")
    if fault.terrain and fault.terrain not in TERRAINS:
        raise FaultError(f"unknown terrain {fault.terrain!r}: allowed is {', '.join(TERRAINS)}")
    shift = {"x": (-SHIFT, SHIFT), "y": (-SHIFT, SHIFT)} if fault.kind == POSE_MISCALIBRATION else {}
    bounds = {"magnitude": (kind.low, kind.high), "ramp": (0.0, LONGEST_RAMP), **RANGES, **shift}
    for name, value in fault._numbers():
        low, high = bounds[name]
        if (value and not low <= value <= high) or not math.isfinite(value):
            unit = {"magnitude": kind.unit, "ramp": "s", "direction": "degrees", "loss": "percent"}.get(name, "m")
            raise FaultError(f"{name} of {fault.kind} is {value:g}: allowed is {low:g} to {high:g} {unit}".rstrip())


def random_fault(rng: np.random.Generator, kinds: Sequence[str], legs: Sequence[int], terrains: Sequence[str]) -> Fault:
    """A fault of one of some kinds: a leg or terrain of some, any side, half to one and a half the default magnitude.

    Half of those that can grow do so, within up to 5 s.
    """
    kind = str(rng.choice(kinds))
    allowed = FAULT_KINDS[kind]
    if kind == LEG_LOSS:
        return Fault(kind, int(rng.choice(legs)))
    if kind == TERRAIN:
        return Fault(kind, terrain=str(rng.choice(terrains)))
    values: dict[str, Any] = {name: float(rng.uniform(*RANGES[name])) for name in allowed.takes if name in RANGES}
    if "loss" in values:
        values["loss"] *= 0.3
    magnitude = float(np.clip(allowed.default * rng.uniform(0.5, 1.5), max(allowed.low, 0.0), allowed.high))
    ramp = float(rng.uniform(0.0, 5.0)) * int(rng.integers(2))
    side = str(rng.choice(SIDES)) if "side" in allowed.takes else ""
    return Fault(kind, side=side, magnitude=magnitude, ramp=ramp, **values)


def _working_leg(leg: int, in_force: Iterable[Fault], rng: np.random.Generator) -> int:
    working = sorted(set(range(len(LEG_NAMES))) - {fault.leg for fault in in_force})
    if not working:
        raise FaultError("all legs are lost already")
    if leg == ANY_LEG:
        return int(rng.choice(working))
    if leg not in working:
        raise FaultError(f"leg {leg} ({LEG_NAMES[leg]}) is lost already: still working are {working}")
    return leg


@dataclass(frozen=True)
class FaultPlan:
    """A fault that is to come, and when, s."""

    fault: Fault
    time: float

    def __str__(self) -> str:
        return f"{self.fault}@{self.time:g}"


_FORM: Final = "a fault is written KIND[:VALUE,...]@T, such as leg_loss:4@10, payload:15,x=0.03@10 or terrain:gravel@5"


def parse_fault_plan(text: str) -> FaultPlan:
    """Read ``KIND[:VALUE,...]@T``; a value is ``name=number``, a bare number or a word.

    A bare number is the leg of leg_loss and the magnitude of other kinds, a word the side or the terrain.

    Raises:
        FaultError: If the text has another form, or the fault is impossible on an intact robot.
    """
    match = re.fullmatch(r"(?P<kind>\w+)(:(?P<values>[\w.,=-]+))?@(?P<time>\d+(\.\d+)?)", text, re.ASCII)
    if match is None:
        raise FaultError(f"{_FORM}, not {text!r}")
    given: dict[str, Any] = {}
    for value in (match["values"] or "").split(",") if match["values"] else ():
        name, _, number = value.rpartition("=")
        if not name and number in SIDES:
            name = "side"
        elif not name and match["kind"] == TERRAIN:
            name = "terrain"
        name = name or ("leg" if match["kind"] == LEG_LOSS else "magnitude")
        if name in ("kind", "since"):
            raise FaultError(f"{_FORM}, not {text!r}")
        try:
            given[name] = number if name in ("side", "terrain") else int(number) if name == "leg" else float(number)
        except ValueError:
            raise FaultError(f"{_FORM}, not {text!r}") from None
    try:
        request = Fault(match["kind"], **given)
    except TypeError:
        raise FaultError(f"{_FORM}, not {text!r}") from None
    choose_fault(request)
    return FaultPlan(request, float(match["time"]))
