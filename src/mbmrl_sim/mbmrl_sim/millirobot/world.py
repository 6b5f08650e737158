"""The simulated millirobot: physics, drive, faults and measurements, in lock-step."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, ClassVar, Final

import numpy as np

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.faults import SIDES, Fault
from mbmrl_base.robots.millirobot.body import JOINT_NAMES, RobotParameters, of_joints, urdf, vary
from mbmrl_base.robots.millirobot.layout import LEG_NAMES, LEG_SPEED, pack_state
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.simulator import Joints
from mbmrl_sim.bullet import push, pybullet
from mbmrl_sim.catalogue import DEFAULT_TERRAIN
from mbmrl_sim.effects import PAYLOAD, SLOPE, Effects, gravity_on, tilt
from mbmrl_sim.lockstep import LockStep
from mbmrl_sim.millirobot.drive import Battery, SpeedController
from mbmrl_sim.millirobot.faults import BATTERY_LOW, FAULT_KINDS, LEG_LOSS, MOTOR_WEAK
from mbmrl_sim.millirobot.physics import CRANKS, PHYSICS_STEP, Physics
from mbmrl_sim.millirobot.terrain import TERRAINS
from mbmrl_sim.render import colour_legs, follow_robot, look_at_robot, lost_legs
from mbmrl_sim.sensors import SensorSettings

STEEPEST: Final = math.radians(8.0)
"""Steepest slope that varied ground has, rad: one down which no robot slides on its belly for ever."""


class World(LockStep):
    """A millirobot on the ground."""

    physics_step: ClassVar[float] = PHYSICS_STEP
    settling_time: ClassVar[float] = 0.5
    kinds = FAULT_KINDS

    def __init__(
        self,
        seed: int = 0,
        rate: float = 20.0,
        parameters: RobotParameters | None = None,
        terrain: str = DEFAULT_TERRAIN,
        slope: tuple[float, float] = (0.0, 0.0),
        sensors: SensorSettings | str = "ideal",
        gui: bool = False,
        parts: int = 1,
        varied: np.random.Generator | None = None,
    ) -> None:
        """Set up the world and reset it.

        Args:
            seed: Seed of the first episode's leg phases, of random faults and of what sensors and link make random.
            rate: Control rate, Hz; a control interval must be a whole number of physics steps.
            parameters: The robot; the default one where None.
            terrain: Name of the ground, one of TERRAINS.
            slope: Angle of the ground, rad, and the direction that leads up it, rad, odom.
            sensors: Imperfections of the sensors, or their preset's name.
            gui: Whether to show the world in a window.
            parts: Equal parts in which each physics step is taken, to see what its length changes.
            varied: Draws slope and robot in place of those that are given.

        Raises:
            ValueError: If the rate does not divide into physics steps, or there is no such terrain.
        """
        super().__init__(load_robot("millirobot"), seed, rate, sensors)
        if terrain not in TERRAINS:
            raise ValueError(f"unknown terrain {terrain!r}: allowed is {', '.join(TERRAINS)}")
        self._terrain = self._ground = terrain
        if varied is not None:
            slope = float(varied.uniform(0, STEEPEST)), float(varied.uniform(-np.pi, np.pi))
            parameters = vary(parameters or RobotParameters(), varied)
        self.parameters = parameters or RobotParameters()
        self.slope = slope
        self._rise = tilt(*slope)
        self.physics = Physics(self.parameters, gui, parts)
        if gui:
            look_at_robot(self.physics.client)
        self.reset()

    @property
    def about(self) -> dict[str, Any]:
        """Parameters of the robot, and the ground."""
        return {"parameters": asdict(self.parameters), "terrain": self._terrain, "slope": self.slope}

    @property
    def terrain(self) -> str:
        """Name of the ground under the robot."""
        return self._ground

    def _build(self) -> None:
        self._battery = Battery(self.parameters.battery)
        self._controllers = tuple(SpeedController(self.parameters.motor) for _ in CRANKS)
        self._ground = self._terrain
        phases = self._rng.uniform(-np.pi, np.pi, 2)
        self.physics.build(TERRAINS[self._ground], gravity_on(self._rise), phases, self._noise)

    def _break(self, fault: Fault, broken: bool) -> None:
        if fault.kind == LEG_LOSS:
            self.physics.attach_leg(LEG_NAMES.index(fault.part), attached=not broken)
        elif broken or self._ground != self._terrain:
            self._ground = fault.terrain if broken else self._terrain
            self.physics.set_terrain(TERRAINS[self._ground], self._noise)

    def _act(self, effects: Effects, now: float) -> None:
        for controller, side in zip(self._controllers, SIDES, strict=True):
            controller.strength = effects.scalar(MOTOR_WEAK, now, side)
        self._battery.drop = effects.scalar(BATTERY_LOW, now)
        self.physics.payload.set(*effects.value(PAYLOAD, now).tolist())
        self.gravity = gravity_on(self._rise + effects.value(SLOPE, now))
        """Shape (3,), m/s^2, in the frame that lies on the ground."""
        self.physics.client.setGravity(*self.gravity)

    def _push(self, velocity: Array) -> None:
        push(self.physics.client, self.physics.robot, velocity.tolist())

    def advance(self, steps: int) -> None:
        """Simulate a number of physics steps."""
        super().advance(steps)
        self.physics.keep_ground_below()

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

    def joints(self) -> Joints:
        """Cranks and hips; a hip turns as fast as the crank of its side."""
        speeds = of_joints(*self._newest.state[LEG_SPEED])
        return Joints(JOINT_NAMES, tuple(self.physics.leg_angles.tolist()), tuple(speeds.tolist()))

    def urdf(self) -> str:
        """URDF of this robot, with the links of its sensors."""
        return urdf(self.parameters, sensors=True)

    def show(self) -> None:
        """Let the window follow the robot, and show lost legs pale."""
        follow_robot(self.physics.client, self._newest.state)
        colour_legs(self.physics.client, self.physics.robot, lost_legs(map(str, self.faults)))

    def close(self) -> None:
        """Free the PyBullet world."""
        self.physics.client.disconnect()
