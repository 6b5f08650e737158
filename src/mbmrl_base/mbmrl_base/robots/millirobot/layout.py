"""The millirobot's state vector, for its simulator and its hardware; all else goes by the names of its description.

The layout is that of the real robot (Nagabandi, Clavera et al., ICLR 2019, section 6.2): 24 numbers.
SI units; ``odom`` is the fixed frame, x forward, y left, z up (REP 103, REP 105).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from mbmrl_base.robots.observation import Array

POSITION: Final = slice(0, 3)  # m, odom
LINEAR_VELOCITY: Final = slice(3, 6)  # m/s, odom
ROLL: Final = slice(6, 8)  # cosine, sine
PITCH: Final = slice(8, 10)  # cosine, sine
YAW: Final = slice(10, 12)  # cosine, sine
ANGULAR_VELOCITY: Final = slice(12, 15)  # rad/s, base_link
LEFT_PHASE: Final = slice(15, 17)  # cosine, sine of the left leg cycle
RIGHT_PHASE: Final = slice(17, 19)  # cosine, sine of the right leg cycle
LEG_SPEED: Final = slice(19, 21)  # rad/s, left and right
BACK_EMF: Final = slice(21, 23)  # V, left and right
BATTERY: Final = slice(23, 24)  # V

MIN_LEG_SPEED: Final = 2 * 2 * np.pi
"""Slowest leg speed that is planned, rad/s (2 leg revolutions per second)."""
MAX_LEG_SPEED: Final = 9 * 2 * np.pi
"""Fastest leg speed that the robot accepts, rad/s (9 leg revolutions per second)."""

LEG_NAMES: Final = ("left_front", "left_middle", "left_rear", "right_front", "right_middle", "right_rear")
"""Legs in the order of their numbers."""


def pack_state(
    position: Any,
    linear_velocity: Any,
    roll_pitch_yaw: Any,
    angular_velocity: Any,
    leg_phases: Any,
    leg_speeds: Any,
    back_emf: Any,
    battery_voltage: float,
) -> Array:
    """Arrange measurements as a state vector, shape (24,); angles and phases in rad."""
    angles = np.array([*roll_pitch_yaw, *leg_phases])
    cos_sin = np.stack([np.cos(angles), np.sin(angles)], axis=1).ravel()
    return np.concatenate(
        [position, linear_velocity, cos_sin[:6], angular_velocity, cos_sin[6:], leg_speeds, back_emf, [battery_voltage]]
    )


def angle(state: Array, cos_sin: slice) -> Any:
    """Angle in rad of a cosine-sine pair of states, shape (..., 24) -> (...)."""
    pair = state[..., cos_sin]
    return np.arctan2(pair[..., 1], pair[..., 0])
