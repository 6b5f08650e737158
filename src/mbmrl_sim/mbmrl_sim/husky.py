"""A simulated Husky: a base on four wheels that are driven one by one, those of a side at one speed."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

import numpy as np

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.faults import SIDES, Fault, FaultKind, FaultKinds
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.simulator import Joints
from mbmrl_sim.bullet import connect, load_urdf, push, pybullet
from mbmrl_sim.effects import LINK, PAYLOAD, SLOPE, Effects, gravity_on, tilt
from mbmrl_sim.lockstep import LockStep
from mbmrl_sim.payload import Payload
from mbmrl_sim.sensors import SensorSettings

WHEELS: Final = ("front_left", "front_right", "rear_left", "rear_right")
RADIUS: Final = 0.17775
"""Of a wheel, m."""
TRACK: Final = 0.5708
"""Distance of the left from the right wheels, m."""
SLIP: Final = 1.9
"""How many times as far apart wheels that do not slip would be, for the base to turn as it does on carpet."""
GRIPPING: Final = 0.1
"""Speed at which a tyre slides with most of its friction, m/s."""
STIFFNESS, DAMPING = 3e4, 1e3
"""Of a tyre, N/m and N s/m."""
STEEPEST: Final = math.radians(6.0)
"""Steepest slope that varied ground has, rad."""
GROUNDS: Final = {"carpet": 0.6, "concrete": 0.8, "grass": 0.45}
"""Coefficient of friction of the tyres on each ground."""

WHEEL_DEAD: Final = "wheel_dead"
ICE: Final = "ice"
WORN_TYRES: Final = "worn_tyres"

FAULT_KINDS: Final = FaultKinds(
    {
        # Both front wheels are spared, since training shows each drive and its mirror image.
        WHEEL_DEAD: FaultKind("a wheel has no torque", parts=WHEELS, spared=("front_left", "front_right")),
        ICE: FaultKind(
            "tyres of a side have this share of their friction",
            *("", 0.02, 0.95, 0.3, 1.0),
            parts=SIDES,
            worse={"magnitude": (0.05, 0.12)},
        ),
        PAYLOAD: FaultKind(
            "a load lies on the body at x, y (m)",
            *("kg", 1.0, 75.0, 25.0),
            takes={"x": (-0.4, 0.4), "y": (-0.2, 0.2)},
            worse={"magnitude": (40.0, 60.0)},
        ),
        SLOPE: FaultKind(
            "the ground rises towards a direction (degrees, 0: ahead)",
            *("degrees", -15.0, 15.0, 6.0),
            takes={"direction": (-360.0, 360.0)},
            worse={"magnitude": (9.5, 11.0)},
        ),
        WORN_TYRES: FaultKind(
            "all tyres have this share of their friction",
            *("", 0.05, 0.95, 0.6, 1.0),
            worse={"magnitude": (0.15, 0.25)},
        ),
        LINK: FaultKind(
            "commands come late, and a share of them (loss, percent) never",
            *("ms", 0.0, 200.0, 25.0),
            takes={"loss": (0.0, 90.0)},
            drawn={"loss": (0.0, 27.0)},
            worse={"magnitude": (38.0, 50.0), "loss": (30.0, 40.0)},
        ),
    }
)


@dataclass(frozen=True)
class HuskyParameters:
    """What differs from one base to the next.

    Attributes:
        friction_scales: Friction of each tyre as a share of the ground's.
        torque: Greatest torque of a wheel, N m.
        gain: Share of its speed error that a wheel's controller takes away in a physics step.
        load: What is always on it, kg.
    """

    friction_scales: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    torque: float = 25.0
    gain: float = 0.3
    load: float = 0.0

    @staticmethod
    def drawn(rng: np.random.Generator) -> HuskyParameters:
        """A base of the same build, as no two are alike."""
        scales = rng.uniform(0.6, 1.3) * rng.uniform(0.8, 1.2, 4)
        return HuskyParameters(tuple(scales.tolist()), *rng.uniform((18.0, 0.15, 0.0), (32.0, 0.5, 15.0)).tolist())


class Husky(LockStep):
    """A Husky on the ground."""

    physics_step: ClassVar[float] = 1e-3
    settling_time: ClassVar[float] = 0.5
    kinds = FAULT_KINDS

    def __init__(
        self,
        seed: int = 0,
        rate: float = 20.0,
        parameters: HuskyParameters | None = None,
        terrain: str = "carpet",
        slope: tuple[float, float] = (0.0, 0.0),
        sensors: SensorSettings | str = "ideal",
        gui: bool = False,
        varied: np.random.Generator | None = None,
    ) -> None:
        """Put it up, as the world of the millirobot.

        Raises:
            ValueError: If the rate does not divide into physics steps, or there is no such terrain.
        """
        super().__init__(load_robot("husky"), seed, rate, sensors)
        if terrain not in GROUNDS:
            raise ValueError(f"unknown terrain {terrain!r}: allowed is {', '.join(GROUNDS)}")
        if varied is not None:
            slope = float(varied.uniform(0, STEEPEST)), float(varied.uniform(-np.pi, np.pi))
            parameters = HuskyParameters.drawn(varied)
        self.parameters = parameters or HuskyParameters()
        self._ground, self._slope = terrain, slope
        self._client = connect(gui)
        self.reset()

    @property
    def about(self) -> dict[str, Any]:
        """Parameters of the robot, and the ground."""
        return {"parameters": asdict(self.parameters), "terrain": self._ground, "slope": self._slope}

    @property
    def terrain(self) -> str:
        """Name of the ground under the robot."""
        return self._ground

    def _build(self) -> None:
        client = self._client
        client.resetSimulation()
        client.setTimeStep(self.physics_step)
        client.setPhysicsEngineParameter(deterministicOverlappingPairs=1, enableFileCaching=0)
        self._plane = client.createMultiBody(0.0, client.createCollisionShape(pybullet.GEOM_PLANE))
        client.changeDynamics(self._plane, -1, lateralFriction=0.0)
        self._base = load_urdf(client, self.robot.urdf() or "", [0.0, 0.0, 0.15])
        names = [client.getJointInfo(self._base, joint)[1].decode() for joint in range(client.getNumJoints(self._base))]
        self._wheels = [names.index(f"{wheel}_wheel") for wheel in WHEELS]
        for link in range(-1, len(names)):
            client.changeDynamics(self._base, link, jointDamping=0.0, linearDamping=0.0, angularDamping=0.0)
        for wheel in self._wheels:
            # Of four wheels that do not give way none would know its share of the load.
            client.changeDynamics(self._base, wheel, contactStiffness=STIFFNESS, contactDamping=DAMPING)
        # From the centre of mass, which is what PyBullet gives, to base_link.
        place, turn = client.getDynamicsInfo(self._base, -1)[3:5]
        self._to_base_link = client.invertTransform(place, turn)
        self._payload = Payload(client, self._base, 0.2, 0.15, force=1e5)
        self._dead: set[str] = set()

    def _break(self, fault: Fault, broken: bool) -> None:
        (self._dead.add if broken else self._dead.discard)(fault.part)

    def _act(self, effects: Effects, now: float) -> None:
        ground = GROUNDS[self._ground] * effects.scalar(WORN_TYRES, now)
        self._friction = {
            link: ground * scale * effects.scalar(ICE, now, wheel.split("_")[1])
            for wheel, link, scale in zip(WHEELS, self._wheels, self.parameters.friction_scales, strict=True)
        }
        mass, *moments = effects.value(PAYLOAD, now).tolist()
        self._payload.set(mass + self.parameters.load, *moments)
        self._client.setGravity(*gravity_on(tilt(*self._slope) + effects.value(SLOPE, now)))

    def _push(self, velocity: Array) -> None:
        push(self._client, self._base, velocity.tolist())

    def _simulate(self, steps: int) -> None:
        speed, turn = self._action.tolist()
        difference = turn * TRACK * SLIP / 2
        self._client.setJointMotorControlArray(
            self._base,
            self._wheels,
            pybullet.VELOCITY_CONTROL,
            targetVelocities=[(speed - difference) / RADIUS, (speed + difference) / RADIUS] * 2,
            forces=[0.0 if wheel in self._dead else self.parameters.torque for wheel in WHEELS],
            velocityGains=[self.parameters.gain] * len(WHEELS),
        )
        step = self._client.stepSimulation
        for _ in range(steps):
            self._grip()
            step()

    def _grip(self) -> None:
        """Let the tyres grip: Coulomb friction against the way that each slides, less if it hardly does.

        Bullet's own friction depends on where the robot looks: it is limited along two fixed directions.
        """
        client, base = self._client, self._base
        (x, y, _), orientation = client.getBasePositionAndOrientation(base)
        (vx, vy, _), (_, _, turn) = client.getBaseVelocity(base)
        yaw = client.getEulerFromQuaternion(orientation)[2]
        ahead_x, ahead_y = math.cos(yaw), math.sin(yaw)
        speeds = dict(zip(self._wheels, (state[1] for state in client.getJointStates(base, self._wheels)), strict=True))
        for contact in client.getContactPoints(bodyA=base, bodyB=self._plane):
            link, place, load = contact[3], contact[6], contact[9]
            if link in speeds:
                rolling = speeds[link] * RADIUS
                sliding_x = vx - turn * (place[1] - y) - rolling * ahead_x
                sliding_y = vy + turn * (place[0] - x) - rolling * ahead_y
                force = -self._friction[link] * load / math.hypot(sliding_x, sliding_y, GRIPPING)
                client.applyExternalForce(
                    base, link, [force * sliding_x, force * sliding_y, 0.0], place, pybullet.WORLD_FRAME
                )

    def _true_state(self) -> Array:
        client = self._client
        centre = client.getBasePositionAndOrientation(self._base)
        position, orientation = client.multiplyTransforms(*centre, *self._to_base_link)
        velocity, rotation = client.getBaseVelocity(self._base)
        velocity = np.array(velocity) + np.cross(rotation, np.subtract(position, centre[0]))
        yaw = client.getEulerFromQuaternion(orientation)[2]
        left_front, right_front, left_rear, right_rear = self.joints().velocities
        sides = (left_front + left_rear) / 2, (right_front + right_rear) / 2
        return np.array([*position[:2], yaw, *velocity[:2], rotation[2], *sides])

    def joints(self) -> Joints:
        """How the wheels stand and turn."""
        wheels = self._client.getJointStates(self._base, self._wheels)
        positions, speeds = (tuple(wheel[part] for wheel in wheels) for part in (0, 1))
        return Joints(tuple(f"{wheel}_wheel" for wheel in WHEELS), positions, speeds)

    def close(self) -> None:
        """Free the PyBullet world."""
        self._client.disconnect()
