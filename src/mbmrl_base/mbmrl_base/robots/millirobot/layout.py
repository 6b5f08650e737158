"""The millirobot's state vector and action, shared by simulator, bridge, learners and planners.

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
STATE_SIZE: Final = 24
ACTION_SIZE: Final = 2
STATE_NAMES: Final = (
    *("x_m", "y_m", "z_m", "vx_m_s", "vy_m_s", "vz_m_s"),
    *("cos_roll", "sin_roll", "cos_pitch", "sin_pitch", "cos_yaw", "sin_yaw"),
    *("wx_rad_s", "wy_rad_s", "wz_rad_s"),
    *("cos_left_phase", "sin_left_phase", "cos_right_phase", "sin_right_phase"),
    *("left_speed_rad_s", "right_speed_rad_s", "left_back_emf_v", "right_back_emf_v", "battery_v"),
)
"""Names of the states, with their units, in order."""

MIN_LEG_SPEED: Final = 2 * 2 * np.pi
"""Slowest leg speed that is planned, rad/s (2 leg revolutions per second)."""
MAX_LEG_SPEED: Final = 9 * 2 * np.pi
"""Fastest leg speed that the robot accepts, rad/s (9 leg revolutions per second)."""

ABSURD_LEG_SPEED: Final = 2 * MAX_LEG_SPEED
"""Leg speed from which a command is no command, rad/s."""

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
        [
            position,
            linear_velocity,
            cos_sin[:6],
            angular_velocity,
            cos_sin[6:],
            leg_speeds,
            back_emf,
            [battery_voltage],
        ]
    )


def angle(state: Array, cos_sin: slice) -> Any:
    """Angle in rad of a cosine-sine pair of states, shape (..., 24) -> (...)."""
    pair = state[..., cos_sin]
    return np.arctan2(pair[..., 1], pair[..., 0])


def mirror(states: Array) -> Array:
    """States of the robot's mirror image: left and right change places, shape (..., 24)."""
    mirrored = states.copy()
    # y and its velocity, sines of roll and yaw, rates of roll and yaw.
    mirrored[..., [1, 4, 7, 11, 12, 14]] *= -1
    left, right = [15, 16, 19, 21], [17, 18, 20, 22]
    mirrored[..., left + right] = mirrored[..., right + left]
    return mirrored


def check_command(action: Array) -> Array:
    """Refuse leg speed set-points that cannot be meant; those that are just beyond the robot's limits can.

    Args:
        action: Leg speed set-points, shape (2,), rad/s.

    Returns:
        The action.

    Raises:
        ValueError: If it is not two finite numbers, each nearer to 0 than ABSURD_LEG_SPEED.
    """
    clip_action(action)
    if np.abs(action).max() >= ABSURD_LEG_SPEED:
        raise ValueError(
            f"leg speeds of {action.tolist()} rad/s are far from what the robot can do, 0 to {MAX_LEG_SPEED:.1f}"
        )
    return action


def clip_action(action: Array) -> Array:
    """Limit leg speed set-points to what the robot accepts: 0 to MAX_LEG_SPEED, rad/s.

    Raises:
        ValueError: If the action is not two finite numbers.
    """
    action = np.asarray(action, dtype=np.float64)
    if action.shape != (ACTION_SIZE,) or not np.isfinite(action).all():
        raise ValueError(f"an action is two finite leg speeds in rad/s, not {action.tolist()}")
    return np.clip(action, 0.0, MAX_LEG_SPEED)
