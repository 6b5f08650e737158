"""How many candidates a plan has time for."""

from __future__ import annotations

import math
from typing import Final

_ENOUGH: Final = (0.75, 0.9)
"""Share of its time that a plan should take: below the first it grows, above the second it shrinks."""
_GROWTH: Final = 1.05
"""Most growth from one plan to the next: a machine that is slow now and then is not trusted at once."""
_CUT: Final = 0.8
"""Smallest share that is kept where a plan was cut short: what held it up may be over."""


class CandidateBudget:
    """As many candidates as the machine tries in the time of a plan, within bounds."""

    def __init__(self, fewest: int, most: int) -> None:
        """Begin with the most."""
        self._fewest = min(fewest, most)
        self._most = most
        self.count = most
        """Candidates of the next plan."""

    def observe(self, tried: int, used: float) -> None:
        """Take in how many candidates the last plan tried, and which share of its time it took."""
        count = float(self.count)
        if tried < self.count:
            count = max(tried, _CUT * self.count)
        elif not _ENOUGH[0] <= used <= _ENOUGH[1]:
            count *= min(_GROWTH, sum(_ENOUGH) / 2 / max(used, 1e-6))
        self.count = min(self._most, max(self._fewest, math.ceil(count)))
