"""Helpers of the tests that walk a simulated robot in lock-step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from mbmrl_sim.state import Array
from mbmrl_sim.world import World, random_action

STAND: Final = np.zeros(2)
WALK: Final = np.array([30.0, 30.0])
NewWorld = Callable[..., World]


def random_actions(count: int) -> Array:
    """Actions of the whole range, always the same ones."""
    rng = np.random.default_rng(1)
    return np.array([random_action(rng, 0.0) for _ in range(count)])


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
