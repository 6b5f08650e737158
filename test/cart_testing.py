"""A cart with a hanging pole, whose mass no state tells: a small system that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mbmrl_control.training.episodes import Array, Episode

STATES = ["x", "velocity", "angle", "angular_velocity"]
CART: dict[str, Any] = {
    "states": [{"name": "x", "seen": False}, "velocity", {"name": "angle", "angle": True}, "angular_velocity"],
    "actions": ["force"],
}
INTERVAL = 0.05  # s


def _acceleration(state: Array, force: float, mass: float) -> Array:
    """Time derivative of x, velocity, angle (0: hanging), angular velocity; pole of 0.1 kg and 0.5 m."""
    _, velocity, angle, rate = state
    sine, cosine = np.sin(angle), np.cos(angle)
    push = force - 0.5 * velocity + 0.1 * sine * (0.5 * rate**2 + 9.81 * cosine)
    acceleration = push / (mass + 0.1 * sine**2)
    return np.array([velocity, acceleration, rate, -(acceleration * cosine + 9.81 * sine) / 0.5 - 0.2 * rate])


def accelerate_cart(state: Array, force: float, mass: float, interval: float) -> Array:
    """The state after an interval, s."""
    part = interval / 10
    for _ in range(10):  # midpoint rule
        middle = state + part / 2 * _acceleration(state, force, mass)
        state = state + part * _acceleration(middle, force, mass)
    return state


def drive_cart(
    seed: int, length: int = 120, intervals: Array | None = None, robot: Any = CART, **metadata: Any
) -> Episode:
    """An episode of random forces; the mass, 0.2 to 4 kg, changes half-way; ``intervals`` in s, shape (length,)."""
    rng = np.random.default_rng(seed)
    intervals = np.full(length, INTERVAL) if intervals is None else intervals
    forces = np.repeat(rng.uniform(-5, 5, length // 4 + 1), 4)[:length]
    masses = np.exp(rng.uniform(np.log(0.2), np.log(4.0), 2))
    states = [np.array([0.0, 0.0, rng.uniform(-1, 1), 0.0])]
    for step, (force, interval) in enumerate(zip(forces, intervals, strict=True)):
        states.append(accelerate_cart(states[-1], force, masses[2 * step // length], interval))
    state = np.array(states)
    state[:, 2] = (state[:, 2] + np.pi) % (2 * np.pi) - np.pi
    time = np.concatenate([[0.0], np.cumsum(intervals)])
    return Episode(state, forces[:, np.newaxis], time, metadata={"robot": robot} | metadata)


def save_carts(folder: Path, count: int, first: int = 0, length: int = 120) -> Path:
    """A folder of episodes of the cart."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        drive_cart(seed, length).save(folder / f"{seed:04d}.npz")
    return folder
