"""The page: the robot in 3-D, and beside it what can be done to it, and charts."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from html import escape
from typing import Any, Final, Protocol

import numpy as np
import viser

from mbmrl_base.robots.faults import Fault, FaultKinds
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.rotations import quaternion
from mbmrl_control.dashboard.charts import Chart, Curve
from mbmrl_control.dashboard.fault_panel import FaultPanel, click_kind, parts_of_links
from mbmrl_control.dashboard.robot_view import RobotView
from mbmrl_control.dashboard.snapshot import NO_PATH, Snapshot

Answer = Future[tuple[bool, str]]
"""Whether what was asked for is done, and a sentence."""

_REFERENCE: Final = (70, 110, 200)
_WALKED: Final = (240, 150, 60)
_GHOSTS: Final = {"prior": (217, 83, 79), "adapted": (44, 160, 90)}
_CHEAP: Final = (60, 180, 110)
_DEAR: Final = (200, 200, 205)
"""Of candidates, from the cheapest to the most expensive."""
_LIFT: Final = 0.002
"""Height at which lines lie above the ground, m."""
_TRACE: Final = 1200
"""Points of the way walked that are shown."""
_SLOW_PERIOD: Final = 0.25
"""Time from one drawing of charts and of the way walked to the next, s."""
_ERRORS: Final = (Curve("prior_error", "prior", "#d9534f"), Curve("adapted_error", "adapted", "#2ca05a"))


class Robot(Protocol):
    """What can be asked of the robot; the answers come later."""

    def inject(self, fault: Fault) -> Answer:
        """A fault."""

    def clear(self) -> Answer:
        """No faults."""

    def reset(self) -> Answer:
        """To be intact and at its start."""

    def stop(self, stopped: bool) -> Answer:
        """To take its safe action, or to go on."""

    def freeze(self, frozen: bool) -> Answer:
        """To keep the adapted model, or to adapt on."""


@dataclass(frozen=True)
class Status:
    """What the page says in words, beside a snapshot."""

    robot: str = ""
    learner: str = ""
    task: str = ""
    state: str = "no state yet"
    alive: bool = False
    stopped: bool = False
    frozen: bool = False


class Page:
    """A page of one robot that any number of browsers show."""

    def __init__(self, server: viser.ViserServer, kinds: FaultKinds, robot: Robot) -> None:
        """Lay out the page.

        Args:
            server: Serves it.
            kinds: Faults that the robot takes; none of a real one.
            robot: Is asked for what is clicked.
        """
        self._server, self._kinds, self._robot = server, kinds, robot
        self._view: RobotView | None = None
        self._ghosts: dict[str, RobotView] = {}
        self._parts: dict[str, str] = {}
        self._trace: deque[Array] = deque(maxlen=_TRACE)
        self._next_slow = 0.0
        self._status: Status | None = None
        self._faults: tuple[str, ...] = ()
        scene, gui = server.scene, server.gui
        gui.configure_theme(control_layout="collapsible", control_width="large", show_logo=False, show_share_button=False)
        gui.set_panel_label("mbmrl")
        scene.set_up_direction("+z")
        scene.world_axes.visible = False
        self._world = scene.add_frame("/world", show_axes=False)
        self._lines: dict[str, viser.LineSegmentsHandle] = {}
        self._lay_out(gui)

    def _lay_out(self, gui: viser.GuiApi) -> None:
        self._words = gui.add_html("")
        self._stop = gui.add_button("STOP", color="red", icon=viser.Icon.HAND_STOP, hint="The robot takes its safe action")
        self._stop.on_click(lambda _: self._ask(self._robot.stop(not (self._status and self._status.stopped))))
        whole = gui.add_button_group("whole robot", ("Clear faults", "Reset"))
        whole.on_click(lambda _: self._ask(self._robot.clear() if whole.value == "Clear faults" else self._robot.reset()))
        tabs = gui.add_tab_group()
        with tabs.add_tab("Charts", viser.Icon.CHART_LINE):
            self._freeze = gui.add_checkbox("freeze the model", False, hint="The adapted model is kept as it is")
            self._freeze.on_update(
                lambda event: event.client and self._ask(self._robot.freeze(self._freeze.value))
            )
            self._charts = (
                Chart(gui, "error of the model", _ERRORS, logarithmic=True),
                Chart(gui, "distance from the path (mm)", (Curve("cross_track_m", "distance", "#3b6fc8", 1e3),)),
                Chart(gui, "planning (ms)", (Curve("planning_time", "time", "#8a5bc7", 1e3),)),
            )
        if self._kinds:
            with tabs.add_tab("Faults", viser.Icon.BOLT):
                FaultPanel(gui, self._kinds, lambda fault: self._ask(self._robot.inject(fault)))

    def _ask(self, answer: Answer) -> None:
        """Show the answer to what was asked for, when it comes."""
        def show(done: Answer) -> None:
            success, text = done.result()
            for client in self._server.get_clients().values():
                client.add_notification(
                    "Done" if success else "Refused", text, color="green" if success else "red", auto_close_seconds=6.0
                )

        answer.add_done_callback(show)

    def describe(self, urdf: str) -> None:
        """Show the robot of a URDF.

        Raises:
            ValueError: If it is none.
        """
        with self._server.atomic():
            if self._view is not None:
                self._view.root.remove()
            self._view = RobotView(self._server.scene, "/world/robot", urdf)
            size = self._view.size
            for ghost in self._ghosts.values():
                ghost.root.remove()
            self._ghosts = {
                name: RobotView(self._server.scene, f"/world/{name}_ghost", urdf, colour=colour, opacity=0.3)
                for name, colour in _GHOSTS.items()
            }
            self._server.scene.add_grid("/world/ground", 200 * size, 200 * size, cell_size=size, section_size=5 * size, infinite_grid=True)
            camera = self._server.initial_camera
            camera.position, camera.look_at = 3.2 * size * np.array([-0.75, -0.9, 0.75]), (0.0, 0.0, 0.0)
            camera.near = size / 20
            if (clicked := click_kind(self._kinds)) is not None:
                name, kind = clicked
                self._parts = parts_of_links(kind, self._view.links)
                self._view.on_click(self._parts, lambda link: self._ask(self._robot.inject(Fault(name, self._parts[link]))))

    def lead(self, path: Array) -> None:
        """Show the path that is to be followed, shape (n, 3), m, odom."""
        self._line("reference", path, _REFERENCE, 3.0)

    def say(self, status: Status) -> None:
        """Show words."""
        if status == self._status:
            return
        self._status = status
        colour = "#c0392b" if status.stopped or not status.alive else "#27864a"
        self._words.content = (
            f'<div style="padding:0.4em 0.8em"><b style="color:{colour};font-size:1.15em">{escape(status.state)}</b><br>'
            f"<small>{escape(' · '.join(filter(None, (status.robot, status.task, status.learner))))}</small></div>"
        )
        self._stop.label, self._stop.color = ("GO ON", "green") if status.stopped else ("STOP", "red")
        if self._freeze.value != status.frozen:
            self._freeze.value = status.frozen

    def show(self, moment: Snapshot) -> None:
        """Show a moment."""
        for chart in self._charts:
            chart.take(moment.time, moment.numbers)
        self._trace.append(moment.position)
        if self._view is None or not self._server.get_clients():
            return
        with self._server.atomic():
            self._world.position = (-moment.position[0], -moment.position[1], 0.0)
            self._view.show(moment.position, moment.turn, moment.joints)
            self._foresee(moment)
            if moment.faults != self._faults:
                self._faults = moment.faults
                lost = {fault.partition(":")[2].partition(",")[0] for fault in moment.faults}
                self._view.fade(link for link, part in self._parts.items() if part in lost)
            if (now := time.monotonic()) >= self._next_slow:
                self._next_slow = now + _SLOW_PERIOD
                self._line("walked", np.array(self._trace), _WALKED, 3.0)
                for chart in self._charts:
                    chart.draw()

    def _foresee(self, moment: Snapshot) -> None:
        """Show what the models expect, and what the plan was chosen among."""
        foresight = moment.foresight
        for ghost in self._ghosts.values():
            ghost.root.visible = foresight is not None
        if foresight is None:
            for name in ("candidates", *self._ghosts):
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

    def _line(self, name: str, path: Array, colour: tuple[int, int, int], width: float) -> None:
        """Show a line on the ground through points, shape (n, 2 or more)."""
        self._segments(name, _pieces(path), colour, width)

    def _segments(self, name: str, pieces: Array, colours: Any, width: float) -> None:
        if name not in self._lines:
            self._lines[name] = self._server.scene.add_line_segments(
                f"/world/{name}", pieces, colours, line_width=width
            )
        else:
            self._lines[name].points = pieces


def _pieces(path: Array) -> Array:
    """Pieces of a line on the ground through points, shape (n, 2 or more) -> (n - 1, 2, 3)."""
    flat = np.column_stack([path[:, :2], np.full(len(path), _LIFT)]).astype(np.float32)
    return np.stack([flat[:-1], flat[1:]], axis=1) if len(flat) > 1 else np.zeros((0, 2, 3), np.float32)
