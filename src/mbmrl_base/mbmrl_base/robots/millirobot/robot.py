"""The millirobot: its description, and its body."""

from __future__ import annotations

from mbmrl_base.robots.millirobot.body import JOINT_NAMES, RobotParameters, of_joints, urdf
from mbmrl_base.robots.millirobot.layout import LEFT_PHASE, RIGHT_PHASE, angle
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot


class Millirobot(Robot):
    """A robot with a URDF that is made from its parameters."""

    def joints(self, state: Array) -> dict[str, float]:
        """Cranks and hips, whose phases are in the state."""
        phases = of_joints(angle(state, LEFT_PHASE), angle(state, RIGHT_PHASE))
        return dict(zip(JOINT_NAMES, phases.tolist(), strict=True))

    def urdf(self) -> str:
        """URDF of the nominal robot, with the links of its sensors."""
        return urdf(RobotParameters(), sensors=True)
