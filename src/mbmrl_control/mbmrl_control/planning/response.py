"""How commands come into force, learned from what did: so plans allow for a link that is slow or loses some.

In an interval a robot does what is commanded for it, what was commanded for the one before, or what it did before,
each to a share: a delay of up to an interval more than is known of, and commands that never come. Their shares are
fitted to the last intervals by least squares (an ARX model: Ljung, System Identification, 1999, section 4.2).
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot

_INTERVALS: Final = 40
"""Intervals that the shares are fitted to."""
_PRIOR: Final = (5 / (7 * np.pi)) ** 2
"""What speaks for commands that come at once, in squared ranges of what is planned: as much as one command that jumps
by not quite a quarter of its range."""
_AT_ONCE: Final = 0.98
"""Share of commands that come at once from which on all are taken to do so."""
_FEWEST: Final = 0.3
"""Share of commands that are expected to come at least: where motors are off, any plan would do as well else."""


class CommandResponse:
    """Expects which actions come into force."""

    def __init__(self, robot: Robot) -> None:
        """Expect that commands come into force at once.

        Raises:
            ValueError: If an action of the robot has no bounds.
        """
        self._range = robot.planned[1] - robot.planned[0]
        self._robot, self._safe = robot, robot.safe_action()
        self.reset()

    def reset(self) -> None:
        """Forget what came into force."""
        self.shares = np.array([1.0, 0.0])
        """Shares of the command for an interval and of that for the one before."""
        self._rows: deque[tuple[Array, Array, Array, Array]] = deque(maxlen=_INTERVALS)
        self._last: Observation | None = None
        self._commands = (self._safe, self._safe)

    def observe(self, observation: Observation, command: Array) -> None:
        """Take in which action was in force in the interval that ended, and the next one's command, shapes (m,)."""
        try:
            self._robot.check_command(observation.action)
        except ValueError:
            self.reset()
            return
        last, before = self._last, self._commands
        if last is not None and (last.episode, last.sequence + 1) == (observation.episode, observation.sequence):
            self._rows.append((before[1], before[0], last.action, observation.action))
            self._commands = (before[1], command)
        else:
            self._commands = (observation.action, command)
        self._last = observation
        if self._rows:
            self._fit()

    def _fit(self) -> None:
        now, before, held, came = (np.stack(self._rows) / self._range).swapaxes(0, 1)
        known = np.stack([(now - held).ravel(), (before - held).ravel()])
        moments = known @ (came - held).ravel() + _PRIOR * np.array([1.0, 0.0])
        shares = np.linalg.solve(known @ known.T + _PRIOR * np.eye(2), moments).clip(0.0, 1.0)
        self.shares = shares / max(1.0, shares.sum())
        self.shares[0] += max(0.0, _FEWEST - self.shares.sum())

    def in_force(self, commands: Tensor) -> Tensor:
        """Actions that commands for the next intervals are expected to put in force, both of shape (n, H, m)."""
        now, before = self.shares.tolist()
        if self._last is None or now >= _AT_ONCE:
            return commands
        action, earlier = (
            torch.as_tensor(given, dtype=commands.dtype) for given in (self._last.action, self._commands[0])
        )
        actions = torch.empty_like(commands)
        for step, command in enumerate(commands.unbind(1)):
            action = now * command + before * earlier + (1.0 - now - before) * action
            actions[:, step], earlier = action, command
        return actions
