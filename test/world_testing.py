"""Helpers of the tests that walk a simulated robot in lock-step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_sim.millirobot.physics import CRANKS, LEGS
from mbmrl_sim.millirobot.world import World

STAND: Final = np.zeros(2)
WALK: Final = np.array([30.0, 30.0])
NewWorld = Callable[..., World]


def random_actions(count: int) -> Array:
    """Actions of the whole range, always the same ones."""
    rng = np.random.default_rng(1)
    return np.array([rng.uniform(0.0, MAX_LEG_SPEED, 2) for _ in range(count)])


class _Phases:
    """Stands in for the world's random generator, and so chooses the leg phases of the next episode."""

    def __init__(self, *phases: float) -> None:
        self._phases = np.array(phases)

    def uniform(self, low: float, high: float, size: int) -> Array:
        return self._phases


def place_legs(world: World, left: float, right: float) -> Observation:
    """Start an episode with the legs of each side at a phase."""
    rng = world._rng
    world._rng = _Phases(left, right)  # type: ignore[assignment]
    first = world.reset()
    world._rng = rng
    return first


def states(world: World, actions: Any) -> Array:
    """States after each action, shape (n, 24)."""
    return np.array([world.step(action).state for action in actions])


def true_position(world: World) -> Array:
    """Where the robot is, whatever its sensors say, shape (3,), m."""
    position, _ = world.physics.client.getBasePositionAndOrientation(world.physics.robot)
    return np.array(position)


def support(world: World, steps: int = 50) -> Array:
    """Mean force of the ground on a robot that is told to stand, shape (3,), N."""
    total = np.zeros(3)
    for _ in range(steps):
        world.apply(STAND)
        world.advance(1)
        for contact in world.physics.client.getContactPoints(bodyA=world.physics.robot):
            normal, along, across = (np.array(contact[place]) for place in (7, 11, 13))
            total += contact[9] * normal + contact[10] * along + contact[12] * across
    return total / steps


def contacts(world: World, leg: int) -> int:
    """Number of points at which a leg touches the ground."""
    return len(world.physics.client.getContactPoints(bodyA=world.physics.robot, linkIndexA=LEGS[leg]))


def mass_of(world: World) -> float:
    """Mass of the robot and its load, kg."""
    physics, load = world.physics, world.physics.payload.body
    links = [*((physics.robot, link) for link in (-1, *CRANKS, *LEGS)), *([] if load is None else [(load, -1)])]
    return float(sum(physics.client.getDynamicsInfo(*link)[0] for link in links))


def gravity(world: World) -> list[float]:
    """Acceleration of gravity that acts on the robot, m/s^2."""
    parameters = world.physics.client.getPhysicsEngineParameters()
    return [parameters[f"gravityAcceleration{axis}"] for axis in "XYZ"]
