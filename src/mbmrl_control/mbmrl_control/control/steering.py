"""What the robot is to do and who says so, and whether it comes to the end of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from mbmrl_control.tasks import Task


class Progress(IntEnum):
    """How far the robot has come; the numbers are those of PlannerStatus."""

    UNDER_WAY = 0
    REACHED = 1
    NOT_REACHED = 2


@dataclass(frozen=True)
class Order:
    """What the robot is to do.

    Attributes:
        by: Who says so.
        task: The task.
        number: Orders are told apart by it; other settings of the same order leave it as it is.
        patience: Time in which the robot has to come nearer to the end, s.
        one_lap: Whether a closed path ends after its first lap.
        ended: How it ended, if the robot stands for that; UNDER_WAY: it has not.
        why: The reason, if the end was not reached.
    """

    by: str
    task: Task[Any]
    number: int = 0
    patience: float = math.inf
    one_lap: bool = False
    ended: Progress = Progress.UNDER_WAY
    why: str = ""


@dataclass(frozen=True)
class Report:
    """How far the robot has come with an order, at a time in s, and the way that is left, m; NaN if it has no end."""

    order: Order
    time: float
    progress: Progress
    why: str = ""
    remaining: float = math.nan


class Journey:
    """Judges tick by tick whether the robot comes nearer to the end of its order."""

    def __init__(self) -> None:
        """Begin with the first order that is observed."""
        self._number: int | None = None
        self._least, self._since = math.inf, math.inf
        self._remaining, self._missed, self._at_end = math.inf, 0.0, False

    def observe(self, order: Order, task: Task[Any] | None, time: float, tolerance: float, reason: str) -> Report:
        """Take in a tick.

        Args:
            order: The order.
            task: Its task, as it is carried out: it has seen the newest state. None: it fails.
            time: Now, s.
            tolerance: Way that the robot has to come nearer within the order's patience, and distance from the end of
                a path within which it counts as reached, m.
            reason: Why the robot does what it does.
        """
        if order.ended:
            return Report(order, time, order.ended, order.why)
        if task is not None:
            self._remaining, self._missed = task.remaining, task.missed
            self._at_end = self._remaining <= 0.0 and (task.stands or order.one_lap)
        remaining, missed, at_end = self._remaining, self._missed, self._at_end
        # Time jumps back when a simulated clock begins.
        if order.number != self._number or at_end or time < self._since:
            self._number, self._least, self._since = order.number, math.inf, time
        if not remaining >= self._least - tolerance:  # nor is NaN: what has no end cannot be missed
            self._least, self._since = remaining, time
        progress, why = Progress.UNDER_WAY, ""
        if at_end and missed > tolerance:
            progress, why = Progress.NOT_REACHED, f"the robot is past the end, {missed:.2f} m beside it"
        elif at_end:
            progress = Progress.REACHED
        elif time - self._since > order.patience:
            progress = Progress.NOT_REACHED
            why = f"no nearer to the end in {order.patience:g} s, {remaining:.2f} m are left: {reason}"
        return Report(order, time, progress, why, max(remaining, 0.0))  # NaN stays so
