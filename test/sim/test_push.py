"""Pushes: what they change is the velocity of the whole robot, as it heads."""

from __future__ import annotations

import math
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.observation import Array
from mbmrl_sim.husky import Husky
from mbmrl_sim.lockstep import HARDEST_PUSH, LockStep
from mbmrl_sim.millirobot.world import World


def momentum(client: Any, body: int) -> tuple[Array, float]:
    """Of a body with all its links, shape (3,), kg m/s, and their mass, kg."""
    links = range(client.getNumJoints(body))
    masses = [client.getDynamicsInfo(body, link)[0] for link in (-1, *links)]
    velocities = [client.getBaseVelocity(body)[0]]
    velocities += [
        client.getLinkState(body, link, computeLinkVelocity=1, computeForwardKinematics=1)[6] for link in links
    ]
    return np.array(masses) @ np.array(velocities), sum(masses)


@pytest.mark.parametrize("robot", ["millirobot", "husky"])
def test_push_changes_the_velocity_of_the_whole_robot_as_it_heads(robot: str) -> None:
    with closing(World(1) if robot == "millirobot" else Husky(1)) as simulator:
        turn = np.array([5.0, 20.0]) if robot == "millirobot" else np.array([0.3, 1.0])
        for _ in range(30):
            simulator.step(turn)
        if isinstance(simulator, World):
            client, body = simulator.physics.client, simulator.physics.robot
        else:
            client, body = simulator._client, simulator._base
        yaw = client.getEulerFromQuaternion(client.getBasePositionAndOrientation(body)[1])[2]
        assert abs(yaw) > 0.2
        (before, mass), rotation = momentum(client, body), client.getBaseVelocity(body)[1]
        simulator.push(np.array([0.1, 0.2, 0.05]))
        after, _ = momentum(client, body)
        c, s = math.cos(yaw), math.sin(yaw)
        expected = np.array([0.1 * c - 0.2 * s, 0.1 * s + 0.2 * c, 0.05])
        np.testing.assert_allclose((after - before) / mass, expected, atol=1e-6)
        assert client.getBaseVelocity(body)[1] == pytest.approx(rotation)
        # It is over at once, and time goes on.
        ended = simulator.time
        assert simulator.step(turn).time == pytest.approx(ended + 0.05, abs=0.01)


@pytest.mark.parametrize("velocity", [(HARDEST_PUSH, 1.0, 0.0), (math.nan, 0.0, 0.0), (0.0, math.inf, 0.0)])
def test_push_that_is_too_hard_is_refused(velocity: tuple[float, ...]) -> None:
    with closing(World()) as world:
        state = world.observe().state
        with pytest.raises(ValueError, match=r"^a push by .* m/s: allowed is up to 5 m/s$"):
            world.push(np.array(velocity))
        np.testing.assert_array_equal(world._true_state(), state)


def test_simulator_that_knows_no_pushes_refuses_them() -> None:
    with pytest.raises(ValueError, match=r"^the simulator of millirobot knows no pushes$"):
        LockStep(load_robot("millirobot")).push(np.zeros(3))
