"""Pictures of the robot without a screen, from recorded states."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

import matplotlib.image
import numpy as np
from numpy.typing import NDArray

from mbmrl_sim.bullet import pybullet
from mbmrl_sim.physics import connect, joint_of_leg, load_robot
from mbmrl_sim.robot import RobotParameters
from mbmrl_sim.state import LEFT_PHASE, PITCH, POSITION, RIGHT_PHASE, ROLL, YAW, Array, angle

Image = NDArray[np.uint8]

_TILE: Final = 0.05
"""Length of a tile of the ground, m."""
_PIXELS_PER_METRE: Final = 400
_GROUND_COLOURS: Final = (np.array([232, 230, 222]), np.array([218, 216, 206]))
_PATH_COLOUR: Final = np.array([70, 110, 200])
_LOST_COLOUR: Final = (0.9, 0.1, 0.1, 0.15)
_VIEW: Final = {"distance": 0.42, "yaw": 40.0, "pitch": -35.0, "roll": 0.0, "upAxisIndex": 2}


def _ground_texture(low: Array, high: Array, path: Array) -> Image:
    """Tiles between two corners, shape (2,), m, with a path, shape (n, 2), m, drawn on them."""
    width, height = np.ceil((high - low) * _PIXELS_PER_METRE).astype(int)
    x = low[0] + (np.arange(width) + 0.5) / _PIXELS_PER_METRE
    y = high[1] - (np.arange(height) + 0.5) / _PIXELS_PER_METRE
    dark = (np.floor(x / _TILE)[None, :] + np.floor(y / _TILE)[:, None]) % 2 > 0
    texture = np.where(dark[..., None], _GROUND_COLOURS[1], _GROUND_COLOURS[0])
    columns = ((path[:, 0] - low[0]) * _PIXELS_PER_METRE).astype(int)
    rows = ((high[1] - path[:, 1]) * _PIXELS_PER_METRE).astype(int)
    for row_shift in (-1, 0, 1):
        for column_shift in (-1, 0, 1):
            drawn_rows, drawn_columns = rows + row_shift, columns + column_shift
            inside = (drawn_rows >= 0) & (drawn_rows < height) & (drawn_columns >= 0) & (drawn_columns < width)
            texture[drawn_rows[inside], drawn_columns[inside]] = _PATH_COLOUR
    return texture.astype(np.uint8)


def render(
    states: Array,
    lost_legs: list[Set[int]],
    path: Array,
    width: int = 480,
    height: int = 360,
    parameters: RobotParameters | None = None,
) -> Iterator[Image]:
    """Draw states, seen by a camera that follows the robot.

    Args:
        states: States, shape (n, 24).
        lost_legs: For each state the legs that are lost; they are drawn pale.
        path: Reference path to draw on the ground, shape (m, 2), m, odom.
        width: Of a picture, pixels.
        height: Of a picture, pixels.
        parameters: The robot; the default one where None.

    Yields:
        Pictures, shape (height, width, 3).
    """
    client = connect()
    margin = 1.0
    low, high = states[:, :2].min(0) - margin, states[:, :2].max(0) + margin
    corners = [[low[0], low[1], 0], [high[0], low[1], 0], [high[0], high[1], 0], [low[0], high[1], 0]]
    shape = client.createVisualShape(
        pybullet.GEOM_MESH,
        vertices=corners,
        indices=[0, 1, 2, 0, 2, 3],
        uvs=[[0, 1], [1, 1], [1, 0], [0, 0]],
        normals=[[0, 0, 1]] * 4,
    )
    ground = client.createMultiBody(baseVisualShapeIndex=shape)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ground.png"
        matplotlib.image.imsave(file, _ground_texture(low, high, path))
        client.changeVisualShape(ground, -1, textureUniqueId=client.loadTexture(str(file)))
    robot = load_robot(client, parameters or RobotParameters())
    projection = client.computeProjectionMatrixFOV(40.0, width / height, 0.02, 5.0)
    colours = {data[1]: data[7] for data in client.getVisualShapeData(robot)}
    for state, lost in zip(states, lost_legs, strict=True):
        orientation = client.getQuaternionFromEuler([float(angle(state, pair)) for pair in (ROLL, PITCH, YAW)])
        client.resetBasePositionAndOrientation(robot, state[POSITION].tolist(), orientation)
        phases = (float(angle(state, LEFT_PHASE)), float(angle(state, RIGHT_PHASE)))
        for leg in range(6):
            joint = joint_of_leg(leg)
            client.resetJointState(robot, joint, phases[leg // 3])
            client.changeVisualShape(robot, joint, rgbaColor=_LOST_COLOUR if leg in lost else colours[joint])
        view = client.computeViewMatrixFromYawPitchRoll([*state[:2].tolist(), 0.01], **_VIEW)
        pixels = client.getCameraImage(width, height, view, projection, renderer=pybullet.ER_TINY_RENDERER, shadow=1)[2]
        yield np.asarray(pixels, dtype=np.uint8).reshape(height, width, 4)[..., :3]
    client.disconnect()
