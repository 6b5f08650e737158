"""Helpers of the tests that walk a simulated robot in lock-step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_sim.millirobot.world import World, random_action

STAND: Final = np.zeros(2)
WALK: Final = np.array([30.0, 30.0])
NewWorld = Callable[..., World]


def random_actions(count: int) -> Array:
    """Actions of the whole range, always the same ones."""
    rng = np.random.default_rng(1)
    return np.array([random_action(rng, 0.0) for _ in range(count)])


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


def gravity(world: World) -> list[float]:
    """Acceleration of gravity that acts on the robot, m/s^2."""
    parameters = world.physics.client.getPhysicsEngineParameters()
    return [parameters[f"gravityAcceleration{axis}"] for axis in "XYZ"]
