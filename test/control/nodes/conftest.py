"""Fixtures of the tests of the nodes."""

from __future__ import annotations

from planner_testing import prior, robot, start_planner

__all__ = ["prior", "robot", "start_planner"]
