"""The MPC node as a process, with a robot that the test plays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_robot_state
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_msgs.msg import MotorCommand, PlannerStatus, RobotState
from ros_testing import NodeProcess, Peer, changed

StartNode = Callable[..., NodeProcess]
PERIOD = 0.05


class Robot:
    """A robot that stands still, tells its state at 20 Hz, and keeps what it is told."""

    def __init__(self, peer: Peer) -> None:
        self.commands: list[Any] = peer.record(MotorCommand, "motor_command", 1000)
        self.statuses: list[Any] = peer.record(PlannerStatus, "planner_status", 1000)
        self.position = (1.0, -2.0, 0.02)
        self.episode = 1
        self.strange: dict[str, Any] = {}
        self._sequence = 0
        self._publisher = peer.node.create_publisher(RobotState, "robot_state", qos.STATE)
        self._timer = peer.node.create_timer(PERIOD, self._tell, autostart=False)

    def start(self) -> None:
        self._timer.reset()

    def stop(self) -> None:
        self._timer.cancel()

    def _tell(self) -> None:
        self._sequence += 1
        speeds = (20.0, 20.0)
        state = pack_state(self.position, (0.0,) * 3, (0.0, 0.0, 0.5), (0.0,) * 3, (0.1, 0.2), speeds, (1.0, 1.0), 3.9)
        observation = Observation(
            state, np.array(speeds), self._sequence * PERIOD, self._sequence, self.episode, PERIOD
        )
        in_force = self.commands[-1].sequence if self.commands else 0
        self._publisher.publish(changed(to_robot_state(MILLIROBOT, observation, in_force), self.strange))

    def outcome(self) -> int | None:
        """What the newest status says."""
        return self.statuses[-1].outcome if self.statuses else None


def speeds(command: MotorCommand) -> tuple[float, float]:
    left, right = command.action
    return left, right


def ticks(robot: Robot, outcome: int, since: int = 0) -> list[tuple[PlannerStatus, MotorCommand]]:
    """Ticks of an outcome, from the status of a number on; only the newest command is sure to arrive."""
    commands = {command.sequence: command for command in robot.commands}
    return [
        (status, commands[status.command_sequence])
        for status in robot.statuses[since:]
        if status.outcome == outcome and status.command_sequence in commands
    ]


# Fixtures, which the conftest names


@pytest.fixture
def prior(make_prior: Callable[..., Prior]) -> Prior:
    return make_prior()


@pytest.fixture
def start_planner(prior: Prior, tmp_path: Path, start_node: StartNode) -> StartNode:
    """A function that starts the node with a small prior and a quick planner."""

    def start(*ros_arguments: str, **parameters: Any) -> NodeProcess:
        file = tmp_path / "prior.safetensors"
        prior.save(file)
        quick = {"checkpoint": str(file), "candidates": 40, "horizon": 5, "state_timeout": 1.0, "model_timeout": 60.0}
        return start_node("mpc_node", *ros_arguments, **(quick | parameters))

    return start


@pytest.fixture
def robot(peer: Peer) -> Robot:
    return Robot(peer)
