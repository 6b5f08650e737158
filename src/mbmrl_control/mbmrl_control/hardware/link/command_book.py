"""Which commands are taken, which is in force, and which was sent with which number: none is sent once too old."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_control.hardware.codecs.wire import Command
from mbmrl_control.hardware.link.clocks import FUTURE
from mbmrl_control.hardware.robot import SAFE

STALE: Final = "too old by their stamps"
EARLY: Final = "stamped in the future"
NOT_FINITE: Final = "not finite"
ABSURD: Final = "far beyond the robot's limits"


class CommandGate:
    """Refuses commands that are of another time, or cannot be meant, and counts them by reason."""

    def __init__(self, robot: Robot, timeout: float) -> None:
        """Take the robot, and the age, s, from which a command is refused."""
        self.refused: Counter[str] = Counter()
        self._robot, self._timeout = robot, timeout

    def refusal(self, command: Array, issued: float, now: float) -> str:
        """Why a command is refused, in a sentence; empty if it is taken.

        Args:
            command: Action, shape (m,).
            issued: When it was issued, s; 0: it does not say.
            now: The time, s, of the same clock.
        """
        age = now - issued if issued else 0.0
        if age > self._timeout:
            return self._refuse(STALE, f"a command issued {age:.2f} s ago is refused")
        if age < -FUTURE:
            return self._refuse(EARLY, f"a command stamped {-age:.2f} s in the future is refused")
        try:
            self._robot.check_command(command)
        except ValueError as error:
            return self._refuse(ABSURD if np.isfinite(command).all() else NOT_FINITE, f"command refused: {error}")
        return ""

    def _refuse(self, reason: str, sentence: str) -> str:
        self.refused[reason] += 1
        return sentence


@dataclass(frozen=True)
class _Wanted:
    left: float
    right: float
    number: int
    arrival: float


class CommandBook:
    """Commands of a caller, whose numbers are its own, and what is sent of them, with the session's sequence."""

    def __init__(self, timeout: float) -> None:
        """Take the age, s, from which a command is not sent any more."""
        self.expired = 0
        """Commands that were followed by the safe action because none came after them in time."""
        self.exact = False
        """Whether the interval that ended last had one command, or none, in force all along."""
        self._timeout = timeout
        self._newest: _Wanted | None = None
        self._in_force: _Wanted | None = None
        self._steady = False
        self._sequence = 0
        self._sent: deque[tuple[int, int]] = deque(maxlen=400)

    def begin_session(self) -> None:
        """Number what is sent from 1."""
        self.drop()
        self.exact = False
        self._sequence = 0
        self._sent.clear()

    def take(self, left: float, right: float, number: int) -> None:
        """Keep a command, rad/s, for the next interval."""
        self._newest = _Wanted(left, right, number, time.monotonic())

    def begin_interval(self, armed: bool) -> None:
        """Let the newest command come into force, if it is fresh, and the motors may move."""
        self.exact, self._steady = self._steady, True
        self._in_force = self._newest if armed and self._is_fresh(self._newest) else None

    def drop(self) -> None:
        """Let nothing be in force; what was given before does not count any more."""
        self._newest = self._in_force = None
        self._steady = False

    @property
    def expiry(self) -> float:
        """When the command in force will be too old, s of the monotonic clock; infinite if none is in force."""
        return math.inf if self._in_force is None else self._in_force.arrival + self._timeout

    @property
    def next_sequence(self) -> int:
        """Sequence of the command that is sent next."""
        return self._sequence + 1

    def to_send(self) -> Command:
        """What is to be sent now: the command in force while it is fresh, else the safe action."""
        if self._in_force is not None and not self._is_fresh(self._in_force):
            self.expired += 1
            self._in_force, self._steady = None, False
        self._sequence += 1
        wanted = self._in_force
        self._sent.append((self._sequence, wanted.number if wanted else 0))
        return Command(self._sequence, *((wanted.left, wanted.right) if wanted else SAFE))

    def number(self, sequence: int) -> int:
        """The caller's number of what was sent with a sequence; 0: none. To be asked in rising order."""
        while len(self._sent) > 1 and self._sent[1][0] <= sequence:
            self._sent.popleft()
        return self._sent[0][1] if self._sent and self._sent[0][0] == sequence else 0

    def _is_fresh(self, wanted: _Wanted | None) -> bool:
        return wanted is not None and time.monotonic() - wanted.arrival < self._timeout
