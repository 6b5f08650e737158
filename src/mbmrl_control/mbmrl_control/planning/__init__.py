"""Model predictive control with a learned model."""

from __future__ import annotations

from typing import Final

from mbmrl_base.robots.robot import Robot
from mbmrl_control.planning.cem import CrossEntropy
from mbmrl_control.planning.mppi import Mppi
from mbmrl_control.planning.planner import Plan, Planner
from mbmrl_control.planning.random_shooting import RandomShooting
from mbmrl_control.planning.rollout import PRECISIONS, RollOuts
from mbmrl_control.planning.settings import SamplingSettings

PLANNERS: Final[dict[str, type[Planner]]] = {kind.name: kind for kind in (Mppi, CrossEntropy, RandomShooting)}

__all__ = ["PLANNERS", "PRECISIONS", "Plan", "Planner", "RollOuts", "SamplingSettings", "make_planner", "planner_type"]


def planner_type(name: str) -> type[Planner]:
    """The class of a planner, by its name.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in PLANNERS:
        raise ValueError(f"unknown planner {name!r}: allowed is {', '.join(PLANNERS)}")
    return PLANNERS[name]


def make_planner(
    name: str,
    robot: Robot,
    settings: SamplingSettings | None,
    interval: float,
    seed: int = 0,
    roll_outs: RollOuts | None = None,
) -> Planner:
    """A planner by its name, with its defaults if no settings are given; the control interval is in s.

    Raises:
        ValueError: If the name is unknown, or the planner cannot plan for the robot with these settings.
    """
    kind = planner_type(name)
    return kind(robot, kind.settings_type() if settings is None else settings, interval, seed, roll_outs)
