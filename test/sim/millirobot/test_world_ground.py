"""Grounds and slopes under the simulated robot, in lock-step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.layout import LINEAR_VELOCITY, POSITION, YAW, angle
from mbmrl_base.robots.observation import Array
from mbmrl_sim.bullet import pybullet
from mbmrl_sim.effects import GRAVITY, tilt
from mbmrl_sim.millirobot.physics import LEGS
from mbmrl_sim.millirobot.terrain import CELL, PATCH, TERRAINS, heights
from mbmrl_sim.millirobot.world import World
from world_testing import STAND, WALK, NewWorld, contacts, gravity, mass_of, place_legs, states, support, true_position

FAST = 1.5 * WALK
Surface = Callable[[World, Array], Array]
ROUGH = [name for name, terrain in TERRAINS.items() if terrain.roughness]


@pytest.fixture
def surface() -> Surface:
    """A function that gives the heights of the rough ground of a world at points x, y, shape (n, 2) -> (n,), m.

    Rays go through this kind of ground: a tiny ball comes down instead, each time by its distance.
    """
    radius = 1e-4
    balls: dict[World, int] = {}

    def height(world: World, point: Array) -> float:
        client, level = world.physics.client, 0.02
        if world not in balls:
            shape = client.createCollisionShape(pybullet.GEOM_SPHERE, radius=radius)
            balls[world] = client.createMultiBody(0.0, shape)
            client.setCollisionFilterGroupMask(balls[world], -1, 0, 0)
        for _ in range(100):
            client.resetBasePositionAndOrientation(balls[world], [*point, level], [0, 0, 0, 1])
            near = client.getClosestPoints(balls[world], world.physics._rough_ground, 0.05)
            distance = min((point[8] for point in near), default=np.nan)
            assert np.isfinite(distance), "there is no ground"
            if distance < 1e-6:
                break
            level -= distance
        return level - radius

    return lambda world, points: np.array([height(world, point) for point in points])


def put(world: World, x: float, y: float) -> None:
    """Take the robot as it stands to another place."""
    client, robot = world.physics.client, world.physics.robot
    (_, _, height), attitude = client.getBasePositionAndOrientation(robot)
    client.resetBasePositionAndOrientation(robot, [x, y, height], attitude)


# Rough ground


@pytest.mark.parametrize("name", ROUGH)
def test_robot_never_walks_off_rough_ground(new_world: NewWorld, name: str) -> None:
    world = new_world(seed=1, terrain=name)
    levels, contacts, walked = [], [], 0.0
    while walked < 2.2 and len(levels) < 1200:
        levels.append(world.step(FAST).state[2])
        contacts.append(world.physics.client.getContactPoints(world.physics.robot, world.physics._rough_ground))
        walked = float(np.abs(true_position(world)[:2]).max())
    assert walked >= 2.2
    # The belly rests on the mean height of the ground, and the robot does not fly.
    assert min(levels) > 0.5 * world.parameters.body_size[2] - 0.002
    assert max(levels) < 2.5 * world.parameters.standing_height
    # It hops, and meets the ground now and then; no foot sinks in so deep that it would come out below.
    apart = "".join("." if contact else "x" for contact in contacts).split(".")
    assert max(map(len, apart)) <= 20
    assert min(contact[8] for among in contacts for contact in among) > -world.parameters.foot_radius
    states(world, [STAND] * 10)
    np.testing.assert_allclose(support(world, 200), [0, 0, mass_of(world) * GRAVITY], atol=0.01)


def test_ground_has_the_heights_that_follow_from_the_seed(new_world: NewWorld, surface: Surface) -> None:
    world = new_world(seed=4, terrain="gravel")
    field = heights(TERRAINS["gravel"], np.random.default_rng((4, 1)))
    rows, columns = np.random.default_rng(0).integers(0, len(field), (2, 40))
    points = np.stack([columns, rows], axis=1) * CELL - 0.5 * PATCH
    np.testing.assert_allclose(surface(world, points), field[rows, columns], atol=1e-4)


def test_ground_that_moves_with_the_robot_is_the_same_ground(new_world: NewWorld, surface: Surface) -> None:
    world = new_world(seed=1, terrain="gravel")
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (40, 2)) + np.array([0.5, -0.5])  # on both sides of seams
    before = surface(world, points)
    places = set()
    for x, y in ((0.7, 0.1), (1.4, -0.8), (0.3, -0.7)):
        put(world, x, y)
        world.step(STAND)
        places.add(world.physics.client.getBasePositionAndOrientation(world.physics._rough_ground)[0])
        np.testing.assert_allclose(surface(world, points), before, atol=1e-4)
    assert len(places) == 3
    np.testing.assert_allclose(surface(world, points - np.array([PATCH, 0.0])), before, atol=1e-4)


def test_feet_meet_rough_ground_and_the_belly_a_plane(new_world: NewWorld) -> None:
    world = new_world(seed=2, terrain="gravel")
    client, robot, plane = world.physics.client, world.physics.robot, 0
    met = set()
    for _ in range(40):
        world.step(WALK)
        met |= {(contact[2], contact[3]) for contact in client.getContactPoints(robot)}
    feet = {(world.physics._rough_ground, LEGS[leg]) for leg in range(6)}
    assert len(met & feet) >= 4
    assert met <= feet | {(plane, -1)}
    for _ in range(6):
        world.inject()
    rested = states(world, [STAND] * 10)[-1]
    assert {(contact[2], contact[3]) for contact in client.getContactPoints(robot)} == {(plane, -1)}
    assert rested[2] == pytest.approx(world.parameters.body_size[2] / 2, abs=1e-3)


# Grounds that change


def turn(world: World, monkeypatch: pytest.MonkeyPatch, resistance: float) -> float:
    """Angle, rad, by which a robot on its belly, all legs lost, turns after a push of 10 rad/s."""
    monkeypatch.setitem(TERRAINS, "carpet", replace(TERRAINS["carpet"], turning_resistance=resistance))
    world.reset()
    for leg in range(6):
        world.inject(Fault("leg_loss", str(leg)))
    states(world, [STAND] * 10)
    before = angle(world.observe().state, YAW)
    world.physics.client.resetBaseVelocity(world.physics.robot, [0, 0, 0], [0, 0, 10.0])
    return float(angle(states(world, [STAND] * 20)[-1], YAW) - before)


def test_belly_resists_turning(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torque in proportion to the force on the belly takes the energy of the push over the angle."""
    free, held, more = (turn(new_world(), monkeypatch, resistance) for resistance in (0.0, 0.02, 0.04))
    assert free > 1.5 * held > 1.5 * 1.2 * more > 0


def friction(world: World) -> float:
    """Coefficient of friction of the first foot."""
    return float(world.physics.client.getDynamicsInfo(world.physics.robot, LEGS[0])[1])


@pytest.mark.parametrize(("first", "second"), [("carpet", "gravel"), ("gravel", "carpet"), ("turf", "gravel")])
def test_ground_changes_and_changes_back(new_world: NewWorld, first: str, second: str) -> None:
    world, unchanged = new_world(seed=3, terrain=first), new_world(seed=3, terrain=first)
    for one in (world, unchanged):
        states(one, [WALK] * 5)
    world.inject(Fault("terrain", terrain=second))
    assert world.terrain == second
    assert friction(world) == pytest.approx(TERRAINS[second].foot_friction)
    assert (world.physics._rough_ground is not None) == (second in ROUGH)
    parted = states(world, [WALK] * 20)[-1] - states(unchanged, [WALK] * 20)[-1]
    assert np.linalg.norm(parted[POSITION]) > 0.01
    world.clear_faults()
    assert world.terrain == first
    assert friction(world) == pytest.approx(TERRAINS[first].foot_friction)
    assert (world.physics._rough_ground is not None) == (first in ROUGH)
    states(world, [STAND] * 10)
    np.testing.assert_allclose(support(world, 200), [0, 0, mass_of(world) * GRAVITY], atol=0.01)


def test_ground_that_is_left_open_is_another_one_each_time(new_world: NewWorld) -> None:
    world = new_world(seed=3)
    for _ in range(4):
        before = world.terrain
        fault = world.inject(Fault("terrain"))
        assert world.terrain == fault.terrain != before
        assert world.faults == (fault,)
    world.clear_faults()
    assert world.terrain == "carpet"


def test_new_ground_lies_under_the_robot_wherever_it_is(new_world: NewWorld, surface: Surface) -> None:
    world = new_world(seed=1)
    put(world, 3.3, -2.4)
    states(world, [STAND] * 4)
    height = true_position(world)[2]
    world.inject(Fault("terrain", terrain="gravel"))
    assert np.abs(surface(world, np.array([[3.3, -2.4], [2.9, -2.0], [3.7, -2.8]]))).max() < 0.02
    world.apply(STAND)
    world.advance(40)  # nearly a centimetre in free fall
    assert true_position(world)[2] == pytest.approx(height, abs=0.004)


def test_lost_leg_stays_lost_when_the_ground_changes(new_world: NewWorld) -> None:
    world = new_world(seed=2)
    world.inject(Fault(part="1"))
    for terrain in ("gravel", "carpet"):
        world.inject(Fault("terrain", terrain=terrain))
        met = set()
        for _ in range(200):
            world.apply(WALK)
            world.advance(1)
            met |= {leg for leg in range(6) if contacts(world, leg)}
        assert met == {0, 2, 3, 4, 5}


# Slopes


@pytest.mark.parametrize(
    ("slope", "fault", "rise"),
    [
        ((0.1, 0.3), None, tilt(0.1, 0.3)),
        ((0.0, 0.0), Fault("slope", magnitude=8.0, direction=90.0), tilt(np.radians(8.0), np.pi / 2)),
        ((0.0, 0.0), Fault("slope", magnitude=-8.0), tilt(np.radians(8.0), np.pi)),
        ((np.radians(8.0), 0.0), Fault("slope", magnitude=-8.0), np.zeros(2)),
        ((0.05, 0.0), Fault("slope", magnitude=5.0, direction=90.0), np.array([np.sin(0.05), np.sin(np.radians(5.0))])),
    ],
)
def test_feet_hold_the_robot_on_a_slope(
    new_world: NewWorld, slope: tuple[float, float], fault: Fault | None, rise: Array
) -> None:
    """The ground pushes against gravity, which is that of the world's slope and of the fault's, added."""
    world = new_world(slope=slope)
    place_legs(world, 0.0, 0.0)
    if fault is not None:
        world.inject(fault)
    states(world, [STAND] * 10)
    expected = mass_of(world) * GRAVITY * np.array([*rise, np.sqrt(1 - np.sum(rise**2))])
    np.testing.assert_allclose(support(world, 200), expected, atol=4e-3)
    np.testing.assert_allclose(gravity(world), -expected / mass_of(world), atol=1e-12)
    world.clear_faults()
    np.testing.assert_allclose(gravity(world)[:2], -GRAVITY * tilt(*slope), atol=1e-12)


def test_robot_is_slower_uphill_and_faster_downhill(new_world: NewWorld) -> None:
    walked = []
    for degrees in (10.0, 0.0, -10.0):
        world = new_world(slope=(np.radians(degrees), 0.0))
        start = place_legs(world, 0.0, np.pi)
        walked.append(states(world, [WALK] * 30)[-1, 0] - start.state[0])
    assert walked[0] < 0.8 * walked[1]
    assert walked[2] > 1.2 * walked[1]


@pytest.mark.parametrize("degrees", [10.0, 35.0])
def test_steep_slope_lets_the_robot_slide(new_world: NewWorld, degrees: float) -> None:
    """Feet hold up to the angle of their friction, about 22 degrees."""
    world = new_world(seed=2, slope=(np.radians(degrees), np.pi))
    slid = np.diff(states(world, [STAND] * 20)[[0, -1], 0])
    assert slid > 0.2 if degrees > 22 else abs(slid) < 0.01


def test_ground_that_becomes_steeper_lets_the_robot_slide_in_the_end(new_world: NewWorld) -> None:
    world = new_world()
    place_legs(world, 0.0, 0.0)
    world.inject(Fault("slope", magnitude=25.0, direction=180.0, ramp=2.0))
    speeds = states(world, [STAND] * 60)[:, LINEAR_VELOCITY][:, 0]
    assert np.abs(speeds[:10]).max() < 0.02
    assert speeds[-1] > 0.3
    world.clear_faults()
    assert abs(states(world, [STAND] * 40)[-1][LINEAR_VELOCITY][0]) < 0.02
