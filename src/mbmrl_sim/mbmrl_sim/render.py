"""Pictures of the robot without a screen, from recorded states; and the window where there is a screen."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
from numpy.typing import NDArray

from mbmrl_base.robots.millirobot.body import LEG_COLOURS, LOST_LEG_COLOUR, RobotParameters, side_of
from mbmrl_base.robots.millirobot.layout import LEFT_PHASE, LEG_NAMES, PITCH, POSITION, RIGHT_PHASE, ROLL, YAW, angle
from mbmrl_base.robots.observation import Array
from mbmrl_sim.bullet import connect, pybullet
from mbmrl_sim.millirobot.faults import LEG_LOSS
from mbmrl_sim.millirobot.physics import LEGS, load_robot

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

FIELD_OF_VIEW: Final = 40.0
"""Angle between the lower and the upper edge of a picture, degrees."""
_DISTANCE: Final = 0.42
"""From the camera to the robot, m."""
_WINDOW_DISTANCE: Final = 0.2
"""The same in a window at its start, where the field of view is wider, m."""
_VIEW: Final = {"yaw": 40.0, "pitch": -32.0, "roll": 0.0, "upAxisIndex": 2}
_TARGET_HEIGHT: Final = 0.015
_NEAR, _FAR = 0.02, 5.0

_TILE: Final = 0.05
"""Length of a tile of the ground, m."""
_TILE_COLOURS: Final = (np.array([208, 204, 194]), np.array([232, 229, 221]))
_TILE_TINTS: Final = np.linspace(*_TILE_COLOURS, 256).astype(np.uint8)
"""What lies between the colours of two tiles, shape (256, 3): the ground is not drawn finer than a pixel."""
_SUN: Final = np.array([0.25, -0.45, 1.0])
"""Direction to the light."""
_SHADOW: Final = (70, 66, 60)
_SHADOW_DEPTH: Final = 0.55
_SHADOW_BLUR: Final = 0.008
"""Share of a picture's height over which a shadow fades."""
_LEAST_STEP: Final = 1e-4
"""Points of a line that are nearer than this to the one before are left out, m."""


@dataclass(frozen=True)
class Line:
    """A line that lies on the ground.

    Attributes:
        points: Shape (n, 2), m, odom.
        colour: Red, green and blue, 0 to 255.
        width: m.
    """

    points: Array
    colour: Colour
    width: float = 0.004

    @property
    def edges(self) -> tuple[Array, Array]:
        """Its left and its right edge, shape (m, 2) each, m; without points where it has no length."""
        points = np.asarray(self.points, dtype=float).reshape(-1, 2)
        far = np.linalg.norm(np.diff(points, axis=0), axis=1) > _LEAST_STEP
        points = points[np.concatenate([[True], far])] if len(points) else points
        if len(points) < 2:
            return points[:0], points[:0]
        along = np.gradient(points, axis=0)
        length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), _LEAST_STEP)
        left = np.stack([-along[:, 1], along[:, 0]], axis=1) / length * self.width / 2
        return points + left, points - left


class Scene:
    """A robot on tiled ground without an end, seen by a camera that follows it.

    PyBullet draws the robot alone, since it takes many times as long to draw the ground too.
    """

    def __init__(self, width: int = 480, height: int = 360, samples: int = 2) -> None:
        """Make ready; `close` frees what it takes.

        Args:
            width: Of a picture, pixels.
            height: Of a picture, pixels.
            samples: Points along each side of a pixel whose mean it is: 1 is quick, 2 is smooth.
        """
        self._samples = samples
        self._size = width * samples, height * samples
        self._client = connect()
        self._robot = load_robot(self._client, RobotParameters())
        self._projection = self._client.computeProjectionMatrixFOV(FIELD_OF_VIEW, width / height, _NEAR, _FAR)
        self._seen, self._contrast = self._ground_seen()

    def close(self) -> None:
        """Free the PyBullet world."""
        self._client.disconnect()

    def draw(self, state: Array, faults: Iterable[str] = (), lines: Iterable[Line] = ()) -> Image:
        """Draw a state.

        Args:
            state: Shape (24,).
            faults: Faults in force, as text; legs that are lost are drawn pale.
            lines: What is drawn on the ground, the last one on top.

        Returns:
            The picture, shape (height, width, 3).
        """
        self._pose_robot(state)
        target = np.array([*state[:2], _TARGET_HEIGHT])
        view = self._client.computeViewMatrixFromYawPitchRoll(target.tolist(), _DISTANCE, **_VIEW)
        ground = PIL.Image.fromarray(_TILE_TINTS[self._tiles(target[:2])])
        canvas = PIL.ImageDraw.Draw(ground)
        for line in lines:
            for polygon in self._polygons(line, view):
                canvas.polygon(polygon, fill=line.colour)
        self._cast_shadow(ground, state, view)
        picture = self._place_robot(np.asarray(ground), view, lost_legs(faults))
        return np.asarray(PIL.Image.fromarray(picture).reduce(self._samples))

    def _pose_robot(self, state: Array) -> None:
        client = self._client
        self._orientation = client.getQuaternionFromEuler([float(angle(state, pair)) for pair in (ROLL, PITCH, YAW)])
        client.resetBasePositionAndOrientation(self._robot, state[POSITION].tolist(), self._orientation)
        phases = (float(angle(state, LEFT_PHASE)), float(angle(state, RIGHT_PHASE)))
        for leg in range(6):
            client.resetJointState(self._robot, LEGS[leg], phases[side_of(leg)])

    def _matrix(self, view: Sequence[float]) -> Array:
        """From x, y, z, 1 in odom to the picture, shape (4, 4)."""
        matrix: Array = np.reshape(self._projection, (4, 4)).T @ np.reshape(view, (4, 4)).T
        return matrix

    def _ground_seen(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Place on the ground that each pixel shows, shape (h, w, 2), m from the target; and how sharp tiles are there.

        The camera only moves along with its target, so both are always the same.
        """
        view = self._client.computeViewMatrixFromYawPitchRoll([0.0, 0.0, _TARGET_HEIGHT], _DISTANCE, **_VIEW)
        width, height = self._size
        x = (np.arange(width) + 0.5) / width * 2 - 1
        y = 1 - (np.arange(height) + 0.5) / height * 2
        pixels = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1)
        to_ground = np.linalg.inv(self._matrix(view)[np.ix_((0, 1, 3), (0, 1, 3))])
        places = pixels @ to_ground.T
        nearness = np.maximum(places[..., 2], 1 / _FAR)  # 1/m; what lies beyond, and the sky, is one colour
        seen = places[..., :2] / nearness[..., None]
        step = np.linalg.norm(np.gradient(seen, axis=0), axis=-1)
        sharpness = _TILE / (math.pi * np.maximum(step, 1e-6))
        fade = np.clip((places[..., 2] * _FAR - 1) / 2, 0, 1)
        return seen.astype(np.float32), (sharpness * fade).astype(np.float32)

    def _tiles(self, target: Array) -> NDArray[np.uint8]:
        waves = np.sin((self._seen + np.mod(target, 2 * _TILE).astype(np.float32)) * np.float32(math.pi / _TILE))
        tiles = waves[..., 0] * waves[..., 1] * self._contrast
        shades: NDArray[np.uint8] = (np.clip(tiles, -1, 1) * 127 + 128).astype(np.uint8)
        return shades

    def _project(self, points: Array, view: Sequence[float]) -> tuple[Array, NDArray[np.bool_]]:
        """Pixels of points on the ground, shape (n, 2) both; and which of them lie in front of the camera."""
        matrix = self._matrix(view)
        clip = points @ matrix[:, :2].T + matrix[:, 3]
        ahead = clip[:, 3] > _NEAR
        ratio = clip[:, :2] / np.where(ahead, clip[:, 3], 1.0)[:, None]
        width, height = self._size
        return np.stack([(ratio[:, 0] + 1) * width / 2, (1 - ratio[:, 1]) * height / 2], axis=1), ahead

    def _polygons(self, line: Line, view: Sequence[float]) -> list[list[tuple[float, float]]]:
        """Those pieces of a line that may be seen, in pixels."""
        (left, left_ahead), (right, right_ahead) = (self._project(edge, view) for edge in line.edges)
        ahead = left_ahead & right_ahead
        near = ((left > -np.array(self._size)) & (left < 2 * np.array(self._size))).all(axis=1)
        pieces = np.flatnonzero(ahead[:-1] & ahead[1:] & (near[:-1] | near[1:]))
        return [[tuple(p) for p in (left[i], left[i + 1], right[i + 1], right[i])] for i in pieces.tolist()]

    def _cast_shadow(self, ground: PIL.Image.Image, state: Array, view: Sequence[float]) -> None:
        half = np.array(RobotParameters().body_size) / 2
        corners = np.stack(np.meshgrid(*((-1, 1),) * 3, indexing="ij"), axis=-1).reshape(8, 3) * half
        turned = corners @ np.reshape(self._client.getMatrixFromQuaternion(self._orientation), (3, 3)).T
        placed = turned + state[POSITION]
        on_ground = placed[:, :2] - placed[:, 2:] * _SUN[:2] / _SUN[2]
        pixels, ahead = self._project(on_ground, view)
        if not ahead.all():
            return
        shadow = PIL.Image.new("L", self._size)
        canvas = PIL.ImageDraw.Draw(shadow)
        for axis in range(3):
            for side in (-1, 1):
                a, b, c, d = np.flatnonzero(corners[:, axis] * side > 0)
                canvas.polygon([tuple(pixels[i]) for i in (a, b, d, c)], fill=round(255 * _SHADOW_DEPTH))
        ground.paste(_SHADOW, mask=shadow.filter(PIL.ImageFilter.BoxBlur(_SHADOW_BLUR * self._size[1])))

    def _place_robot(self, ground: Image, view: Sequence[float], lost: frozenset[int]) -> Image:
        width, height = self._size
        _, _, pixels, _, parts = self._client.getCameraImage(
            width,
            height,
            view,
            self._projection,
            lightDirection=_SUN.tolist(),
            shadow=0,
            renderer=pybullet.ER_TINY_RENDERER,
            flags=pybullet.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX,
        )
        parts = np.asarray(parts).reshape(height, width)
        drawn = np.asarray(pixels, dtype=np.uint8).reshape(height, width, 4)[..., :3]
        picture = np.where((parts < 0)[..., None], ground, drawn)
        *colour, opacity = LOST_LEG_COLOUR
        for leg in lost:  # TinyRenderer has no transparency
            pale = parts == self._robot + ((LEGS[leg] + 1) << 24)
            picture[pale] = ground[pale] * (1 - opacity) + np.multiply(colour, 255 * opacity)
        return picture


def lost_legs(faults: Iterable[str]) -> frozenset[int]:
    """Numbers of the legs that are lost with faults that are given as text."""
    parts = (fault.partition(":") for fault in faults)
    return frozenset(LEG_NAMES.index(part) for kind, _, part in parts if kind == LEG_LOSS and part in LEG_NAMES)


def check_screen() -> None:
    """See whether a window can be opened: where it cannot, PyBullet ends the process.

    Raises:
        ValueError: If there is no screen.
    """
    display = None
    with suppress(OSError):  # there is not even the library
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        display = x11.XOpenDisplay(None)
    if not display:
        raise ValueError("there is no screen for a window: DISPLAY names none that can be opened")
    x11.XCloseDisplay(ctypes.c_void_p(display))


def look_at_robot(client: Any) -> None:
    """Let a window show the robot at the origin, from near, and nothing beside it."""
    client.configureDebugVisualizer(pybullet.COV_ENABLE_GUI, 0)
    client.resetDebugVisualizerCamera(_WINDOW_DISTANCE, _VIEW["yaw"], _VIEW["pitch"], [0.0, 0.0, _TARGET_HEIGHT])


def follow_robot(client: Any, state: Array) -> None:
    """Let a window show the robot in a state, shape (24,), from where the user has turned the view to."""
    *_, yaw, pitch, distance, _ = client.getDebugVisualizerCamera()
    client.resetDebugVisualizerCamera(distance, yaw, pitch, [*state[:2].tolist(), _TARGET_HEIGHT])


def colour_legs(client: Any, robot: int, lost: frozenset[int]) -> None:
    """Let a window show lost legs pale."""
    for leg in range(6):
        colour = LOST_LEG_COLOUR if leg in lost else LEG_COLOURS[("left", "right")[side_of(leg)]]
        client.changeVisualShape(robot, LEGS[leg], rgbaColor=colour)
