"""The PyBullet side of the simulated robot: ground, body, legs, load, contacts."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.millirobot.body import RobotParameters, side_of, urdf
from mbmrl_base.robots.observation import Array
from mbmrl_sim.bullet import connect, pybullet
from mbmrl_sim.millirobot.terrain import CELL, PATCH, Terrain, heights
from mbmrl_sim.payload import Payload

PHYSICS_STEP: Final = 1e-3
"""Length of a physics step and of a step of the on-board speed controller, s."""
CRANKS: Final = (0, 1)
"""Joints of the left and the right crank."""
LEGS: Final = tuple(range(2, 8))
"""Joints, and links, of legs 0 to 5."""
_LOST_MASS: Final = 1e-12
"""Mass and moment of inertia of a lost leg, kg and kg m^2: the solver cannot divide by zero."""
_PAYLOAD_RADIUS: Final = 0.01
"""Radius of gyration of a load, m."""
_NOWHERE, _SMOOTH, _ROUGH = 0, 1, 2
"""Collision groups; each group meets only itself."""
_TILES: Final = 3
"""Patches of rough ground on each side of the square that lies under the robot."""


def load_robot(client: Any, parameters: RobotParameters, position: Any = (0.0, 0.0, 0.0), visible: bool = True) -> int:
    """Load the robot; joints 0 and 1 are the cranks, 2 to 7 the hips of legs 0 to 5."""
    flags = pybullet.URDF_USE_INERTIA_FROM_FILE | (0 if visible else pybullet.URDF_IGNORE_VISUAL_SHAPES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "millirobot.urdf"
        path.write_text(urdf(parameters))
        return int(client.loadURDF(str(path), list(position), flags=flags))


class Physics:
    """Bodies and contacts of one episode at a time."""

    def __init__(self, parameters: RobotParameters, gui: bool = False, parts: int = 1) -> None:
        """Open the world; `build` fills it. A physics step is taken in a number of equal parts."""
        self.parameters = parameters
        self._parts = parts
        self._gui = gui
        self.client = connect(gui)
        self.robot = -1

    def build(self, terrain: Terrain, gravity: Sequence[float], phases: Array, rng: np.random.Generator) -> None:
        """Put an intact robot at the origin.

        Args:
            terrain: The ground.
            gravity: Acceleration, shape (3,), m/s^2.
            phases: Of the left and right legs, shape (2,), rad.
            rng: Source of the shape of rough ground.
        """
        client, robot = self.client, self.parameters
        client.resetSimulation()
        client.setGravity(*gravity)
        client.setTimeStep(PHYSICS_STEP)
        client.setPhysicsEngineParameter(
            # Bullet's default distance at which contacts break is 2 cm, most of a leg's length.
            contactBreakingThreshold=0.002,
            deterministicOverlappingPairs=1,
            numSubSteps=self._parts if self._parts > 1 else 0,
            enableFileCaching=0,
        )
        plane = client.createMultiBody(0.0, client.createCollisionShape(pybullet.GEOM_PLANE))
        # Frictions multiply, and so do restitutions: those of the robot's parts are those of the pair.
        client.changeDynamics(plane, -1, lateralFriction=1.0, restitution=1.0)
        client.setCollisionFilterGroupMask(plane, -1, _SMOOTH, _SMOOTH)
        self._rough_ground: int | None = None
        self._lost: set[int] = set()
        self.robot = load_robot(client, robot, (0.0, 0.0, robot.standing_height), self._gui)
        self.payload = Payload(client, self.robot, robot.body_size[2] / 2, _PAYLOAD_RADIUS)
        for link in (-1, *CRANKS, *LEGS):
            client.changeDynamics(
                self.robot, link, jointDamping=0.0, linearDamping=0.0, angularDamping=0.0, restitution=0.0
            )
        client.setCollisionFilterGroupMask(self.robot, -1, _SMOOTH, _SMOOTH)
        for joint in (*CRANKS, *LEGS):
            # Velocity motors are on by default; force 0 leaves the joint free.
            client.setJointMotorControl2(self.robot, joint, pybullet.VELOCITY_CONTROL, force=0.0)
            side = joint if joint in CRANKS else side_of(joint - LEGS[0])
            client.resetJointState(self.robot, joint, float(phases[side]))
        for leg, joint in enumerate(LEGS):
            crank = CRANKS[side_of(leg)]
            gear = client.createConstraint(
                self.robot, crank, self.robot, joint, pybullet.JOINT_GEAR, [0, 1, 0], [0, 0, 0], [0, 0, 0]
            )
            client.changeConstraint(gear, gearRatio=-1.0, relativePositionTarget=0.0, erp=0.2, maxForce=1.0)
        self.set_terrain(terrain, rng)

    def set_terrain(self, terrain: Terrain, rng: np.random.Generator) -> None:
        """Change the ground under the robot.

        The belly slides on a plane at the mean height of rough ground: on the tops of what it passes over.
        """
        client, robot = self.client, self.parameters
        if self._rough_ground is not None:
            client.removeBody(self._rough_ground)
        self._rough_ground = self._make_rough_ground(terrain, rng) if terrain.roughness else None
        for link in (-1, *CRANKS, *LEGS):
            client.changeDynamics(self.robot, link, lateralFriction=terrain.body_friction * robot.body_friction_scale)
        client.changeDynamics(self.robot, -1, spinningFriction=terrain.turning_resistance)
        for leg, joint in enumerate(LEGS):
            client.changeDynamics(
                self.robot,
                joint,
                lateralFriction=terrain.foot_friction * robot.friction_scales[leg],
                contactStiffness=terrain.stiffness * robot.stiffness_scales[leg],
                contactDamping=terrain.damping,
                restitution=terrain.restitution,
            )
            self._set_contact(leg)
        self.keep_ground_below()

    def _make_rough_ground(self, terrain: Terrain, rng: np.random.Generator) -> int:
        client = self.client
        patch = heights(terrain, rng)
        points = len(patch) * _TILES + 1
        field = np.pad(np.tile(patch, (_TILES, _TILES)), ((0, 1), (0, 1)), mode="wrap")
        shape = client.createCollisionShape(
            pybullet.GEOM_HEIGHTFIELD,
            meshScale=[CELL, CELL, 1.0],
            heightfieldData=field.ravel().tolist(),
            numHeightfieldRows=points,
            numHeightfieldColumns=points,
        )
        # Bullet puts the middle of the range of heights at the body's origin.
        self._rough_height = float(field.min() + field.max()) / 2
        ground = int(client.createMultiBody(0.0, shape, basePosition=[0.0, 0.0, self._rough_height]))
        client.changeDynamics(ground, -1, lateralFriction=1.0, restitution=1.0)
        client.setCollisionFilterGroupMask(ground, -1, _ROUGH, _ROUGH)
        return ground

    def keep_ground_below(self) -> None:
        """Move rough ground, which repeats itself, so that the robot does not walk off it."""
        if self._rough_ground is None:
            return
        (x, y, _), _ = self.client.getBasePositionAndOrientation(self.robot)
        place = [round(x / PATCH) * PATCH, round(y / PATCH) * PATCH, self._rough_height]
        if place != list(self.client.getBasePositionAndOrientation(self._rough_ground)[0]):
            self.client.resetBasePositionAndOrientation(self._rough_ground, place, [0, 0, 0, 1])

    def attach_leg(self, leg: int, attached: bool) -> None:
        """Take a leg's mass and contact away, or give them back."""
        robot = self.parameters
        (self._lost.discard if attached else self._lost.add)(leg)
        self._set_contact(leg)
        self.client.changeDynamics(
            self.robot,
            LEGS[leg],
            mass=robot.leg_mass if attached else _LOST_MASS,
            localInertiaDiagonal=[robot.leg_inertia if attached else _LOST_MASS] * 3,
        )

    def _set_contact(self, leg: int) -> None:
        ground = _SMOOTH if self._rough_ground is None else _ROUGH
        group = _NOWHERE if leg in self._lost else ground
        self.client.setCollisionFilterGroupMask(self.robot, LEGS[leg], group, group)

    @property
    def leg_angles(self) -> Array:
        """Angles of the joints in the order of the URDF: two cranks, then legs 0 to 5, shape (8,), rad."""
        return np.array([state[0] for state in self.client.getJointStates(self.robot, (*CRANKS, *LEGS))])
