"""The camera node as a process, over real DDS: the test is the robot."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path as PathMessage
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.layout import LEG_NAMES, pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_robot_state
from mbmrl_msgs.msg import FaultArray, RobotState
from mbmrl_sim.millirobot.faults import LEG_LOSS
from mbmrl_sim.nodes.conversions import to_fault_array
from mbmrl_sim.render import FIELD_OF_VIEW, Scene
from ros_testing import NodeProcess, Peer

StartCamera = Callable[..., NodeProcess]
MILLIROBOT = load_robot("millirobot")
WIDTH, HEIGHT = 160, 120


@pytest.fixture
def start_camera(domain: int, tmp_path: Path) -> Iterator[StartCamera]:
    """A function that starts a camera node in the test's domain, with small and many images."""
    with ExitStack() as processes:

        def start(**parameters: object) -> NodeProcess:
            values = {"rate": 50.0, "width": WIDTH, "height": HEIGHT} | parameters
            given = [text for name, value in values.items() for text in ("-p", f"{name}:={value}")]
            process = NodeProcess("mbmrl_sim.nodes.camera_node", domain, *given, folder=tmp_path)
            return processes.enter_context(process)

        yield start


class Robot:
    """Publishes states of which each has its stamp, and keeps the images that come back."""

    def __init__(self, peer: Peer, camera: NodeProcess) -> None:
        self._peer, self._camera = peer, camera
        self._states = peer.node.create_publisher(RobotState, "robot_state", qos.STATE)
        self._faults = peer.node.create_publisher(FaultArray, "faults", qos.LATCHED)
        self._paths = peer.node.create_publisher(PathMessage, "reference_path", qos.LATCHED)
        self.images: list[Image] = peer.record(Image, "camera/image_raw", qos.STATE)
        self.infos: list[CameraInfo] = peer.record(CameraInfo, "camera/camera_info", qos.STATE)
        publishers = (self._states, self._faults, self._paths)
        peer.spin_until(lambda: all(p.get_subscription_count() for p in publishers), camera)
        # The camera's publishers know of who listens only some time after these know of them.
        peer.spin_until(lambda: self.send(0) or (self.images and self.infos), camera)

    def send(self, seconds: float, yaw: float = 0.0) -> None:
        """Publish a state; those of 0 s are to find out whether images come."""
        state = pack_state([0, 0, 0.025], [0] * 3, [0, 0, yaw], [0] * 3, [0, 0], [0] * 2, [0] * 2, 4.0)
        self._states.publish(to_robot_state(MILLIROBOT, Observation(state, np.zeros(2), seconds, 1, 1, 0.05), 0))

    def show(self, seconds: float, yaw: float = 0.0) -> NDArray[np.uint8]:
        """The picture of a state."""
        self.send(seconds, yaw)
        self._peer.spin_until(lambda: self.images and self.images[-1].header.stamp.sec == seconds, self._camera)
        return picture(self.images[-1])

    def lose(self, *legs: int) -> None:
        """Tell that legs are lost."""
        self._faults.publish(to_fault_array([Fault(LEG_LOSS, LEG_NAMES[leg]) for leg in legs], 0.0))

    def plan(self, points: list[tuple[float, float]]) -> None:
        """Publish a path."""
        message = PathMessage()
        for x, y in points:
            pose = PoseStamped()
            pose.pose.position.x, pose.pose.position.y = x, y
            message.poses.append(pose)
        self._paths.publish(message)


def picture(image: Image) -> NDArray[np.uint8]:
    """Picture of an image, shape (height, width, 3)."""
    return np.frombuffer(image.data, dtype=np.uint8).reshape(image.height, image.width, 3)


def test_image_is_of_a_state_and_has_its_stamp(start_camera: StartCamera, peer: Peer) -> None:
    robot = Robot(peer, start_camera())
    shown = robot.show(3, yaw=0.7)
    image = robot.images[-1]
    assert (image.width, image.height, image.encoding, image.step) == (WIDTH, HEIGHT, "rgb8", 3 * WIDTH)
    assert image.header.frame_id == "camera_optical_frame"
    state = pack_state([0, 0, 0.025], [0] * 3, [0, 0, 0.7], [0] * 3, [0, 0], [0] * 2, [0] * 2, 4.0)
    with closing(Scene(WIDTH, HEIGHT, samples=1)) as scene:
        assert np.abs(shown.astype(int) - scene.draw(state)).mean() < 0.1
    assert (robot.show(4, yaw=-0.7) != shown).any()


def test_camera_is_described(start_camera: StartCamera, peer: Peer) -> None:
    robot = Robot(peer, start_camera())
    robot.show(3)
    peer.spin_until(lambda: robot.infos[-1].header.stamp.sec == 3)
    info, image = robot.infos[-1], robot.images[-1]
    assert info.header == image.header
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert HEIGHT / 2 / info.k[4] == pytest.approx(np.tan(np.radians(FIELD_OF_VIEW / 2)))
    assert (info.k[0], info.k[2], info.k[5]) == (info.k[4], WIDTH / 2, HEIGHT / 2)


def test_only_the_newest_state_is_drawn(start_camera: StartCamera, peer: Peer) -> None:
    """At a slow rate states pass between two images; none is drawn twice."""
    robot = Robot(peer, start_camera(rate=4.0))
    robot.show(1)
    sent = 1
    for _ in range(3):
        before, sent = len(robot.images), sent + 20
        for seconds in range(sent - 19, sent + 1):
            robot.send(seconds)
        peer.spin_until(lambda before=before: len(robot.images) > before)  # type: ignore[misc]
    stamps = [image.header.stamp.sec for image in robot.images if image.header.stamp.sec]
    assert len(stamps) >= 4
    assert stamps == sorted(set(stamps))
    assert len(stamps) < sent


def test_lost_leg_and_path_are_seen(start_camera: StartCamera, peer: Peer) -> None:
    robot = Robot(peer, start_camera())
    intact = robot.show(1)
    robot.lose(3)
    seconds = 2
    while not (robot.show(seconds) != intact).any():  # faults and states are on topics of their own
        seconds += 1
    lame = robot.show(seconds + 1)
    robot.plan([(0.01 * step, -0.1) for step in range(-20, 20)])
    seconds += 2
    while not (robot.show(seconds) != lame).any():
        seconds += 1
    robot.lose()
    robot.plan([(0.0, 0.0)])
    while (robot.show(seconds + 1) != intact).any():
        seconds += 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_in_order(start_camera: StartCamera, peer: Peer, number: signal.Signals) -> None:
    camera = start_camera()
    robot = Robot(peer, camera)
    robot.show(1)
    assert camera.end(number) == 0
    assert "Traceback" not in camera.errors
    assert camera.output == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("rate", 0.0, "greater than or equal to 0.1"), ("width", 2.5, "integer"), ("colour", "red", "unknown parameter")],
)
def test_impossible_start_ends_with_one_sentence(
    start_camera: StartCamera, name: str, value: object, words: str
) -> None:
    start_camera(**{name: value}).assert_refused(name, words)
