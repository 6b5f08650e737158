"""A robot that knows nothing of this project: its odometry, its commands, and recordings of both."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mbmrl_base.robots.contract.contract import Contract
from mbmrl_base.robots.description import describe_as
from mbmrl_control.drills.rover import Base
from pages import FOLDER

STORE: Final = get_typestore(Stores.ROS2_JAZZY)
ODOM: Final = "nav_msgs/msg/Odometry"
TWIST: Final = "geometry_msgs/msg/Twist"
Timed = tuple[float, str, Any]
"""When a message came, s, its topic, and the message."""
ROVER: Final = (FOLDER / "contract.md").read_text().partition("```yaml\n")[2].partition("```")[0]
"""The example of the page."""


def contract(**changed: Any) -> Contract:
    """The rover's contract, with other fields."""
    import yaml

    return describe_as(Contract, yaml.safe_load(ROVER) | changed)


def _make(kind: str, **fields: Any) -> Any:
    return STORE.types[kind](**fields)


def _vector(kind: str, x: float, y: float, z: float) -> Any:
    return _make(f"geometry_msgs/msg/{kind}", x=float(x), y=float(y), z=float(z))


def twist(speed: float, turn_rate: float) -> Any:
    """A command."""
    return _make(TWIST, linear=_vector("Vector3", speed, 0, 0), angular=_vector("Vector3", 0, 0, turn_rate))


def odom(time: float, x: float = 0.0, y: float = 0.0, yaw: float = 0.0, forward: float = 0.0, sign: int = 1) -> Any:
    """Odometry of a time, s; the quaternion with another sign is the same rotation."""
    covariance = np.zeros(36)
    seconds = math.floor(time)
    stamp = _make("builtin_interfaces/msg/Time", sec=seconds, nanosec=round((time - seconds) * 1e9))
    turn = _make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=sign * math.sin(yaw / 2), w=sign * math.cos(yaw / 2))
    pose = _make("geometry_msgs/msg/Pose", position=_vector("Point", x, y, 0), orientation=turn)
    return _make(
        ODOM,
        header=_make("std_msgs/msg/Header", stamp=stamp, frame_id="odom"),
        child_frame_id="base_link",
        pose=_make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance),
        twist=_make("geometry_msgs/msg/TwistWithCovariance", twist=twist(forward, 0.0), covariance=covariance),
    )


def drive(duration: float, start: float = 1000.0, seed: int = 0, worn: float = 1.0) -> list[Timed]:
    """Messages of a drive, odometry at 50 Hz: commands at random, which the rover follows with a delay.

    Wheels that are `worn` go that share of the way.
    """
    rng, messages = np.random.default_rng(seed), list[Timed]()
    base, speed, turn_rate = Base(), 0.0, 0.0
    for tick in range(round(50 * duration)):
        time = start + tick / 50
        messages.append((time + 0.002, "odom", odom(time, base.x, base.y, base.yaw, base.forward)))
        if tick % 20 == 0:
            speed, turn_rate = rng.uniform(0.0, 0.6), rng.uniform(-1.0, 1.0)
            messages.append((time + 0.003, "cmd_vel", twist(speed, turn_rate)))
        base.move(worn * speed, turn_rate / worn)
    return messages


def record(folder: Path, messages: Iterable[Timed], storage: str = "mcap", compressed: bool = False) -> Path:
    """Write messages as a recording."""
    kinds = {"odom": ODOM, "cmd_vel": TWIST}
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compressed:
        writer.set_compression(CompressionMode.FILE, CompressionFormat.ZSTD)
    with writer:
        connections = {name: writer.add_connection(f"/{name}", kind, typestore=STORE) for name, kind in kinds.items()}
        for time, topic, message in messages:
            writer.write(connections[topic], round(time * 1e9), STORE.serialize_cdr(message, kinds[topic]))
    return folder
