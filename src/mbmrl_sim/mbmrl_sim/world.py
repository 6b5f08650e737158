"""The simulated millirobot: PyBullet world, drive, faults and measurements, in lock-step."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mbmrl_sim.bullet import BulletClient, pybullet, quiet
from mbmrl_sim.drive import Battery, SpeedController
from mbmrl_sim.faults import ANY_LEG, Fault, choose_fault
from mbmrl_sim.robot import RobotParameters, side_of, urdf
from mbmrl_sim.state import MAX_LEG_SPEED, Array, Observation, clip_action, pack_state

PHYSICS_STEP: Final = 1e-3
"""Length of a physics step and of a step of the on-board speed controller, s."""
SETTLING_TIME: Final = 0.5
"""Time in which the robot comes to rest on the ground at reset, s."""
_LOST_MASS: Final = 1e-12
"""Mass and moment of inertia of a lost leg, kg and kg m^2: the solver cannot divide by zero."""
_CRANKS: Final = (0, 1)
_LEGS: Final = tuple(range(2, 8))


def connect() -> Any:
    """Open a PyBullet world of its own, without a screen."""
    with quiet():
        client = BulletClient(connection_mode=pybullet.DIRECT)
    # Descriptions are written anew for each robot: a cached file of the same name would be a stale one.
    client.setPhysicsEngineParameter(enableFileCaching=0)
    return client


def load_robot(client: Any, parameters: RobotParameters, position: Any = (0.0, 0.0, 0.0)) -> int:
    """Load the robot; joints 0 and 1 are the cranks, 2 to 7 the hips of legs 0 to 5."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "millirobot.urdf"
        path.write_text(urdf(parameters))
        return int(client.loadURDF(str(path), list(position), flags=pybullet.URDF_USE_INERTIA_FROM_FILE))


def joint_of_leg(leg: int) -> int:
    """Number of the joint, and link, of a leg in PyBullet."""
    return _LEGS[leg]


class World:
    """A millirobot on flat ground.

    Seeded and deterministic: the same seed and the same commands give the same states, bit for bit.
    """

    def __init__(
        self,
        seed: int = 0,
        rate: float = 20.0,
        parameters: RobotParameters | None = None,
        gravity: Sequence[float] = (0.0, 0.0, -9.81),
    ) -> None:
        """Set up the world and reset it.

        Args:
            seed: Seed of the first episode's leg phases and of random faults.
            rate: Control rate, Hz; a control interval must be a whole number of physics steps.
            parameters: The robot; the default one where None.
            gravity: Acceleration, x, y and z, m/s^2; one that is not along z stands for sloping ground.

        Raises:
            ValueError: If the rate does not divide into physics steps.
        """
        self.rate = rate
        self.substeps = substeps(rate)
        self.parameters = parameters or RobotParameters()
        self._gravity = tuple(map(float, gravity))
        self._client = connect()
        self._rng = np.random.default_rng(seed)
        self._time = 0.0
        self._sequence = 0
        self._episode = 0
        self.reset()

    def reset(self, seed: int | None = None) -> Observation:
        """Put an intact robot at the origin, let it settle, and start a new episode.

        The time goes on, so that clocks derived from it never run backwards.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._episode += 1
        self._faults: dict[int, Fault] = {}
        self._battery = Battery(self.parameters.battery)
        self._controllers = tuple(SpeedController(self.parameters.motor) for _ in _CRANKS)
        self._action = np.zeros(2)
        self._build(self._rng.uniform(-np.pi, np.pi, 2))
        settling = round(SETTLING_TIME / PHYSICS_STEP)
        self._simulate(settling)
        self._time += settling * PHYSICS_STEP
        return self.observe()

    def _build(self, phases: Array) -> None:
        client, robot = self._client, self.parameters
        client.resetSimulation()
        client.setGravity(*self._gravity)
        client.setTimeStep(PHYSICS_STEP)
        client.setPhysicsEngineParameter(
            # Bullet's default distance at which contacts break is 2 cm, most of a leg's length.
            contactBreakingThreshold=0.002,
            deterministicOverlappingPairs=1,
            enableFileCaching=0,
        )
        ground = client.createMultiBody(0.0, client.createCollisionShape(pybullet.GEOM_PLANE))
        client.changeDynamics(ground, -1, lateralFriction=1.0, restitution=0.0)
        self._robot = load_robot(client, robot, (0.0, 0.0, robot.standing_height))
        for link in (-1, *_CRANKS, *_LEGS):
            client.changeDynamics(
                self._robot,
                link,
                jointDamping=0.0,
                linearDamping=0.0,
                angularDamping=0.0,
                lateralFriction=robot.body_friction,
                restitution=0.0,
            )
        for joint in (*_CRANKS, *_LEGS):
            # Velocity motors are on by default; force 0 leaves the joint free.
            client.setJointMotorControl2(self._robot, joint, pybullet.VELOCITY_CONTROL, force=0.0)
            side = joint if joint in _CRANKS else side_of(joint - _LEGS[0])
            client.resetJointState(self._robot, joint, float(phases[side]))
        for leg, joint in enumerate(_LEGS):
            client.changeDynamics(
                self._robot,
                joint,
                lateralFriction=robot.foot_friction * robot.friction_scales[leg],
                contactStiffness=robot.foot_stiffness * robot.stiffness_scales[leg],
                contactDamping=robot.foot_damping,
            )
            gear = client.createConstraint(
                self._robot,
                _CRANKS[side_of(leg)],
                self._robot,
                joint,
                pybullet.JOINT_GEAR,
                [0, 1, 0],
                [0, 0, 0],
                [0, 0, 0],
            )
            client.changeConstraint(gear, gearRatio=-1.0, relativePositionTarget=0.0, erp=0.2, maxForce=1.0)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Faults in force, in the order of the legs."""
        return tuple(self._faults[leg] for leg in sorted(self._faults))

    @property
    def episode(self) -> int:
        """Number of the episode, from 1; a reset starts a new one."""
        return self._episode

    @property
    def time(self) -> float:
        """Simulated time, s."""
        return self._time

    @property
    def leg_angles(self) -> Array:
        """Angles of the joints in the order of the URDF: two cranks, then legs 0 to 5, shape (8,), rad."""
        return np.array([state[0] for state in self._client.getJointStates(self._robot, (*_CRANKS, *_LEGS))])

    @property
    def mass(self) -> float:
        """Mass of the robot as it is, kg."""
        links = (-1, *_CRANKS, *_LEGS)
        return float(sum(self._client.getDynamicsInfo(self._robot, link)[0] for link in links))

    def contacts(self, leg: int) -> int:
        """Number of contact points of a leg."""
        return len(self._client.getContactPoints(bodyA=self._robot, linkIndexA=_LEGS[leg]))

    def inject(self, kind: str = "", leg: int = ANY_LEG) -> Fault:
        """Put a fault into force at once.

        Raises:
            FaultError: If the fault is impossible; nothing is changed then.
        """
        fault = choose_fault(kind, leg, self._faults, self._rng, self._time)
        self._faults[fault.leg] = fault
        self._attach(fault.leg, attached=False)
        return fault

    def clear_faults(self) -> tuple[Fault, ...]:
        """Make the robot intact; returns the faults that were undone."""
        cleared = self.faults
        self._faults.clear()
        for fault in cleared:
            self._attach(fault.leg, attached=True)
        return cleared

    def _attach(self, leg: int, attached: bool) -> None:
        robot, joint = self.parameters, _LEGS[leg]
        self._client.setCollisionFilterGroupMask(self._robot, joint, int(attached), -int(attached))
        self._client.changeDynamics(
            self._robot,
            joint,
            mass=robot.leg_mass if attached else _LOST_MASS,
            localInertiaDiagonal=[robot.leg_inertia if attached else _LOST_MASS] * 3,
        )

    def step(self, action: Array) -> Observation:
        """Hold an action for one control interval.

        Args:
            action: Leg speed set-points, shape (2,), rad/s; they are clipped to the robot's limits.
        """
        self.apply(action)
        self.advance(self.substeps)
        return self.finish_interval()

    def apply(self, action: Array) -> None:
        """Set the action of the interval that starts now, shape (2,), rad/s."""
        self._action = clip_action(action)

    def advance(self, steps: int) -> None:
        """Simulate a number of physics steps under the action that is set."""
        self._simulate(steps)
        self._time += steps * PHYSICS_STEP

    def finish_interval(self, exact: bool = True) -> Observation:
        """Count a control interval and measure at its end; inexact where the action changed within it."""
        self._sequence += 1
        return self.observe(interval=self.substeps * PHYSICS_STEP if exact else 0.0)

    def _simulate(self, steps: int) -> None:
        client, robot, battery = self._client, self._robot, self._battery
        left, right = self._controllers
        left_target, right_target = self._action.tolist()
        for _ in range(steps):
            (_, left_speed, *_), (_, right_speed, *_) = client.getJointStates(robot, _CRANKS)
            supply = battery.voltage
            left_torque, left_current = left.step(left_target, left_speed, supply, PHYSICS_STEP)
            right_torque, right_current = right.step(right_target, right_speed, supply, PHYSICS_STEP)
            battery.draw(left_current + right_current, PHYSICS_STEP)
            client.setJointMotorControlArray(
                robot, _CRANKS, pybullet.TORQUE_CONTROL, forces=(left_torque, right_torque)
            )
            client.stepSimulation()

    def observe(self, interval: float = 0.0) -> Observation:
        """Measure the state; the interval is 0 where none ended in which one action was in force, s."""
        position, orientation = self._client.getBasePositionAndOrientation(self._robot)
        velocity, rotation_rate = self._client.getBaseVelocity(self._robot)
        to_body = np.array(self._client.getMatrixFromQuaternion(orientation)).reshape(3, 3).T
        cranks = self._client.getJointStates(self._robot, _CRANKS)
        speeds = [crank[1] for crank in cranks]
        state = pack_state(
            position,
            velocity,
            self._client.getEulerFromQuaternion(orientation),
            to_body @ np.array(rotation_rate),
            [crank[0] for crank in cranks],
            speeds,
            [controller.back_emf(s) for controller, s in zip(self._controllers, speeds, strict=True)],
            self._battery.voltage,
        )
        return Observation(state, self._action.copy(), self._time, self._sequence, self._episode, interval)

    def close(self) -> None:
        """Free the PyBullet world."""
        self._client.disconnect()


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
