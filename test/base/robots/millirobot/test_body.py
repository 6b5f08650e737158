"""The robot's description: what the URDF says, not how it is written."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from mbmrl_base.robots.millirobot.body import RobotParameters, side_of, urdf
from mbmrl_base.robots.millirobot.layout import LEG_NAMES
from mbmrl_base.robots.observation import Array

ROBOT = RobotParameters()


def vector(element: ElementTree.Element, path: str, attribute: str = "xyz") -> Array:
    """Three numbers of an attribute of an element below."""
    found = element.find(path)
    assert found is not None, path
    return np.array([float(number) for number in found.attrib[attribute].split()])


def description(parameters: RobotParameters = ROBOT, sensors: bool = False) -> ElementTree.Element:
    """The URDF, parsed."""
    return ElementTree.fromstring(urdf(parameters, sensors))


def joint(leg: int) -> ElementTree.Element:
    """The joint of a leg."""
    found = description().find(f"joint[@name='{LEG_NAMES[leg]}_hip']")
    assert found is not None
    return found


def foot(leg: int, phase: float = 0.0) -> Array:
    """Place of a foot relative to its hip when the joint has turned by a phase, m."""
    link = description().find(f"link[@name='{LEG_NAMES[leg]}_leg']")
    assert link is not None
    at_zero, axis = vector(link, "collision/origin"), vector(joint(leg), "axis")
    parallel = axis * (axis @ at_zero)
    return parallel + np.cos(phase) * (at_zero - parallel) + np.sin(phase) * np.cross(axis, at_zero)


def test_joints_are_two_cranks_then_the_legs_in_order() -> None:
    joints = description().findall("joint")
    assert [joint.attrib["name"] for joint in joints] == [
        "left_crank_joint",
        "right_crank_joint",
        *(f"{name}_hip" for name in LEG_NAMES),
    ]
    assert {joint.attrib["type"] for joint in joints} == {"continuous"}


def test_axes_are_unit_vectors() -> None:
    for element in description().findall("joint"):
        assert np.linalg.norm(vector(element, "axis")) == pytest.approx(1.0, abs=1e-8)


def masses(parameters: RobotParameters) -> list[float]:
    return [float(mass.attrib["value"]) for mass in description(parameters).iterfind("link/inertial/mass")]


@pytest.mark.parametrize("parameters", [ROBOT, RobotParameters(body_mass=0.04, leg_mass=0.001)])
def test_masses_are_those_of_the_parts(parameters: RobotParameters) -> None:
    body, *others = masses(parameters)
    assert body == parameters.body_mass
    assert sorted(others) == pytest.approx(sorted([parameters.crank_mass] * 2 + [parameters.leg_mass] * 6), abs=1e-12)


def test_intact_robot_has_the_mass_of_the_real_one() -> None:
    assert 0.030 <= sum(masses(ROBOT)) <= 0.034


@pytest.mark.parametrize("leg", range(3))
def test_right_side_mirrors_the_left_one(leg: int) -> None:
    mirror = np.array([1.0, -1.0, 1.0])
    assert side_of(leg) == 0
    assert side_of(leg + 3) == 1
    np.testing.assert_allclose(vector(joint(leg + 3), "origin"), mirror * vector(joint(leg), "origin"))
    np.testing.assert_allclose(foot(leg + 3), mirror * foot(leg), atol=1e-9)
    # The mirror image of a rotation turns the other way, so its axis keeps only its part across the mirror.
    np.testing.assert_allclose(vector(joint(leg + 3), "axis"), -mirror * vector(joint(leg), "axis"))


@pytest.mark.parametrize("leg", range(6))
def test_foot_at_phase_zero_is_lowest_or_for_a_middle_leg_highest(leg: int) -> None:
    heights = [foot(leg, phase)[2] for phase in np.linspace(-np.pi, np.pi, 41)]
    extreme = max(heights) if leg % 3 == 1 else min(heights)
    assert foot(leg)[2] == pytest.approx(extreme, abs=1e-9)
    assert max(heights) - min(heights) > 0.5 * ROBOT.leg_length


@pytest.mark.parametrize("leg", range(6))
def test_middle_leg_is_half_a_turn_off(leg: int) -> None:
    neighbour = 3 * side_of(leg) + (leg % 3 + 1) % 3
    turn = 0.0 if {leg % 3, neighbour % 3} == {0, 2} else np.pi
    for phase in (-2.0, 0.0, 1.0):
        np.testing.assert_allclose(foot(leg, phase + turn), foot(neighbour, phase), atol=1e-9)


@pytest.mark.parametrize("leg", range(6))
def test_lowest_foot_moves_back_when_the_phase_grows(leg: int) -> None:
    lowest = np.pi if leg % 3 == 1 else 0.0
    assert (foot(leg, lowest + 0.1) - foot(leg, lowest))[0] < 0


def test_looks_are_primitives_and_no_part_of_the_physics() -> None:
    """Displays draw them without any file, and the robot touches with what it always did."""
    robot = description()
    visuals = robot.findall("link/visual")
    assert {shape.tag for visual in visuals for shape in visual.findall("geometry/*")} == {"box", "cylinder", "sphere"}
    assert len(visuals) > 30
    base = robot.find("link[@name='base_link']")
    assert base is not None
    (body,) = base.findall("collision/geometry/box")
    assert body.attrib["size"] == "0.12 0.06 0.02"
    assert [len(robot.findall(f"link[@name='{name}_leg']/collision")) for name in LEG_NAMES] == [1] * 6


def test_sides_have_colours_of_their_own() -> None:
    robot = description()
    colours = [
        {colour.attrib["rgba"] for colour in robot.iterfind(f"link[@name='{name}_leg']/visual/material/color")}
        for name in LEG_NAMES
    ]
    assert colours[0] == colours[1] == colours[2]
    assert colours[3] == colours[4] == colours[5]
    assert colours[0] != colours[3]


def test_sensor_frames_weigh_nothing() -> None:
    robot = description(sensors=True)
    assert robot.find("link[@name='imu_link']/inertial") is None
    imu = robot.find("joint[@name='imu_joint']")
    assert imu is not None
    assert imu.attrib["type"] == "fixed"
    assert len(robot.findall("link")) == len(description().findall("link")) + 1
