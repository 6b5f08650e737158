"""The half-cheetah and the ant: they stand, their joints do as they are told, and faults do what they say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.observation import Array
from mbmrl_sim.ant import LEGS, Ant
from mbmrl_sim.articulated import Articulated
from mbmrl_sim.half_cheetah import HalfCheetah

HEIGHTS = {"half_cheetah": 0.6, "ant": 0.53}
"""At which their bodies rest, m."""
PLACES = [*range(6), *range(12, 20)]
"""States of the ant that are no speeds."""


@pytest.fixture(params=[HalfCheetah, Ant], ids=[*HEIGHTS])
def robot(request: pytest.FixtureRequest) -> Iterator[Articulated]:
    with closing(request.param(3)) as made:
        yield made


def value(robot: Articulated, name: str, state: Array) -> float:
    return float(state[robot.robot.state(name)])


def moved(robot: Articulated, action: Array, steps: int, fault: Fault | None = None) -> Array:
    """The state after some intervals of an action from the start, with a fault or without, shape (n,)."""
    robot.reset(3)
    if fault is not None:
        robot.inject(fault)
    for _ in range(steps):
        state = robot.step(action).state
    return state


def test_it_stands_by_its_safe_action(robot: Articulated) -> None:
    state = moved(robot, robot.robot.safe_action(), 60)
    assert value(robot, "z", state) == pytest.approx(HEIGHTS[robot.name], abs=0.05)
    assert abs(value(robot, "pitch", state)) < 0.1
    assert abs(value(robot, "vx", state)) < 0.05


def test_joint_turns_as_it_is_told_and_not_at_all_if_it_is_broken(robot: Articulated) -> None:
    names, safe = [*robot.motors], robot.robot.safe_action()
    kind = next(iter(robot.kinds))
    for number, name in enumerate(names):
        told = safe + 0.5 * np.eye(len(names))[number]
        dead = Fault(kind, LEGS[int(name[-1]) - 1] if isinstance(robot, Ant) else name)
        still, turned = (value(robot, name, moved(robot, action, 2)) for action in (safe, told))
        limp, broken = (value(robot, name, moved(robot, action, 2, dead)) for action in (safe, told))
        assert turned - still > 0.05
        assert broken == limp


def test_all_that_is_broken_works_again_once_it_is_cleared(robot: Articulated) -> None:
    intact = moved(robot, 0.5 * robot.robot.high, 1)
    robot.reset(3)
    for kind in robot.kinds:
        robot.inject(Fault(kind))
    robot.clear_faults()
    np.testing.assert_array_equal(robot.step(0.5 * robot.robot.high).state, intact)


def test_slope_pulls_the_half_cheetah_back() -> None:
    """It falls from its start for a while, so that nothing but gravity acts on it as a whole."""
    with closing(HalfCheetah(3)) as robot:
        for angle in (-20.0, 20.0):
            robot.reset(3)
            robot.inject(Fault("slope", magnitude=angle))
            client, body = robot._client, robot._body
            links = range(1, client.getNumJoints(body))  # those before weigh nothing that moves
            masses = [client.getDynamicsInfo(body, link)[0] for link in links]
            robot._simulate(8)
            velocities = [client.getLinkState(body, link, computeLinkVelocity=1)[6][0] for link in links]
            expected = -9.81 * math.sin(math.radians(angle)) * 8 * robot.physics_step
            assert np.dot(masses, velocities) / sum(masses) == pytest.approx(expected, rel=0.02)


def test_soft_ground_lets_the_half_cheetah_sink() -> None:
    with closing(HalfCheetah(3)) as cheetah:
        safe = cheetah.robot.safe_action()
        firm, soft = (
            value(cheetah, "z", moved(cheetah, safe, 60, fault))
            for fault in (None, Fault("soft_ground", magnitude=0.05))
        )
    assert 0.01 < firm - soft < 0.2


def test_mirror_image_of_the_ant_moves_alike() -> None:
    with closing(Ant(0)) as ant, closing(Ant(0)) as image:
        for each in (ant, image):
            for joint, motor in zip(each._driven, each.motors.values(), strict=True):
                each._client.resetJointState(each._body, joint, motor.start)
        ant.inject(Fault("leg_crippled", "front_left"))
        image.inject(Fault("leg_crippled", "front_right"))
        for action in np.random.default_rng(0).uniform(*ant.robot.planned, (10, 8)):
            state = ant.step(action).state
            _, mirrored = ant.robot.mirror(state, action)
            back, _ = ant.robot.mirror(image.step(mirrored).state, action)
            # The pose and the joints' angles; what hits a stop or the ground bounces, and its speed is of chance.
            np.testing.assert_allclose(state[PLACES], back[PLACES], atol=0.01)


def test_half_cheetah_stays_in_its_plane() -> None:
    with closing(HalfCheetah(0)) as cheetah:
        for action in np.random.default_rng(0).uniform(-1, 1, (40, 6)):
            body = cheetah.robot.body(cheetah.step(action).state)
            assert body is not None
            assert body.position[1] == body.angles[0] == body.angles[2] == 0.0


def test_push_changes_the_speed_of_the_whole_robot(robot: Articulated) -> None:
    moved(robot, robot.robot.safe_action(), 10)
    state = robot._true_state()
    robot.push(np.array([0.4, 0.0, 0.1]))
    change = robot._true_state() - state
    names = [*robot.robot.state_names]
    expected = {"vx": 0.4, "vz": 0.1}
    # The ant does not quite look along x.
    np.testing.assert_allclose(change, [expected.get(name, 0.0) for name in names], atol=0.01)


def test_half_cheetah_is_not_pushed_out_of_its_plane() -> None:
    with closing(HalfCheetah(0)) as cheetah, pytest.raises(ValueError, match="a half-cheetah is held in a plane"):
        cheetah.push(np.array([0.0, 0.2, 0.0]))
