"""The simulated robot as a whole, in lock-step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.body import RobotParameters, vary
from mbmrl_base.robots.millirobot.layout import (
    ANGULAR_VELOCITY,
    BATTERY,
    LEG_NAMES,
    LEG_SPEED,
    LINEAR_VELOCITY,
    MAX_LEG_SPEED,
    MIN_LEG_SPEED,
    PITCH,
    POSITION,
    ROLL,
    YAW,
    angle,
)
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_sim.bullet import pybullet
from mbmrl_sim.lockstep import substeps
from mbmrl_sim.millirobot.world import PHYSICS_STEP, World
from world_testing import STAND, WALK, NewWorld, mass_of, place_legs, random_actions, states


def kinetic_energy(world: World, observation: Observation) -> float:
    """Energy of the body's movement, J."""
    return 0.5 * mass_of(world) * float(np.sum(observation.state[LINEAR_VELOCITY] ** 2))


def rotation(state: Array) -> Array:
    """Attitude as a matrix that turns vectors of the body into odom."""
    attitude = [float(angle(state, pair)) for pair in (ROLL, PITCH, YAW)]
    quaternion = pybullet.getQuaternionFromEuler(attitude)
    return np.array(pybullet.getMatrixFromQuaternion(quaternion)).reshape(3, 3)


# Determinism


def test_same_seed_and_commands_give_the_same_states_bit_for_bit(new_world: NewWorld) -> None:
    actions = random_actions(30)
    first, second = new_world(seed=3), new_world(seed=3)
    for action in actions:  # in turns: worlds of one process do not share anything
        np.testing.assert_array_equal(first.step(action).state, second.step(action).state)


def test_reset_with_a_seed_repeats_an_episode_bit_for_bit(new_world: NewWorld) -> None:
    actions = random_actions(20)
    fresh, used = new_world(seed=3), new_world(seed=8)
    used.inject()
    states(used, actions)
    used.reset(seed=3)
    np.testing.assert_array_equal(states(fresh, actions), states(used, actions))


def test_different_seed_gives_different_states(new_world: NewWorld) -> None:
    actions = random_actions(5)
    assert not np.array_equal(states(new_world(seed=3), actions), states(new_world(seed=4), actions))


def test_random_fault_follows_from_the_seed(new_world: NewWorld) -> None:
    legs = [[world.inject().part for _ in range(6)] for world in (new_world(seed=5), new_world(seed=5))]
    assert legs[0] == legs[1]
    assert sorted(legs[0]) == sorted(LEG_NAMES)


def test_joints_follow_from_the_state(new_world: NewWorld) -> None:
    """To a whole turn, and to what the gear of a leg gives."""
    world = new_world(seed=6)
    state = states(world, random_actions(20))[-1]
    joints = world.joints()
    shown = load_robot("millirobot").joints(state)
    assert tuple(shown) == joints.names
    np.testing.assert_allclose(np.cos(list(shown.values()) - np.array(joints.positions)), 1.0, atol=1e-3)


# Movement


@pytest.mark.parametrize("seed", range(3))
def test_robot_at_rest_stays_at_rest(new_world: NewWorld, seed: int) -> None:
    world = new_world(seed=seed)
    start = world.observe()
    for _ in range(40):
        observation = world.step(STAND)
        assert kinetic_energy(world, observation) < 1e-6  # the legs may yield a little: under 9 mm/s
        moved = observation.state[POSITION] - start.state[POSITION]
        assert np.linalg.norm(moved) < 5e-3
        assert moved[2] < 5e-4
    assert kinetic_energy(world, observation) < 1e-7
    assert np.abs(observation.state[LEG_SPEED]).max() < 0.1


def test_robot_that_is_told_to_stop_comes_to_rest(new_world: NewWorld) -> None:
    world = new_world(seed=2)
    walking = [kinetic_energy(world, world.step(WALK)) for _ in range(10)]
    stopping = [kinetic_energy(world, world.step(STAND)) for _ in range(20)]
    assert max(walking) > 1e-4
    assert max(stopping[10:]) < 0.05 * max(walking)
    assert stopping[-1] < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_robot_walks_forward(new_world: NewWorld, seed: int) -> None:
    walked = states(new_world(seed=seed), [WALK] * 30)
    heading = angle(walked, YAW)
    forward = walked[:, 3] * np.cos(heading) + walked[:, 4] * np.sin(heading)
    assert forward.mean() > 0.1


@pytest.mark.parametrize(("action", "sign"), [((22.0, 37.0), 1), ((37.0, 22.0), -1)])
def test_robot_turns_to_the_side_of_the_slower_legs(
    new_world: NewWorld, action: tuple[float, float], sign: int
) -> None:
    turns = [np.unwrap(angle(states(new_world(seed=s), [action] * 40), YAW))[[0, -1]] for s in range(3)]
    assert np.mean(sign * np.diff(turns)) > 1.0


@pytest.mark.parametrize("speed", [MIN_LEG_SPEED, 30.0, MAX_LEG_SPEED])
def test_legs_reach_their_set_points(new_world: NewWorld, speed: float) -> None:
    walked = states(new_world(seed=1), [np.array([speed, MIN_LEG_SPEED])] * 70)
    np.testing.assert_allclose(walked[10:, LEG_SPEED].mean(0), [speed, MIN_LEG_SPEED], rtol=0.05)


def test_walking_draws_on_the_battery(new_world: NewWorld) -> None:
    world = new_world(seed=1)
    walked = states(world, [WALK] * 40)
    rested = states(world, [STAND] * 10)
    assert rested[-1, BATTERY] < world.parameters.battery.initial_voltage - 1e-4
    assert walked[:, BATTERY].mean() < rested[-1, BATTERY]


def test_legs_of_a_side_stay_on_one_phase(new_world: NewWorld) -> None:
    world = new_world(seed=1)
    for _ in range(30):
        world.step(np.array([MAX_LEG_SPEED, MIN_LEG_SPEED]))
        cranks, legs = world.physics.leg_angles[:2], world.physics.leg_angles[2:]
        assert np.abs(legs - np.repeat(cranks, 3)).max() < 0.02


def test_command_in_force_is_reported_as_applied(new_world: NewWorld) -> None:
    world = new_world()
    assert world.step(np.array([-5.0, 1e3])).action.tolist() == [0.0, MAX_LEG_SPEED]
    assert world.step(np.array([20.0, 0.0])).action.tolist() == [20.0, 0.0]


def test_impossible_command_is_refused_and_changes_nothing(new_world: NewWorld) -> None:
    world = new_world()
    world.step(WALK)
    with pytest.raises(ValueError, match="2 finite numbers"):
        world.step(np.array([np.nan, 1.0]))
    assert world.observe().sequence == 1
    assert world.observe().action.tolist() == WALK.tolist()


def test_velocities_are_those_of_the_pose(new_world: NewWorld) -> None:
    """The linear one in odom, the angular one in the body."""
    world = new_world(seed=1, rate=1 / PHYSICS_STEP)
    walked = states(world, [np.array([22.0, 37.0])] * 800)
    assert abs(angle(walked[-1], YAW)) > 0.5  # else the frames are alike
    moved = np.diff(walked[:, POSITION], axis=0) / PHYSICS_STEP
    np.testing.assert_allclose(moved, walked[1:, LINEAR_VELOCITY], atol=1e-6)
    for before, after in itertools.pairwise(walked[-50:]):
        turn = rotation(before).T @ rotation(after) / PHYSICS_STEP
        rate = [turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]
        np.testing.assert_allclose(np.array(rate) / 2, after[ANGULAR_VELOCITY], atol=0.1)


def test_robot_stands_at_the_height_of_its_legs(new_world: NewWorld) -> None:
    world = new_world()
    assert place_legs(world, 0.0, 0.0).state[2] == pytest.approx(world.parameters.standing_height, abs=1e-3)


def test_each_world_has_the_robot_that_it_was_given(new_world: NewWorld) -> None:
    heavy = RobotParameters(body_mass=0.05)
    worlds = [new_world(), new_world(parameters=heavy), new_world()]
    for _ in range(2):
        masses = [mass_of(world) for world in worlds]
        assert np.diff(masses) == pytest.approx([0.025, -0.025])
        for world in worlds:
            world.reset()


@pytest.mark.parametrize("lost", [None, 1])
@pytest.mark.parametrize("phases", [(0.0, np.pi), (-2.0, 0.5)])
@pytest.mark.parametrize("action", [(30.0, 30.0), (20.0, 40.0)])
def test_mirrored_robot_moves_like_the_mirror_image(
    new_world: NewWorld, action: tuple[float, float], phases: tuple[float, float], lost: int | None
) -> None:
    robot, image = new_world(), new_world()
    place_legs(robot, *phases)
    place_legs(image, *phases[::-1])
    if lost is not None:
        robot.inject(Fault(part=str(lost)))
        image.inject(Fault(part=str(lost + 3)))
    # The solver takes the contacts one after the other, and walking is chaotic: the images part in time.
    walked, mirrored = states(robot, [action] * 5), states(image, [action[::-1]] * 5)
    pose = slice(0, 12)
    seen, _ = load_robot("millirobot").mirror(mirrored[-1], np.array(action))
    difference = np.abs(seen - walked[-1])
    assert np.linalg.norm(walked[-1, :2]) > 0.015
    assert difference[POSITION].max() < 1e-4
    assert difference[pose].max() < 1e-2


# Other robots, other ground


def test_robots_that_vary_walk_in_their_own_way(new_world: NewWorld) -> None:
    first, again, other = (vary(RobotParameters(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    walks = [states(new_world(seed=3, parameters=robot), [WALK] * 20)[-1] for robot in (first, again, other)]
    assert np.array_equal(walks[0], walks[1])
    assert np.linalg.norm(walks[0][:2] - walks[2][:2]) > 0.01


def test_leg_that_is_longer_carries_more(new_world: NewWorld) -> None:
    """The robot leans away from legs that are longer."""
    longer_on_the_left = RobotParameters(length_scales=(1.2,) * 3 + (1.0,) * 3)
    leaning, level = new_world(seed=3, parameters=longer_on_the_left), new_world(seed=3)
    rolls = [angle(states(world, [WALK] * 40), ROLL).mean() for world in (leaning, level)]
    assert rolls[0] > rolls[1] + 0.03


# Episodes and intervals


def test_reset_starts_a_new_episode_of_an_intact_robot(new_world: NewWorld) -> None:
    world = new_world(seed=1)
    intact = mass_of(world)
    world.inject()
    last = [world.step(WALK) for _ in range(20)][-1]
    first = world.reset()
    assert first.episode == last.episode + 1 == world.episode
    assert first.sequence == last.sequence
    assert first.interval == 0
    assert first.time > last.time
    assert first.action.tolist() == [0.0, 0.0]
    assert np.linalg.norm(first.state[POSITION][:2]) < 0.01
    assert world.faults == ()
    assert mass_of(world) == intact
    assert world.step(WALK).sequence == last.sequence + 1


@pytest.mark.parametrize("rate", [10.0, 20.0, 50.0])
def test_intervals_have_the_length_of_the_rate(new_world: NewWorld, rate: float) -> None:
    world = new_world(rate=rate)
    observations = [world.observe(), *(world.step(WALK) for _ in range(5))]
    assert [observation.sequence for observation in observations] == list(range(6))
    assert [observation.interval for observation in observations[1:]] == pytest.approx([1 / rate] * 5)
    times = [observation.time for observation in observations]
    assert np.diff(times) == pytest.approx(np.full(5, 1 / rate), abs=1e-9)


def test_interval_in_which_the_action_changed_is_not_exact(new_world: NewWorld) -> None:
    world = new_world()
    world.apply(WALK)
    world.advance(world.substeps // 2)
    world.apply(STAND)
    world.advance(world.substeps - world.substeps // 2)
    assert world.finish_interval(exact=False).interval == 0


@pytest.mark.parametrize(("rate", "steps"), [(5, 200), (10.0, 100), (20.0, 50), (40.0, 25), (1000.0, 1)])
def test_reachable_rates(rate: float, steps: int) -> None:
    assert substeps(rate, PHYSICS_STEP) == steps
    assert steps * PHYSICS_STEP == pytest.approx(1 / rate)


@pytest.mark.parametrize("rate", [0.0, -20.0, 7.0, 2000.0, np.inf, np.nan])
def test_unreachable_rate_is_refused_with_a_sentence(rate: float) -> None:
    with pytest.raises(ValueError, match=f"a control rate of {rate:g} Hz is not reachable: allowed are rates"):
        substeps(rate, PHYSICS_STEP)
