"""What simulators share: lock-step intervals, the link that brings commands, faults that grow, imperfect sensors.

A simulator is a subclass that says how its robot is put up, simulated and seen, and what faults do to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np

from mbmrl_base.robots.faults import Fault, FaultKinds
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.robots.simulator import Joints
from mbmrl_sim.effects import LINK, POSE_MISCALIBRATION, CommandLink, Effects
from mbmrl_sim.sensors import Sensors, SensorSettings, make_sensors

COMMAND_TIMEOUT: Final = 0.1
"""Time without a command, and at least two control intervals, after which the robot goes to its safe action, s."""
HARDEST_PUSH: Final = 5.0
"""Greatest change of a robot's velocity by a push, m/s."""
_RAMP_STEPS: Final = 10
"""Physics steps between two changes of an effect that grows."""


class LockStep:
    """A `mbmrl_base.robots.simulator.Simulator`, but for the physics.

    States are given in a frame that lies on the ground: a slope is felt as the direction of gravity.
    """

    physics_step: ClassVar[float] = 1e-3
    """Length of a physics step, s."""
    settling_time: ClassVar[float] = 0.0
    """Time in which the robot comes to rest at reset, s."""
    kinds: FaultKinds = FaultKinds()
    """Faults that may be injected."""

    def __init__(
        self,
        robot: Robot,
        seed: int = 0,
        rate: float = 20.0,
        sensors: SensorSettings | str = "ideal",
        varied: np.random.Generator | None = None,
        **others: Any,
    ) -> None:
        """Take the robot; a subclass then makes its world ready and calls `reset`.

        Args:
            robot: The robot.
            seed: Seed of all that is random.
            rate: Control rate, Hz; a control interval must be a whole number of physics steps.
            sensors: Imperfections of the sensors, or what `make_sensors` makes them of.
            varied: Draws another robot, on a slope, if a subclass knows others than the nominal one.
            others: What a subclass hands on without knowing it.

        Raises:
            ValueError: If the rate does not divide into physics steps, there are no such sensors, or there are others.
        """
        del varied
        if others:
            raise ValueError(f"this simulator has no {', '.join(others)}: it takes sensors, and what itself declares")
        self.robot = robot
        self.rate = rate
        self.substeps = substeps(rate, self.physics_step)
        self._sensor_settings = make_sensors(sensors) if isinstance(sensors, str) else sensors
        self._seed(seed)
        self._step = self._sequence = self._episode = 0

    def _build(self) -> None:
        """Put an intact robot at its start; `_rng` draws what is random in it, `_noise` what is in the ground."""
        raise NotImplementedError

    def _simulate(self, steps: int) -> None:
        """Simulate a number of physics steps with the action in force, `_action`, shape (m,)."""
        raise NotImplementedError

    def _true_state(self) -> Array:
        """The state as it is, shape (n,)."""
        raise NotImplementedError

    def _break(self, fault: Fault, broken: bool) -> None:
        """Let a fault that does not grow act, or undo it."""

    def _act(self, effects: Effects, now: float) -> None:
        """Let faults that grow act as far as they have grown."""

    def _seed(self, seed: int) -> None:
        # Apart, so that sensors and ground do not change which start and which faults follow from a seed.
        self._rng, self._noise = np.random.default_rng(seed), np.random.default_rng((seed, 1))

    def reset(self, seed: int | None = None) -> Observation:
        """Put an intact robot at its start, let it settle, and start a new episode.

        The time goes on, so that clocks derived from it never run backwards.
        """
        if seed is not None:
            self._seed(seed)
        self._episode += 1
        self._faults: dict[tuple[str, str], Fault] = {}
        self._effects = Effects(self.kinds)
        self._sensors = Sensors(self._sensor_settings, self._noise, self.robot)
        timeout = max(round(COMMAND_TIMEOUT / self.physics_step), 2 * self.substeps)
        self._action = self.robot.safe_action()
        self._build()
        self._link = CommandLink(self._noise, timeout, self._safe_action)
        self._take_effect()
        self._go_on(round(self.settling_time / self.physics_step))
        self._in_force: list[tuple[Array, int]] = []
        self._newest = self._measure()
        self._sample: Observation | None = None
        self._sample_step = 0
        self._begin_interval()
        return self._newest

    def _safe_action(self) -> Array:
        return self.robot.safe_action(self._true_state())

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Faults in force, in the order of kinds and parts."""
        return tuple(self._faults[key] for key in sorted(self._faults))

    @property
    def about(self) -> dict[str, Any]:
        """What an episode's metadata say of it."""
        return {}

    @property
    def terrain(self) -> str:
        """Name of the ground under the robot; empty if there is only one."""
        return ""

    @property
    def episode(self) -> int:
        """Number of the episode, from 1; a reset starts a new one."""
        return self._episode

    @property
    def time(self) -> float:
        """Simulated time, s."""
        return self._step * self.physics_step

    def inject(self, request: Fault | None = None) -> Fault:
        """Put a fault into force, at once or over its ramp; it replaces one that hits the same: see `Simulator`."""
        fault = self.kinds.choose(request or Fault(), self.faults, self._rng, self.time, self.terrain)
        self._faults[fault.key] = fault
        if self.kinds[fault.kind].grows:
            self._effects.begin(fault)
            self._take_effect()
        else:
            self._break(fault, broken=True)
        return fault

    def clear_faults(self) -> tuple[Fault, ...]:
        """Undo all faults at once; returns those that were in force."""
        cleared = self.faults
        self._faults.clear()
        for fault in cleared:
            if not self.kinds[fault.kind].grows:
                self._break(fault, broken=False)
        self._effects = Effects(self.kinds)
        self._take_effect()
        return cleared

    def push(self, velocity: Array) -> None:
        """Change the velocity of the robot at once, m/s, as it heads: ahead, to the left and up, shape (3,).

        Raises:
            ValueError: If it cannot be pushed, or not so.
        """
        if not (np.linalg.norm(velocity) <= HARDEST_PUSH):  # nor is NaN
            change = ", ".join(f"{each:g}" for each in velocity)
            raise ValueError(f"a push by {change} m/s: allowed is up to {HARDEST_PUSH:g} m/s")
        self._push(velocity)

    def _push(self, velocity: Array) -> None:
        """Change the velocity of the robot, as of `push`."""
        raise ValueError(f"the simulator of {self.robot.name} knows no pushes")

    def _take_effect(self) -> None:
        """Apply the effects as they are now."""
        now = self.time
        self._act(self._effects, now)
        delay, self._link.loss = self._effects.value(LINK, now).tolist()
        self._link.delay = round(delay / self.physics_step)
        # Asked here, so that an effect is applied once more when it has reached its value.
        self._growing = self._effects.changing(now)

    def step(self, action: Array) -> Observation:
        """Hold an action, shape (m,), for one control interval; it is clipped to the robot's bounds."""
        self.apply(action)
        self.advance(self.substeps)
        return self.finish_interval()

    def apply(self, action: Array) -> None:
        """Send an action, shape (m,); without faults it is in force from now on."""
        self._link.send(self.robot.clip(action), self._step)
        self._receive()

    def halt(self) -> None:
        """Put the safe action into force at once: what the robot does by itself if its commands stay away."""
        self._action = self._safe_action()

    def advance(self, steps: int) -> None:
        """Simulate a number of physics steps."""
        end = self._step + steps
        while self._step < end:
            stops = [end, self._link.next_change(self._step)]
            if self._sample_step > self._step:
                stops.append(self._sample_step)
            if self._growing:
                stops.append(self._step + _RAMP_STEPS)
                self._take_effect()
            part = min(stops) - self._step
            self._in_force.append((self._action, part))
            self._go_on(part)
            self._receive()
            if self._step == self._sample_step:
                self._sample = self._measure()

    def _go_on(self, steps: int) -> None:
        self._simulate(steps)
        self._step += steps

    def _receive(self) -> None:
        action = self._link.receive(self._step)
        if action is not None:
            self._action = action

    def finish_interval(self, exact: bool = True) -> Observation:
        """Count a control interval and measure at its end; inexact if the action changed within it."""
        self._sequence += 1
        sample = self._sample or self._measure()
        interval = sample.interval if exact else 0.0
        self._newest = replace(sample, sequence=self._sequence, interval=interval)
        self._begin_interval()
        return self._newest

    def _begin_interval(self) -> None:
        self._sample = None
        early = round(self._sensors.earliness(0.5 / self.rate) / self.physics_step)
        self._sample_step = self._step + self.substeps - early

    def observe(self) -> Observation:
        """The newest observation: of the end of the last interval, or of the start of the episode."""
        return self._newest

    def measure(self, sensors: Sensors) -> Array:
        """What other sensors measure of the robot now, shape (n,); faults of the pose's frame are seen by these too."""
        return sensors.measure(self._true_state(), self._effects.value(POSE_MISCALIBRATION, self.time))

    def _measure(self) -> Observation:
        """Measure now, and say which action was in force since the last measurement."""
        state = self.measure(self._sensors)
        # What has arrived this instant was not in force yet.
        action = self._in_force[-1][0] if self._in_force else self._action
        duration = sum(steps for _, steps in self._in_force)
        if any(past is not action for past, _ in self._in_force):
            # Of several actions their mean, so that what came late or not at all leaves true transitions.
            action = np.sum([past * steps for past, steps in self._in_force], axis=0) / duration
        self._in_force = []
        return Observation(state, action.copy(), self.time, self._sequence, self._episode, duration * self.physics_step)

    def joints(self) -> Joints:
        """How the joints stand and move."""
        return Joints()

    def urdf(self) -> str | None:
        """URDF of the robot, if it has one."""
        return self.robot.urdf()

    def show(self) -> None:
        """Let a window, if there is one, show the robot as it is."""

    def close(self) -> None:
        """Free what it takes."""


def substeps(rate: float, physics_step: float) -> int:
    """Physics steps in a control interval of a rate in Hz.

    Raises:
        ValueError: If the rate is not positive or its interval is no whole number of physics steps.
    """
    steps = 1.0 / (rate * physics_step) if rate > 0 else 0.0
    if steps < 1 or abs(steps - round(steps)) > 1e-6:
        raise ValueError(
            f"a control rate of {rate:g} Hz is not reachable: allowed are rates whose interval is a whole"
            f" number of physics steps of {physics_step * 1e3:g} ms, such as 10, 20, 40, 50, 100"
        )
    return round(steps)
