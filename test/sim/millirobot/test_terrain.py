"""Grounds and slopes as numbers, and the presets under a robot."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.robots.millirobot.body import RobotParameters
from mbmrl_sim.effects import GRAVITY, gravity_on, tilt
from mbmrl_sim.millirobot.physics import LEGS
from mbmrl_sim.millirobot.terrain import CELL, PATCH, TERRAINS, Terrain, heights
from world_testing import WALK, NewWorld, mass_of, states, support

ROUGH = Terrain(0.4, 0.2, 100.0, 5.0, roughness=0.002)

angles = st.floats(-math.pi / 2, math.pi / 2)
directions = st.floats(-2 * math.pi, 2 * math.pi)


# Rough ground


@pytest.mark.parametrize("grain", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("roughness", [0.0005, 0.004])
def test_heights_have_the_roughness_that_was_asked_for_about_a_mean_of_zero(roughness: float, grain: float) -> None:
    field = heights(replace(ROUGH, roughness=roughness, grain=grain), np.random.default_rng(1))
    assert field.shape == (round(PATCH / CELL),) * 2
    assert field.std() == pytest.approx(roughness, rel=1e-9)
    assert abs(field.mean()) < 1e-9 * roughness


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("grain", [0.02, 0.05])
def test_heights_continue_themselves(grain: float, axis: int) -> None:
    """The step from the last row to the first is one like any other."""
    for seed in range(5):
        field = heights(replace(ROUGH, grain=grain), np.random.default_rng(seed))
        steps = np.moveaxis(field - np.roll(field, 1, axis), axis, 0)
        seam, within = steps[0], steps[1:]
        assert 0.6 < seam.std() / within.std() < 1.6
        assert within.std() < 0.8 * field.std()


def test_coarser_grain_makes_longer_hills() -> None:
    fields = [heights(replace(ROUGH, grain=grain), np.random.default_rng(1)) for grain in (0.01, 0.02, 0.05)]
    slopes = [np.diff(field, axis=0).std() for field in fields]
    assert slopes[0] > 1.5 * slopes[1] > 1.5**2 * slopes[2]


def test_heights_follow_from_the_source() -> None:
    first, again, other = (heights(ROUGH, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.1


# Slopes


@given(angles, directions)
def test_slope_turns_gravity_and_keeps_its_length(angle: float, direction: float) -> None:
    """Who goes up loses: gravity pulls against the direction that leads up."""
    expected = -GRAVITY * np.array(
        [math.sin(angle) * math.cos(direction), math.sin(angle) * math.sin(direction), math.cos(angle)]
    )
    np.testing.assert_allclose(gravity_on(tilt(angle, direction)), expected, atol=1e-6)


@given(st.tuples(st.floats(-1, 1), st.floats(-1, 1)).filter(lambda rise: math.hypot(*rise) <= 1))
def test_gravity_keeps_its_length_on_any_slope(rise: tuple[float, float]) -> None:
    assert math.hypot(*gravity_on(np.array(rise))) == pytest.approx(GRAVITY)


@given(angles, directions)
def test_slope_and_its_opposite_make_level_ground(angle: float, direction: float) -> None:
    for opposite in (tilt(-angle, direction), tilt(angle, direction + math.pi)):
        np.testing.assert_allclose(gravity_on(tilt(angle, direction) + opposite), [0, 0, -GRAVITY], atol=1e-6)


def test_rises_of_slopes_add() -> None:
    ahead, left = tilt(math.asin(0.3), 0.0), tilt(math.asin(0.4), math.pi / 2)
    np.testing.assert_allclose(ahead + left, tilt(math.asin(0.5), math.atan2(0.4, 0.3)))


# Presets


@pytest.mark.parametrize("name", TERRAINS)
def test_robot_meets_the_ground_that_the_preset_describes(new_world: NewWorld, name: str) -> None:
    robot = RobotParameters(body_friction_scale=0.5, friction_scales=(1.5,) * 6, stiffness_scales=(0.8,) * 6)
    terrain = TERRAINS[name]
    world = new_world(seed=1, parameters=robot, terrain=name)
    info = world.physics.client.getDynamicsInfo
    assert info(world.physics.robot, -1)[1] == pytest.approx(0.5 * terrain.body_friction)
    for leg in range(6):
        foot = info(world.physics.robot, LEGS[leg])
        assert foot[1] == pytest.approx(1.5 * terrain.foot_friction)
        assert (foot[5], foot[8]) == pytest.approx((terrain.restitution, terrain.damping))
        assert foot[9] == pytest.approx(0.8 * terrain.stiffness)
    assert world.terrain == name


@pytest.mark.parametrize("name", TERRAINS)
def test_every_preset_carries_a_robot_that_walks_on_it(new_world: NewWorld, name: str) -> None:
    world = new_world(seed=1, terrain=name)
    np.testing.assert_allclose(support(world, 200), [0, 0, mass_of(world) * GRAVITY], atol=0.01)
    walked = states(world, [WALK] * 40)
    assert np.linalg.norm(walked[-1, :2]) > 0.05
    assert 0.5 * world.parameters.body_size[2] - 0.002 < walked[:, 2].min()
    assert walked[:, 2].max() < 2.5 * world.parameters.standing_height


def test_unknown_terrain_is_refused_with_a_sentence(new_world: NewWorld) -> None:
    sentence = "unknown terrain 'ice': allowed is carpet, .*gravel"
    with pytest.raises(ValueError, match=sentence):
        new_world(terrain="ice")
