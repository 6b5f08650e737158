"""A Husky that knows nothing of this project: it takes cmd_vel and publishes odom, no more. PyBullet is its world.

What breaks is typed here: `wheel front_left` loses its torque, `ice left` takes the grip of a side, `load 40` puts so
many kg on its tail; `nothing` mends it all.
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue

import numpy as np
import pybullet
import pybullet_data
import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

PERIOD = 0.02
"""Between two messages of odometry, s."""
SUBSTEPS = 5
WHEELS = "front_left", "front_right", "rear_left", "rear_right"
RADIUS, HALF_TRACK = 0.165, 0.285
"""Of the wheels, m."""
TORQUE = 60.0
"""Of a wheel's motor at most, N m."""
GRIP, ICE = 0.8, 0.3
"""Coefficients of friction."""
GRIPPING = 0.1
"""Speed at which a wheel slides rather than grips, m/s."""
STIFFNESS, DAMPING = 3e4, 1e3
"""Of the tyres, N/m and N s/m."""
NOISE = 0.001, 0.002
"""Deviation of a position, m, and of a heading, rad, as localisation has them."""
FORGETS = 0.5
"""Time without a command after which it stops, s, as most bases do."""


class Husky(Node):
    """The robot, its controller of the wheels' speeds, and its world."""

    def __init__(self, seed: int) -> None:
        """Stand on a plane; the seed gives the noise, and how this robot differs from others of its kind."""
        super().__init__("husky")
        self._random = np.random.default_rng(seed)
        pybullet.connect(pybullet.DIRECT)
        pybullet.setAdditionalSearchPath(pybullet_data.getDataPath())
        pybullet.setTimeStep(PERIOD / SUBSTEPS)
        pybullet.setGravity(0, 0, -9.81)
        self._ground = pybullet.createMultiBody(0.0, pybullet.createCollisionShape(pybullet.GEOM_PLANE))
        pybullet.changeDynamics(self._ground, -1, lateralFriction=0.0)  # `_slide` has it
        self._robot = pybullet.loadURDF("husky/husky.urdf", [0, 0, 0.15])
        links = range(pybullet.getNumJoints(self._robot))
        names = [pybullet.getJointInfo(self._robot, link)[1].decode() for link in links]
        self._links = {wheel: names.index(f"{wheel}_wheel") for wheel in WHEELS}
        for link in self._links.values():
            pybullet.changeDynamics(self._robot, link, contactStiffness=STIFFNESS, contactDamping=DAMPING)
        self._own_grip = self._random.uniform(0.9, 1.1, len(WHEELS)) * GRIP
        self._load: int | None = None
        self._mend()
        self._wanted, self._left = (0.0, 0.0), 0.0
        self._typed = SimpleQueue[str]()
        threading.Thread(target=lambda: [self._typed.put(line.strip()) for line in sys.stdin], daemon=True).start()
        self._odom = self.create_publisher(Odometry, "odom", 10)
        self.create_subscription(Twist, "cmd_vel", self._take, 10)
        self.create_timer(PERIOD, self._move)
        self.get_logger().info(
            "stands, and takes cmd_vel; type what breaks: wheel front_left, ice left, load 40, nothing"
        )

    def _take(self, message: Twist) -> None:
        self._wanted, self._left = (message.linear.x, message.angular.z), FORGETS

    def _mend(self) -> None:
        self._torques = dict.fromkeys(WHEELS, TORQUE)
        self._grip = dict(zip(WHEELS, self._own_grip.tolist(), strict=True))
        if self._load is not None:
            pybullet.removeBody(self._load)
            self._load = None

    def _break(self, line: str) -> None:
        match line.split():
            case ["nothing"]:
                self._mend()
            case ["wheel", wheel] if wheel in WHEELS:
                self._torques[wheel] = 0.0
            case ["ice", "left" | "right" as side]:
                self._grip |= {f"front_{side}": ICE, f"rear_{side}": ICE}
            case ["load", mass] if mass.isdecimal() and len(mass) < 4 and self._load is None:
                self._carry(float(mass))
            case _:
                self.get_logger().warning(f"nothing breaks by {line!r}: see the head of this file")
                return
        self.get_logger().info("nothing is broken" if line == "nothing" else f"broken: {line}")

    def _carry(self, mass: float) -> None:
        place, turn = pybullet.getBasePositionAndOrientation(self._robot)
        tail = [-0.35, 0.0, 0.3]
        place, turn = pybullet.multiplyTransforms(place, turn, tail, [0, 0, 0, 1])
        box = pybullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=[0.15, 0.15, 0.1])
        self._load = pybullet.createMultiBody(mass, box, basePosition=place, baseOrientation=turn)
        pybullet.setCollisionFilterGroupMask(self._load, -1, 0, 0)  # it is held, and touches nothing
        pybullet.createConstraint(self._robot, -1, self._load, -1, pybullet.JOINT_FIXED, [0, 0, 0], tail, [0, 0, 0])

    def _move(self) -> None:
        while not self._typed.empty():
            self._break(self._typed.get())
        self._left -= PERIOD
        speed, turn_rate = self._wanted if self._left > 0 else (0.0, 0.0)
        for wheel, link in self._links.items():
            side = -HALF_TRACK if wheel.endswith("left") else HALF_TRACK
            pybullet.setJointMotorControl2(
                self._robot,
                link,
                pybullet.VELOCITY_CONTROL,
                targetVelocity=(speed + side * turn_rate) / RADIUS,
                force=self._torques[wheel],
            )
        for _ in range(SUBSTEPS):
            self._slide()
            pybullet.stepSimulation()
        self._publish()

    def _slide(self) -> None:
        """Coulomb friction of the wheels. Bullet's depends on where the robot looks."""
        (x, y, _), turn = pybullet.getBasePositionAndOrientation(self._robot)
        (vx, vy, _), (_, _, turn_rate) = pybullet.getBaseVelocity(self._robot)
        yaw = pybullet.getEulerFromQuaternion(turn)[2]
        wheels = {link: wheel for wheel, link in self._links.items()}
        for contact in pybullet.getContactPoints(bodyA=self._robot, bodyB=self._ground):
            link, place, load = contact[3], contact[6], contact[9]
            if link not in wheels:
                continue
            rolling = RADIUS * pybullet.getJointState(self._robot, link)[1]
            ahead = vx - turn_rate * (place[1] - y) - rolling * math.cos(yaw)
            aside = vy + turn_rate * (place[0] - x) - rolling * math.sin(yaw)
            force = -self._grip[wheels[link]] * load / math.hypot(ahead, aside, GRIPPING)
            push = [force * ahead, force * aside, 0.0]
            pybullet.applyExternalForce(self._robot, link, push, place, pybullet.WORLD_FRAME)

    def _publish(self) -> None:
        (x, y, _), turn = pybullet.getBasePositionAndOrientation(self._robot)
        (vx, vy, _), (_, _, turn_rate) = pybullet.getBaseVelocity(self._robot)
        yaw = pybullet.getEulerFromQuaternion(turn)[2]
        x, y, measured = self._random.normal((x, y, yaw), (NOISE[0], NOISE[0], NOISE[1]))
        message = Odometry(child_frame_id="base_link")
        message.header.frame_id, message.header.stamp = "odom", self.get_clock().now().to_msg()
        pose, twist = message.pose.pose, message.twist.twist
        pose.position.x, pose.position.y = x, y
        pose.orientation.z, pose.orientation.w = math.sin(measured / 2), math.cos(measured / 2)
        twist.linear.x = vx * math.cos(yaw) + vy * math.sin(yaw)
        twist.linear.y = vy * math.cos(yaw) - vx * math.sin(yaw)
        twist.angular.z = turn_rate
        self._odom.publish(message)


def main() -> None:
    """Drive until the process is ended."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("seed", type=int, nargs="?", default=0, help="of all that is random")
    arguments = given.parse_args()
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Husky(arguments.seed))


if __name__ == "__main__":
    main()
