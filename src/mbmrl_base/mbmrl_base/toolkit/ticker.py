"""Ticks at a fixed rate on absolute deadlines of a monotonic clock, and how fast another clock runs."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

_INTERVALS: Final = 7
"""Intervals of which the median counts, so that a few that were held up do not."""
_FASTEST: Final = 20.0
"""Greatest rate that is reported: messages that were held up come all at once."""
_REAL_TIME: Final = 0.05
"""Difference from 1 below which a clock is taken to keep real time."""


class Ticker:
    """A fixed rate without drift: each deadline is a whole number of periods after the first one.

    A tick that is over only after the next deadline makes ticks missed; they are skipped, not made up for.
    """

    def __init__(self, period: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the period in s."""
        self.period = period
        self.ticks = 0
        """Ticks that were due, those that were skipped among them."""
        self.missed = 0
        """Ticks that were skipped."""
        self._clock = clock
        self.current = clock()
        """Time for which the current tick was due, s of the clock."""
        self.deadline = self.current + period
        """Time of the next tick, s of the clock."""

    def wait(self, stop: threading.Event) -> bool:
        """Wait for the next tick; False if the event was set instead."""
        late = self._clock() - self.deadline
        if late >= self.period:
            skipped = math.floor(late / self.period)
            self.missed += skipped
            self.ticks += skipped
            self.deadline += skipped * self.period
        # Another thread may shift the deadline meanwhile: that is for the ticks after this one.
        self.current = self.deadline
        stopped = stop.wait(max(0.0, self.current - self._clock()))
        self.ticks += 1
        self.deadline += self.period
        return not stopped

    def follow(self, arrival: float, lead: float, gain: float = 0.1) -> None:
        """Shift the coming deadlines a little, so that ticks fall a lead, s, after periodic arrivals.

        Args:
            arrival: When something arrived, s of the clock.
            lead: Wanted time from an arrival to the next tick, s.
            gain: Share of the error that is corrected, so that single late arrivals hardly matter.
        """
        error = arrival + lead - self.deadline
        error -= self.period * round(error / self.period)
        self.deadline += gain * error


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
