"""The millirobot: its description, and its body."""

from __future__ import annotations

from mbmrl_base.robots.millirobot.body import RobotParameters, urdf
from mbmrl_base.robots.robot import Robot


class Millirobot(Robot):
    """A robot with a URDF that is made from its parameters."""

    def urdf(self) -> str:
        """URDF of the nominal robot, with the links of its sensors."""
        return urdf(RobotParameters(), sensors=True)
