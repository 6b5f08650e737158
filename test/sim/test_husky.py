"""The simulated Husky: it drives as it is commanded, and faults do what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import numpy as np
import pytest

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.observation import Array
from mbmrl_sim.husky import STEEPEST, WHEELS, Husky, HuskyParameters

STAND, AHEAD, TURN = np.zeros(2), np.array([0.5, 0.0]), np.array([0.0, 1.0])
X, Y, YAW, VX, VY, YAW_RATE, LEFT, RIGHT = range(8)
NewHusky = Callable[..., Husky]


@pytest.fixture
def new_husky() -> Iterator[NewHusky]:
    """Makes Huskies, which are freed at the end of the test."""
    with ExitStack() as made:
        yield lambda *args, **settings: made.enter_context(closing(Husky(*args, **settings)))


def drive(husky: Husky, action: Array, steps: int = 60) -> Array:
    """The state after some intervals with an action, shape (8,)."""
    for _ in range(steps):
        state = husky.step(action).state
    return state


def after(husky: Husky, fault: Fault | None, action: Array) -> Array:
    """The state after 3 s from the start, with a fault or without."""
    husky.reset()
    if fault is not None:
        husky.inject(fault)
    return drive(husky, action)


def test_it_stands_until_it_is_commanded(new_husky: NewHusky) -> None:
    np.testing.assert_allclose(drive(new_husky(), STAND), np.zeros(8), atol=2e-3)


def test_it_drives_straight_at_the_commanded_speed(new_husky: NewHusky) -> None:
    state = drive(new_husky(), AHEAD)
    assert state[VX] == pytest.approx(0.5, abs=0.01)
    assert state[X] == pytest.approx(1.5, abs=0.1)
    np.testing.assert_allclose(state[[Y, YAW, YAW_RATE]], 0, atol=0.01)


@pytest.mark.parametrize("direction", [1, -1])
def test_it_turns_at_the_commanded_rate_on_carpet(new_husky: NewHusky, direction: int) -> None:
    assert drive(new_husky(), direction * TURN)[YAW_RATE] == pytest.approx(direction, rel=0.1)


def test_where_it_looks_does_not_matter_to_how_it_turns(new_husky: NewHusky) -> None:
    husky = new_husky()
    drive(husky, TURN, 20)
    rates = [husky.step(TURN).state[YAW_RATE] for _ in range(130)]  # more than a full turn
    assert np.ptp(rates) < 0.01


def test_its_mirror_image_drives_alike(new_husky: NewHusky) -> None:
    robot, image = new_husky(), new_husky()
    robot.inject(Fault("wheel_dead", "rear_left"))
    image.inject(Fault("wheel_dead", "rear_right"))
    for speed, turn in ((0.5, 0.6), (0.2, -0.9), (0.0, 0.5)):
        action = np.array([speed, turn])
        state = drive(robot, action, 10)
        mirrored, _ = robot.robot.mirror(drive(image, action * [1, -1], 10), action)
        np.testing.assert_allclose(state, mirrored, atol=2e-3)


def test_dead_wheel_pulls_to_its_side(new_husky: NewHusky) -> None:
    husky = new_husky()
    for wheel in WHEELS:
        yaw = after(husky, Fault("wheel_dead", wheel), AHEAD)[YAW]
        assert np.sign(yaw) == (1 if wheel.endswith("left") else -1)
        assert abs(yaw) > 3 * abs(after(husky, None, AHEAD)[YAW])


def test_ice_lets_a_side_slip(new_husky: NewHusky) -> None:
    husky, turning = new_husky(), np.array([0.3, 0.5])
    for side, sign in (("left", 1), ("right", -1)):
        action = turning * [1, sign]
        fault = Fault("ice", side, magnitude=0.08)
        assert abs(after(husky, fault, action)[YAW]) < 0.6 * abs(after(husky, None, action)[YAW])


def test_slope_rolls_it_down(new_husky: NewHusky) -> None:
    husky = new_husky()
    assert after(husky, Fault("slope", magnitude=15.0), STAND)[X] < -0.1
    assert after(husky, Fault("slope", magnitude=15.0, direction=90.0), STAND)[Y] < -0.05
    assert after(new_husky(slope=(0.2, 0.0)), None, STAND)[X] < -0.1


def test_payload_slows_its_turn(new_husky: NewHusky) -> None:
    husky = new_husky()
    assert after(husky, Fault("payload", magnitude=75.0), TURN)[YAW_RATE] < 0.9 * after(husky, None, TURN)[YAW_RATE]


def test_worn_tyres_need_longer_to_speed_up(new_husky: NewHusky) -> None:
    husky = new_husky()
    assert after(husky, Fault("worn_tyres", magnitude=0.1), AHEAD)[X] < after(husky, None, AHEAD)[X] - 0.05


def test_varied_robots_differ_on_slopes_that_they_can_climb(new_husky: NewHusky) -> None:
    made = [new_husky(varied=np.random.default_rng(seed)) for seed in range(5)]
    assert len({husky.parameters for husky in made}) == 5
    assert HuskyParameters() not in {husky.parameters for husky in made}
    assert all(0 <= husky.about["slope"][0] <= STEEPEST for husky in made)
    assert all(drive(husky, np.array([0.6, 0.0]))[X] > 0.5 for husky in made)


def test_unknown_ground_is_refused(new_husky: NewHusky) -> None:
    with pytest.raises(ValueError, match="unknown terrain 'ice': allowed is carpet, concrete, grass"):
        new_husky(terrain="ice")
