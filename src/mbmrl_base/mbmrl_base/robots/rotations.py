"""Rotations: roll, pitch and yaw, rad, about fixed axes in this order (REP 103), matrices and unit quaternions."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from mbmrl_base.robots.observation import Array


def matrix(angles: Iterable[float]) -> Array:
    """Matrix, shape (3, 3), of roll, pitch and yaw: it turns vectors of the body into the fixed frame."""
    roll, pitch, yaw = angles
    cr, cp, cy = math.cos(roll), math.cos(pitch), math.cos(yaw)
    sr, sp, sy = math.sin(roll), math.sin(pitch), math.sin(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def quaternion(angles: Iterable[float]) -> tuple[float, float, float, float]:
    """w, x, y and z of roll, pitch and yaw."""
    halves = [angle / 2 for angle in angles]
    (cr, cp, cy), (sr, sp, sy) = map(math.cos, halves), map(math.sin, halves)
    return (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )


def roll_pitch_yaw(w: float, x: float, y: float, z: float) -> tuple[float, float, float]:
    """Roll, pitch and yaw of a unit quaternion."""
    return (
        math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
        math.asin(min(1.0, max(-1.0, 2 * (w * y - z * x)))),
        math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
    )
