"""Clocks of other machines: their rate and offset against this one's, of what arrives late by a changing time.

Times are in s. What has arrived is late by an unknown delay, never early: the true offset lies below all that are
seen. Of each window of time the least one is kept; the line below them all that is the highest at their end
gives rate and offset. Bursts of delay lie above it and change nothing (Moon, Skelly, Towsley, Estimation and removal
of clock skew from network delay measurements, INFOCOM 1999).
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Sequence
from typing import Final

WINDOW: Final = 0.25
"""Time of which one least delay is kept, s."""
MEMORY: Final = 10.0
"""Time that a line is fitted to, s."""
SHORTEST: Final = 0.5
"""Time from which a rate is estimated, s."""
RECENT: Final = 0.25
"""Share of the memory before its end where the line is the highest: bursts that are shorter do not reach it."""
EARLY: Final = 0.05
"""What arrives that much earlier than it can is of a clock that was set, s."""
LATE: Final = 1.0
"""As `EARLY`: later, s."""
LONGEST_RATE_ERROR: Final = 0.1
"""Share by which a rate may be off at most, beyond any resonator."""
PATIENCE: Final = 3.0
"""Time for which a clock has to be wrong until that is a fault, s."""
GROSS: Final = 0.12
"""Share from which a rate is judged by bare times."""
STANDS: Final = 0.99
"""Share by which a clock that stands is slow."""
SILENCE: Final = 1.0
"""Time without news after which nothing is said of a clock, s."""

BOARD_DRIFT: Final = 0.025
"""Share by which a robot's clock may be off: resonators are off by 0.5 %, RC oscillators by 2 %."""
CAPTURE_DRIFT: Final = 2e-3
"""As `BOARD_DRIFT`, of motion capture: its stamps are compared with this machine's, so that a lag would grow."""
LONGEST_POSE_AGE: Final = 1.0
"""Age from which a stamp of motion capture is of another clock, s."""
FUTURE: Final = 0.01
"""How far ahead a stamp may be: what synchronisation over a network leaves, s."""


class Clock:
    """A clock of another machine."""

    def __init__(self, name: str, largest_drift: float, judged_after: float) -> None:
        """Take its name, the share by which it may be fast or slow, and the time, s, after which that is judged."""
        self.name, self.largest_drift, self.judged_after = name, largest_drift, judged_after
        self._wrong_since = math.inf
        self._seen = -math.inf
        self._progress = Progress()
        self.restart()

    def restart(self) -> None:
        """Forget what was seen, as when the clock was set anew."""
        self._points: deque[tuple[float, float]] = deque(maxlen=round(MEMORY / WINDOW))
        self._least: tuple[float, float] | None = None
        self._window_end = self._stamp = self._newest = -math.inf
        self._origin, self._base, self._slope = 0.0, math.nan, 0.0
        self.drift = 0.0
        """Share by which it is surely slow; fast if it is below zero."""

    @property
    def rate(self) -> float:
        """Seconds of this machine's clock in a second of it."""
        return 1.0 + self._slope

    def offset(self, time: float) -> float:
        """This machine's clock less it, at a time of it, plus the least delay, s; NaN where nothing is known."""
        return self._base + self._slope * (time - self._origin)

    @property
    def newest_offset(self) -> float:
        """`offset` at the newest time that was seen, s."""
        return self.offset(self._newest) if math.isfinite(self._base) else math.nan

    def to_host(self, time: float, arrival: float) -> float:
        """Time on this machine's clock, rising, of a time of it that arrived at one of this machine's."""
        self.take(time, arrival)
        self._stamp = min(arrival, max(time + self.offset(time), self._stamp))
        return self._stamp

    def take(self, time: float, arrival: float) -> None:
        """Take a time of it, and the time on this machine's clock at which it arrived."""
        self._seen = arrival
        self._progress.take(time, arrival)
        self._follow(time, arrival)
        self._wrong_since = min(self._wrong_since, arrival) if self.doubt else math.inf

    def _follow(self, time: float, arrival: float) -> None:
        delay = arrival - time
        excess = delay - self.offset(time)
        if not -EARLY <= excess <= LATE:  # also where nothing is known
            self.restart()
            self._origin, self._base, excess = time, delay, 0.0
        elif time <= self._newest:
            return
        self._newest = time
        self._base += min(excess, 0.0)
        if self._least is None or excess < self._least[1] - self.offset(self._least[0]):
            self._least = time, delay
        if time >= self._window_end:
            self._points.append(self._least)
            self._least, self._window_end = None, time + WINDOW
            self._fit()

    def _fit(self) -> None:
        points = list(self._points)
        span = points[-1][0] - points[0][0]
        if span < SHORTEST:
            return
        self._origin, self._base, self._slope = highest_below(points, points[-1][0] - RECENT * span)
        if span < self.judged_after:
            return
        # A delay that has changed for good looks like another rate, though not both before and after.
        middle = len(points) // 2
        halves = [highest_below(half, half[-1][0])[2] for half in (points[: middle + 1], points[middle:])]
        self.drift = min(halves, key=abs) if math.prod(halves) > 0 else 0.0

    # What is wrong with it

    @property
    def doubt(self) -> str:
        """What is wrong with it, in a sentence; empty where nothing is."""
        drift = self._progress.drift or self.drift
        if abs(drift) <= self.largest_drift:
            return ""
        if drift > STANDS:
            return f"{self.name} stands"
        way = "slow" if drift > 0 else "fast"
        return f"{self.name} runs {abs(drift):.1%} {way}: allowed is {self.largest_drift:.1%}"

    def fault(self, now: float) -> str:
        """As `doubt`, if it has lasted so long, and the clock was seen so recently, that the robot must stop."""
        lasts = now - self._wrong_since >= PATIENCE and now - self._seen < SILENCE
        return self.doubt if lasts else ""


class Progress:
    """How a clock advances by its bare times, for rates so far off that no line can be fitted.

    Each window of arrival gives the time of least delay; from one to the next the clock falls behind, or gains. The
    median of these steps, so that neither a burst nor a board that starts anew counts, and their mean without the
    oddest one, so that delays that come and go do not either, both have to be off.
    """

    def __init__(self) -> None:
        self.drift = 0.0
        """Share by which the clock is grossly slow; fast if it is below zero; 0 if it is not."""
        self._seen = -math.inf
        self._forget()

    def _forget(self) -> None:
        self._steps: deque[float] = deque(maxlen=round(PATIENCE / WINDOW))
        self._delay = self._least = math.nan
        self._window_end = self._seen + WINDOW
        self.drift = 0.0

    def take(self, time: float, arrival: float) -> None:
        """Take a time of the clock, and when it arrived."""
        silent = arrival - self._seen > SILENCE
        self._seen = arrival
        if silent:
            self._forget()
        if arrival >= self._window_end:
            windows = math.floor((arrival - self._window_end) / WINDOW) + 1
            self._window_end += windows * WINDOW
            if math.isfinite(self._delay):
                self._steps.extend([(self._least - self._delay) / windows] * windows)
            self._delay, self._least = self._least, math.nan
            self._judge()
        delay = arrival - time
        self._least = delay if math.isnan(self._least) else min(self._least, delay)

    def _judge(self) -> None:
        if len(self._steps) < (self._steps.maxlen or 0):
            return
        median = statistics.median(self._steps)
        others = sorted(self._steps, key=lambda step: abs(step - median))[:-1]
        shares = median / WINDOW, statistics.fmean(others) / WINDOW
        gross = min(map(abs, shares)) > GROSS and math.prod(shares) > 0
        self.drift = min(shares, key=abs) if gross else 0.0


class CaptureClock(Clock):
    """The clock of motion capture, whose stamps are meant to be of this machine's."""

    def __init__(self) -> None:
        super().__init__("motion capture's clock", CAPTURE_DRIFT, MEMORY - 2 * WINDOW)

    @property
    def is_another(self) -> bool:
        """Whether its stamps are so far off that the time of arrival has to count instead."""
        return abs(self.newest_offset) > LONGEST_POSE_AGE

    def taken(self, stamp: float, arrival: float) -> float:
        """When a frame was taken, s of this machine's clock, of its stamp and the time at which it arrived."""
        self.take(stamp, arrival)
        return arrival if abs(arrival - stamp) > LONGEST_POSE_AGE else stamp

    @property
    def doubt(self) -> str:
        """As of `Clock`; also where its stamps are in the future."""
        ahead = -self.newest_offset
        if FUTURE < ahead <= LONGEST_POSE_AGE:
            return f"{self.name} is {ahead:.2f} s ahead of this machine's: synchronise them"
        return "" if self.is_another else super().doubt


def highest_below(points: Sequence[tuple[float, float]], at: float) -> tuple[float, float, float]:
    """The line below all points that is the highest at a place: one point of it, and its slope.

    Args:
        points: At least two, of rising first coordinate.
        at: A first coordinate within theirs.
    """
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1 and _is_above(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    last = next(i for i in range(1, len(hull)) if hull[i][0] >= at or i == len(hull) - 1)
    (x0, y0), (x1, y1) = hull[last - 1], hull[last]
    slope = (y1 - y0) / (x1 - x0)
    return x1, y1, min(max(slope, -LONGEST_RATE_ERROR), LONGEST_RATE_ERROR)


def _is_above(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b is not below the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])
