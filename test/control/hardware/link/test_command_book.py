"""Which commands are refused, and how that is counted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mbmrl_control.hardware.link.command_book import ABSURD, EARLY, NOT_FINITE, STALE, CommandGate
from mbmrl_control.hardware.robot import MILLIROBOT

NOW = 1.7e9


@pytest.mark.parametrize(
    ("speeds", "issued", "reason", "words"),
    [
        ((30.0, 35.0), NOW - 0.02, "", ""),
        ((30.0, 35.0), NOW + 0.005, "", ""),  # what synchronised clocks may be off
        ((30.0, 35.0), 0.0, "", ""),  # it does not tell when
        ((90.0, -1.0), NOW, "", ""),  # clipped later
        ((30.0, 35.0), NOW - 0.2, STALE, "a command issued 0.20 s ago is refused"),
        ((30.0, 35.0), NOW + 3600.0, EARLY, "a command stamped 3600.00 s in the future is refused"),
        ((math.nan, 35.0), NOW, NOT_FINITE, "command refused: "),
        ((30.0, 1e9), NOW, ABSURD, "command refused: "),
    ],
)
def test_commands_of_another_time_or_that_cannot_be_meant_are_refused(
    speeds: tuple[float, float], issued: float, reason: str, words: str
) -> None:
    gate = CommandGate(MILLIROBOT, 0.1)
    told = [gate.refusal(np.array(speeds), issued, NOW) for _ in range(3)]
    assert all(sentence.startswith(words) for sentence in told)
    assert bool(told[0]) == bool(reason)
    assert gate.refused == ({reason: 3} if reason else {})
