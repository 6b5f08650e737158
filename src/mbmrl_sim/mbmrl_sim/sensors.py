"""What the robot's sensors make of its true state: noise, resolution, frozen frames, delay, jitter.

Which is which follows from the robot's description: pose and velocity come from motion capture, angular velocity from a
gyro, other angles and speeds in rad/s from encoders, battery and other voltages from an analogue-to-digital converter.
Resolutions are those of the VelociRoACH's telemetry.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.description import Angle, Pose
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot


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
        phase_noise: Of an encoder's angle, rad.
        phase_resolution: rad.
        speed_noise: Of an encoder's speed, rad/s.
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

    def __init__(self, settings: SensorSettings, rng: np.random.Generator, robot: Robot) -> None:
        """Take the imperfections, their source, and the robot whose states are measured."""
        self.settings = settings
        self._rng = rng
        self._frames: deque[Array] = deque(maxlen=settings.delay + 1)
        described, planar, pose = robot.description, robot.description.planar, robot.description.pose or Pose()

        def places(*names: str | None) -> list[int]:
            return [robot.state(name) for name in names if name is not None]

        self._position = places(*(planar.position if planar else ()), pose.height)
        self._velocity = places(*((planar and planar.velocity) or ()), pose.vertical_velocity)
        angles: list[Angle | None] = [pose.roll, pose.pitch, planar.heading if planar else None]
        self._angles = [_places(robot, angle) for angle in angles if angle is not None]
        self._heading = self._angles[-1] if planar else []
        self._captured = [*self._position, *self._velocity, *(place for angle in self._angles for place in angle)]
        self._gyro = places(*pose.angular_velocity)
        # Cosine and sine of an angle may stand in the state without being a pair of which the model predicts the turn.
        own: list[Angle] = [state.name for state in described.states if state.angle]
        cosines = [name for name in robot.state_names if name.startswith("cos_")]
        own += [(name, f"sin_{name[4:]}") for name in cosines if f"sin_{name[4:]}" in robot.state_names]
        self._phases = [phase for angle in own if (phase := _places(robot, angle)) not in self._angles]
        units = {unit: [n for n, other in enumerate(robot.state_units) if other == unit] for unit in ("rad/s", "V")}
        self._speeds = [place for place in units["rad/s"] if place not in self._gyro]
        self._battery = places(described.battery)
        self._back_emf = [place for place in units["V"] if place not in self._battery]

    def earliness(self, longest: float) -> float:
        """How long before its nominal time the next measurement is taken, s, at most the longest."""
        if not self.settings.jitter:
            return 0.0
        return min(longest, abs(float(self._rng.normal(0.0, self.settings.jitter))))

    def measure(self, state: Array, miscalibration: Array | None = None) -> Array:
        """Measurement of a true state, shape (n,).

        Args:
            state: The true state.
            miscalibration: Turn, rad, and shift, m, of the frame of motion capture, shape (3,).
        """
        settings, measured = self.settings, state.copy()
        frozen = self._frames and settings.frozen and self._rng.random() < settings.frozen
        self._frames.append(self._frames[-1] if frozen else self._capture(state, miscalibration))
        measured[self._captured] = self._frames[0][self._captured]
        rotation = self._noisy(state[self._gyro], settings.gyro_noise)
        measured[self._gyro] = _rounded(rotation, settings.gyro_resolution)
        for phase in self._phases:
            if settings.phase_noise or settings.phase_resolution:
                noisy = self._noisy(np.array([_angle(state, phase)]), settings.phase_noise)
                _set_angle(measured, phase, float(_rounded(noisy, settings.phase_resolution)[0]))
        measured[self._speeds] = self._noisy(state[self._speeds], settings.speed_noise)
        measured[self._back_emf] = _rounded(state[self._back_emf], settings.back_emf_resolution)
        measured[self._battery] = _rounded(state[self._battery], settings.battery_resolution)
        return measured

    def _capture(self, state: Array, miscalibration: Array | None) -> Array:
        """A frame of motion capture: a state in which that part counts, shape (n,)."""
        settings, frame = self.settings, state.copy()
        if miscalibration is not None and miscalibration.any():
            turn, *shift = miscalibration.tolist()
            matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
            position, velocity, heading = self._position[:2], self._velocity[:2], self._heading
            frame[position] = matrix @ frame[position] + np.array(shift)
            frame[velocity] = matrix @ frame[velocity] if velocity else []
            frame[heading] = matrix @ frame[heading] if len(heading) == 2 else frame[heading] + turn
        frame[self._position] = self._noisy(frame[self._position], settings.position_noise)
        frame[self._velocity] = self._noisy(frame[self._velocity], settings.velocity_noise)
        if settings.angle_noise:
            for places in self._angles:
                _set_angle(frame, places, _angle(frame, places) + float(self._rng.normal(0.0, settings.angle_noise)))
        return frame

    def _noisy(self, values: Array, deviation: float) -> Array:
        return values + self._rng.normal(0.0, deviation, values.shape) if deviation else values


def _rounded(values: Array, resolution: float) -> Array:
    return np.round(values / resolution) * resolution if resolution else values


def _places(robot: Robot, angle: Angle) -> list[int]:
    """Places of an angle in the state, or of its cosine and sine."""
    return [robot.state(name) for name in ((angle,) if isinstance(angle, str) else angle)]


def _angle(state: Array, places: list[int]) -> float:
    return float(state[places[0]] if len(places) == 1 else np.arctan2(state[places[1]], state[places[0]]))


def _set_angle(state: Array, places: list[int], angle: float) -> None:
    state[places] = angle if len(places) == 1 else (math.cos(angle), math.sin(angle))
