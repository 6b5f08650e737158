"""Health of a node's parts, with levels as in REP 107."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Level(IntEnum):
    """As in diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass
class Part:
    """One part's health: the worst level that was raised, with its reasons."""

    name: str
    level: Level = Level.OK
    reasons: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def check(self, wrong: bool, level: Level, reason: str) -> None:
        """Raise a level if something is wrong."""
        if wrong:
            self.level = max(self.level, level)
            self.reasons.append(reason)

    @property
    def message(self) -> str:
        """One line."""
        return "; ".join(self.reasons) or "in order"
