"""Which nodes that have died are started again, and with which arguments."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from mbmrl_control.bringup.graph import REFUSED, NodeSpec, Values

SHORT: Final = 10.0
"""Time within which a node that dies again has not got going, s."""
TRIES: Final = 3
"""Times in a row that a node is started that does not get going."""


class Respawn:
    """Counts how often nodes have died."""

    def __init__(self, wanted: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Take whether nodes are started again at all."""
        self._wanted, self._clock = wanted, clock
        self._died: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()

    def again(self, spec: NodeSpec, values: Values, code: int) -> Values | None:
        """Arguments with which a node is started again that has ended with an exit code; None: it is not.

        One that refuses what it is to do is not, nor one that dies TRIES times before it gets going.
        """
        name, now = spec.executable, self._clock()
        self._in_a_row[name] = self._in_a_row[name] + 1 if now - self._died.get(name, -SHORT) < SHORT else 0
        self._died[name] = now
        if not self._wanted or code == REFUSED or self._in_a_row[name] >= TRIES:
            return None
        self._deaths[name] += 1
        return spec.again(values, self._deaths[name] + 1)
