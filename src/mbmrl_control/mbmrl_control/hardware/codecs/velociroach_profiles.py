"""Command tables of firmwares of the VelociRoACH family, which give the same numbers other meanings, and scales.

Read in biomimetics/roach, ronf-ucb/imageproc_ros and the firmware of the millirobot's recorded data.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mbmrl_control.hardware.codecs.wire import Side
from mbmrl_control.hardware.codecs.xbee import MAX_PACKET

PER_COUNT: Final = 2 * math.pi / 65536
"""rad of the leg cycle."""
SPEED_PER_COUNT: Final = 1000 * PER_COUNT
"""rad/s of one count per ms."""
SENSORS: Final = (
    ("gyro", math.radians(1 / 16.384), ("gyro_x", "gyro_y", "gyro_z")),
    ("acceleration", 9.80665 / 4096, ("accel_x", "accel_y", "accel_z")),
    ("back_emf", 3.3 / 1024 / (15 / 47), ("emf_left", "emf_right")),
    ("battery", 3.7 / 2.7 * 3.3 / 1023, ("battery",)),
)
"""Attributes of `Telemetry`, what a count of them is in its unit, and the names of their fields."""

MILLIROBOT_FIELDS: Final = (
    *("index", "time", "left", "right", "commanded_left", "commanded_right", "duty_left", "duty_right"),
    *("gyro_x", "gyro_y", "gyro_z", "accel_x", "accel_y", "accel_z", "emf_left", "emf_right", "battery"),
)
TURNER_FIELDS: Final = (
    *("index", "time", "left", "right", "duty_left", "duty_right", "gyro_x", "gyro_y", "gyro_z", "temperature"),
    *("accel_x", "accel_y", "accel_z", "emf_left", "emf_right", "spare_1", "spare_2"),
)


@dataclass(frozen=True)
class Profile:
    """The packets that a firmware knows; a type of 0 is one that it has not.

    Attributes:
        version: Question for the version, answered by text.
        gains: 10 x i16, left then right: Kp, Ki, Kd, Kaw, Kff; echoed.
        telemetry: Type of the telemetry packets.
        format: Format of telemetry, as of `struct`.
        fields: Names of its values.
        start: Starts the speed controllers.
        stop: Stops them.
        velocity: i16 left, right, counts per ms.
        pwm: i16 left, right, duty.
        timed_run: u16 ms; starts the controllers, and stops them when it has passed.
        positions: Question for the positions, answered by 2 x i32 counts.
        poll: Question for telemetry, i16 0; 0: each command is answered by it.
        run_time: Time after which a PWM command, whose data then end with it (i16 ms), expires, ms; 0: it does not.
    """

    version: int
    gains: int
    telemetry: int
    format: str
    fields: tuple[str, ...]
    start: int = 0
    stop: int = 0
    velocity: int = 0
    pwm: int = 0
    timed_run: int = 0
    positions: int = 0
    poll: int = 0
    run_time: int = 0

    @cached_property
    def packet(self) -> struct.Struct:
        """Layout of telemetry."""
        return struct.Struct(self.format)

    def lengths(self, side: Side) -> dict[int, range]:
        """Lengths of the data of each type of packet that a side may get."""
        if side == "host":
            lengths = {self.version: (0, MAX_PACKET - 2), self.gains: (20, 20), self.positions: (8, 8)}
            lengths |= {self.telemetry: (self.packet.size,) * 2}
        else:
            lengths = {self.version: (0, MAX_PACKET - 2), self.gains: (20, 20), self.positions: (0, 8)}
            lengths |= {self.start: (0, 8), self.stop: (0, 8), self.timed_run: (2, 2), self.poll: (2, 2)}
            lengths |= {self.velocity: (4, 4), self.pwm: (6 if self.run_time else 4,) * 2}
        return {kind: range(low, high + 1) for kind, (low, high) in lengths.items() if kind}


PROFILES: Final = {
    "millirobot": Profile(
        version=0x8E,
        gains=0x82,
        telemetry=0x20,
        format="<LL4l11h",
        fields=MILLIROBOT_FIELDS,
        start=0x81,
        stop=0x92,
        velocity=0x96,
        pwm=0x95,
        timed_run=0x91,
        positions=0x84,
    ),
    # Thrust only, with its own duration; its last two values of telemetry have no name that is sure.
    "turner": Profile(
        version=0x8D,
        gains=0x82,
        telemetry=0x89,
        format="<LL2l13h",
        fields=TURNER_FIELDS,
        pwm=0x80,
        poll=0x83,
        run_time=200,
    ),
}
