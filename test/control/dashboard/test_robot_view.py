"""The robot in the scene stands as its URDF and its joints say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import viser

from mbmrl_base.robots.catalogue import ROBOTS, load_robot
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.rotations import matrix
from mbmrl_control.dashboard.robot_view import RobotView, parse_urdf
from mbmrl_control.dashboard.server import PageServer
from mbmrl_sim.bullet import connect

ARM = """<robot name="arm">
  <link name="base"><visual><geometry><box size="1 2 3"/></geometry></visual></link>
  <link name="slide"><visual><geometry><sphere radius="0.1"/></geometry></visual></link>
  <joint name="rail" type="prismatic"><parent link="base"/><child link="slide"/>
    <origin xyz="1 0 0" rpy="0 0 1.5707963267948966"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="1" effort="1" velocity="1"/></joint>
</robot>"""


@pytest.fixture
def scene() -> Iterator[viser.SceneApi]:
    server = PageServer("127.0.0.1", 0)
    yield server.viser.scene
    server.close()


def place_of(scene: viser.SceneApi, name: str) -> tuple[Array, Array]:
    """Position and rotation of a node of the scene in the world: the product of those of all above it."""
    position, turn = np.zeros(3), np.eye(3)
    parts = name.strip("/").split("/")
    for end in range(1, len(parts) + 1):
        node = scene.get_handle_by_name("/" + "/".join(parts[:end]))
        assert node is not None
        w, x, y, z = node.wxyz
        position = position + turn @ node.position
        turn = turn @ np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
    return position, turn


@pytest.mark.parametrize("name", ROBOTS)
def test_links_stand_where_the_physics_engine_has_them(scene: viser.SceneApi, name: str, tmp_path: Path) -> None:
    description = load_robot(name).urdf()
    assert description is not None
    view = RobotView(scene, "/robot", parse_urdf(description))
    file = tmp_path / "robot.urdf"
    file.write_text(description)
    client = connect()
    body = client.loadURDF(str(file))
    rng = np.random.default_rng(0)
    links = {client.getJointInfo(body, index)[12].decode(): index for index in range(client.getNumJoints(body))}
    joints = {client.getJointInfo(body, index)[1].decode(): rng.uniform(-3, 3) for index in links.values()}
    for index, (joint, value) in zip(links.values(), joints.items(), strict=True):
        client.resetJointState(body, index, value)
        assert joint in joints
    angles = np.array([0.1, -0.2, 0.3])
    turn = client.getQuaternionFromEuler(angles.tolist())
    _, _, _, *inertial, _, _, _, _, _, _, _ = client.getDynamicsInfo(body, -1)
    # PyBullet places the centre of mass.
    client.resetBasePositionAndOrientation(body, *client.multiplyTransforms([1.0, 2.0, 0.5], turn, *inertial))
    view.show(np.array([1.0, 2.0, 0.5]), np.array([turn[3], *turn[:3]]), joints)
    assert len(view.links) > 4
    for link, handle in view.links.items():
        position, rotation = place_of(scene, handle.name)
        if link in links:
            state = client.getLinkState(body, links[link], computeForwardKinematics=True)
            np.testing.assert_allclose(position, state[4], atol=1e-6)
            np.testing.assert_allclose(
                rotation, np.reshape(client.getMatrixFromQuaternion(state[5]), (3, 3)), atol=1e-6
            )
        else:
            np.testing.assert_allclose(rotation, matrix(angles), atol=1e-9)
            np.testing.assert_allclose(position, [1.0, 2.0, 0.5])
    client.disconnect()


def test_slide_moves_along_its_axis(scene: viser.SceneApi) -> None:
    view = RobotView(scene, "/arm", parse_urdf(ARM))
    view.show(np.zeros(3), np.array([1.0, 0, 0, 0]), {"rail": 0.4, "another robot's": 1.0})
    np.testing.assert_allclose(place_of(scene, view.links["slide"].name)[0], [1.0, 0.4, 0.0], atol=1e-9)
    assert view.size == pytest.approx(3.0)


def test_lost_links_are_pale_until_they_are_not(scene: viser.SceneApi) -> None:
    view = RobotView(scene, "/arm", parse_urdf(ARM))
    view.fade(["slide"])
    assert not view.links["slide"].visible and view.links["base"].visible
    view.fade([])
    assert view.links["slide"].visible


def test_what_is_no_urdf_is_refused(scene: viser.SceneApi) -> None:
    with pytest.raises(ValueError, match="the robot's description is no URDF"):
        parse_urdf("<robot")
