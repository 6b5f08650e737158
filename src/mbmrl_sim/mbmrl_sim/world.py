"""The simulated millirobot: physics, drive, faults and measurements, in lock-step."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from mbmrl_base.robots.millirobot.body import RobotParameters
from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED, clip_action, pack_state
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_sim.bullet import pybullet
from mbmrl_sim.drive import Battery, SpeedController
from mbmrl_sim.effects import CommandLink, Effects
from mbmrl_sim.faults import (
    BATTERY_LOW,
    LEG_LOSS,
    LINK,
    MOTOR_WEAK,
    PAYLOAD,
    POSE_MISCALIBRATION,
    SIDES,
    SLOPE,
    TERRAIN,
    Fault,
    choose_fault,
)
from mbmrl_sim.physics import CRANKS, PHYSICS_STEP, Physics
from mbmrl_sim.sensors import Sensors, SensorSettings
from mbmrl_sim.terrain import DEFAULT_TERRAIN, TERRAINS, check_terrain, gravity_on, tilt

SETTLING_TIME: Final = 0.5
"""Time in which the robot comes to rest on the ground at reset, s."""
COMMAND_TIMEOUT: Final = 0.1
"""Time without a command, and at least two control intervals, after which the robot stops its legs, s."""
_RAMP_STEPS: Final = 10
"""Physics steps between two changes of an effect that grows."""


class World:
    """A millirobot on the ground.

    Seeded and deterministic: the same seed and the same commands give the same states, bit for bit. States
    are given in a frame that lies on the ground: a slope is felt as the direction of gravity.
    """

    def __init__(
        self,
        seed: int = 0,
        rate: float = 20.0,
        parameters: RobotParameters | None = None,
        terrain: str = DEFAULT_TERRAIN,
        slope: tuple[float, float] = (0.0, 0.0),
        sensors: SensorSettings | None = None,
        gui: bool = False,
        parts: int = 1,
    ) -> None:
        """Set up the world and reset it.

        Args:
            seed: Seed of the first episode's leg phases, of random faults and of what sensors and link make random.
            rate: Control rate, Hz; a control interval must be a whole number of physics steps.
            parameters: The robot; the default one where None.
            terrain: Name of the ground, one of TERRAINS.
            slope: Angle of the ground, rad, and the direction that leads up it, rad, odom.
            sensors: Imperfections of the sensors; none where None.
            gui: Whether to show the world in a window.
            parts: Equal parts in which each physics step is taken, to see what its length changes.

        Raises:
            ValueError: If the rate does not divide into physics steps, or there is no such terrain.
        """
        self.rate = rate
        self.substeps = substeps(rate)
        self.parameters = parameters or RobotParameters()
        self._terrain = check_terrain(terrain)
        self.slope = slope
        self._rise = tilt(*slope)
        self._sensor_settings = sensors or SensorSettings()
        self.physics = Physics(self.parameters, gui, parts)
        self._seed(seed)
        self._step = 0
        self._sequence = 0
        self._episode = 0
        self.reset()

    def _seed(self, seed: int) -> None:
        # Apart, so that sensors and ground do not change which leg phases and faults follow from a seed.
        self._rng, self._noise = np.random.default_rng(seed), np.random.default_rng((seed, 1))

    def reset(self, seed: int | None = None) -> Observation:
        """Put an intact robot at the origin, let it settle, and start a new episode.

        The time goes on, so that clocks derived from it never run backwards.
        """
        if seed is not None:
            self._seed(seed)
        self._episode += 1
        self._faults: dict[tuple[str, int, str], Fault] = {}
        self._effects = Effects()
        self._battery = Battery(self.parameters.battery)
        self._controllers = tuple(SpeedController(self.parameters.motor) for _ in CRANKS)
        self._sensors = Sensors(self._sensor_settings, self._noise)
        self._link = CommandLink(self._noise, max(round(COMMAND_TIMEOUT / PHYSICS_STEP), 2 * self.substeps))
        self._action = np.zeros(2)
        self._ground = self._terrain
        phases = self._rng.uniform(-np.pi, np.pi, 2)
        self.physics.build(TERRAINS[self._ground], gravity_on(self._rise), phases, self._noise)
        self._take_effect()
        settling = round(SETTLING_TIME / PHYSICS_STEP)
        self._simulate(settling)
        self._in_force: list[tuple[Array, int]] = []
        self._newest = self._measure()
        self._sample: Observation | None = None
        self._sample_step = 0
        self._begin_interval()
        return self._newest

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Faults in force, in the order of kinds, legs and sides."""
        return tuple(self._faults[key] for key in sorted(self._faults))

    @property
    def lost_legs(self) -> frozenset[int]:
        """Legs that are lost."""
        return frozenset(fault.leg for fault in self._faults.values() if fault.kind == LEG_LOSS)

    @property
    def terrain(self) -> str:
        """Name of the ground under the robot."""
        return self._ground

    @property
    def episode(self) -> int:
        """Number of the episode, from 1; a reset starts a new one."""
        return self._episode

    @property
    def time(self) -> float:
        """Simulated time, s."""
        return self._step * PHYSICS_STEP

    def inject(self, request: Fault | None = None) -> Fault:
        """Put a fault into force, at once or over its ramp; it replaces one that hits the same.

        Args:
            request: What is asked for; a random leg is lost where None.

        Raises:
            FaultError: If the fault is impossible; nothing is changed then.
        """
        fault = choose_fault(request or Fault(), self.faults, self._rng, self.time, self._ground)
        self._faults[fault.key] = fault
        if fault.kind == LEG_LOSS:
            self.physics.attach_leg(fault.leg, attached=False)
        elif fault.kind == TERRAIN:
            self._set_ground(fault.terrain)
        else:
            self._effects.begin(fault)
            self._take_effect()
        return fault

    def clear_faults(self) -> tuple[Fault, ...]:
        """Undo all faults at once; returns those that were in force."""
        cleared = self.faults
        self._faults.clear()
        for fault in cleared:
            if fault.kind == LEG_LOSS:
                self.physics.attach_leg(fault.leg, attached=True)
        if self._ground != self._terrain:
            self._set_ground(self._terrain)
        self._effects = Effects()
        self._take_effect()
        return cleared

    def _set_ground(self, name: str) -> None:
        self._ground = name
        self.physics.set_terrain(TERRAINS[name], self._noise)

    def _take_effect(self) -> None:
        """Apply the effects as they are now."""
        now, effects = self.time, self._effects
        for controller, side in zip(self._controllers, SIDES, strict=True):
            controller.strength = float(effects.value(MOTOR_WEAK, now, side)[0])
        self._battery.drop = float(effects.value(BATTERY_LOW, now)[0])
        mass, moment_x, moment_y = effects.value(PAYLOAD, now).tolist()
        self.physics.set_payload(mass, moment_x / mass if mass else 0.0, moment_y / mass if mass else 0.0)
        self.gravity = gravity_on(self._rise + effects.value(SLOPE, now))
        """Shape (3,), m/s^2, in the frame that lies on the ground."""
        self.physics.set_gravity(self.gravity)
        delay, self._link.loss = effects.value(LINK, now).tolist()
        self._link.delay = round(delay / PHYSICS_STEP)
        # Told here, so that an effect is applied once more when it has reached its value.
        self._growing = effects.changing(now)

    def step(self, action: Array) -> Observation:
        """Hold an action for one control interval.

        Args:
            action: Leg speed set-points, shape (2,), rad/s; they are clipped to the robot's limits.
        """
        self.apply(action)
        self.advance(self.substeps)
        return self.finish_interval()

    def apply(self, action: Array) -> None:
        """Send an action, shape (2,), rad/s; without faults it is in force from now on."""
        self._link.send(clip_action(action), self._step)
        self._receive()

    def halt(self) -> None:
        """Stop the legs at once: what the robot does by itself when its commands stay away."""
        self._action = np.zeros(2)

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
            self._simulate(part)
            self._receive()
            if self._step == self._sample_step:
                self._sample = self._measure()
        self.physics.keep_ground_below()

    def _receive(self) -> None:
        action = self._link.receive(self._step)
        if action is not None:
            self._action = action

    def finish_interval(self, exact: bool = True) -> Observation:
        """Count a control interval and measure at its end; inexact where the action changed within it."""
        self._sequence += 1
        sample = self._sample or self._measure()
        interval = sample.interval if exact else 0.0
        self._newest = replace(sample, sequence=self._sequence, interval=interval)
        self._begin_interval()
        return self._newest

    def _begin_interval(self) -> None:
        self._sample = None
        early = round(self._sensors.earliness(0.5 / self.rate) / PHYSICS_STEP)
        self._sample_step = self._step + self.substeps - early

    def _simulate(self, steps: int) -> None:
        client, robot, battery = self.physics.client, self.physics.robot, self._battery
        # Looked up once: each look at the client makes a new function.
        get_joint_states, set_motors, step_simulation = (
            client.getJointStates,
            client.setJointMotorControlArray,
            client.stepSimulation,
        )
        control_left, control_right = (controller.step for controller in self._controllers)
        left_target, right_target = self._action.tolist()
        for _ in range(steps):
            left, right = get_joint_states(robot, CRANKS)
            supply = battery.voltage
            left_torque, left_current = control_left(left_target, left[1], supply, PHYSICS_STEP)
            right_torque, right_current = control_right(right_target, right[1], supply, PHYSICS_STEP)
            battery.draw(left_current + right_current, PHYSICS_STEP)
            set_motors(robot, CRANKS, pybullet.TORQUE_CONTROL, forces=(left_torque, right_torque))
            step_simulation()
        self._step += steps

    def observe(self) -> Observation:
        """The newest observation: of the end of the last interval, or of the start of the episode."""
        return self._newest

    def _true_state(self) -> Array:
        client, robot = self.physics.client, self.physics.robot
        position, orientation = client.getBasePositionAndOrientation(robot)
        velocity, rotation_rate = client.getBaseVelocity(robot)
        to_body = np.array(client.getMatrixFromQuaternion(orientation)).reshape(3, 3).T
        cranks = client.getJointStates(robot, CRANKS)
        speeds = [crank[1] for crank in cranks]
        return pack_state(
            position,
            velocity,
            client.getEulerFromQuaternion(orientation),
            to_body @ np.array(rotation_rate),
            [crank[0] for crank in cranks],
            speeds,
            [controller.back_emf(s) for controller, s in zip(self._controllers, speeds, strict=True)],
            self._battery.voltage,
        )

    def measure(self, sensors: Sensors) -> Array:
        """State vector that sensors other than the robot's own measure now, shape (24,)."""
        return sensors.measure(self._true_state(), self._effects.value(POSE_MISCALIBRATION, self.time))

    def _measure(self) -> Observation:
        """Measure now, and tell which action was in force since the last measurement."""
        shift = self._effects.value(POSE_MISCALIBRATION, self.time)
        state = self._sensors.measure(self._true_state(), shift)
        # What has arrived this instant was not in force yet.
        action = self._in_force[-1][0] if self._in_force else self._action
        duration = sum(steps for _, steps in self._in_force)
        if any(past is not action for past, _ in self._in_force):
            # Of several actions their mean, so that what came late or not at all leaves true transitions.
            action = np.sum([past * steps for past, steps in self._in_force], axis=0) / duration
        self._in_force = []
        return Observation(state, action.copy(), self.time, self._sequence, self._episode, duration * PHYSICS_STEP)

    def close(self) -> None:
        """Free the PyBullet world."""
        self.physics.close()


def substeps(rate: float) -> int:
    """Physics steps in a control interval of a rate in Hz.

    Raises:
        ValueError: If the rate is not positive or its interval is no whole number of physics steps.
    """
    steps = 1.0 / (rate * PHYSICS_STEP) if rate > 0 else 0.0
    if steps < 1 or abs(steps - round(steps)) > 1e-6:
        raise ValueError(
            f"a control rate of {rate:g} Hz is not reachable: allowed are rates whose interval is a whole"
            f" number of physics steps of {PHYSICS_STEP * 1e3:g} ms, such as 10, 20, 40, 50, 100"
        )
    return round(steps)


def random_action(rng: np.random.Generator, low: float, high: float = MAX_LEG_SPEED) -> Array:
    """Leg speeds drawn uniformly between two bounds, shape (2,), rad/s."""
    return rng.uniform(low, high, 2)
