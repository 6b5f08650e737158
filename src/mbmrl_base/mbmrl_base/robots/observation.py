"""What a robot reports at the end of a control interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Observation:
    """What the robot reports at the end of a control interval.

    Attributes:
        state: State vector, shape (n,).
        action: Action in force during the interval, as applied, shape (m,).
        time: Time of measurement, s.
        sequence: Number of the interval that ended.
        episode: Number of the episode; a reset starts a new one.
        interval: Length of the interval, s; 0 if it ends no exact transition: in the first state of an
            episode, and if the action changed within the interval.
    """

    state: Array
    action: Array
    time: float
    sequence: int
    episode: int
    interval: float

    def begins(self, last: Observation) -> bool:
        """Whether an episode has begun since another observation: its number says so, or that of the interval, which
        begins anew with a robot that was started again."""
        return self.episode != last.episode or self.sequence < last.sequence
