"""Detection of a change by a learner that carries what it has learned from tick to tick."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

RECENT: Final = 4
"""Transitions whose mean error is held against what is expected."""
_MEMORY: Final = 60
"""Transitions over which what is expected is averaged."""
_FEWEST: Final = 20
"""Transitions from which on anything is expected."""
_DEVIATIONS: Final = 3.5


class ChangeDetector:
    """Detects when a learner's one-step errors jump above what it expects of them.

    What is expected is the mean and deviation of the logarithm of the error, exponentially weighted; a
    change is a mean of the last RECENT ones far above it (a Shewhart chart of subgroups).
    """

    def __init__(self) -> None:
        """Expect nothing yet."""
        self.deviations = math.nan
        """By how many of its deviations the newest mean was above what was expected; NaN if nothing was."""
        self.reset()

    def reset(self) -> None:
        """Expect nothing."""
        self._count = 0
        self._mean = 0.0
        self._variance = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def update(self, error: float) -> bool:
        """Take in a one-step error; whether it shows a change, after which nothing is expected any more."""
        if not math.isfinite(error):
            self.reset()
            return True
        if len(self._recent) == RECENT:
            self._expect(self._recent[0])
        self._recent.append(math.log(max(error, 1e-12)))
        if self._count < _FEWEST:
            self.deviations = math.nan
            return False
        deviation = math.sqrt(self._variance / RECENT)
        above = sum(self._recent) / RECENT - self._mean
        self.deviations = above / max(deviation, 1e-12)
        changed = above > _DEVIATIONS * deviation
        if changed:
            self.reset()
        return changed

    def _expect(self, value: float) -> None:
        self._count += 1
        share = max(1.0 / self._count, 1.0 / _MEMORY)
        difference = value - self._mean
        self._mean += share * difference
        self._variance = (1.0 - share) * (self._variance + share * difference**2)
