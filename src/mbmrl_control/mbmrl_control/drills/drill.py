"""Plays events at random against a stack, and sums up what followed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from mbmrl_control.bringup.graph import Values
from mbmrl_control.drills.events import Outcome, all_for
from mbmrl_control.drills.stack import running

_PAUSE: Final = (0.2, 1.5)
"""Least and greatest time between what has followed and the next event, s."""
_END_TIME: Final = 5.0
"""Time that the stack's processes have to be gone, s."""


@dataclass
class Drill:
    """Events that were played.

    Attributes:
        outcomes: What followed each.
        pauses: Longest times without a command where the robot has had to walk, s.
        orphans: Processes that outlived the stack.
        tracebacks: Trace-backs in the logs.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    orphans: int = 0
    tracebacks: int = 0

    def as_json(self) -> dict[str, Any]:
        """What followed, in short."""
        kinds, right = (Counter(each.kind for each in found) for found in (self.outcomes, self._right()))
        return {
            "events": len(self.outcomes),
            "as_documented": len(self._right()),
            "stop_ms": spread([1e3 * each.stop for each in self.outcomes if each.stop is not None], 0),
            "resume_s": spread([each.resume for each in self.outcomes if each.resume is not None], 2),
            "pause_ms": spread([1e3 * pause for pause in self.pauses], 0),
            "orphans": self.orphans,
            "tracebacks": self.tracebacks,
            "by_kind": {kind: [right[kind], count] for kind, count in sorted(kinds.items())},
        }

    def _right(self) -> list[Outcome]:
        return [each for each in self.outcomes if not each.wrong]


def spread(values: list[float], digits: int) -> dict[str, float | None]:
    """Median and greatest of some values; None: there are none."""
    if not values:
        return {"p50": None, "max": None}
    return {"p50": round(float(np.median(values)), digits), "max": round(max(values), digits)}


def play(
    name: str, values: Values, count: int, seed: int, folder: Path, drill: Drill, console: Console
) -> Iterator[Outcome]:
    """Play events against a stack, each kind as often as the others.

    Args:
        name: The stack, one of STACKS.
        values: Arguments of its nodes.
        count: Number of events.
        seed: Of which event comes when.
        folder: Where its logs and recordings go.
        drill: Where outcomes are kept.
        console: Where progress is shown of what has to be done before.

    Yields:
        What followed each.

    Raises:
        StackError: If the robot does not walk at first.
        NodeEndedError: If the stack has ended.
    """
    random = np.random.default_rng(seed)
    with running(name, values, folder, console) as stack:
        events = all_for(stack)
        order = np.concatenate([random.permutation(len(events)) for _ in range(-(-count // len(events)))])
        for number in order[:count]:
            stack.rest(random.uniform(*_PAUSE))
            outcome = events[number](stack, random)
            drill.outcomes.append(outcome)
            yield outcome
    drill.pauses += stack.pauses
    drill.tracebacks += stack.tracebacks()
    end = time.monotonic() + _END_TIME
    while stack.left() and time.monotonic() < end:
        time.sleep(0.05)
    drill.orphans += len(stack.left())
