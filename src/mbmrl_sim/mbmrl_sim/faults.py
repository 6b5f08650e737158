"""Faults that can be injected into the simulated robot."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mbmrl_sim.state import LEG_NAMES

LEG_LOSS: Final = "leg_loss"
FAULT_KINDS: Final = (LEG_LOSS,)
ANY_LEG: Final = -1


class FaultError(ValueError):
    """A fault that cannot be injected; its text says why and what is allowed."""


@dataclass(frozen=True)
class Fault:
    """A fault in force: its kind, the leg, and the simulated time since when, s."""

    kind: str
    leg: int
    since: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind}:{self.leg}"


def choose_fault(
    kind: str, leg: int, lost: Iterable[int], rng: np.random.Generator | None = None, since: float = 0.0
) -> Fault:
    """Check a request for a fault and fill in what it left open.

    Args:
        kind: One of FAULT_KINDS; empty means LEG_LOSS.
        leg: Leg from 0 to 5, or ANY_LEG for a random one that still works.
        lost: Legs that are lost already.
        rng: Source of the random leg; None where any will do.
        since: Time of the injection, s.

    Raises:
        FaultError: If the kind is unknown, the leg does not exist, or it is lost already.
    """
    kind = kind or LEG_LOSS
    if kind not in FAULT_KINDS:
        raise FaultError(f"unknown fault kind {kind!r}: allowed is {', '.join(FAULT_KINDS)}")
    if leg != ANY_LEG and not 0 <= leg < len(LEG_NAMES):
        raise FaultError(f"there is no leg {leg}: allowed is 0 to {len(LEG_NAMES) - 1}, or -1 for a random one")
    working = sorted(set(range(len(LEG_NAMES))) - set(lost))
    if not working:
        raise FaultError("all legs are lost already")
    if leg == ANY_LEG:
        leg = int((rng or np.random.default_rng()).choice(working))
    elif leg not in working:
        raise FaultError(f"leg {leg} ({LEG_NAMES[leg]}) is lost already: still working are {working}")
    return Fault(kind, leg, since)


@dataclass(frozen=True)
class FaultPlan:
    """A fault that is to come: its kind, the leg (ANY_LEG: a random one), and when, s."""

    kind: str
    leg: int
    time: float

    def __str__(self) -> str:
        leg = "" if self.leg == ANY_LEG else f":{self.leg}"
        return f"{self.kind}{leg}@{self.time:g}"


def parse_fault_plan(text: str) -> FaultPlan:
    """Read ``KIND[:LEG]@T``, such as ``leg_loss:4@10``.

    Raises:
        FaultError: If the text has another form, or the fault is impossible on an intact robot.
    """
    match = re.fullmatch(r"(?P<kind>\w+)(:(?P<leg>-?\d+))?@(?P<time>\d+(\.\d+)?)", text)
    if match is None:
        raise FaultError(f"a fault is written KIND[:LEG]@T, such as leg_loss:4@10, not {text!r}")
    leg = ANY_LEG if match["leg"] is None else int(match["leg"])
    choose_fault(match["kind"], leg, ())
    return FaultPlan(match["kind"], leg, float(match["time"]))
