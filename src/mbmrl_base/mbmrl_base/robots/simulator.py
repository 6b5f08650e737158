"""What a simulated robot offers to who drives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from mbmrl_base.robots.faults import Fault, FaultKinds
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot


@dataclass(frozen=True)
class Joints:
    """Joints as `sensor_msgs/JointState` has them: names of the URDF, positions (rad or m), velocities (per s)."""

    names: tuple[str, ...] = ()
    positions: tuple[float, ...] = ()
    velocities: tuple[float, ...] = ()


class World(Protocol):
    """A robot in lock-step, as who controls it sees it: time goes on only with `step`.

    Attributes:
        robot: The robot.
        rate: Control rate, Hz.
    """

    robot: Robot
    rate: float

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Faults in force, in the order of kinds and parts."""

    def observe(self) -> Observation:
        """The newest observation: of the end of the last interval, or of the start of the episode."""

    def step(self, action: Array) -> Observation:
        """Hold an action, shape (m,), for one control interval; returns what is observed at its end."""

    def close(self) -> None:
        """Free what it takes."""


class Simulator(World, Protocol):
    """A simulated robot: time goes on with `step`, or `advance`.

    Seeded and deterministic: the same seed and the same commands give the same states, bit for bit.

    Attributes:
        substeps: Physics steps in a control interval.
        kinds: Faults that may be injected.
    """

    substeps: int
    kinds: FaultKinds

    @property
    def time(self) -> float:
        """Simulated time, s; it never runs backwards."""

    @property
    def episode(self) -> int:
        """Number of the episode, from 1; a reset starts a new one."""

    @property
    def about(self) -> dict[str, Any]:
        """What an episode's metadata say of it, for JSON: its parameters, the ground."""

    def reset(self, seed: int | None = None) -> Observation:
        """Put an intact robot at its start; the time goes on."""

    def apply(self, action: Array) -> None:
        """Send an action, shape (m,); without faults it is in force from now on."""

    def halt(self) -> None:
        """Put the safe action into force at once: what the robot does if its commands stay away."""

    def advance(self, steps: int) -> None:
        """Simulate a number of physics steps."""

    def finish_interval(self, exact: bool = True) -> Observation:
        """Count a control interval and measure at its end; inexact if the action changed within it."""

    def inject(self, request: Fault | None = None) -> Fault:
        """Put a fault into force; it replaces one that hits the same.

        Args:
            request: What is asked for; None for the first kind, on a random part that still works.

        Raises:
            FaultError: If the fault is impossible; nothing is changed then.
        """

    def clear_faults(self) -> tuple[Fault, ...]:
        """Undo all faults at once; returns those that were in force."""

    def push(self, velocity: Array) -> None:
        """Change the velocity of the robot at once, m/s, as it heads: ahead, to the left and up, shape (3,).

        Raises:
            ValueError: If it cannot be pushed, or not so.
        """

    def joints(self) -> Joints:
        """How the joints stand and move."""

    def urdf(self) -> str | None:
        """URDF of the robot, if it has one."""

    def show(self) -> None:
        """Let a window, if there is one, show the robot as it is."""
