"""What happens to the robot in an evaluated run: faults with legs and magnitudes that training did not show."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mbmrl_control.training.collect import HELD_OUT_LEGS, HELD_OUT_TERRAIN
from mbmrl_sim.faults import (
    BATTERY_LOW,
    FAULT_KINDS,
    LEG_LOSS,
    LINK,
    MOTOR_WEAK,
    PAYLOAD,
    POSE_MISCALIBRATION,
    RANGES,
    SIDES,
    SLOPE,
    TERRAIN,
    Fault,
)

NONE: Final = "none"
TWO_AT_ONCE: Final = "two_at_once"
COMES_AND_GOES: Final = "comes_and_goes"
SCENARIOS: Final = (NONE, *FAULT_KINDS, TWO_AT_ONCE, COMES_AND_GOES)

HELD_OUT_LOSS: Final = (30.0, 40.0)
"""Share of commands that a link loses, percent; in training at most 27."""
HELD_OUT_MAGNITUDES: Final = {
    MOTOR_WEAK: (0.10, 0.14),
    PAYLOAD: (23.0, 30.0),
    SLOPE: (12.0, 13.0),
    POSE_MISCALIBRATION: (23.0, 30.0),
    LINK: (38.0, 50.0),
    BATTERY_LOW: (0.8, 1.0),
}
"""Bounds of magnitudes, in the unit of the kind: worse than those that `random_fault` draws for training."""


@dataclass(frozen=True)
class Event:
    """A fault that comes, or where None all that go, at a time, s."""

    time: float
    fault: Fault | None


def held_out_fault(kind: str, rng: np.random.Generator) -> Fault:
    """A fault of a kind that training did not show, at once and not over a ramp."""
    if kind == LEG_LOSS:
        return Fault(kind, int(rng.choice(HELD_OUT_LEGS)))
    if kind == TERRAIN:
        return Fault(kind, terrain=HELD_OUT_TERRAIN)
    takes = FAULT_KINDS[kind].takes
    values: dict[str, Any] = {name: float(rng.uniform(*RANGES[name])) for name in takes if name in RANGES}
    if "loss" in values:
        values["loss"] = float(rng.uniform(*HELD_OUT_LOSS))
    side = str(rng.choice(SIDES)) if "side" in takes else ""
    return Fault(kind, side=side, magnitude=float(rng.uniform(*HELD_OUT_MAGNITUDES[kind])), **values)


def schedule(scenario: str, seed: int, start: float, end: float) -> list[Event]:
    """What happens in a run, in order; it depends on scenario and seed only, not on who walks.

    Args:
        scenario: One of SCENARIOS. ``two_at_once``: a leg is lost, and a fault of another kind comes with it;
            ``comes_and_goes``: a leg is lost, and works again, twice, each for a quarter of the time left.
        seed: Seed of what is drawn.
        start: Time of the first fault, s.
        end: End of the run, s.
    """
    rng = np.random.default_rng((seed, zlib.crc32(scenario.encode())))
    if scenario == NONE:
        return []
    if scenario == TWO_AT_ONCE:
        other = str(rng.choice([kind for kind in FAULT_KINDS if kind != LEG_LOSS]))
        return [Event(start, held_out_fault(kind, rng)) for kind in (LEG_LOSS, other)]
    if scenario == COMES_AND_GOES:
        leg, quarter = held_out_fault(LEG_LOSS, rng), (end - start) / 4
        return [Event(start + part * quarter, None if part % 2 else leg) for part in range(4)]
    return [Event(start, held_out_fault(scenario, rng))]
