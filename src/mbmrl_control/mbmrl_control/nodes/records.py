"""How well ticks are kept, and how adaptation goes: counts since the start, and the last second for /diagnostics."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np

from mbmrl_base.toolkit.health import Level, Part
from mbmrl_control.learners.online import Adaptation

JITTER_LIMIT: Final = 0.1
"""Share of the period from which the 99th percentile of starts after their ticks is a warning."""


class TickRecord:
    """Takes in each tick; what is reported is of the ticks since the last report."""

    def __init__(self, period: float) -> None:
        """Take the period, s."""
        self.late = 0
        """Ticks since the start whose command came only after the next tick was due."""
        self.period = period
        """Time between ticks, s."""
        self._counts = (0, 0, 0)
        self._recent: list[tuple[float, float, float, int]] = []
        self._lock = threading.Lock()

    def observe(self, start_delay: float, lateness: float, planning_time: float, candidates: int) -> None:
        """Take in a tick: its start and its command, s after it was due, the time it took, s, candidates tried."""
        self.late += lateness > self.period
        with self._lock:
            self._recent.append((start_delay, lateness, planning_time, candidates))

    def report(self, ticks: int, missed: int) -> Part:
        """Health of the ticks since the last report, from their number and those skipped since the start."""
        with self._lock:
            recent, self._recent = self._recent, []
        counts = (ticks, missed, self.late)
        _, lately_missed, lately_late = np.subtract(counts, self._counts).tolist()
        self._counts = counts
        part = Part("ticks")
        part.check(not recent, Level.STALE, "no tick")
        part.check(lately_missed > 0, Level.WARN, f"{lately_missed} missed")
        part.check(lately_late > 0, Level.WARN, f"{lately_late} with a late command")
        part.values = {"ticks": ticks, "missed": missed, "late": self.late}
        if recent:
            delays, lateness, times, candidates = np.array(recent).T
            jitter = float(np.percentile(delays, 99))
            limit = JITTER_LIMIT * self.period
            part.check(jitter > limit, Level.WARN, f"they begin up to {jitter * 1e3:.1f} ms late")
            part.values |= {
                "begin after the tick, p99 (ms)": f"{jitter * 1e3:.2f}",
                "command after the tick, p50 (ms)": f"{np.median(lateness) * 1e3:.2f}",
                "command after the tick, most (ms)": f"{lateness.max() * 1e3:.2f}",
                "planning, most (ms)": f"{times.max() * 1e3:.2f}",
                "candidates, fewest": int(candidates.min()),
            }
        return part


class AdaptationRecord:
    """Takes in each adaptation; what is reported is of those since the last report."""

    def __init__(self) -> None:
        self._newest: Adaptation | None = None
        self._told = (0, 0, 0, 0)
        self._failure = ""

    def observe(self, adaptation: Adaptation) -> None:
        """Take in an adaptation."""
        self._newest = adaptation
        self._failure = adaptation.failure or self._failure

    def report(self, left_out: int) -> Part:
        """Health of the adaptations since the last report, and how many states were left out so far."""
        part = Part("adaptation")
        newest = self._newest
        if newest is None:
            part.check(True, Level.STALE, "no state has come")
            return part
        counts = (newest.sequence, newest.skipped, newest.failed, left_out)
        lately, skipped, failed, left = (now - before for now, before in zip(counts, self._told, strict=True))
        self._told = counts
        part.check(lately == 0, Level.STALE, "no state has come")
        part.check(failed > 0, Level.ERROR, f"the learner failed {failed} times, the prior is used: {self._failure}")
        part.check(skipped > 0, Level.WARN, f"{skipped} transitions skipped: a number in them is missing")
        part.check(left > 0, Level.WARN, f"{left} states left out: they come faster than they are adapted to")
        part.values = {
            "adaptations": newest.sequence,
            "transitions in the window": newest.window,
            "updates withheld": newest.rejected,
            "transitions skipped": newest.skipped,
            "learner failed": newest.failed,
            "states left out": left_out,
        }
        return part
