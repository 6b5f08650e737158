"""The robot that a serial line is for.

The wire protocols, the estimation of its pose and the emulated board are those of the millirobot: two leg cycles, a
gyro, a planar walk. Names and limits of what they carry are those of its description.
"""

from __future__ import annotations

from typing import Final

from mbmrl_base.robots.catalogue import load_robot

MILLIROBOT: Final = load_robot("millirobot")
MAX_SPEED: Final = float(MILLIROBOT.high.min())
"""Highest speed that both legs accept, rad/s."""
SAFE: Final[tuple[float, float]] = tuple(MILLIROBOT.safe_action().tolist())
"""Leg speeds that every failure ends in, left and right, rad/s."""
