"""Gravity as it is felt on sloping ground."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from mbmrl_base.robots.observation import Array

GRAVITY: Final = 9.81
"""m/s^2."""


def tilt(angle: float, direction: float) -> Array:
    """Rise of a slope along x and y, shape (2,): sine of its angle, rad, times the direction that leads up it.

    The rises of slopes add up.
    """
    return math.sin(angle) * np.array([math.cos(direction), math.sin(direction)])


def gravity_on(rise: Array) -> list[float]:
    """Acceleration of gravity, m/s^2, seen in the frame of ground that rises by `tilt`, x, y and z."""
    x, y = rise.tolist()
    return [-GRAVITY * x, -GRAVITY * y, -GRAVITY * math.sqrt(max(0.0, 1.0 - x * x - y * y))]
