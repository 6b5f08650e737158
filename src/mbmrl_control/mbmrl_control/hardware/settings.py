"""Parameters of the serial bridge."""

from __future__ import annotations

import math

from pydantic import Field, ValidationInfo, field_validator

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.toolkit.settings import FRAME_PREFIX, PUBLISH_TF, NodeSettings
from mbmrl_control.hardware.codecs import CODEC_TYPES
from mbmrl_control.hardware.codecs.velociroach_codec import VelociroachCodec
from mbmrl_control.hardware.codecs.wire import Codec, Side
from mbmrl_control.hardware.robot import MAX_SPEED


class ProtocolSettings(NodeSettings):
    """What both ends of a line have to agree on."""

    protocol: str = Field("mbmrl", description=f"Protocol on the line: {', '.join(CODEC_TYPES)}")
    profile: str = Field("millirobot", description="Firmware that speaks velociroach")
    framing: str = Field("wired", description="Frames of velociroach: wired or xbee")

    def codec(self, side: Side) -> Codec:
        """A side's codec.

        Raises:
            ValueError: If there is no such protocol, profile or framing.
        """
        if self.protocol not in CODEC_TYPES:
            raise ValueError(f"unknown protocol {self.protocol!r}: allowed is {', '.join(CODEC_TYPES)}")
        if self.protocol == VelociroachCodec.name:
            return VelociroachCodec(side, profile=self.profile, framing=self.framing)
        return CODEC_TYPES[self.protocol](side)


class BridgeSettings(ProtocolSettings):
    """Parameters of the serial bridge, and of its link."""

    robot: str = Field(DEFAULT_ROBOT, description=f"Robot on the line: {DEFAULT_ROBOT}")
    port: str = Field("", description="Serial port of the robot, such as /dev/ttyUSB0")
    baud: int = Field(1_000_000, ge=1200, le=4_000_000, description="Speed of the port, bit/s")
    rate: float = Field(20.0, ge=5.0, le=200.0, description="Control rate, Hz")
    telemetry_rate: float = Field(
        100.0,
        ge=5.0,
        le=1000.0,
        validate_default=True,
        description="Wanted rate of telemetry, Hz; a whole number of frames per interval",
    )
    autostart: bool = Field(True, description="Whether to open the port and enable the motors at the start")
    reactivate: bool = Field(
        False,
        description="Whether to enable the motors again, unasked, when a lost link to the same robot is there again",
    )
    command_timeout: float = Field(
        0.1,
        ge=0.01,
        le=0.2,
        validate_default=True,
        description="Age from which a command is in force no more, s; more than a control interval",
    )
    dead_man: float = Field(0.09, ge=0.02, le=0.2, description="Time without a command after which the robot stops, s")
    stale_time: float = Field(
        0.09, ge=0.02, le=0.2, description="Time without telemetry after which the legs are stopped, s"
    )
    lost_time: float = Field(0.5, ge=0.1, le=5.0, description="Time without telemetry after which the link is lost, s")
    max_speed: float = Field(MAX_SPEED, gt=0.0, le=MAX_SPEED + 1e-9, description="Highest leg speed, rad/s")
    gains: tuple[int, ...] = Field(
        (1800, 200, 100, 0, 0),
        min_length=5,
        max_length=5,
        description="Gains of both speed controllers: Kp, Ki, Kd, anti-windup, feed-forward, in the firmware's units",
    )
    pose_window: float = Field(0.06, ge=0.01, le=0.5, description="Time of the frames that the pose is fitted to, s")
    pose_timeout: float = Field(
        0.03, ge=0.01, le=1.0, description="Age of a frame from which the pose is reckoned from legs and gyro, s"
    )
    nominal_voltage: float = Field(
        3.95, ge=3.0, le=4.3, description="Battery voltage that the model takes if the robot measures none, V"
    )
    path_per_turn: float = Field(0.052, ge=0.0, le=1.0, description="Path in a leg cycle, for dead reckoning, m")
    frame_prefix: str = Field("", description=FRAME_PREFIX)
    publish_tf: bool = Field(True, description=PUBLISH_TF)

    @field_validator("robot")
    @classmethod
    def _is_on_the_line(cls, robot: str) -> str:
        if robot != DEFAULT_ROBOT:
            raise ValueError(f"the serial bridge drives the {DEFAULT_ROBOT} only")
        return robot

    @field_validator("telemetry_rate")
    @classmethod
    def _a_frame_in_each_interval(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("rate", 0.0):
            raise ValueError(f"allowed is at least the control rate, {info.data['rate']:g}")
        return value

    @field_validator("command_timeout")
    @classmethod
    def _longer_than_an_interval(cls, value: float, info: ValidationInfo) -> float:
        if value * info.data.get("rate", math.inf) <= 1.0:
            raise ValueError(f"allowed is more than the control interval, {1.0 / info.data['rate']:g}")
        return value

    def check(self) -> None:
        """As of `NodeSettings`."""
        self.codec("host")

    def frames(self, robot_rate: float) -> int:
        """Frames of telemetry in a control interval, of a robot that sends so many at most, Hz."""
        return math.floor(min(self.telemetry_rate, robot_rate) / self.rate + 1e-6)
