"""What the page shows of a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mbmrl_base.robots.observation import Array

NO_PATH: Final = np.zeros((0, 3))
UNKNOWN_BODY: Final = """<robot name="unknown"><link name="base_link">
  <visual><origin xyz="0 0 0.1"/><geometry><box size="0.5 0.3 0.12"/></geometry></visual>
  <visual><origin xyz="0.22 0 0.2"/><geometry><box size="0.06 0.2 0.1"/></geometry></visual>
</link></robot>"""
"""URDF that is shown of a robot that has none: a body that looks ahead."""


@dataclass(frozen=True)
class Foresight:
    """What a plan was chosen among; poses are planar, x, y (m) and yaw (rad), in odom.

    Attributes:
        expected: Where the plan leads by the adapted model, shape (h, 3).
        expected_by_prior: Where the same actions lead by the prior, shape (h, 3).
        candidates: Where some candidates lead, the cheapest first, shape (n, h, 3).
        terms: Terms of the cost by name: of the plan, and then of the runners-up.
        ranks: Of each runner-up, share of the candidates that are cheaper.
    """

    expected: Array
    expected_by_prior: Array
    candidates: Array
    terms: Mapping[str, Array]
    ranks: Array


@dataclass(frozen=True)
class Snapshot:
    """A moment of a run.

    Attributes:
        time: s.
        position: Of the base, shape (3,), m, odom.
        turn: Of the base, a quaternion, w first.
        joints: Positions of joints by name, rad or m.
        faults: Faults in force, as text.
        foresight: What the plan was chosen among; None if it is not known.
        numbers: What is plotted, by name; NaN or missing: not known.
        path: What is to be followed, planar poses, shape (n, 3), m and rad, odom.
    """

    time: float
    position: Array
    turn: Array
    joints: Mapping[str, float] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    foresight: Foresight | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    path: Array = field(default_factory=lambda: NO_PATH)
