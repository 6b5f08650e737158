"""What the page shows in 3-D: the robot, where its models expect it, and its ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import viser
from numpy.typing import NDArray

from mbmrl_base.robots.faults import FaultKinds
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.rotations import quaternion
from mbmrl_control.dashboard.fault_panel import click_kind, parts_of_links
from mbmrl_control.dashboard.robot_view import Colour, RobotView, parse_urdf
from mbmrl_control.dashboard.snapshot import NO_PATH, UNKNOWN_BODY, Foresight, Snapshot

_REFERENCE: Final = (70, 110, 200)
_WALKED: Final = (240, 150, 60)
_GHOSTS: Final = {"prior": (217, 83, 79), "adapted": (44, 160, 90)}
_CHEAP: Final = (60, 180, 110)
_DEAR: Final = (200, 200, 205)
"""Of candidates, from the cheapest to the most expensive."""
_OPACITY: Final = 0.3
_LIFT: Final = 0.002
"""Height at which lines lie above the ground, m."""
_FAR: Final = 1e6
"""Farther away nothing is drawn, m."""
_CAMERA: Final = 2.1 * np.array([-0.75, -0.9, 0.75])
"""From the robot to where a browser looks from at first, in lengths of the robot."""
_RIGHT: Final = np.array([0.77, -0.64, 0.0])
"""To the right as seen from there."""


class WorldView:
    """A robot and its ways in the scene, which moves past it: each browser keeps the view that it was turned to."""

    def __init__(
        self,
        server: viser.ViserServer,
        kinds: FaultKinds,
        clicked: Callable[[str, str], None] | None = None,
        *,
        name: str = "/world",
        colour: Colour | None = None,
    ) -> None:
        """Set up the scene.

        Args:
            server: Shows it.
            kinds: Faults of the robot.
            clicked: Is called with a kind and the part of the robot on which somebody has clicked.
            name: Of its node in the scene; of several robots each has its own.
            colour: Of the robot and its way; None: the colours of the URDF, and an orange way.
        """
        self._server, self._scene, self._clicked = server, server.scene, clicked
        self._name, self._colour = name, colour
        self._click = click_kind(kinds)
        self._robot: RobotView | None = None
        self._ghosts: dict[str, RobotView] = {}
        self._parts: dict[str, str] = {}
        self._lines: dict[str, viser.LineSegmentsHandle] = {}
        self._path = NO_PATH
        self._goal: viser.FrameHandle | None = None
        self._shown: Foresight | None = None
        self._faults: tuple[str, ...] = ()
        self._scene.set_up_direction("+z")
        self._scene.world_axes.visible = False
        self._world = self._scene.add_frame(name, show_axes=False)

    def describe(self, urdf: str) -> None:
        """Show the robot of a URDF.

        Raises:
            ValueError: If it is none.
        """
        model = parse_urdf(urdf)  # the old one stays if it is none
        with self._server.atomic():
            for old in (self._robot, *self._ghosts.values()):
                if old is not None:
                    old.root.remove()
            self._robot = RobotView(self._scene, f"{self._name}/robot", model, colour=self._colour)
            self._ghosts = {
                name: RobotView(self._scene, f"{self._name}/{name}_ghost", model, colour=colour, opacity=_OPACITY)
                for name, colour in _GHOSTS.items()
            }
            self._shown, self._faults = None, ()
            for ghost in self._ghosts.values():
                ghost.root.visible = False
            size = self._robot.size
            self._scene.add_grid(
                f"{self._name}/ground",
                200 * size,
                200 * size,
                cell_size=size,
                section_size=5 * size,
                infinite_grid=True,
            )
            camera = self._server.initial_camera
            camera.position, camera.look_at = size * _CAMERA, (0.0, 0.0, 0.0)
            camera.near = size / 20
            if self._click is not None:
                name, kind = self._click
                self._parts = parts_of_links(kind, self._robot.links)
                if (clicked := self._clicked) is not None:
                    self._robot.on_click(self._parts, lambda link: clicked(name, self._parts[link]))

    def draw_way(self, places: Sequence[Array]) -> None:
        """Show the way that was walked, through places of shape (3,), m."""
        self._line("walked", np.array(places).reshape(-1, 3), self._colour or _WALKED, 3.0)

    def show(self, moment: Snapshot, centre: Array | None = None, shift: float = 0.0) -> None:
        """Show a moment.

        Args:
            moment: The moment.
            centre: What the scene moves past, shape (3,), m; None: the robot.
            shift: How far to the right all of it stands, in lengths of the robot.
        """
        if self._robot is None:
            self.describe(UNKNOWN_BODY)
        assert self._robot is not None
        x, y, _ = (moment.position if centre is None else centre) - shift * self._robot.size * _RIGHT
        self._world.position = (-x, -y, 0.0)
        self._robot.show(moment.position, moment.turn, moment.joints)
        if moment.path is not self._path:
            self._path = moment.path
            self._line("reference", moment.path, _REFERENCE, 3.0)
            self._mark(moment.path)
        if moment.faults != self._faults:
            self._faults = moment.faults
            kind = self._click[0] if self._click else ""
            lost = {fault.split(":")[1].split(",")[0] for fault in moment.faults if fault.startswith(f"{kind}:")}
            self._robot.fade(link for link, part in self._parts.items() if part in lost)
        if moment.foresight is not self._shown:
            self._shown = moment.foresight
            self._foresee(moment)

    def _mark(self, path: Array) -> None:
        """Show a path of one pose as a goal: a pole, with a disk below it."""
        if self._goal is not None:
            self._goal.remove()
            self._goal = None
        if len(path) != 1 or self._robot is None:
            return
        size = self._robot.size
        x, y = np.clip(path[0, :2], -_FAR, _FAR)
        self._goal = self._scene.add_frame(f"{self._name}/goal", show_axes=False, position=(x, y, 0.0))
        for part, radius, height in (("pole", 0.02 * size, size), ("disk", 0.3 * size, 0.01 * size)):
            self._scene.add_cylinder(
                f"{self._name}/goal/{part}", radius, height, color=_REFERENCE, position=(0.0, 0.0, height / 2)
            )

    def _foresee(self, moment: Snapshot) -> None:
        foresight = moment.foresight
        for ghost in self._ghosts.values():
            ghost.root.visible = foresight is not None
        if foresight is None:
            for name in ("candidates", *_GHOSTS):
                self._line(name, NO_PATH, _WALKED, 1.0)
            return
        for name, path in (("prior", foresight.expected_by_prior), ("adapted", foresight.expected)):
            self._line(name, path, _GHOSTS[name], 4.0)
            x, y, yaw = path[-1]
            turn = np.array(quaternion((0.0, 0.0, yaw)))
            self._ghosts[name].show(np.array([x, y, moment.position[2]]), turn, moment.joints)
        pieces = [_pieces(path) for path in foresight.candidates]
        colours = np.linspace(_CHEAP, _DEAR, len(pieces)).astype(np.uint8)
        shades = np.repeat(colours, [len(piece) for piece in pieces], axis=0)[:, None].repeat(2, axis=1)
        self._segments("candidates", np.concatenate(pieces), shades, 1.0)

    def _line(self, name: str, path: Array, colour: Colour, width: float) -> None:
        """Show a line on the ground through points, shape (n, 2 or more)."""
        self._segments(name, _pieces(path), colour, width)

    def _segments(self, name: str, pieces: NDArray[np.float32], colours: Any, width: float) -> None:
        if name not in self._lines:
            self._lines[name] = self._scene.add_line_segments(
                f"{self._name}/{name}", pieces, colours, thickness=width, thickness_units="screen"
            )
        else:
            line = self._lines[name]
            if np.ndim(colours) > 1 and np.shape(line.colors)[0] != len(pieces):
                line.colors = colours
            line.points = pieces


def _pieces(path: Array) -> NDArray[np.float32]:
    """Pieces of a line on the ground through points, shape (n, 2 or more) -> (n - 1, 2, 3)."""
    flat = np.column_stack([np.clip(path[:, :2], -_FAR, _FAR), np.full(len(path), _LIFT)]).astype(np.float32)
    return np.stack([flat[:-1], flat[1:]], axis=1) if len(flat) > 1 else np.zeros((0, 2, 3), np.float32)
