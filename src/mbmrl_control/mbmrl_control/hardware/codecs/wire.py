"""What a host and a robot send each other, and the contract of the codecs that put it on a serial line.

A protocol is one module with a subclass of `Codec`; the link, the node and the emulated robot know messages only.
Units are SI: if a protocol has others, its codec converts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

Side = Literal["host", "robot"]

FAULTS: Final = (
    *("dead_man", "low_battery", "over_current", "over_temperature", "encoder", "imu", "motor_driver", "stall"),
    *(f"fault_{bit}" for bit in range(8, 16)),
)
"""Names of the faults that `Telemetry` may carry; `fault_8` to `fault_15` are the firmware's own."""


@dataclass(frozen=True)
class Hello:
    """Host: who are you? Starts a session; the robot answers with `Capabilities`.

    Attributes:
        version: Version of the protocol that the host speaks.
        session: Number that the host draws at random, 1 to 2^32 - 1; what belongs to an older session is refused.
    """

    version: int
    session: int


@dataclass(frozen=True)
class Capabilities:
    """Robot: its answer to `Hello`; from then on the motors are off until `Enable`.

    Attributes:
        version: Version of the protocol that the robot speaks.
        session: The session of the `Hello` that is answered.
        firmware: Name and version of the firmware.
        motors: Number of motors.
        legs: Number of legs.
        rate: Highest rate of telemetry, Hz.
        dead_man: Time without a command after which the robot stops its motors by itself, s; 0: it does not.
        max_speed: Highest leg speed that it takes, rad/s.
        polled: Whether telemetry only comes as the answer to a `Command`: the host then sends one for each frame
            that it wants, zero where nothing is to move, also before `Enable`.
        device_id: Number that distinguishes this robot from all others, and stays when it starts anew; 0: it has none.
    """

    version: int
    session: int
    firmware: str
    motors: int
    legs: int
    rate: float
    dead_man: float
    max_speed: float
    polled: bool = False
    device_id: int = 0


@dataclass(frozen=True)
class Configure:
    """Host: settings; answered by `Acknowledge`, with what was refused.

    Attributes:
        rate: Wanted rate of telemetry, Hz.
        gains: Gains of the speed controller of each side: Kp, Ki, Kd, anti-windup, feed-forward, in the units of
            the firmware.
        max_speed: Highest leg speed to allow, rad/s.
        dead_man: Time without a command after which the robot is to stop, s.
    """

    rate: float
    gains: tuple[tuple[int, ...], tuple[int, ...]]
    max_speed: float
    dead_man: float


@dataclass(frozen=True)
class Enable:
    """Host: whether the motors may move; answered by `Acknowledge`."""

    enabled: bool


@dataclass(frozen=True)
class EmergencyStop:
    """Host: stop at once; latched in the robot until a new session is enabled; answered by `Acknowledge`."""


@dataclass(frozen=True)
class Command:
    """Host: set-points of the leg speeds, from now until the next one, or the dead-man.

    Attributes:
        sequence: Number, from 1 within a session.
        left: Left leg speed, rad/s.
        right: Right leg speed, rad/s.
    """

    sequence: int
    left: float
    right: float


@dataclass(frozen=True)
class Ping:
    """Host: answered at once by the same token, for the delay of a round trip."""

    token: int


@dataclass(frozen=True)
class Pong:
    """Robot: answer to `Ping`."""

    token: int


@dataclass(frozen=True)
class Acknowledge:
    """Robot: answer to a request.

    Attributes:
        request: Name of the message's class that is answered.
        accepted: Whether it was taken.
        reason: Why not; empty if it was.
    """

    request: str
    accepted: bool
    reason: str = ""


@dataclass(frozen=True)
class Telemetry:
    """Robot: what it measures, at a fixed rate.

    What a robot does not measure is NaN.

    Attributes:
        sequence: Number, from 1 within a session.
        time: The robot's own clock, s.
        command_sequence: Number of the last command that was in force; 0 if none was.
        applied: Leg speeds that were set, left and right, after limits and dead-man, rad/s.
        phases: The leg cycles, left and right, rad; they grow without end.
        speeds: Leg speeds, left and right, rad/s.
        gyro: Angular velocity, body frame, rad/s.
        acceleration: Body frame, m/s^2.
        back_emf: Left and right, V.
        battery: V.
        current: Of the motors, left and right, A.
        temperature: Of the motors, left and right, degrees Celsius.
        enabled: Whether the motors may move.
        emergency_stop: Whether the emergency stop is latched.
        faults: What is wrong, by names of `FAULTS`; empty where nothing is.
    """

    sequence: int
    time: float
    command_sequence: int
    applied: tuple[float, float]
    phases: tuple[float, float]
    speeds: tuple[float, float]
    gyro: tuple[float, float, float]
    acceleration: tuple[float, float, float]
    back_emf: tuple[float, float]
    battery: float
    current: tuple[float, float]
    temperature: tuple[float, float]
    enabled: bool
    emergency_stop: bool
    faults: tuple[str, ...] = ()


HostMessage = Hello | Configure | Enable | EmergencyStop | Command | Ping
RobotMessage = Capabilities | Acknowledge | Pong | Telemetry
Message = HostMessage | RobotMessage


class CodecError(ValueError):
    """A message that a protocol cannot carry; its text says why."""


@dataclass
class FrameCounts:
    """Frames that a codec has seen since it was made.

    Attributes:
        good: Frames that were accepted.
        bad: Frames with a wrong check sum, length, type or content, dropped.
        skipped: Bytes that belong to no frame.
        stale: Frames of another session, repeated or out of order, dropped.
        lost: Frames that never came, by the numbers of those that did; damaged ones are among them.
    """

    good: int = 0
    bad: int = 0
    skipped: int = 0
    stale: int = 0
    lost: int = 0


class Codec(ABC):
    """Turns messages into bytes, and bytes, however they are cut, into messages.

    Each side of a line has one of its own. Bytes that are no frame, and frames that are damaged, are counted and
    dropped; the frame after them is found again.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    def __init__(self, side: Side) -> None:
        """Speak for one side."""
        self.side = side
        self.counts = FrameCounts()

    @abstractmethod
    def encode(self, message: Message) -> bytes:
        """The bytes of a message.

        Raises:
            CodecError: If the message is not one of this side, or its values do not fit.
        """

    @abstractmethod
    def feed(self, data: bytes) -> list[Message]:
        """Messages that are complete with these bytes, of the other side; never raises."""

    @abstractmethod
    def reset(self) -> None:
        """Forget an incomplete frame, and all that belongs to the session."""
