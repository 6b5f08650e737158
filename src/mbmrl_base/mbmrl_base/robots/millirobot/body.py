"""Parameters of the millirobot and the URDF that is made from them.

Geometry and drive follow the VelociRoACH: each leg is a rod on a hinge at the hip whose axis points
outward and down, so that one turn sweeps the foot fore and aft on the ground and lifts it sideways on
the way back. The three legs of a side are geared to one crank; the middle leg is half a turn off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from mbmrl_base.robots.millirobot.layout import LEG_NAMES
from mbmrl_base.robots.observation import Array

Colour = tuple[float, float, float, float]
"""Red, green, blue and opacity, 0 to 1."""
CHASSIS_COLOUR: Colour = (0.13, 0.14, 0.17, 1.0)
SHELL_COLOURS: tuple[Colour, Colour] = ((0.16, 0.42, 0.40, 1.0), (0.20, 0.50, 0.47, 1.0))
EYE_COLOUR: Colour = (0.98, 0.80, 0.18, 1.0)
LEG_COLOURS: dict[str, Colour] = {"left": (0.95, 0.50, 0.10, 1.0), "right": (0.15, 0.50, 0.90, 1.0)}
LOST_LEG_COLOUR: Colour = (1.0, 0.45, 0.45, 0.5)

JOINT_NAMES = ("left_crank_joint", "right_crank_joint", *(f"{leg}_hip" for leg in LEG_NAMES))
"""Joints of the URDF."""


def of_joints(left: float, right: float) -> Array:
    """A number of each joint, shape (8,), of one of each leg cycle: the legs of a side are geared to its crank."""
    return np.array([left, right, *[left] * 3, *[right] * 3])


@dataclass(frozen=True)
class MotorParameters:
    """One brushed DC motor with its gear and speed controller."""

    resistance: float = 3.3
    """Ohm."""
    torque_constant: float = 1.41e-3
    """N m/A at the rotor, equal to the back-EMF constant in V s/rad."""
    gear_ratio: float = 21.3
    """Rotor turns per leg cycle."""
    crank_inertia: float = 2.0e-6
    """Inertia of rotor and gear seen at the crank, kg m^2."""
    proportional_gain: float = 0.01
    """Duty per rad/s of speed error."""
    integral_gain: float = 0.1
    """Duty per rad of speed error."""
    integral_limit: float = 5.0
    """Bound of the integrated speed error, rad."""


@dataclass(frozen=True)
class BatteryParameters:
    """One LiPo cell."""

    full_voltage: float = 4.15
    """Open-circuit voltage of a full cell, V."""
    empty_voltage: float = 3.6
    """Open-circuit voltage of an empty cell, V."""
    initial_voltage: float = 3.95
    """Open-circuit voltage at reset, V."""
    resistance: float = 0.3
    """Internal resistance, ohm."""
    capacity: float = 430.0
    """Charge of a full cell, C."""


@dataclass(frozen=True)
class RobotParameters:
    """The millirobot; lengths in m, masses in kg, angles in rad."""

    body_size: tuple[float, float, float] = (0.12, 0.06, 0.02)
    body_mass: float = 0.025
    body_inertia: tuple[float, float, float] = (9.3e-6, 21.5e-6, 22.0e-6)
    """Principal moments about base_link, kg m^2."""
    hip_x: tuple[float, float, float] = (0.05, 0.0, -0.05)
    """Front, middle, rear."""
    hip_y: float = 0.03
    leg_length: float = 0.025
    leg_mass: float = 0.0005
    foot_radius: float = 0.003
    sweep_angle: float = math.radians(45.0)
    """Angle between a leg and its hinge: the foot sweeps fore and aft by this much."""
    hinge_tilt: float = math.radians(17.0)
    """How far the hinge's axis points below the horizontal."""
    crank_mass: float = 0.001
    body_friction_scale: float = 1.0
    """Friction of the belly as a share of the ground's."""
    length_scales: tuple[float, ...] = (1.0,) * 6
    """Length of each leg as a share of leg_length."""
    friction_scales: tuple[float, ...] = (1.0,) * 6
    """Friction of each foot as a share of the ground's."""
    stiffness_scales: tuple[float, ...] = (1.0,) * 6
    """Stiffness of each foot's contact as a share of the ground's."""
    motor: MotorParameters = field(default_factory=MotorParameters)
    battery: BatteryParameters = field(default_factory=BatteryParameters)

    @property
    def standing_height(self) -> float:
        """Height of the hips above the ground where a leg is at its lowest, m."""
        return self.leg_length * math.sin(self.hinge_tilt + self.sweep_angle) + self.foot_radius

    @property
    def leg_inertia(self) -> float:
        """Moment of inertia of a leg, a thin rod, across its length, kg m^2."""
        return self.leg_mass * self.leg_length**2 / 12


def vary(robot: RobotParameters, rng: np.random.Generator) -> RobotParameters:
    """A robot of the same build, as no two are alike: legs, feet and belly differ."""
    return replace(
        robot,
        body_friction_scale=float(rng.uniform(0.8, 2.0)),
        length_scales=tuple(rng.uniform(0.9, 1.1, 6)),
        friction_scales=tuple(rng.uniform(0.7, 1.5) * rng.uniform(0.4, 1.3, 6)),
        stiffness_scales=tuple(rng.uniform(0.4, 1.5, 6)),
    )


def side_of(leg: int) -> int:
    """Side that drives a leg: 0 left, 1 right."""
    return leg // 3


def _hinge_axis(parameters: RobotParameters, outward: int) -> Array:
    return np.array([0.0, outward * math.cos(parameters.hinge_tilt), -math.sin(parameters.hinge_tilt)])


def _foot(parameters: RobotParameters, leg: int, outward: int) -> Array:
    """Foot relative to the hip at crank phase 0: lowest, or highest for the middle leg."""
    half_turn_off = leg % 3 == 1
    elevation = parameters.hinge_tilt + (-1 if half_turn_off else 1) * parameters.sweep_angle
    length = parameters.leg_length * parameters.length_scales[leg]
    return length * np.array([0.0, outward * math.cos(elevation), -math.sin(elevation)])


def _numbers(values: Array | tuple[float, ...]) -> str:
    return " ".join(f"{float(value):.9g}" for value in values)


def _inertial(mass: float, moments: tuple[float, float, float], origin: Array) -> str:
    # With all digits: a fault that is undone restores these very numbers.
    ixx, iyy, izz = map(float, moments)
    return (
        f'<inertial><origin xyz="{_numbers(origin)}"/><mass value="{float(mass)!r}"/>'
        f'<inertia ixx="{ixx!r}" ixy="0" ixz="0" iyy="{iyy!r}" iyz="0" izz="{izz!r}"/></inertial>'
    )


def _material(name: str, colour: Colour) -> str:
    return f'<material name="{name}"><color rgba="{_numbers(colour)}"/></material>'


def _visual(shape: str, material: str, place: tuple[float, ...], turn: tuple[float, ...] = (0.0, 0.0, 0.0)) -> str:
    origin = f'<origin xyz="{_numbers(place)}" rpy="{_numbers(turn)}"/>'
    return f"<visual>{origin}<geometry>{shape}</geometry>{material}</visual>"


def _body_visuals(parameters: RobotParameters) -> str:
    """A chassis under an arched shell of plates, with a head at its front: what it looks like, no more.

    The plates of a ring are tangents of an ellipse; the rings get smaller from the middle on, as an insect's do.
    """
    length, width, height = parameters.body_size
    dark, yellow = _material("chassis", CHASSIS_COLOUR), _material("eye", EYE_COLOUR)
    box, cylinder, sphere = (
        '<box size="{}"/>',
        '<cylinder radius="{:.9g}" length="{:.9g}"/>',
        '<sphere radius="{:.9g}"/>',
    )
    chassis = box.format(_numbers((0.92 * length, 0.8 * width, 0.7 * height)))
    parts = [_visual(chassis, dark, (0.0, 0.0, -0.15 * height))]
    front = 0.46 * length
    parts.append(
        _visual(cylinder.format(0.42 * height, 0.52 * width), dark, (front, 0.0, 0.1 * height), (math.pi / 2, 0.0, 0.0))
    )
    for side in (-1, 1):
        eye = (front + 0.28 * height, side * 0.2 * width, 0.36 * height)
        parts.append(_visual(sphere.format(0.2 * height), yellow, eye))
    for x in parameters.hip_x:
        axle = cylinder.format(0.2 * height, 2 * parameters.hip_y)
        parts.append(_visual(axle, dark, (x, 0.0, 0.0), (math.pi / 2, 0.0, 0.0)))
    # The shell last: a window of PyBullet's shows a whole link in the colour of its last part.
    for ring, scale in enumerate((0.84, 0.96, 1.0, 0.94, 0.80)):
        x = (2 - ring) * 0.172 * length
        shell = _material(f"shell_{ring % 2}", SHELL_COLOURS[ring % 2])
        edges = np.linspace(0.0, math.pi, 10)
        y, z = 0.5 * width * scale * np.cos(edges), 1.15 * height * scale * np.sin(edges)
        for plate in range(len(edges) - 1):
            dy, dz = y[plate] - y[plate + 1], z[plate] - z[plate + 1]
            size = (0.19 * length * (0.9 + 0.1 * scale), 1.08 * math.hypot(dy, dz), 0.08 * height)
            middle = (x, float(y[plate] + y[plate + 1]) / 2, float(z[plate] + z[plate + 1]) / 2)
            parts.append(_visual(box.format(_numbers(size)), shell, middle, (math.atan2(dz, dy), 0.0, 0.0)))
    return "\n    ".join(parts)


def _leg_xml(parameters: RobotParameters, leg: int) -> str:
    outward = 1 if side_of(leg) == 0 else -1
    name, side = LEG_NAMES[leg], ("left", "right")[side_of(leg)]
    hip = np.array([parameters.hip_x[leg % 3], outward * parameters.hip_y, 0.0])
    foot = _foot(parameters, leg, outward)
    # A URDF cylinder lies along z: roll it into the leg's direction, which has no x part at phase 0.
    roll = math.atan2(-foot[1], foot[2])
    material = _material(f"{side}_leg", LEG_COLOURS[side])
    return f"""
  <link name="{name}_leg">
    {_inertial(parameters.leg_mass, (parameters.leg_inertia,) * 3, foot / 2)}
    <visual><origin xyz="{_numbers(foot / 2)}" rpy="{roll:.9g} 0 0"/>
      <geometry><cylinder radius="0.0018" length="{float(np.linalg.norm(foot)):.9g}"/></geometry>{material}</visual>
    <visual><origin xyz="{_numbers(foot)}"/>
      <geometry><sphere radius="{parameters.foot_radius:.9g}"/></geometry>{material}</visual>
    <collision><origin xyz="{_numbers(foot)}"/>
      <geometry><sphere radius="{parameters.foot_radius:.9g}"/></geometry></collision>
  </link>
  <joint name="{name}_hip" type="continuous">
    <parent link="base_link"/><child link="{name}_leg"/><origin xyz="{_numbers(hip)}"/>
    <axis xyz="{_numbers(outward * _hinge_axis(parameters, outward))}"/>
  </joint>"""


_IMU_XML = """
  <link name="imu_link"/>
  <joint name="imu_joint" type="fixed"><parent link="base_link"/><child link="imu_link"/></joint>"""


def urdf(parameters: RobotParameters, sensors: bool = False) -> str:
    """Robot description: base_link, two cranks and six legs, each on a continuous joint.

    With sensors it has the massless frame of the IMU too, which a physics engine has no use for.
    """
    size, no_offset = parameters.body_size, np.zeros(3)
    cranks = "".join(
        f"""
  <link name="{side}_crank">
    {_inertial(parameters.crank_mass, (parameters.motor.crank_inertia,) * 3, no_offset)}
  </link>
  <joint name="{side}_crank_joint" type="continuous">
    <parent link="base_link"/><child link="{side}_crank"/><axis xyz="0 1 0"/>
  </joint>"""
        for side in ("left", "right")
    )
    legs = "".join(_leg_xml(parameters, leg) for leg in range(6))
    return f"""<?xml version="1.0"?>
<robot name="millirobot">
  <link name="base_link">
    {_inertial(parameters.body_mass, parameters.body_inertia, no_offset)}
    {_body_visuals(parameters)}
    <collision><geometry><box size="{_numbers(size)}"/></geometry></collision>
  </link>{cranks}{legs}{_IMU_XML if sensors else ""}
</robot>
"""
