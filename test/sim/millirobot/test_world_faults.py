"""Faults of the simulated robot, in lock-step: what the robot suffers, how it grows, and how it is undone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mbmrl_base.robots.faults import Fault, FaultError
from mbmrl_base.robots.millirobot.body import side_of
from mbmrl_base.robots.millirobot.layout import (
    BATTERY,
    LEG_NAMES,
    LEG_SPEED,
    LINEAR_VELOCITY,
    PITCH,
    POSITION,
    ROLL,
    YAW,
    angle,
)
from mbmrl_base.robots.observation import Array
from mbmrl_sim.effects import GRAVITY
from mbmrl_sim.millirobot.physics import LEGS
from mbmrl_sim.millirobot.world import PHYSICS_STEP, World
from world_testing import (
    STAND,
    WALK,
    NewWorld,
    contacts,
    gravity,
    mass_of,
    place_legs,
    random_actions,
    states,
    support,
    true_position,
)

ONE_OF_EACH = (
    Fault("leg_loss", "right_middle"),
    Fault("motor_weak", part="left", magnitude=0.5),
    Fault("motor_weak", part="right", magnitude=0.6, ramp=0.2),
    Fault("payload", magnitude=20.0, x=0.02, y=-0.01, ramp=0.3),
    Fault("terrain", terrain="gravel"),
    Fault("slope", magnitude=5.0, direction=60.0, ramp=0.5),
    Fault("pose_miscalibration", magnitude=20.0, x=0.1),
    Fault("link", magnitude=30.0, loss=10.0),
    Fault("battery_low", magnitude=0.4, ramp=0.1),
)


def contact_free_steps(world: World, leg: int, actions: Any) -> list[bool]:
    """Whether a leg had no contact, for each physics step."""
    free = []
    for action in actions:
        world.apply(action)
        for _ in range(world.substeps):
            world.advance(1)
            free.append(contacts(world, leg) == 0)
    return free


# Lost legs


@pytest.mark.parametrize("leg", range(6))
def test_lost_leg_has_neither_mass_nor_contact_from_that_instant_on(new_world: NewWorld, leg: int) -> None:
    world = new_world(seed=2)
    while not contacts(world, leg):
        world.apply(WALK)
        world.advance(1)
    intact = mass_of(world)
    fault = world.inject(Fault(part=str(leg)))
    assert contacts(world, leg) == 0
    assert intact - mass_of(world) == pytest.approx(world.parameters.leg_mass, abs=1e-9)
    assert (fault.part, fault.since) == (LEG_NAMES[leg], world.time)
    assert world.faults == (fault,)
    assert all(contact_free_steps(world, leg, [WALK] * 10))
    # It still turns with its side: the gear does not know.
    assert world.physics.leg_angles[2 + leg] == pytest.approx(world.physics.leg_angles[side_of(leg)], abs=0.05)


@pytest.mark.parametrize("leg", range(6))
def test_cleared_fault_restores_mass_and_contact(new_world: NewWorld, leg: int) -> None:
    world = new_world(seed=2)
    intact = mass_of(world)
    fault = world.inject(Fault(part=str(leg)))
    states(world, [WALK] * 5)
    assert world.clear_faults() == (fault,)
    assert mass_of(world) == intact
    assert world.faults == ()
    assert not all(contact_free_steps(world, leg, [WALK] * 10))


def test_lost_leg_changes_the_walk(new_world: NewWorld) -> None:
    intact, lame = new_world(seed=2), new_world(seed=2)
    lame.inject(Fault(part="0"))
    difference = states(intact, [WALK] * 20)[-1] - states(lame, [WALK] * 20)[-1]
    assert np.linalg.norm(difference[POSITION]) > 0.01


@pytest.mark.parametrize("leg", range(6))
def test_fault_cleared_at_once_leaves_the_intact_trajectory(new_world: NewWorld, leg: int) -> None:
    """Not bit for bit: the feet's contacts are made anew, so the solver meets them in another order."""
    intact, repaired = new_world(seed=3), new_world(seed=3)
    actions = random_actions(8)
    for world in (intact, repaired):
        states(world, actions[:5])
    repaired.inject(Fault(part=str(leg)))
    repaired.clear_faults()
    difference = np.abs(states(intact, actions[5:]) - states(repaired, actions[5:]))
    assert difference[:, POSITION].max() < 1e-5


def test_fault_of_the_leg_that_the_solver_meets_last_leaves_no_trace_at_all(new_world: NewWorld) -> None:
    """Then the order stays, so this shows that the fault restores each number that it changed."""
    intact, repaired = new_world(seed=3), new_world(seed=3)
    actions = random_actions(30)
    for world in (intact, repaired):
        states(world, actions[:10])
    repaired.inject(Fault(part="5"))
    repaired.clear_faults()
    np.testing.assert_array_equal(states(intact, actions[10:]), states(repaired, actions[10:]))


def test_robot_without_legs_lies_on_its_belly_and_rises_when_repaired(new_world: NewWorld) -> None:
    world = new_world(seed=1)
    standing = world.observe().state[2]
    for _ in range(6):
        world.inject()
    belly = states(world, [WALK] * 20)[-1]
    assert belly[2] == pytest.approx(world.parameters.body_size[2] / 2, abs=1e-3)
    assert np.linalg.norm(belly[LINEAR_VELOCITY]) < 0.01
    assert len(world.clear_faults()) == 6
    rising = states(world, [WALK] * 40)[:, 2]
    # Feet that appear within the ground lift the robot, and do not throw it.
    assert rising.max() < world.parameters.standing_height + world.parameters.foot_radius
    assert rising.mean() > belly[2] + 0.5 * (standing - belly[2])


# Weak motors


def test_weak_motors_have_this_share_of_their_torque(new_world: NewWorld) -> None:
    """Of a robot without legs, which speeds up its cranks and nothing else."""
    gained = []
    for strength in (1.0, 0.25):
        world = new_world(seed=1, rate=1 / PHYSICS_STEP)
        for _ in range(6):
            world.inject()
        if strength < 1:
            for side in ("left", "right"):
                world.inject(Fault("motor_weak", part=side, magnitude=strength))
        gained.append(np.diff(states(world, [STAND, WALK])[:, LEG_SPEED], axis=0)[0])
    np.testing.assert_allclose(gained[1], 0.25 * gained[0], rtol=0.03)


@pytest.mark.parametrize(("side", "sign"), [("left", 1), ("right", -1)])
def test_side_whose_motor_is_too_weak_falls_behind_and_the_robot_turns_to_it(
    new_world: NewWorld, side: str, sign: int
) -> None:
    for seed in range(2):
        world = new_world(seed=seed)
        world.inject(Fault("motor_weak", part=side, magnitude=0.03))
        walked = states(world, [WALK] * 40)
        weak, sound = walked[5:, LEG_SPEED].mean(0)[::sign]
        assert weak < 0.5 * WALK[0]
        assert sound == pytest.approx(WALK[0], rel=0.1)
        assert sign * np.diff(np.unwrap(angle(walked, YAW))[[0, -1]]) > 1.0


# Loads


@pytest.mark.parametrize("magnitude", [5.0, 60.0])
def test_load_weighs_on_the_feet(new_world: NewWorld, magnitude: float) -> None:
    world = new_world(seed=1)
    intact = mass_of(world)
    world.inject(Fault("payload", magnitude=magnitude, x=0.01, y=0.01))
    assert mass_of(world) == pytest.approx(intact + 1e-3 * magnitude)
    states(world, [STAND] * 20)
    np.testing.assert_allclose(support(world), [0, 0, mass_of(world) * GRAVITY], atol=2e-3)
    world.clear_faults()
    assert mass_of(world) == intact
    states(world, [STAND] * 20)
    np.testing.assert_allclose(support(world), [0, 0, intact * GRAVITY], atol=2e-3)


@pytest.mark.parametrize(
    ("x", "y", "pair", "sign"),
    [(0.0, 0.03, ROLL, -1), (0.0, -0.03, ROLL, 1), (0.05, 0.0, PITCH, 1), (-0.05, 0.0, PITCH, -1)],
)
def test_load_tilts_the_body_to_its_side(new_world: NewWorld, x: float, y: float, pair: slice, sign: int) -> None:
    world = new_world()
    place_legs(world, 0.0, 0.0)
    world.inject(Fault("payload", magnitude=30.0, x=x, y=y))
    leaning = states(world, [STAND] * 20)[-1]
    assert 0.3 < sign * np.degrees(angle(leaning, pair)) < 3.0
    # It lies where the newest fault puts it.
    world.inject(Fault("payload", magnitude=30.0, x=-x, y=-y))
    assert len(world.faults) == 1
    leaning = states(world, [STAND] * 20)[-1]
    assert -3.0 < sign * np.degrees(angle(leaning, pair)) < -0.3


def test_load_goes_where_the_robot_goes(new_world: NewWorld) -> None:
    world = new_world(seed=2)
    world.inject(Fault("payload", magnitude=20.0, x=0.03, y=-0.02))
    client, robot = world.physics.client, world.physics.robot
    load = world.physics.payload.body
    for action in random_actions(30):
        world.step(action)
        place, _ = client.getBasePositionAndOrientation(load)
        relative, _ = client.multiplyTransforms(
            *client.invertTransform(*client.getBasePositionAndOrientation(robot)), place, [0, 0, 0, 1]
        )
        np.testing.assert_allclose(relative, [0.03, -0.02, world.parameters.body_size[2] / 2], atol=2e-3)


# Miscalibrated poses


def test_miscalibrated_pose_is_measured_and_the_robot_walks_as_before(new_world: NewWorld) -> None:
    sound, faulty = new_world(seed=3), new_world(seed=3)
    turn, shift = np.radians(30.0), complex(0.2, -0.1)
    faulty.inject(Fault("pose_miscalibration", magnitude=30.0, x=shift.real, y=shift.imag))
    for action in random_actions(20):
        state, seen = sound.step(action).state, faulty.step(action).state
        np.testing.assert_array_equal(true_position(faulty), true_position(sound))
        np.testing.assert_array_equal(seen[12:], state[12:])
        assert complex(*seen[:2]) == pytest.approx(complex(*state[:2]) * np.exp(1j * turn) + shift)
        assert complex(*seen[3:5]) == pytest.approx(complex(*state[3:5]) * np.exp(1j * turn))
        assert complex(*seen[YAW]) == pytest.approx(complex(*state[YAW]) * np.exp(1j * turn))
    faulty.clear_faults()
    np.testing.assert_array_equal(faulty.step(WALK).state, sound.step(WALK).state)


# The battery


@pytest.mark.parametrize("magnitude", [0.3, 1.5])
def test_battery_is_lower_by_the_magnitude(new_world: NewWorld, magnitude: float) -> None:
    sound, faulty = new_world(seed=3), new_world(seed=3)
    faulty.inject(Fault("battery_low", magnitude=magnitude))
    lower = [states(world, [STAND] * 5)[-1][BATTERY] for world in (sound, faulty)]
    assert lower[0] - lower[1] == pytest.approx(magnitude, abs=1e-3)
    faulty.clear_faults()
    assert faulty.step(STAND).state[BATTERY] == pytest.approx(lower[0], abs=1e-3)


# Faults that grow


def test_faults_grow_over_their_ramps(new_world: NewWorld) -> None:
    """Ten of twenty intervals of 50 ms are half of a ramp of 1 s; effects follow within 10 ms."""
    world = new_world(seed=1)
    mass, voltage = mass_of(world), world.observe().state[BATTERY]
    for fault in (
        Fault("payload", magnitude=20.0, ramp=1.0),
        Fault("battery_low", magnitude=0.8, ramp=1.0),
        Fault("slope", magnitude=-6.0, ramp=1.0),
        Fault("pose_miscalibration", x=0.4, ramp=1.0),
    ):
        world.inject(fault)
    assert mass_of(world) == mass
    assert gravity(world) == pytest.approx([0, 0, -GRAVITY])
    for share, steps in ((0.5, 10), (1.0, 10), (1.0, 4)):
        state = states(world, [STAND] * steps)[-1]
        late = 0.0 if steps == 4 else 0.011
        assert mass_of(world) == pytest.approx(mass + share * 0.02, abs=0.02 * late + 1e-9)
        assert voltage - state[BATTERY] == pytest.approx([share * 0.8], abs=0.8 * late + 2e-3)
        uphill = GRAVITY * np.sin(np.radians(6.0))
        assert gravity(world)[0] == pytest.approx(share * uphill, abs=uphill * late + 1e-9)
        assert state[0] - true_position(world)[0] == pytest.approx(share * 0.4, abs=1e-9)
    np.testing.assert_allclose(np.linalg.norm(gravity(world)), GRAVITY)


@pytest.mark.parametrize("ramp", [0.001, 0.004, 0.03])
def test_fault_with_a_short_ramp_has_its_full_effect(new_world: NewWorld, ramp: float) -> None:
    world = new_world()
    intact = mass_of(world)
    world.inject(Fault("payload", magnitude=20.0, ramp=ramp))
    world.step(STAND)
    assert mass_of(world) == pytest.approx(intact + 0.02)


# Several faults


def test_faults_act_together(new_world: NewWorld) -> None:
    world = new_world(seed=1)
    intact, voltage = mass_of(world), world.observe().state[BATTERY]
    faults = [world.inject(fault) for fault in ONE_OF_EACH]
    assert world.faults == tuple(sorted(faults, key=lambda fault: fault.key))
    assert [fault.part for fault in world.faults if fault.kind == "leg_loss"] == ["right_middle"]
    assert world.terrain == "gravel"
    walked = states(world, [WALK] * 20)
    assert np.isfinite(walked).all()
    assert mass_of(world) == pytest.approx(intact + 0.02 - world.parameters.leg_mass)
    assert contacts(world, 4) == 0
    assert np.hypot(*gravity(world)[:2]) == pytest.approx(GRAVITY * np.sin(np.radians(5.0)))
    assert walked[-1, BATTERY] < voltage - 0.35
    assert np.linalg.norm(walked[-1, :2] - true_position(world)[:2]) > 0.05


def test_newer_fault_replaces_the_one_that_hits_the_same(new_world: NewWorld) -> None:
    world = new_world(seed=1)
    intact = mass_of(world)
    world.inject(Fault("payload", magnitude=20.0))
    world.inject(Fault("motor_weak", part="left", magnitude=0.5))
    world.inject(Fault("motor_weak", part="right", magnitude=0.5))
    states(world, [STAND] * 4)
    newer = world.inject(Fault("payload", magnitude=10.0, ramp=0.2))
    assert [fault.kind for fault in world.faults] == ["motor_weak", "motor_weak", "payload"]
    assert world.faults[-1] == newer
    assert newer.since == world.time
    assert mass_of(world) == pytest.approx(intact + 0.02)  # it starts from where the first one is
    states(world, [STAND] * 2)
    assert mass_of(world) == pytest.approx(intact + 0.015, abs=0.0006)
    states(world, [STAND] * 4)
    assert mass_of(world) == pytest.approx(intact + 0.01)


def dynamics(world: World) -> Array:
    """What PyBullet knows of the robot's links: masses, inertias, frictions, contacts."""
    client, robot = world.physics.client, world.physics.robot
    links = [client.getDynamicsInfo(robot, link) for link in (-1, 0, 1, *LEGS)]
    return np.array([[info[0], info[1], *info[2], *info[5:10]] for info in links])


def test_clearing_undoes_all_faults(new_world: NewWorld) -> None:
    world = new_world(seed=1, slope=(0.05, 1.0))
    before = dynamics(world), gravity(world), mass_of(world), world.terrain
    voltage = world.observe().state[BATTERY]
    faults = [world.inject(fault) for fault in ONE_OF_EACH]
    states(world, [WALK] * 20)
    assert set(world.clear_faults()) == set(faults)
    assert world.faults == ()
    np.testing.assert_array_equal(dynamics(world), before[0])
    assert (gravity(world), mass_of(world), world.terrain) == before[1:]
    states(world, [WALK] * 5)
    observations = [world.step(WALK) for _ in range(15)]
    last = observations[-1].state
    np.testing.assert_array_equal(last[POSITION], true_position(world))
    assert all(observation.action.tolist() == WALK.tolist() for observation in observations)
    assert np.mean([observation.state[LEG_SPEED] for observation in observations]) == pytest.approx(WALK[0], rel=0.1)
    rested = states(world, [STAND] * 20)[-1]
    assert rested[BATTERY] == pytest.approx(voltage, abs=0.01)
    assert all(not all(contact_free_steps(world, leg, [WALK] * 10)) for leg in range(6))
    assert world.clear_faults() == ()


@pytest.mark.parametrize(
    "fault", [fault for fault in ONE_OF_EACH if fault.kind not in ("leg_loss", "terrain")], ids=lambda fault: fault.kind
)
def test_fault_that_is_cleared_at_once_leaves_no_trace_at_all(new_world: NewWorld, fault: Fault) -> None:
    intact, repaired = new_world(seed=3), new_world(seed=3)
    actions = random_actions(15)
    for world in (intact, repaired):
        states(world, actions[:5])
    repaired.inject(fault)
    repaired.clear_faults()
    np.testing.assert_array_equal(states(intact, actions[5:]), states(repaired, actions[5:]))


def test_reset_undoes_all_faults(new_world: NewWorld) -> None:
    world, fresh = new_world(seed=1), new_world(seed=1)
    for fault in ONE_OF_EACH:
        world.inject(fault)
    states(world, [WALK] * 10)
    world.reset(seed=1)
    assert (world.faults, world.terrain) == ((), "carpet")
    actions = random_actions(10)
    np.testing.assert_array_equal(states(world, actions), states(fresh, actions))


def test_impossible_fault_changes_nothing(new_world: NewWorld) -> None:
    world, untouched = new_world(seed=3), new_world(seed=3)
    for one in (world, untouched):
        one.inject(Fault(part="2"))
    before = world.faults
    for fault in (
        Fault(part="2"),
        Fault(part="9"),
        Fault("rust", "2"),
        Fault("payload", magnitude=99.0),
        Fault("terrain", terrain="ice"),
        Fault("motor_weak", part="top"),
        Fault("slope", magnitude=5.0, ramp=-1.0),
    ):
        with pytest.raises(FaultError):
            world.inject(fault)
    assert world.faults == before
    actions = random_actions(5)
    np.testing.assert_array_equal(states(world, actions), states(untouched, actions))
