"""What a simulated robot offers to who drives it."""

from __future__ import annotations

from typing import Protocol

from mbmrl_base.robots.observation import Array, Observation


class Simulator(Protocol):
    """A simulated robot in lock-step: time goes on only with `step`."""

    rate: float
    """Control rate, Hz."""

    @property
    def faults(self) -> tuple[object, ...]:
        """Faults in force, each with a text such as payload:magnitude=15."""

    def observe(self) -> Observation:
        """The newest observation: of the end of the last interval, or of the start of the episode."""

    def step(self, action: Array) -> Observation:
        """Hold an action, shape (m,), for one control interval; returns what is observed at its end."""
