"""Which answer belongs to which command, where answers carry no number, and what was in force until then."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from mbmrl_control.hardware.codecs.wire import Acknowledge
from mbmrl_control.hardware.robot import SAFE

PATIENCE: Final = 3
"""Answers in a row after which a command that still waits for its own is known to have none."""


@dataclass(frozen=True)
class Asked:
    """A drive packet that telemetry answers.

    Attributes:
        sequence: That of the `Command`; 0: of another request.
        acknowledge: What its answer acknowledges.
        before: Sequence, and leg speeds in rad/s, that were in force until then.
    """

    sequence: int
    acknowledge: Acknowledge | None
    before: tuple[int, tuple[float, float]]


class AnswerBook:
    """Drive packets in the order in which they were sent, which is that of their answers but for those lost."""

    def __init__(self) -> None:
        """Begin with the safe action in force."""
        self.in_force = (0, SAFE)
        self._waiting: deque[Asked] = deque(maxlen=8)
        self._late = 0

    def ask(self, sequence: int, speeds: tuple[float, float], acknowledge: Acknowledge | None) -> None:
        """Note a packet, and the leg speeds, rad/s, that it sets."""
        self._waiting.append(Asked(sequence, acknowledge, self.in_force))
        self.in_force = (sequence, speeds)

    def answer(self, periods: float) -> Asked | None:
        """The packet that is answered, that many periods of polling after the last one; None if none waits.

        Each whole period beyond the first one is a lost answer.
        """
        if not self._waiting:
            return None
        for _ in range(min(round(periods), len(self._waiting)) - 1):
            self._waiting.popleft()
        asked = self._waiting.popleft()
        self._late = self._late + 1 if self._waiting else 0
        if self._late >= PATIENCE:
            asked = self._waiting.pop()
            self._waiting.clear()
        return asked
