"""How many candidates a plan has time for."""

from __future__ import annotations

from typing import Final

_LEVELS: Final = 16
_MULTIPLE: Final = 16
_SHARE: Final = 0.9
"""Share of its time that a plan is meant to take."""
_GAIN: Final = 0.1
"""Weight of the last plan: a machine that is slow, or fast, now and then is not trusted at once."""


class CandidateBudget:
    """As many candidates as the machine tries in the time of a plan, within bounds.

    They come in a few levels only: the first products of a size take longer than those that follow.
    """

    def __init__(self, least: int, most: int) -> None:
        """Begin with the most."""
        step = max(1, most // (_LEVELS * _MULTIPLE)) * _MULTIPLE
        least = min(least, most)
        self.levels = (most, *range((most - 1) // step * step, least, -step), least) if least < most else (most,)
        """All that there may be, the most first."""
        self.count = most
        """Candidates of the next plan."""
        self._capacity = float(most)

    def observe(self, tried: int, used: float) -> None:
        """Take in how many candidates the last plan tried, and which share of its time it took."""
        capacity = min(float(self.levels[0]), _SHARE * tried / max(used, 1e-6))
        self._capacity += _GAIN * (capacity - self._capacity)
        fitting = [level for level in self.levels if level <= self._capacity + 0.5]
        self.count = fitting[0] if fitting else self.levels[-1]
