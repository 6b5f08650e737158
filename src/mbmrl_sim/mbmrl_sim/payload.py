"""A load that is fixed on a robot's body."""

from __future__ import annotations

import math
from typing import Any, Final

from mbmrl_sim.bullet import pybullet

_SAME_PLACE: Final = 1e-6
"""Distance within which a load stays where it is, m."""


class Payload:
    """A load on the base of a robot in PyBullet; none at first."""

    def __init__(self, client: Any, robot: int, height: float, radius: float, force: float = 1e3) -> None:
        """Take the robot, the height of its top above its base, the load's radius of gyration, m, and a force, N.

        The force is the greatest with which the load is held.
        """
        self.body: int | None = None
        """The load in PyBullet; None if there is none."""
        self._client, self._robot = client, robot
        self._height, self._radius, self._force = height, radius, force
        self._constraint, self._place = -1, (0.0, 0.0, 0.0)

    def set(self, mass: float, moment_x: float, moment_y: float) -> None:
        """Make it of a mass, kg, at the moments over the mass ahead and to the left, kg m; none if its mass is 0."""
        client, place = self._client, (moment_x / mass if mass else 0.0, moment_y / mass if mass else 0.0, self._height)
        if self.body is not None and (not mass or math.dist(place, self._place) > _SAME_PLACE):
            client.removeConstraint(self._constraint)
            client.removeBody(self.body)
            self.body = None
        if not mass:
            return
        if self.body is None:
            position, orientation = client.getBasePositionAndOrientation(self._robot)
            position, _ = client.multiplyTransforms(position, orientation, place, [0, 0, 0, 1])
            self.body = client.createMultiBody(mass, -1, -1, position, orientation)
            client.changeDynamics(self.body, -1, linearDamping=0.0, angularDamping=0.0)
            client.resetBaseVelocity(self.body, *client.getBaseVelocity(self._robot))
            self._constraint = client.createConstraint(
                self._robot, -1, self.body, -1, pybullet.JOINT_FIXED, [0, 0, 0], place, [0, 0, 0]
            )
            client.changeConstraint(self._constraint, maxForce=self._force)
            self._place = place
        client.changeDynamics(self.body, -1, mass=mass, localInertiaDiagonal=[mass * self._radius**2] * 3)
