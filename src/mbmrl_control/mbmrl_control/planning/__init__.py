"""Model predictive control with a learned model."""

from __future__ import annotations

from typing import Final

from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.plugins import blamed, class_of
from mbmrl_control.planning.cem import CrossEntropy
from mbmrl_control.planning.mppi import Mppi
from mbmrl_control.planning.planner import Plan, Planner, SamplingSettings, Tried
from mbmrl_control.planning.random_shooting import RandomShooting
from mbmrl_control.planning.rollout import PRECISIONS, RollOuts

PLANNERS: Final[dict[str, type[Planner]]] = {kind.name: kind for kind in (Mppi, CrossEntropy, RandomShooting)}

__all__ = [
    "PLANNERS",
    "PRECISIONS",
    "Plan",
    "Planner",
    "RollOuts",
    "SamplingSettings",
    "Tried",
    "load_planner",
    "make_planner",
]


def load_planner(given: str) -> type[Planner]:
    """A planner by its name, or by its file.

    Args:
        given: A name of `PLANNERS`, or a Python file, ``*.py``, whose ``planner()`` returns a subclass of `Planner`.

    Raises:
        ValueError: If there is none.
    """
    return class_of(given, "planner", PLANNERS, Planner)  # type: ignore[type-abstract]


def make_planner(
    name: str,
    robot: Robot,
    settings: SamplingSettings | None,
    interval: float,
    seed: int = 0,
    roll_outs: RollOuts | None = None,
) -> Planner:
    """A planner by its name or file, with its defaults if no settings are given; the control interval is in s.

    Raises:
        ValueError: If there is no such planner, or it cannot plan for the robot with these settings.
    """
    kind = load_planner(name)
    with blamed(ValueError):
        return kind(robot, kind.settings_type() if settings is None else settings, interval, seed, roll_outs)
