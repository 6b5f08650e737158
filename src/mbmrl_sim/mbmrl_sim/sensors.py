"""What the robot's sensors make of its true state: noise, resolution, frozen frames, delay, jitter.

Pose and velocity come from motion capture, angular velocity from a gyro, leg phases and speeds from
encoders, back-EMF and battery voltage from an analogue-to-digital converter. Resolutions are those of the
VelociRoACH's telemetry.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.millirobot.layout import (
    ANGULAR_VELOCITY,
    BACK_EMF,
    BATTERY,
    LEFT_PHASE,
    LEG_SPEED,
    LINEAR_VELOCITY,
    PITCH,
    POSITION,
    RIGHT_PHASE,
    ROLL,
    YAW,
    angle,
)
from mbmrl_base.robots.observation import Array

_POSE: Final = slice(0, 12)
"""What motion capture measures: position, velocity, roll, pitch and yaw."""


@dataclass(frozen=True)
class SensorSettings:
    """Imperfections of the sensors; zero switches one off. Noise is given as its standard deviation.

    Attributes:
        position_noise: m.
        velocity_noise: m/s.
        angle_noise: Of roll, pitch and yaw, rad.
        frozen: Share of the motion-capture frames that repeat the one before.
        delay: Ticks by which motion capture is late.
        jitter: Of the time of measurement, s.
        gyro_noise: rad/s.
        gyro_resolution: rad/s.
        phase_noise: Of leg phases, rad.
        phase_resolution: rad.
        speed_noise: Of leg speeds, rad/s.
        back_emf_resolution: V.
        battery_resolution: V.
    """

    position_noise: float = 0.0
    velocity_noise: float = 0.0
    angle_noise: float = 0.0
    frozen: float = 0.0
    delay: int = 0
    jitter: float = 0.0
    gyro_noise: float = 0.0
    gyro_resolution: float = 0.0
    phase_noise: float = 0.0
    phase_resolution: float = 0.0
    speed_noise: float = 0.0
    back_emf_resolution: float = 0.0
    battery_resolution: float = 0.0


LONGEST_DELAY: Final = 100
"""Ticks."""

SENSORS: Final = {
    "ideal": SensorSettings(),
    "real": SensorSettings(
        position_noise=2e-4,
        velocity_noise=5e-3,
        angle_noise=math.radians(0.2),
        frozen=0.005,
        delay=1,
        jitter=2e-3,
        gyro_noise=0.02,
        gyro_resolution=math.radians(1 / 16.384),
        phase_noise=2e-3,
        phase_resolution=2 * math.pi / 2**14,
        speed_noise=0.1,
        back_emf_resolution=3.3 / 1024 / (15 / 47),
        battery_resolution=3.7 / 2.7 * 3.3 / 1023,
    ),
}
"""Presets by name; a delay of a tick is part of ``real``."""


def make_sensors(name: str) -> SensorSettings:
    """A preset, or one with exceptions, such as ``real,delay=0``.

    Raises:
        ValueError: If there is no such preset or imperfection, or a value is no number from 0 up, more frozen
            frames than all, or a delay that is too long or no whole number of ticks.
    """
    preset, *changes = name.split(",")
    if preset not in SENSORS:
        raise ValueError(f"unknown sensors {preset!r}: allowed is {', '.join(SENSORS)}")
    settings = SENSORS[preset]
    for change in changes:
        field, _, text = change.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if field not in vars(settings) or not 0 <= value < math.inf:
            raise ValueError(f"{change!r} is no imperfection: allowed is NAME=NUMBER of {', '.join(vars(settings))}")
        if (field == "frozen" and value > 1) or (field == "delay" and value not in range(LONGEST_DELAY + 1)):
            raise ValueError(
                f"{change!r} is impossible: allowed is frozen=0 to 1, delay=0 to {LONGEST_DELAY} in whole ticks"
            )
        number: Any = int(value) if field == "delay" else value
        settings = replace(settings, **{field: number})
    return settings


class Sensors:
    """Measures true states; seeded, so that the same states give the same measurements."""

    def __init__(self, settings: SensorSettings, rng: np.random.Generator) -> None:
        """Take the imperfections and their source."""
        self.settings = settings
        self._rng = rng
        self._frames: deque[Array] = deque(maxlen=settings.delay + 1)

    def earliness(self, longest: float) -> float:
        """How long before its nominal time the next measurement is taken, s, at most the longest."""
        if not self.settings.jitter:
            return 0.0
        return min(longest, abs(float(self._rng.normal(0.0, self.settings.jitter))))

    def measure(self, state: Array, miscalibration: Array | None = None) -> Array:
        """Measurement of a true state, shape (24,).

        Args:
            state: The true state.
            miscalibration: Turn, rad, and shift, m, of the frame of motion capture, shape (3,).
        """
        settings, measured = self.settings, state.copy()
        frozen = self._frames and settings.frozen and self._rng.random() < settings.frozen
        self._frames.append(self._frames[-1] if frozen else self._capture(state, miscalibration))
        measured[_POSE] = self._frames[0]
        rotation = self._noisy(state[ANGULAR_VELOCITY], settings.gyro_noise)
        measured[ANGULAR_VELOCITY] = _rounded(rotation, settings.gyro_resolution)
        for pair in (LEFT_PHASE, RIGHT_PHASE):
            if settings.phase_noise or settings.phase_resolution:
                phase = self._noisy(np.array([angle(state, pair)]), settings.phase_noise)
                measured[pair] = _cos_sin(_rounded(phase, settings.phase_resolution)[0])
        measured[LEG_SPEED] = self._noisy(state[LEG_SPEED], settings.speed_noise)
        measured[BACK_EMF] = _rounded(state[BACK_EMF], settings.back_emf_resolution)
        measured[BATTERY] = _rounded(state[BATTERY], settings.battery_resolution)
        return measured

    def _capture(self, state: Array, miscalibration: Array | None) -> Array:
        """A frame of motion capture, shape (12,)."""
        settings, frame = self.settings, state[_POSE].copy()
        if miscalibration is not None and miscalibration.any():
            turn, *shift = miscalibration.tolist()
            matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
            frame[0:2] = matrix @ frame[0:2] + np.array(shift)
            frame[3:5] = matrix @ frame[3:5]
            frame[YAW] = matrix @ frame[YAW]
        frame[POSITION] = self._noisy(frame[POSITION], settings.position_noise)
        frame[LINEAR_VELOCITY] = self._noisy(frame[LINEAR_VELOCITY], settings.velocity_noise)
        if settings.angle_noise:
            for pair in (ROLL, PITCH, YAW):
                frame[pair] = _cos_sin(float(angle(frame, pair) + self._rng.normal(0.0, settings.angle_noise)))
        return frame

    def _noisy(self, values: Array, deviation: float) -> Array:
        return values + self._rng.normal(0.0, deviation, values.shape) if deviation else values


def _rounded(values: Array, resolution: float) -> Array:
    return np.round(values / resolution) * resolution if resolution else values


def _cos_sin(radians: float) -> tuple[float, float]:
    return math.cos(radians), math.sin(radians)
