"""Ticks at a fixed rate on absolute deadlines of a monotonic clock."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


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
