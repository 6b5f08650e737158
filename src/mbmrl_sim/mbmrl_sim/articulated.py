"""What the simulated robots of the paper share: bodies of driven joints on ground that gives way.

Source: Nagabandi, Clavera et al., ICLR 2019, section 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.simulator import Joints
from mbmrl_sim.bullet import connect, load_urdf, pybullet
from mbmrl_sim.effects import GRAVITY
from mbmrl_sim.lockstep import LockStep
from mbmrl_sim.sensors import SensorSettings

START: Final = 0.1
"""Greatest angle from its own at which a joint starts, rad."""


@dataclass(frozen=True)
class Motor:
    """A joint that is driven.

    Attributes:
        torque: At an action of 1, N m.
        stiffness: Of the spring that draws it to 0, N m/rad.
        start: Angle at the start of an episode, rad.
    """

    torque: float
    stiffness: float = 0.0
    start: float = 0.0


class Articulated(LockStep):
    """A robot of driven joints; actions are torques as shares of the greatest ones, if a subclass says nothing else."""

    physics_step: ClassVar[float] = 2.5e-3
    name: ClassVar[str]
    """Of the robot."""
    motors: ClassVar[Mapping[str, Motor]]
    """By names of joints, in the order of the actions."""
    ground: ClassVar[tuple[float, float]] = (3e4, 1e3)
    """Stiffness and damping of firm ground, N/m and N s/m."""
    held: ClassVar[bool] = False
    """Whether the root of what is simulated stays where it is."""

    def __init__(
        self,
        seed: int = 0,
        rate: float = 20.0,
        sensors: SensorSettings | str = "ideal",
        gui: bool = False,
        **others: Any,
    ) -> None:
        """Put it up, as the world of the millirobot."""
        super().__init__(load_robot(self.name), seed, rate, sensors, **others)
        self._client = connect(gui)
        self.reset()

    def _urdf(self) -> str:
        """URDF of what is simulated."""
        return self.robot.urdf() or ""

    def _build(self) -> None:
        client = self._client
        client.resetSimulation()
        client.setTimeStep(self.physics_step)
        client.setPhysicsEngineParameter(deterministicOverlappingPairs=1, enableFileCaching=0)
        client.setGravity(0.0, 0.0, -GRAVITY)
        self._ground = client.createMultiBody(0.0, client.createCollisionShape(pybullet.GEOM_PLANE))
        client.changeDynamics(self._ground, -1, lateralFriction=1.0)
        self._soften(1.0)
        self._body = load_urdf(client, self._urdf(), useFixedBase=self.held)
        joints = range(client.getNumJoints(self._body))
        self._joint = {client.getJointInfo(self._body, joint)[1].decode(): joint for joint in joints}
        for joint in joints:
            client.setJointMotorControl2(self._body, joint, pybullet.VELOCITY_CONTROL, force=0.0)
        for link in (-1, *joints):
            client.changeDynamics(self._body, link, lateralFriction=1.0, linearDamping=0.0, angularDamping=0.0)
        self._driven = [self._joint[name] for name in self.motors]
        for joint, motor in zip(self._driven, self.motors.values(), strict=True):
            client.resetJointState(self._body, joint, motor.start + self._rng.uniform(-START, START))
        self._stiffness = np.array([motor.stiffness for motor in self.motors.values()])
        self._torques = np.array([motor.torque for motor in self.motors.values()])
        self._works = np.ones(len(self.motors))

    def _disable(self, joint: str, broken: bool) -> None:
        """Take the torque of a joint's motor, or give it back."""
        self._works[list(self.motors).index(joint)] = not broken

    def _soften(self, share: float) -> None:
        """Let the ground have a share of its stiffness."""
        stiffness, damping = (share * self.ground[0], share**0.5 * self.ground[1])
        self._client.changeDynamics(self._ground, -1, contactStiffness=stiffness, contactDamping=damping)

    def _simulate(self, steps: int) -> None:
        client, body, driven = self._client, self._body, self._driven
        torques = self._works * self._torques * self._action
        for _ in range(steps):
            angles = np.array([state[0] for state in client.getJointStates(body, driven)])
            forces = torques - self._stiffness * angles
            client.setJointMotorControlArray(body, driven, pybullet.TORQUE_CONTROL, forces=forces)
            client.stepSimulation()

    def joints(self) -> Joints:
        """How the joints stand and turn."""
        states = self._client.getJointStates(self._body, self._driven)
        positions, speeds = (tuple(state[part] for state in states) for part in (0, 1))
        return Joints(tuple(self.motors), positions, speeds)

    def close(self) -> None:
        """Free the PyBullet world."""
        self._client.disconnect()
