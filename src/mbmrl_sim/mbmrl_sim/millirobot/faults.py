"""Faults of the simulated millirobot."""

from __future__ import annotations

from typing import Final

from mbmrl_base.robots.faults import SIDES, FaultKind, FaultKinds
from mbmrl_base.robots.millirobot.layout import LEG_NAMES
from mbmrl_sim.effects import LINK, PAYLOAD, POSE_MISCALIBRATION, SLOPE
from mbmrl_sim.millirobot.terrain import TERRAINS

LEG_LOSS: Final = "leg_loss"
MOTOR_WEAK: Final = "motor_weak"
TERRAIN: Final = "terrain"
BATTERY_LOW: Final = "battery_low"
_BODY: Final = {"x": (-0.06, 0.06), "y": (-0.03, 0.03)}
_SHIFT: Final = {"x": (-0.5, 0.5), "y": (-0.5, 0.5)}

FAULT_KINDS: Final = FaultKinds(
    {
        # Both middle legs are spared, since training shows each walk and its mirror image.
        LEG_LOSS: FaultKind(
            "a leg has neither contact nor mass", parts=LEG_NAMES, spared=("left_middle", "right_middle")
        ),
        MOTOR_WEAK: FaultKind(
            "the motor of a side has this share of its torque",
            *("", 0.01, 0.99, 0.3, 1.0),
            parts=SIDES,
            worse={"magnitude": (0.10, 0.14)},
        ),
        PAYLOAD: FaultKind(
            "a load lies on the body at x, y (m)",
            *("g", 0.1, 60.0, 15.0),
            takes=_BODY,
            worse={"magnitude": (23.0, 30.0)},
        ),
        TERRAIN: FaultKind("the ground becomes another one", terrains=tuple(TERRAINS), spared=("gravel",)),
        SLOPE: FaultKind(
            "the ground rises towards a direction (degrees, 0: ahead)",
            *("degrees", -25.0, 25.0, 8.0),
            takes={"direction": (-360.0, 360.0)},
            worse={"magnitude": (12.0, 13.0)},
        ),
        POSE_MISCALIBRATION: FaultKind(
            "the measured pose is turned, and shifted by x, y (m)",
            *("degrees", -90.0, 90.0, 15.0),
            takes=_SHIFT,
            drawn=_BODY,
            worse={"magnitude": (23.0, 30.0)},
        ),
        LINK: FaultKind(
            "commands come late, and a share of them (loss, percent) never",
            *("ms", 0.0, 200.0, 25.0),
            takes={"loss": (0.0, 90.0)},
            drawn={"loss": (0.0, 27.0)},
            worse={"magnitude": (38.0, 50.0), "loss": (30.0, 40.0)},
        ),
        BATTERY_LOW: FaultKind(
            "the battery's voltage is lower", *("V", 0.05, 1.5, 0.5), worse={"magnitude": (0.8, 1.0)}
        ),
    }
)
"""What is worse than in training is what `mbmrl evaluate` shows."""
FAULT_KINDS.severe = {
    "a_middle_leg": "leg_loss:4",
    "a_middle_leg_and_25_g": "leg_loss:4+payload:25",
    "both_middle_legs": "leg_loss:1+leg_loss:4",
    "two_legs_across": "leg_loss:0+leg_loss:5",
    "two_legs_of_a_side": "leg_loss:0+leg_loss:1",
    "outer_legs_of_a_side": "leg_loss:3+leg_loss:5",
    "a_tripod": "leg_loss:0+leg_loss:2+leg_loss:4",
    "two_legs_and_8_degrees": "leg_loss:1+leg_loss:4+slope:8,direction=90",
    "one_leg_after_the_other": "leg_loss:0..leg_loss:4",
    "a_slope_that_turns": "slope:10,direction=0..slope:10,direction=120..slope:10,direction=240",
    "a_motor_at_3_percent": "motor_weak:left,0.03",
}
