"""A four-legged robot that knows nothing of this project: it takes the positions of its joints, and publishes them.

It takes `position_controller/commands`, as the controllers of ros2_control do, and publishes `joint_states` and
`odom`. PyBullet is its world. What breaks is typed here: `leg 1` to `leg 4` loses its torque, `nothing` mends all.
"""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue

import numpy as np
import pybullet
import pybullet_data
import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

PERIOD = 0.02
"""Between two messages of a topic, s."""
SUBSTEPS = 8
STANCE = {
    **{"hip_1": 0.0, "ankle_1": 1.0, "hip_2": 0.0, "ankle_2": -1.0},
    **{"hip_3": 0.0, "ankle_3": -1.0, "hip_4": 0.0, "ankle_4": 1.0},
}
"""Positions of the joints as it stands, rad."""
TORQUE, FASTEST = 1500.0, 2.0
"""Of a joint at most, N m and rad/s: the robot has 180 kg."""
STIFFNESS, DAMPING = 2e4, 2e3
"""Of its feet, N/m and N s/m."""
NOISE = 0.001
"""Deviation of a position, m, and of an angle, rad."""


class Ant(Node):
    """The robot, its joints' controller, and its world."""

    def __init__(self, seed: int) -> None:
        """Stand on a plane; the seed gives the noise."""
        super().__init__("ant")
        self._random = np.random.default_rng(seed)
        pybullet.connect(pybullet.DIRECT)
        pybullet.setAdditionalSearchPath(pybullet_data.getDataPath())
        pybullet.setTimeStep(PERIOD / SUBSTEPS)
        pybullet.setGravity(0, 0, -9.81)
        ground = pybullet.createMultiBody(0.0, pybullet.createCollisionShape(pybullet.GEOM_PLANE))
        (self._robot,) = pybullet.loadMJCF("mjcf/ant.xml")
        links = range(pybullet.getNumJoints(self._robot))
        names = [pybullet.getJointInfo(self._robot, link)[1].decode() for link in links]
        self._joints = {name: names.index(name) for name in STANCE}
        for body, link in ((ground, -1), *((self._robot, link) for link in (-1, *links))):
            soft = {"contactStiffness": STIFFNESS, "contactDamping": DAMPING}
            pybullet.changeDynamics(body, link, lateralFriction=1.0, **soft)
        for name, joint in self._joints.items():
            pybullet.resetJointState(self._robot, joint, STANCE[name])
        pybullet.resetBasePositionAndOrientation(self._robot, [0, 0, 0.6], [0, 0, 0, 1])
        self._wanted = list(STANCE.values())
        self._lame: set[str] = set()
        self._typed = SimpleQueue[str]()
        threading.Thread(target=lambda: [self._typed.put(line.strip()) for line in sys.stdin], daemon=True).start()
        self._odom = self.create_publisher(Odometry, "odom", 10)
        self._states = self.create_publisher(JointState, "joint_states", 10)
        self.create_subscription(Float64MultiArray, "position_controller/commands", self._take, 10)
        self.create_timer(PERIOD, self._move)
        self.get_logger().info("stands, and takes position_controller/commands; type what breaks: leg 1, nothing")

    def _take(self, message: Float64MultiArray) -> None:
        if len(message.data) == len(STANCE):
            self._wanted = list(message.data)

    def _break(self, line: str) -> None:
        match line.split():
            case ["nothing"]:
                self._lame.clear()
            case ["leg", "1" | "2" | "3" | "4" as leg]:
                self._lame |= {f"hip_{leg}", f"ankle_{leg}"}
            case _:
                self.get_logger().warning(f"nothing breaks by {line!r}: see the head of this file")
                return
        self.get_logger().info("nothing is broken" if line == "nothing" else f"broken: {line}")

    def _move(self) -> None:
        while not self._typed.empty():
            self._break(self._typed.get())
        for (name, joint), wanted in zip(self._joints.items(), self._wanted, strict=True):
            pybullet.setJointMotorControl2(
                *(self._robot, joint, pybullet.POSITION_CONTROL),
                targetPosition=wanted,
                positionGain=0.1,
                velocityGain=0.5,
                force=0.0 if name in self._lame else TORQUE,
                maxVelocity=FASTEST,
            )
        for _ in range(SUBSTEPS):
            pybullet.stepSimulation()
        self._publish()

    def _publish(self) -> None:
        stamp = self.get_clock().now().to_msg()
        place, turn = pybullet.getBasePositionAndOrientation(self._robot)
        axes = np.reshape(pybullet.getMatrixFromQuaternion(turn), (3, 3))
        velocity, rotation = (axes.T @ each for each in pybullet.getBaseVelocity(self._robot))
        odom = Odometry(child_frame_id="base_link")
        odom.header.frame_id, odom.header.stamp = "odom", stamp
        pose, twist = odom.pose.pose, odom.twist.twist
        pose.position.x, pose.position.y, pose.position.z = self._random.normal(place, NOISE)
        pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = turn
        twist.linear.x, twist.linear.y, twist.linear.z = velocity
        twist.angular.x, twist.angular.y, twist.angular.z = rotation
        self._odom.publish(odom)
        joints = np.array([state[:2] for state in pybullet.getJointStates(self._robot, list(self._joints.values()))])
        states = JointState(name=list(STANCE), position=self._random.normal(joints[:, 0], NOISE))
        states.header.stamp, states.velocity = stamp, joints[:, 1].tolist()
        self._states.publish(states)


def main() -> None:
    """Move until the process is ended."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("seed", type=int, nargs="?", default=0, help="of all that is random")
    arguments = given.parse_args()
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Ant(arguments.seed))


if __name__ == "__main__":
    main()
