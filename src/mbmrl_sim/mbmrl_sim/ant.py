"""A simulated ant: four legs of two joints, as of the simulated tasks of the paper."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from mbmrl_base.robots.faults import Fault, FaultKind, FaultKinds
from mbmrl_base.robots.observation import Array
from mbmrl_sim.articulated import Articulated, Motor
from mbmrl_sim.bullet import push, pybullet

CRIPPLED: Final = "leg_crippled"
LEGS: Final = ("front_left", "rear_left", "rear_right", "front_right")
"""In the order of their numbers in the URDF, from 1 on."""
HEIGHT: Final = 0.6
"""At which it is put down, m."""
TORQUE, FASTEST = 150.0, 2.0
"""Of a joint at most, N m and rad/s."""
BENT: Final = 1.0
"""Angle of the ankles as it is put down, rad."""


class Ant(Articulated):
    """An ant on its ground."""

    name: ClassVar[str] = "ant"
    ground = (2e3, 2e2)
    motors: ClassVar[dict[str, Motor]] = {
        f"{joint}_{leg}": Motor(TORQUE, start=start)
        for leg in range(1, len(LEGS) + 1)
        for joint, start in (("hip", 0.0), ("ankle", BENT))
    }
    kinds = FaultKinds({CRIPPLED: FaultKind("both joints of a leg have no torque", parts=LEGS, spared=("rear_right",))})

    def _build(self) -> None:
        super()._build()
        self._client.resetBasePositionAndOrientation(self._body, [0.0, 0.0, HEIGHT], [0.0, 0.0, 0.0, 1.0])

    def _break(self, fault: Fault, broken: bool) -> None:
        leg = LEGS.index(fault.part) + 1
        for joint in ("hip", "ankle"):
            self._disable(f"{joint}_{leg}", broken)

    def _simulate(self, steps: int) -> None:
        client, torques = self._client, self._works * self._torques
        for joint, target, torque in zip(self._driven, self._action.tolist(), torques.tolist(), strict=True):
            client.setJointMotorControl2(
                *(self._body, joint, pybullet.POSITION_CONTROL),
                targetPosition=target,
                positionGain=0.1,
                velocityGain=0.5,
                force=torque,
                maxVelocity=FASTEST,
            )
        for _ in range(steps):
            client.stepSimulation()

    def _push(self, velocity: Array) -> None:
        push(self._client, self._body, velocity.tolist())

    def _true_state(self) -> Array:
        client = self._client
        (x, y, z), turn = client.getBasePositionAndOrientation(self._body)
        velocity, rotation = client.getBaseVelocity(self._body)
        axes = np.reshape(client.getMatrixFromQuaternion(turn), (3, 3))
        roll, pitch, yaw = client.getEulerFromQuaternion(turn)
        joints = np.array([state[:2] for state in client.getJointStates(self._body, self._driven)]).T
        return np.array([x, y, yaw, z, roll, pitch, *velocity, *(axes.T @ rotation), *joints.ravel()])
