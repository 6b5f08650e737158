"""Grounds to walk on: presets of friction, compliance, restitution and roughness."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from mbmrl_base.robots.observation import Array

PATCH: Final = 1.0
"""Length after which rough ground repeats itself, m."""
CELL: Final = 0.01
"""Distance of the points of rough ground, m."""


@dataclass(frozen=True)
class Terrain:
    """One kind of ground as the nominal robot meets it.

    Attributes:
        foot_friction: Coefficient of friction of the feet.
        body_friction: The same of the smooth belly.
        stiffness: Of the contact of a foot, N/m.
        damping: Of the contact of a foot, N s/m.
        restitution: Of the feet, 0 to 1.
        roughness: Standard deviation of the height, m.
        grain: Length over which heights are alike, m.
        turning_resistance: Torque against the belly's turning about the vertical per force on it, m: loose stones
            give way to what slides over them more easily than to what turns in them.
    """

    foot_friction: float
    body_friction: float
    stiffness: float
    damping: float
    restitution: float = 0.0
    roughness: float = 0.0
    grain: float = 0.02
    turning_resistance: float = 0.0


TERRAINS: Final = {
    "carpet": Terrain(foot_friction=0.4, body_friction=0.18, stiffness=120.0, damping=6.0),
    "styrofoam": Terrain(foot_friction=0.404, body_friction=0.43, stiffness=210.0, damping=14.6),
    "turf": Terrain(
        foot_friction=0.195, body_friction=0.601, stiffness=222.0, damping=2.59, roughness=0.001, grain=0.0198
    ),
    "gravel": Terrain(
        foot_friction=0.165,
        body_friction=0.42,
        stiffness=900.0,
        damping=3.8,
        roughness=0.0015,
        grain=0.04,
        turning_resistance=0.03,
    ),
}
"""Presets by name, calibrated with the recorded walks of the real robot (see `calibration`)."""


def heights(terrain: Terrain, rng: np.random.Generator) -> Array:
    """Heights of one patch of rough ground, shape (n, n), m; it continues itself in both directions."""
    count = round(PATCH / CELL)
    frequency = np.fft.fftfreq(count, CELL)
    squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    smooth = np.exp(-0.5 * squared * (math.pi * terrain.grain) ** 2)
    smooth[0, 0] = 0.0  # its mean height is 0
    white = rng.standard_normal((count, count))
    field = np.fft.ifft2(np.fft.fft2(white) * smooth).real
    return np.asarray(field * (terrain.roughness / field.std()))
