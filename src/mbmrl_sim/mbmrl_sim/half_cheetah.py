"""A simulated half-cheetah: two legs of three joints in a plane, as of the simulated tasks of the paper."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np

from mbmrl_base.robots.faults import Fault, FaultKind, FaultKinds
from mbmrl_base.robots.observation import Array
from mbmrl_sim.articulated import Articulated, Motor
from mbmrl_sim.effects import SLOPE, Effects, gravity_on

JOINT_DEAD: Final = "joint_dead"
SOFT_GROUND: Final = "soft_ground"
HEIGHT: Final = 0.7
"""At which its body starts, m."""
MOTORS: Final = {
    "bthigh": Motor(120.0, 240.0),
    "bshin": Motor(90.0, 180.0),
    "bfoot": Motor(60.0, 120.0),
    "fthigh": Motor(120.0, 180.0),
    "fshin": Motor(60.0, 120.0),
    "ffoot": Motor(30.0, 60.0),
}
"""With the torques and springs of the model of MuJoCo."""
RAILS: Final = {"ahead": ("prismatic", "1 0 0"), "up": ("prismatic", "0 0 1"), "turn": ("continuous", "0 1 0")}
"""Types and axes of the joints by which its body moves, since it is held in a plane."""
_RAIL: Final = """
  <link name="{parent}">
    <inertial>
      <mass value="0.001"/>
      <inertia ixx="1e-6" iyy="1e-6" izz="1e-6" ixy="0" ixz="0" iyz="0"/>
    </inertial>
  </link>
  <joint name="{name}" type="{type}">
    <parent link="{parent}"/>
    <child link="{child}"/>
    <axis xyz="{axis}"/>
    <limit lower="-1e5" upper="1e5" effort="0" velocity="1e3"/>
  </joint>"""


class HalfCheetah(Articulated):
    """A half-cheetah on its ground; it moves along x, up and down, and pitches."""

    name: ClassVar[str] = "half_cheetah"
    motors = MOTORS
    held = True
    kinds = FaultKinds(
        {
            JOINT_DEAD: FaultKind("a joint has no torque", parts=tuple(MOTORS), spared=("bfoot", "fthigh")),
            SLOPE: FaultKind("the ground rises ahead", "degrees", -25.0, 25.0, 8.0, worse={"magnitude": (13.0, 17.0)}),
            SOFT_GROUND: FaultKind(
                "the ground has this share of its stiffness",
                "",
                0.01,
                0.95,
                0.2,
                1.0,
                worse={"magnitude": (0.05, 0.08)},
            ),
        }
    )

    def _urdf(self) -> str:
        children = (*(f"after_{name}" for name in [*RAILS][:-1]), "base_link")
        rails, parent = "", "ground"
        for (name, (kind, axis)), child in zip(RAILS.items(), children, strict=True):
            rails += _RAIL.format(name=name, type=kind, axis=axis, parent=parent, child=child)
            parent = child
        return super()._urdf().replace("</robot>", f"{rails}\n</robot>")

    def _build(self) -> None:
        super()._build()
        self._client.resetJointState(self._body, self._joint["up"], HEIGHT)

    def _act(self, effects: Effects, now: float) -> None:
        self._client.setGravity(*gravity_on(effects.value(SLOPE, now)))
        self._soften(effects.scalar(SOFT_GROUND, now))

    def _break(self, fault: Fault, broken: bool) -> None:
        self._disable(fault.part, broken)

    def _push(self, velocity: Array) -> None:
        ahead, left, up = velocity.tolist()
        if left:
            raise ValueError("a half-cheetah is held in a plane: it can be pushed ahead, back and up, not to a side")
        for rail, change in (("ahead", ahead), ("up", up)):
            place, speed, *_ = self._client.getJointState(self._body, self._joint[rail])
            self._client.resetJointState(self._body, self._joint[rail], place, speed + change)

    def _true_state(self) -> Array:
        states = self._client.getJointStates(self._body, [self._joint[name] for name in (*RAILS, *self.motors)])
        (x, *places), speeds = np.array([state[:2] for state in states]).T
        return np.array([x, 0.0, 0.0, *places, *speeds])
