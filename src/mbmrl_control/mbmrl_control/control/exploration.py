"""Random actions, by which a robot is got to know."""

from __future__ import annotations

from typing import Final

import numpy as np

from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot

LONGEST_HOLD: Final = 10
"""Control intervals for which a random action is held at most."""
AT_A_BOUND: Final = 0.4
"""Share of the random numbers that are the lowest or highest allowed: a planner goes to the bounds, and stays there."""
STANDING: Final = 0.1
"""Share of the random actions that are the safe one: the robot stands before it walks, and after a stop."""


class RandomActions:
    """Actions of those that are planned, many at their bounds, or the safe one, each held for a random time."""

    def __init__(
        self, robot: Robot, rng: np.random.Generator, longest_hold: int = LONGEST_HOLD, reach: float = 1.0
    ) -> None:
        """Draw by a generator.

        Args:
            robot: The robot; its actions need bounds.
            rng: Source of all that is random.
            longest_hold: Longest time for which an action is held, in control intervals.
            reach: Share of the range of each action that is used, about its middle.

        Raises:
            ValueError: If an action has no bounds.
        """
        low, high = robot.planned
        middle, half = (low + high) / 2, reach * (high - low) / 2
        self._robot, self._rng, self._longest = robot, rng, longest_hold
        self._low, self._high = (low, high) if reach == 1.0 else (middle - half, middle + half)
        self._left = 0
        self._action = robot.safe_action()

    def next(self, state: Array) -> Array:
        """The action for the next control interval, shape (m,), from a state, shape (n,)."""
        if self._left == 0:
            self._draw(state)
        self._left -= 1
        return self._action

    def _draw(self, state: Array) -> None:
        rng, low, high = self._rng, self._low, self._high
        action: Array = rng.uniform(low, high, size=len(low))
        bounds = np.where(rng.random(len(low)) < 0.5, low, high)
        self._action = np.where(rng.random(len(low)) < AT_A_BOUND, bounds, action)
        if rng.random() < STANDING:
            self._action = self._robot.safe_action(state)
        self._left = int(rng.integers(1, self._longest + 1))
