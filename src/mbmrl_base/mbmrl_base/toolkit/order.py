"""The order of messages that are stamped and numbered: what comes again, or late, is told from what is new."""

from __future__ import annotations

from typing import Final

LATE: Final = 1.0
"""Time before the newest message within which one is late, s; what is older comes from a clock that began anew."""


class Order:
    """Takes what has a later stamp, or a higher number, than all before it: a node that is started again begins to
    number anew, and stamps of a robot's clock may shake. A message with neither has no order."""

    def __init__(self) -> None:
        self._newest = (0.0, 0)

    def check(self, stamp: float, sequence: int) -> None:
        """Take a message in.

        Args:
            stamp: Its stamp, s.
            sequence: Its number.

        Raises:
            ValueError: If it is late or comes again: a newer one has been seen.
        """
        seconds, number = self._newest
        if stamp == 0.0 and sequence == 0:
            return
        begins = stamp < seconds - LATE
        if not begins and stamp <= seconds and sequence <= number:
            what = "has come before" if (stamp, sequence) == self._newest else f"is {seconds - stamp:.3f} s late"
            raise ValueError(f"number {sequence} {what}: number {number} is the newest")
        self._newest = (stamp if begins else max(stamp, seconds), sequence)
