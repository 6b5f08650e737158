"""How fast a clock runs that is known by stamps only."""

from __future__ import annotations

import statistics
from collections import deque
from typing import Final

_INTERVALS: Final = 7
"""Intervals of which the median counts, so that a few that were held up do not."""
_FASTEST: Final = 20.0
"""Greatest rate that is reported: messages that were held up come all at once."""
_REAL_TIME: Final = 0.05
"""Difference from 1 below which a clock is taken to keep real time."""


class Pace:
    """Estimates the rate of a clock from messages that are stamped by it."""

    def __init__(self) -> None:
        """Expect real time."""
        self.rate = 1.0
        """Seconds of the clock per second of the machine's; exactly 1 if it is about that."""
        self._last: tuple[float, float] | None = None
        self._slowness: deque[float] = deque(maxlen=_INTERVALS)

    def observe(self, stamp: float, arrival: float) -> None:
        """Take in a message: its stamp, s of the clock, and when it arrived, s of the machine's."""
        last, self._last = self._last, (stamp, arrival)
        if last is None or stamp <= last[0]:
            return
        self._slowness.append((arrival - last[1]) / (stamp - last[0]))
        slowness = max(statistics.median(self._slowness), 1.0 / _FASTEST)
        self.rate = 1.0 if abs(slowness - 1.0) < _REAL_TIME else 1.0 / slowness
