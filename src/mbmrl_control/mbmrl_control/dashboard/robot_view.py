"""A robot of a URDF in the scene of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
import trimesh
import viser
from urdf_parser_py import urdf

from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.rotations import quaternion

Colour = tuple[int, int, int]

_PLAIN: Final = (0.6, 0.6, 0.62, 1.0)
"""Colour of a visual that has none."""
_ROUND: Final = 16
"""Sides of a cylinder."""


def _place(origin: Any) -> tuple[Array, Array]:
    """Position, m, and quaternion, w first, of an origin of the URDF."""
    if origin is None:
        return np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
    return np.array(origin.xyz or (0.0, 0.0, 0.0)), np.array(quaternion(origin.rpy or (0.0, 0.0, 0.0)))


def _multiply(first: Array, second: Array) -> Array:
    """Product of two quaternions, w first."""
    (w, *v), (s, *u) = first, second
    return np.array([w * s - np.dot(v, u), *(w * np.array(u) + s * np.array(v) + np.cross(v, u))])


def _solid(geometry: Any) -> Any:
    match geometry:
        case urdf.Box():
            return trimesh.creation.box(geometry.size)
        case urdf.Cylinder():
            return trimesh.creation.cylinder(geometry.radius, geometry.length, sections=_ROUND)
        case urdf.Sphere():
            return trimesh.creation.icosphere(subdivisions=1, radius=geometry.radius)
        case _:
            mesh: Any = trimesh.load_mesh(geometry.filename.removeprefix("file://"))
            return mesh.apply_scale(geometry.scale or 1.0)


def _link_mesh(link: Any) -> Any:
    """All that is to be seen of a link as one mesh with a colour at each corner; None if nothing is."""
    parts = []
    for visual in link.visuals:
        position, turn = _place(visual.origin)
        colour = visual.material.color if visual.material else None
        part = _solid(visual.geometry)
        part.unmerge_vertices()  # edges stay sharp
        part.apply_transform(trimesh.transformations.quaternion_matrix(turn))  # type: ignore[no-untyped-call]
        part.apply_translation(position)
        rgba = np.round(255 * np.array(colour.rgba if colour else _PLAIN)).astype(np.uint8)
        part.visual = trimesh.visual.ColorVisuals(part, vertex_colors=np.tile(rgba, (len(part.vertices), 1)))
        parts.append(part)
    whole: Any = trimesh.util.concatenate(parts) if parts else None
    return whole


def parse_urdf(description: str) -> urdf.URDF:
    """A URDF.

    Raises:
        ValueError: If it is none.
    """
    try:
        model = urdf.URDF.from_xml_string(description.encode())
        model.get_root()
        return model
    except Exception as error:  # the parser raises whatever its XML library does, and asserts
        raise ValueError(f"the robot's description is no URDF: {error}") from None


class RobotView:
    """A robot in the scene: a frame per joint, and a mesh per link."""

    def __init__(
        self,
        scene: viser.SceneApi,
        name: str,
        model: urdf.URDF,
        *,
        colour: Colour | None = None,
        opacity: float = 1.0,
    ) -> None:
        """Add a robot to a scene.

        Args:
            scene: The scene.
            name: Name of its node in the scene, such as ``/robot``.
            model: What it looks like.
            colour: Of all of it; None: the colours of the URDF.
            opacity: 0 to 1, of one with a colour.
        """
        self._scene, self._colour, self._opacity = scene, colour, opacity
        self.root = scene.add_frame(name, show_axes=False)
        self.links: dict[str, viser.GlbHandle | viser.MeshHandle] = {}
        """What is to be seen of each link by its name."""
        self._joints: dict[str, tuple[Any, viser.FrameHandle, Array, Array]] = {}
        self._pale: dict[str, viser.MeshHandle] = {}
        self._meshes: dict[str, tuple[str, Any]] = {}
        self._add(model, model.get_root(), name)

    @property
    def size(self) -> float:
        """Length of the longest side of the largest link, m."""
        return max((float(max(mesh.extents)) for _, mesh in self._meshes.values()), default=1.0)

    def _add(self, model: Any, link: str, place: str) -> None:
        mesh = _link_mesh(model.link_map[link])
        if mesh is not None:
            self._meshes[link] = place, mesh
            self.links[link] = (
                self._scene.add_mesh_trimesh(f"{place}/{link}", mesh)
                if self._colour is None
                else self._plain(link, f"{place}/{link}", self._colour, self._opacity)
            )
        for joint_name, child in model.child_map.get(link, ()):
            joint = model.joint_map[joint_name]
            position, turn = _place(joint.origin)
            frame = self._scene.add_frame(f"{place}/{joint_name}", show_axes=False, position=position, wxyz=turn)
            if joint.type != "fixed":
                axis = np.array(joint.axis or (1.0, 0.0, 0.0))
                self._joints[joint_name] = joint, frame, turn, axis / np.linalg.norm(axis)
            self._add(model, child, f"{place}/{joint_name}")

    def _plain(self, link: str, name: str, colour: Colour, opacity: float) -> viser.MeshHandle:
        mesh = self._meshes[link][1]
        return self._scene.add_mesh_simple(
            name, mesh.vertices, mesh.faces, color=colour, opacity=opacity, flat_shading=True, cast_shadow=opacity == 1
        )

    def show(self, position: Array, turn: Array, joints: Mapping[str, float]) -> None:
        """Put it somewhere.

        Args:
            position: Of the base, shape (3,), m.
            turn: Of the base, a quaternion, w first.
            joints: Positions of joints by name, rad or m; the others stay.
        """
        self.root.position, self.root.wxyz = position, turn
        for name, value in joints.items():
            if name not in self._joints:
                continue
            joint, frame, rest, axis = self._joints[name]
            if joint.type == "prismatic":
                moved = _multiply(_multiply(rest, np.array([0.0, *(axis * value)])), rest * (1, -1, -1, -1))
                frame.position = _place(joint.origin)[0] + moved[1:]
            else:
                frame.wxyz = _multiply(rest, np.array([np.cos(value / 2), *(axis * np.sin(value / 2))]))

    def on_click(self, links: Iterable[str], clicked: Callable[[str], None]) -> None:
        """Have a function called with the name of a link on which somebody clicks."""
        for link in links:
            self.links[link].on_click(lambda _, link=link: clicked(link))  # type: ignore[misc]

    def fade(self, links: Iterable[str]) -> None:
        """Show these links, and no others, as lost."""
        lost = set(links)
        for link in lost - self._pale.keys():
            self._pale[link] = self._plain(link, f"{self._meshes[link][0]}/{link}_lost", (150, 150, 150), 0.18)
        for link, pale in self._pale.items():
            pale.visible, self.links[link].visible = link in lost, link not in lost
