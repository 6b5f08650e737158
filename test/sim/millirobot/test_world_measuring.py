"""What the simulated robot is told and what it tells, in lock-step: late commands, sensors, sampling times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.layout import LEG_SPEED
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_sim.lockstep import COMMAND_TIMEOUT
from mbmrl_sim.millirobot.world import PHYSICS_STEP, World
from mbmrl_sim.sensors import SENSORS, SensorSettings
from world_testing import STAND, WALK, NewWorld, random_actions, states, true_position

REAL = SENSORS["real"]


# Commands that come late or never


def test_late_commands_move_the_robot_as_they_would_have_later(new_world: NewWorld) -> None:
    """A delay of three intervals: bit for bit the walk of a robot that is told three intervals later."""
    late, sound = new_world(seed=3, rate=100.0), new_world(seed=3, rate=100.0)
    late.inject(Fault("link", magnitude=30.0))
    actions = random_actions(40)
    for action, in_force in zip(actions, [STAND] * 3 + list(actions[:-3]), strict=True):
        observed, expected = late.step(action), sound.step(in_force)
        np.testing.assert_array_equal(observed.state, expected.state)
        np.testing.assert_array_equal(observed.action, expected.action)


def test_action_is_the_mean_of_what_was_in_force(new_world: NewWorld) -> None:
    """A delay of 20 of 50 ms, so that each command is in force for 30 ms of its interval and 20 of the next."""
    late, sound = new_world(seed=3), new_world(seed=3)
    late.inject(Fault("link", magnitude=20.0))
    before = STAND
    for action in random_actions(20):
        observed = late.step(action)
        np.testing.assert_allclose(observed.action, 0.4 * before + 0.6 * action)
        assert observed.interval == pytest.approx(0.05)
        for part, steps in ((before, 20), (action, 30)):
            sound.apply(part)
            sound.advance(steps)
        np.testing.assert_array_equal(observed.state, sound.finish_interval().state)
        before = action


def test_legs_follow_the_late_command(new_world: NewWorld) -> None:
    world = new_world(seed=1, rate=100.0)
    states(world, [0.5 * WALK] * 40)
    world.inject(Fault("link", magnitude=100.0))
    before, after = np.split(states(world, [1.5 * WALK] * 40)[:, LEG_SPEED].mean(1), [10])
    assert before.mean() == pytest.approx(0.5 * WALK[0], rel=0.2)
    assert after[10:].mean() == pytest.approx(1.5 * WALK[0], rel=0.2)


def test_commands_that_are_lost_leave_the_last_one_in_force_until_the_time_out(new_world: NewWorld) -> None:
    """A command is in force for its interval and, where the next one is lost, for one more; then the legs stop."""
    world, sound = new_world(seed=2), new_world(seed=2)
    world.inject(Fault("link", loss=90.0))
    held = round(COMMAND_TIMEOUT * world.rate) - 1
    in_force, since, counts = STAND, held + 1, {"received": 0, "held": 0, "stopped": 0}
    for action in random_actions(100):
        observed = world.step(action)
        received = np.array_equal(observed.action, action)
        in_force, since = (action, 0) if received else (in_force, since + 1)
        counts["received" if received else "held" if since <= held else "stopped"] += 1
        np.testing.assert_array_equal(observed.action, in_force if since <= held else STAND)
        # What it tells is what moved it: a sound link with these commands gives the same states.
        np.testing.assert_array_equal(observed.state, sound.step(observed.action).state)
        assert since < held + 4 or np.abs(observed.state[LEG_SPEED]).max() < 4.0
    assert 5 <= counts["received"] <= 30
    assert 0 < counts["held"] <= counts["received"]
    world.clear_faults()
    assert all(world.step(WALK).action.tolist() == WALK.tolist() for _ in range(5))


# Sensors


def test_sensors_change_what_is_measured_and_nothing_else(new_world: NewWorld) -> None:
    """Neither the walk, nor the leg phases of the next episode, nor random faults."""
    ideal, real = new_world(seed=5), new_world(seed=5, sensors=REAL)
    for episode in range(3):
        for action in random_actions(10):
            seen = ideal.step(action).state, real.step(action).state
            np.testing.assert_array_equal(true_position(ideal), true_position(real))
            np.testing.assert_array_equal(ideal.physics.leg_angles, real.physics.leg_angles)
            assert not np.array_equal(*seen)
        kinds = (Fault(), Fault("motor_weak"), Fault("terrain"))[: 1 + episode]
        assert [ideal.inject(kind) for kind in kinds] == [real.inject(kind) for kind in kinds]
        for world in (ideal, real):
            world.clear_faults()
            world.reset()


def test_random_grounds_and_losses_do_not_change_the_leg_phases(new_world: NewWorld) -> None:
    smooth, rough = new_world(seed=5), new_world(seed=5, terrain="gravel", sensors=REAL)
    rough.inject(Fault("link", loss=50.0))
    states(rough, [WALK] * 10)
    assert smooth.inject() == replace(rough.inject(), since=smooth.time)
    for world in (smooth, rough):
        world._simulate = lambda steps: None  # type: ignore[method-assign]
        world.reset()
    np.testing.assert_array_equal(smooth.physics.leg_angles, rough.physics.leg_angles)


def everything(world: World) -> list[Observation]:
    """A walk with all kinds of faults, one after the other."""
    observations = [world.observe()]
    faults = (
        Fault("slope", magnitude=6.0, direction=30.0, ramp=0.3),
        Fault("motor_weak", magnitude=0.5, ramp=0.2),
        Fault("link", magnitude=35.0, loss=20.0, ramp=0.2),
        Fault("payload", magnitude=12.0, x=0.03, y=0.01, ramp=0.4),
        Fault("terrain"),
        Fault("battery_low", magnitude=0.3),
        Fault("pose_miscalibration", magnitude=10.0, x=0.1, ramp=0.5),
        Fault(),
    )
    for number, action in enumerate(random_actions(40)):
        if number % 4 == 0 and number // 4 < len(faults):
            world.inject(faults[number // 4])
        observations.append(world.step(action))
    world.clear_faults()
    observations += [world.step(WALK) for _ in range(5)]
    return observations


def numbers(observations: list[Observation]) -> Array:
    """All numbers of observations."""
    return np.array([[*one.state, *one.action, one.time, one.interval, one.sequence] for one in observations])


def test_same_seed_gives_the_same_walk_bit_for_bit_with_all_that_may_happen(new_world: NewWorld) -> None:
    first, again = (
        numbers(everything(new_world(3, terrain="gravel", slope=(0.03, 2.0), sensors=REAL))) for _ in range(2)
    )
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


def test_reset_with_a_seed_repeats_sensors_and_ground_too(new_world: NewWorld) -> None:
    settings = {"terrain": "gravel", "sensors": REAL}
    fresh, used = new_world(3, **settings), new_world(8, **settings)
    used.inject(Fault("link", loss=40.0))
    states(used, [WALK] * 7)
    used.reset(seed=3)
    actions = random_actions(10)
    np.testing.assert_array_equal(states(fresh, actions), states(used, actions))


# Sampling times


def test_measurements_at_jittered_times_are_those_of_their_time_stamps(new_world: NewWorld) -> None:
    """State, interval and action belong to the time of measurement, and not to the end of the control interval."""
    jittered = new_world(seed=3, sensors=SensorSettings(jitter=0.004))
    exact = new_world(seed=3, rate=1 / PHYSICS_STEP)
    start = jittered.observe().time
    steps, actions = round(0.05 / PHYSICS_STEP), random_actions(30)
    commands = np.repeat(actions, steps, axis=0)
    truth = states(exact, commands)
    last, early = 0, []
    for number, action in enumerate(actions, start=1):
        observed = jittered.step(action)
        now = round((observed.time - start) / PHYSICS_STEP)
        early.append(number * steps - now)
        assert observed.sequence == number
        assert observed.interval == pytest.approx((now - last) * PHYSICS_STEP)
        np.testing.assert_allclose(observed.action, commands[last:now].mean(0))
        np.testing.assert_array_equal(observed.state, truth[now - 1])
        last = now
    assert min(early) >= 0
    assert len(set(early)) > 5
    assert np.sqrt(np.mean(np.square(early))) == pytest.approx(4.0, rel=0.4)


def test_measurement_is_at_most_half_an_interval_early(new_world: NewWorld) -> None:
    world = new_world(seed=3, sensors=SensorSettings(jitter=1e3))
    start = world.observe().time
    times = [world.step(WALK).time - start for _ in range(10)]
    np.testing.assert_allclose(np.arange(1, 11) * 0.05 - times, 0.025, atol=1e-9)
