"""Which robot is on the line: whether it fits this host, and whether it is the one that was there before.

A port's name does not show it: after a lost link it may be that of another device. What does is the robot's own device
id, else the serial number of its USB adapter; what else it reported at the hand-shake can only show that it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from mbmrl_control.hardware.codecs.wire import Capabilities, Codec
from mbmrl_control.hardware.link.port import Adapter, LinkError
from mbmrl_control.hardware.settings import BridgeSettings

MOTORS: Final = 2
LEGS: Final = 6
UNKNOWN: Final = "nothing shows whether it is the same robot"


class AnotherRobotError(LinkError):
    """A robot on the line that is not the one that was there before."""

    def __init__(self, why: str) -> None:
        """Say why."""
        super().__init__(
            f"another robot is on the line: {why}; link that one again, or start the bridge anew, or clean up and"
            " configure it, to take this one"
        )


@dataclass(frozen=True)
class Identity:
    """A robot as it was at a hand-shake.

    Attributes:
        adapter: USB adapter, or board with USB, that the port is of; none if it is of something else.
        robot: What it reported of itself.
    """

    adapter: Adapter | None
    robot: Capabilities

    def check_adapter(self, adapter: Adapter | None) -> None:
        """Refuse a port before it is opened, which resets many a board.

        Raises:
            AnotherRobotError: If the adapter is another one, and the robot cannot be known by a device id.
        """
        if not self.robot.device_id and adapter != self.adapter:
            raise AnotherRobotError(
                f"its adapter is {adapter or 'not on USB'}, that of the one before {self.adapter or 'was not on USB'}"
            )

    def doubt(self, now: Identity) -> str:
        """What makes it doubtful that a robot is still this one, as one clause; empty if it is known to be.

        Raises:
            AnotherRobotError: If it is another one.
        """
        before, after = self.robot.device_id, now.robot.device_id
        if before != after:
            found = f"is {after:x}" if after else "is none"
            raise AnotherRobotError(
                f"its device id {found}, that of the one before {f'{before:x}' if before else 'none'}"
            )
        self.check_adapter(now.adapter)
        proven = bool(before or (self.adapter and self.adapter.serial_number))
        old = vars(replace(self.robot, session=0))
        changes = [
            f"{name} is {_shown(value)}, before {_shown(old[name])}"
            for name, value in vars(replace(now.robot, session=0)).items()
            if value != old[name]
        ]
        if changes and not proven:
            raise AnotherRobotError(f"its {', its '.join(changes)}")
        if changes:
            return f"the robot's {', its '.join(changes)}"
        return "" if proven else UNKNOWN


def check_fits(robot: Capabilities, codec: Codec, settings: BridgeSettings) -> None:
    """Refuse a robot that this host cannot drive with these settings.

    Raises:
        LinkError: If it speaks another version, has other dimensions, or reports its state too rarely.
    """
    if robot.version != codec.version:
        raise LinkError(
            f"the robot speaks version {robot.version} of the protocol {codec.name}, this host version"
            f" {codec.version}: bring {'its firmware' if robot.version < codec.version else 'this host'} up to date"
        )
    if (robot.motors, robot.legs) != (MOTORS, LEGS):
        raise LinkError(
            f"the robot has {robot.motors} motors and {robot.legs} legs, the model {MOTORS} motors and {LEGS} legs"
        )
    if robot.rate < settings.rate:
        raise LinkError(f"the robot reports its state at {robot.rate:g} Hz at most, wanted is {settings.rate:g}")
    period = 1.0 / (settings.frames(robot.rate) * settings.rate)
    for name in ("stale_time", "lost_time", *(("dead_man",) if robot.dead_man else ())):
        if (time := getattr(settings, name)) <= period * (1 + 1e-6):
            raise LinkError(f"{name} is {time:g} s: allowed is more than the {period:g} s between frames of telemetry")


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
