"""What the page shows of a moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mbmrl_base.robots.observation import Array

NO_PATH = np.zeros((0, 3))


@dataclass(frozen=True)
class Snapshot:
    """A moment of a run.

    Attributes:
        time: s.
        position: Of the base, shape (3,), m, odom.
        turn: Of the base, a quaternion, w first.
        joints: Positions of joints by name, rad or m.
        plan: Where the plan leads, shape (n, 3), m, odom; without points if there is none.
        faults: Faults in force, as text.
        numbers: What is plotted, by name; NaN or missing: not known.
    """

    time: float
    position: Array
    turn: Array
    joints: Mapping[str, float] = field(default_factory=dict)
    plan: Array = field(default_factory=lambda: NO_PATH)
    faults: tuple[str, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
