"""A pendulum, and how it swings: a robot and a simulator that are not in the project."""

from __future__ import annotations

import numpy as np

from mbmrl_base.robots.description import describe
from mbmrl_base.robots.faults import FaultKind, FaultKinds
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_sim.effects import Effects
from mbmrl_sim.lockstep import LockStep

PENDULUM = Robot(
    describe(
        {
            "name": "pendulum",
            "states": ["cosine", "sine", {"name": "rate", "unit": "rad/s"}],
            "actions": [{"name": "torque", "unit": "N m", "low": -2.0, "high": 2.0}],
            "pairs": [["cosine", "sine"]],
        }
    )
)


class Pendulum(LockStep):
    """A point at the end of a rod of 1 m, which a motor turns."""

    kinds = FaultKinds(heavy=FaultKind("it has this many times its mass", "", 1.1, 4.0, 2.0, 1.0))

    def __init__(self, seed: int, rate: float) -> None:
        super().__init__(PENDULUM, seed, rate)
        self.reset()

    def _build(self) -> None:
        self.angle, self.speed = self._rng.uniform(-np.pi, np.pi), 0.0

    def _act(self, effects: Effects, now: float) -> None:
        self.mass = effects.scalar("heavy", now)

    def _simulate(self, steps: int) -> None:
        for _ in range(steps):
            self.speed += (9.81 * np.sin(self.angle) + self._action[0] / self.mass) * self.physics_step
            self.angle += self.speed * self.physics_step

    def _true_state(self) -> Array:
        return np.array([np.cos(self.angle), np.sin(self.angle), self.speed])


def simulator(seed: int, rate: float) -> Pendulum:
    """The pendulum at a random angle, 0 upwards."""
    return Pendulum(seed, rate)
