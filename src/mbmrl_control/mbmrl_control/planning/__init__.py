"""Model predictive control with a learned model."""

from __future__ import annotations

from typing import Final

from mbmrl_control.planning.cem import CrossEntropy
from mbmrl_control.planning.mppi import Mppi
from mbmrl_control.planning.planner import Plan, Planner, SamplingSettings
from mbmrl_control.planning.random_shooting import RandomShooting
from mbmrl_control.planning.rollout import PRECISIONS, RollOuts
from mbmrl_control.tasks.path.cost import PathCost

_PLANNERS: Final[dict[str, type[Planner]]] = {kind.name: kind for kind in (Mppi, CrossEntropy, RandomShooting)}
PLANNERS: Final = tuple(_PLANNERS)

__all__ = ["PLANNERS", "PRECISIONS", "Plan", "Planner", "RollOuts", "SamplingSettings", "make_planner"]


def make_planner(
    name: str,
    settings: SamplingSettings,
    cost: PathCost,
    interval: float,
    seed: int = 0,
    roll_outs: RollOuts | None = None,
) -> Planner:
    """A planner by its name; the control interval is in s.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in _PLANNERS:
        raise ValueError(f"unknown planner {name!r}: allowed is {', '.join(PLANNERS)}")
    return _PLANNERS[name](settings, cost, interval, seed, roll_outs)
