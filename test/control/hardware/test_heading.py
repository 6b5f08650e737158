"""Motion capture whose heading cannot be the robot's is told by the gyro, and by the way that it walks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.layout import PITCH, POSITION, ROLL, YAW, angle
from mbmrl_base.robots.observation import Array
from mbmrl_control.hardware.codecs.wire import Command, Configure, Enable, Hello, Telemetry
from mbmrl_control.hardware.emulator.board import Firmware, FirmwareSettings
from mbmrl_control.hardware.heading import HeadingCheck
from mbmrl_control.hardware.link.link_data import Sample
from mbmrl_control.hardware.pose import DeadReckoning, PoseFilter
from mbmrl_control.hardware.pose_checks import Place, Pose
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.hardware.state_builder import StateBuilder
from mbmrl_sim.millirobot.physics import PHYSICS_STEP
from mbmrl_sim.millirobot.world import World
from mbmrl_sim.sensors import Sensors, make_sensors

STEP = 0.05
SPEED = 0.2
LEVEL = np.array([0.3, -0.2, 9.8])
LEGS = np.array([30.0, 40.0])


def found(
    turn: float,
    gyro: float,
    spoil: Callable[[Array, Array], tuple[Array, Array]] = lambda p, a: (p, a),
    duration: float = 4.0,
    legs: Array = LEGS,
    check: HeadingCheck | None = None,
    since: float = 0.0,
    force: Array = LEVEL,
) -> str:
    """What is found of a robot that walks on a circle, its turn and that by its gyro in rad/s."""
    check = check or HeadingCheck()
    place, yaw, fault = np.array([1.0, 2.0, 0.02]), 3.0, ""
    for n in range(round(duration / STEP)):
        told = spoil(place, np.array([0.05, -0.02, math.remainder(yaw, 2 * math.pi)]))
        fault = check.fault(Place(since + n * STEP, *told))
        for _ in range(5):
            check.measure(STEP / 5, legs, np.array([0.1, 0.0, gyro]), force)
        middle = yaw + turn * STEP / 2
        place = place + SPEED * STEP * np.array([math.cos(middle), math.sin(middle), 0.0])
        yaw += turn * STEP
    return fault


def turned(degrees: float) -> Callable[[Array, Array], tuple[Array, Array]]:
    return lambda position, angles: (position, angles + np.array([0.0, 0.0, math.radians(degrees)]))


@pytest.mark.parametrize("turn", [-1.5, -0.4, 0.0, 0.7, 2.0])
@pytest.mark.parametrize("degrees", [0.0, 15.0, -45.0])
def test_heading_that_fits_is_in_order(turn: float, degrees: float) -> None:
    assert found(turn, 1.1 * turn + 0.02, turned(degrees)) == ""


@pytest.mark.parametrize("degrees", [90.0, -90.0, 180.0])
def test_axes_that_are_turned_are_told_by_the_way_that_is_walked(degrees: float) -> None:
    words = f"heading does not fit: turned by about {abs(degrees):.0f} degrees against the way that the robot walks"
    assert words in found(0.1, 0.1, turned(degrees))


def test_heading_of_the_wrong_sign_is_told_by_the_gyro() -> None:
    mirrored = found(0.7, 0.7, lambda p, a: (p, a * np.array([1.0, 1.0, -1.0])))
    assert mirrored == "motion capture's heading does not fit: it turns the other way than the gyro"


def test_heading_of_another_axis_is_told_by_the_gyro() -> None:
    swapped = found(0.7, 0.7, lambda p, a: (p, a[[2, 1, 0]] * np.array([0.1, 1.0, 1.0])))
    assert swapped == "motion capture's heading does not fit: it turns otherwise than the gyro"


@pytest.mark.parametrize("legs", [-LEGS, np.array([30.0, 0.0]), np.zeros(2)], ids=["back", "one leg", "carried"])
def test_way_is_judged_only_where_both_legs_walk_ahead(legs: Array) -> None:
    assert found(0.1, 0.1, turned(180.0), legs=legs) == ""


@pytest.mark.parametrize("force", [np.array([-1.2, 0.3, 9.7]), np.full(3, math.nan)], ids=["slope", "not measured"])
def test_way_is_not_judged_where_a_robot_may_slide(force: Array) -> None:
    assert found(0.1, 0.1, turned(180.0), force=force) == ""


def test_gyro_that_tells_nothing_judges_nothing() -> None:
    assert found(0.7, math.nan, lambda p, a: (p, a * np.array([1.0, 1.0, -1.0])), legs=np.zeros(2)) == ""


def test_what_was_found_stays_until_enough_is_seen_again() -> None:
    check = HeadingCheck()
    assert found(0.1, 0.1, turned(90.0), check=check)
    assert found(0.0, 0.0, legs=np.zeros(2), check=check, since=4.0)
    assert found(0.1, 0.1, check=check, since=8.0) == ""
    assert found(0.1, 0.1, turned(90.0), check=check, since=12.0)
    check.restart()
    assert found(0.0, 0.0, duration=0.5, check=check, since=16.0) == ""


# Emulated walks, in lock-step


def misfit(fault: Fault | None, speeds: tuple[float, float], spoil: Callable[[Array], Array]) -> str:
    """What is found while an emulated robot with imperfect sensors walks for 5 s."""
    real, period = make_sensors("real"), 0.01
    world, eyes = World(3, sensors=real), Sensors(real, np.random.default_rng(0), MILLIROBOT)
    firmware, poses = Firmware(world, FirmwareSettings()), PoseFilter()
    builder, gains = StateBuilder(20.0, poses, DeadReckoning()), (1800, 200, 100, 0, 0)
    for message in (Hello(1, 7), Configure(100.0, (gains, gains), 56.5, 0.2), Enable(True)):
        firmware.receive(message)
    if fault is not None:
        world.inject(fault)
    start = world.time
    for n in range(1, 500):
        firmware.receive(Command(n, *speeds))
        told = firmware.advance(round(period / PHYSICS_STEP))
        state, now = world.measure(eyes), world.time - start
        poses.add(Pose(now, state[POSITION], spoil(np.array([angle(state, axis) for axis in (ROLL, PITCH, YAW)]))), now)
        for telemetry in told:
            if isinstance(telemetry, Telemetry):
                builder.take(Sample(telemetry, now, 1, n % 5 == 0, n // 5, True))
    world.close()
    return poses.misfit


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault("leg_loss", "left_rear"),
        Fault("leg_loss", "right_middle"),
        Fault("slope", magnitude=15.0, direction=90.0),
    ],
    ids=["sound", "without leg 2", "without leg 4", "on a slope"],
)
def test_sound_capture_of_an_emulated_walk_is_in_order(fault: Fault | None) -> None:
    assert misfit(fault, (35.0, 45.0), lambda angles: angles) == ""


def test_spoilt_capture_of_an_emulated_walk_is_told() -> None:
    assert "against the way that the robot walks" in misfit(
        None, (40.0, 40.0), lambda angles: angles - np.array([0.0, 0.0, math.pi / 2])
    )
    assert "than the gyro" in misfit(None, (15.0, 45.0), lambda angles: angles * np.array([1.0, 1.0, -1.0]))
