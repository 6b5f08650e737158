"""What a robot measures, as its first frames show, and what takes the place of what it does not.

The model sees all states. The back-EMF follows from the speed of a leg cycle, and the voltage of a battery hardly
changes within a run: they can be made up. Nothing takes the place of the others.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import replace
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.millirobot.body import MotorParameters
from mbmrl_base.robots.observation import Array
from mbmrl_control.hardware.codecs.wire import Telemetry
from mbmrl_control.hardware.link.port import LinkError
from mbmrl_control.hardware.robot import MAX_SPEED

NEEDED: Final = {"gyro": "no angular velocity", "phases": "no leg phases", "speeds": "no leg speeds"}
"""Telemetry that has no substitute, and what a robot without it measures."""
MADE_UP: Final = {
    "battery": "no battery voltage: {voltage:g} V is taken for it",
    "back_emf": "no back-EMF: it is reckoned from the leg speeds",
}
"""Telemetry that has one, and what that is."""
LARGEST: Final = {"gyro": 100.0, "acceleration": 1000.0, "speeds": 2 * MAX_SPEED, "back_emf": 20.0, "battery": 20.0}
"""Magnitudes in the units of `Telemetry` beyond which no such robot measures anything: a number that is damaged."""
FRAMES: Final = 5
"""Frames after which a sensor that has sent nothing is one that the robot does not have."""
WAITING_TIME: Final = 2.0
"""Longest time until these frames are there, s."""


class Measured:
    """Fills in what was not measured; `require` may be called by another thread."""

    def __init__(self, nominal_voltage: float = 3.95) -> None:
        """Take the battery's voltage, V, where the robot has never measured it."""
        self.voltage = nominal_voltage
        """The battery's voltage as it was last measured, else the nominal one, V."""
        motor = MotorParameters()
        self._emf_per_speed = motor.torque_constant * motor.gear_ratio
        self.missing: Counter[str] = Counter()
        """Frames without what the model cannot do without, by its name in `NEEDED`."""
        self._frames = 0
        self._seen: set[str] = set()
        self._known = threading.Event()

    def fill(self, telemetry: Telemetry) -> Telemetry:
        """The same frame without impossible numbers, and with a battery voltage and back-EMF in any case."""
        telemetry = replace(telemetry, **{name: _possible(telemetry, name) for name in LARGEST})
        self.missing.update(name for name in NEEDED if not _is_there(telemetry, name))
        if not self._known.is_set():
            self._seen |= {name for name in (*NEEDED, *MADE_UP) if _is_there(telemetry, name)}
            self._frames += 1
            if self._frames >= FRAMES:
                self._known.set()
        if _is_there(telemetry, "battery"):
            self.voltage = telemetry.battery
        emf: Array = np.where(
            np.isfinite(telemetry.back_emf), telemetry.back_emf, self._emf_per_speed * np.array(telemetry.speeds)
        )
        return replace(telemetry, battery=self.voltage, back_emf=(float(emf[0]), float(emf[1])))

    def require(self) -> list[str]:
        """Wait for the first frames.

        Returns:
            Sentences that say what is made up for this robot.

        Raises:
            LinkError: If the robot lacks a sensor that nothing takes the place of, or sends nothing.
        """
        if not self._known.wait(WAITING_TIME):
            raise LinkError(f"the robot has reported its state less than {FRAMES} times in {WAITING_TIME:g} s")
        if missing := [what for name, what in NEEDED.items() if name not in self._seen]:
            raise LinkError(f"the robot measures {' and '.join(missing)}: the model cannot do without")
        filled = (sentence.format(voltage=self.voltage) for name, sentence in MADE_UP.items() if name not in self._seen)
        return [f"the robot measures {sentence}" for sentence in filled]


def _possible(telemetry: Telemetry, name: str) -> Any:
    """What was measured, with NaN for what cannot be."""
    measured = getattr(telemetry, name)
    values = measured if isinstance(measured, tuple) else (measured,)
    # A comparison with NaN is false.
    kept = tuple(value if abs(value) <= LARGEST[name] else math.nan for value in values)
    return kept if isinstance(measured, tuple) else kept[0]


def _is_there(telemetry: Telemetry, name: str) -> bool:
    return bool(np.isfinite(getattr(telemetry, name)).all())
