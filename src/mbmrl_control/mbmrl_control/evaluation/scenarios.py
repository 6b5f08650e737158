"""What happens to the robot in an evaluated run: faults with parts and magnitudes that training did not show."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from mbmrl_base.robots.faults import Fault, FaultKinds

NONE: Final = "none"
TWO_AT_ONCE: Final = "two_at_once"
COMES_AND_GOES: Final = "comes_and_goes"
THEN: Final = ".."
"""Between faults that come one after the other."""


@dataclass(frozen=True)
class Event:
    """A fault that comes, or where None all that go, at a time, s."""

    time: float
    fault: Fault | None


def scenarios(kinds: FaultKinds) -> tuple[str, ...]:
    """Scenarios of a simulator with some kinds of faults."""
    return (NONE, *kinds, *((TWO_AT_ONCE, COMES_AND_GOES) if len(kinds) > 1 else ()))


def faults_of(scenario: str, kinds: FaultKinds) -> list[tuple[Fault, ...]]:
    """Faults of a name of `FaultKinds.severe`, or with their parts and values, such as ``leg_loss:3+leg_loss:5``.

    Returns:
        Those that come together, and after them those that follow: after two dots, as in ``leg_loss:3..leg_loss:5``.

    Raises:
        FaultError: If the simulator has none such.
    """
    groups = kinds.severe.get(scenario, scenario).split(THEN)
    kinds.together("+".join(groups))  # all of them are in force in the end
    return [kinds.together(group) for group in groups]


def schedule(scenario: str, kinds: FaultKinds, seed: int, start: float, end: float) -> list[Event]:
    """What happens in a run, in order; it depends on scenario and seed only, not on who walks.

    Args:
        scenario: One of `scenarios`, or as of `faults_of`, in equal parts of the time left. ``two_at_once``: the first
            kind of fault, such as a lost leg, and a fault of another kind with it; ``comes_and_goes``: the first kind,
            and all works again, twice, each for a quarter of the time left.
        kinds: Faults of the simulator.
        seed: Seed of what is drawn.
        start: Time of the first fault, s.
        end: End of the run, s.
    """
    rng = np.random.default_rng((seed, zlib.crc32(scenario.encode())))
    if scenario == NONE:
        return []
    if scenario not in scenarios(kinds):
        groups = faults_of(scenario, kinds)
        part = (end - start) / len(groups)
        return [Event(start + number * part, fault) for number, faults in enumerate(groups) for fault in faults]
    first, *others = kinds
    if scenario == TWO_AT_ONCE:
        other = str(rng.choice(others))
        return [Event(start, kinds.draw_held_out(rng, kind)) for kind in (first, other)]
    if scenario == COMES_AND_GOES:
        fault, quarter = kinds.draw_held_out(rng, first), (end - start) / 4
        return [Event(start + part * quarter, None if part % 2 else fault) for part in range(4)]
    return [Event(start, kinds.draw_held_out(rng, scenario))]
