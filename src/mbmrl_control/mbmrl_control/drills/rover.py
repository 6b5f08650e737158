"""A robot that speaks ROS and knows nothing of this project: a wheeled base, its contract, and a prior for it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Final

import numpy as np
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rich.console import Console

from mbmrl_base.robots.catalogue import as_metadata
from mbmrl_base.robots.contract.contract import load_contract
from mbmrl_base.toolkit.spin import run
from mbmrl_control.training.episodes import Episode, read_folder
from mbmrl_control.training.from_data import train_on_data
from mbmrl_control.training.meta_training import TrainingSettings

CONTRACT: Final = """\
name: rover
rate: 20.0
topics:
  odom: {type: nav_msgs/msg/Odometry, sampling: interpolate}
  cmd_vel: {type: geometry_msgs/msg/Twist}
states:
  - {name: x, unit: m, topic: odom, field: pose.pose.position.x}
  - {name: y, unit: m, topic: odom, field: pose.pose.position.y}
  - {name: yaw, unit: rad, angle: true, topic: odom, field: yaw(pose.pose.orientation)}
  - {name: forward, unit: m/s, topic: odom, field: twist.twist.linear.x}
actions:
  - {name: speed, unit: m/s, low: -1.0, high: 1.0, topic: cmd_vel, field: linear.x}
  - {name: turn_rate, unit: rad/s, low: -2.0, high: 2.0, topic: cmd_vel, field: angular.z}
planar: {position: [x, y], heading: yaw}
"""
PERIOD: Final = 0.02
"""Time between two messages of its odometry, s."""
FORGETS: Final = 0.5
"""Time without a command after which it stops, s, as most bases do."""
_EPISODES: Final = 10
_LENGTH: Final = 30.0
"""Of an episode, s."""
_HOLD: Final = 0.4
"""Time for which a command at random is held, s."""


class Base:
    """Where a wheeled base is that follows its commands with a delay: x, y, m, yaw, rad, and speeds, m/s, rad/s."""

    def __init__(self) -> None:
        """Stand at the origin."""
        self.x = self.y = self.yaw = self.forward = self.turning = 0.0

    def move(self, speed: float, turn_rate: float) -> None:
        """Move for one PERIOD as a command has it, m/s and rad/s."""
        self.forward += 0.1 * (speed - self.forward)
        self.turning += 0.2 * (turn_rate - self.turning)
        self.yaw += PERIOD * self.turning
        self.x += PERIOD * self.forward * math.cos(self.yaw)
        self.y += PERIOD * self.forward * math.sin(self.yaw)


class Rover(Node):
    """Takes cmd_vel, and publishes odom at 50 Hz."""

    def __init__(self) -> None:
        """Stand at the origin."""
        # A parameter of a type that does not exist ends a plain node of rclpy's, whoever sends it.
        super().__init__("rover", start_parameter_services=False)
        self._odom = self.create_publisher(Odometry, "odom", 10)
        self.create_subscription(Twist, "cmd_vel", self._take, 10)
        self._base, self._wanted, self._left = Base(), (0.0, 0.0), 0.0
        self._timer = self.create_timer(PERIOD, self._move)

    def _take(self, message: Twist) -> None:
        speed, turn_rate = message.linear.x, message.angular.z
        if math.isfinite(speed + turn_rate):
            self._wanted, self._left = (max(-1.0, min(1.0, speed)), max(-2.0, min(2.0, turn_rate))), FORGETS

    def _move(self) -> None:
        self._left -= PERIOD
        base, message = self._base, Odometry()
        base.move(*(self._wanted if self._left > 0 else (0.0, 0.0)))
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = "odom"
        message.pose.pose.position.x, message.pose.pose.position.y = base.x, base.y
        message.pose.pose.orientation.z, message.pose.pose.orientation.w = (
            math.sin(base.yaw / 2),
            math.cos(base.yaw / 2),
        )
        message.twist.twist.linear.x, message.twist.twist.angular.z = base.forward, base.turning
        self._odom.publish(message)

    def close(self) -> None:
        """Drive no more."""
        self._timer.cancel()


def prepare(folder: Path, console: Console) -> dict[str, str]:
    """Write what a stack needs for the rover, and train its prior on drives at random, in some seconds.

    Args:
        folder: Where the files go.
        console: Where progress is shown.

    Returns:
        Arguments of the stack's nodes.
    """
    file, checkpoint = folder / "rover.yaml", folder / "rover.safetensors"
    file.write_text(CONTRACT)
    contract = load_contract(file)
    (folder / "episodes").mkdir()
    time, fine = (np.linspace(0.0, _LENGTH, round(_LENGTH / step) + 1) for step in (1.0 / contract.rate, PERIOD))
    for number in range(_EPISODES):
        rng, base, places = np.random.default_rng(number), Base(), []
        held = rng.uniform([0.0, -1.0], [0.6, 1.0], (round(_LENGTH / _HOLD), 2))
        for action in np.repeat(held, round(_HOLD / PERIOD), axis=0):
            places.append([base.x, base.y, base.yaw, base.forward])
            base.move(*action)
        places.append([base.x, base.y, base.yaw, base.forward])
        state = np.stack([np.interp(time, fine, each) for each in np.transpose(places)], 1)
        action = np.repeat(held, round(_HOLD * contract.rate), axis=0)
        metadata = {"robot": as_metadata(contract.robot)}
        Episode(state, action, time, metadata).save(folder / "episodes" / f"{number}.npz")
    settings = TrainingSettings("bayes_last_layer", steps=300, plain_steps=2000, window=16)
    (prior,) = train_on_data([settings], read_folder(folder / "episodes"), folder / "training", console)
    prior.save(checkpoint)
    return {"contract": str(file), "checkpoint": str(checkpoint)}


def main() -> int:
    """Drive until the process is ended."""
    return run(Rover)


if __name__ == "__main__":
    sys.exit(main())
