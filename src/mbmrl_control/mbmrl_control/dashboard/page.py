"""The page: the robot in 3-D, and beside it what can be done to it, charts, and why it moves so."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from html import escape
from itertools import islice
from typing import Any, Final, Protocol

import viser

from mbmrl_base.robots.faults import Fault, FaultKinds
from mbmrl_control.dashboard.charts import Charts
from mbmrl_control.dashboard.fault_panel import FaultPanel
from mbmrl_control.dashboard.settings_panel import Setting, SettingsPanel
from mbmrl_control.dashboard.snapshot import Snapshot
from mbmrl_control.dashboard.status import Status
from mbmrl_control.dashboard.why_panel import WhyPanel
from mbmrl_control.dashboard.world_view import WorldView

Answer = Future[tuple[bool, str]]
"""Whether what was asked for is done, and a sentence."""

LONGEST_BACK: Final = 300.0
"""How far one can look back, s."""
_APART: Final = 0.1
"""Least time from one moment that can be looked back at to the next, s."""
_MOMENTS: Final = round(LONGEST_BACK / _APART)
_SLOW_PERIOD: Final = 0.25
"""Time from one drawing of charts and of the way walked to the next, s."""
_TRACE: Final = 600
"""Newest moments of which the way is shown."""
_AGO: Final = (
    "<div style='margin:0 0.9em;padding:0.2em 0.5em;border-radius:0.3em;background:#d68910;color:#fff'>"
    "<small>What is drawn was <b>{:.1f} s</b> ago; the words above are of now.</small></div>"
)
_PUSHES: Final = {"behind": (1.0, 0.0), "left": (0.0, -1.0), "right": (0.0, 1.0)}
"""Where a push comes from, and where it goes, ahead and to the left."""
_ANSWER_TIME: Final = 15.0
"""How long an answer is shown, s."""
_MESSAGES: Final = 8
"""Newest sentences of nodes that are shown."""


class Robot(Protocol):
    """What can be asked of the robot and its nodes; the answers come later."""

    def inject(self, fault: Fault) -> Answer:
        """A fault."""

    def clear(self) -> Answer:
        """No faults."""

    def push(self, ahead: float, left: float) -> Answer:
        """A push that changes its velocity, m/s."""

    def reset(self) -> Answer:
        """To be intact and at its start."""

    def pause(self, paused: bool) -> Answer:
        """Time to stand still, or to go on."""

    def stop(self, stopped: bool) -> Answer:
        """To take its safe action, or to go on."""

    def freeze(self, frozen: bool) -> Answer:
        """To keep the adapted model, or to adapt on."""

    def change(self, setting: Setting, value: Any) -> Answer:
        """A setting of another value."""


class Page:
    """A page of one robot that any number of browsers show."""

    def __init__(self, server: viser.ViserServer, kinds: FaultKinds, robot: Robot) -> None:
        """Lay out the page.

        Args:
            server: Serves it.
            kinds: Faults that the robot takes; none of a real one.
            robot: Is asked for what is clicked.
        """
        self._server, self._robot = server, robot
        self._next_slow = self._answered = 0.0
        self._status: Status | None = None
        self._past: deque[Snapshot] = deque(maxlen=_MOMENTS)
        self._held: Snapshot | None = None
        self._sentences: deque[str] = deque(maxlen=_MESSAGES)
        self._world = WorldView(server, kinds, lambda kind, part: self._ask(robot.inject(Fault(kind, part))))
        self._fault_folder: viser.GuiFolderHandle | None = None
        self._lay_out(server.gui, kinds)

    def _lay_out(self, gui: viser.GuiApi, kinds: FaultKinds) -> None:
        robot = self._robot
        # What is needed at once stays where it is, whatever the words below say.
        stop = gui.add_button("STOP", color="red", icon=viser.Icon.HAND_STOP, hint="The robot takes its safe action")
        stop.on_click(lambda _: self._ask(robot.stop(True)))
        self._go_on = gui.add_button("Go on", color="green", icon=viser.Icon.PLAYER_PLAY, visible=False)
        self._go_on.on_click(lambda _: self._ask(robot.stop(False)))
        self._pause = gui.add_button("Pause", icon=viser.Icon.PLAYER_PAUSE, hint="Time stands still", visible=False)
        self._pause.on_click(lambda _: self._ask(robot.pause(True)))
        self._resume = gui.add_button("Resume", color="green", icon=viser.Icon.PLAYER_PLAY, visible=False)
        self._resume.on_click(lambda _: self._ask(robot.pause(False)))
        self._words = gui.add_html("")
        self._answer = gui.add_html("")
        self._ago = gui.add_html("", visible=False)
        self._back = gui.add_slider("look back (s)", 0.0, LONGEST_BACK, 0.1, 0.0, hint="0: what happens just now")
        self._back.on_update(lambda _: self.look_back(self._back.value))
        tabs = gui.add_tab_group()
        if kinds:
            tab = tabs.add_tab("Faults")
            with tab:
                self._no_faults = gui.add_markdown(
                    "Nobody serves faults: a real robot has those that it has.", visible=False
                )
            with tab, gui.add_folder(None) as self._fault_folder:
                gui.add_markdown("Click what may break of the robot, such as a leg or a wheel. Or:")
                FaultPanel(gui, kinds, lambda fault: self._ask(robot.inject(fault)))
                hard = gui.add_slider(
                    "push (m/s)", 0.05, 1.0, 0.05, 0.3, hint="By how much it changes the robot's velocity"
                )
                ways = gui.add_button_group("Push it from", tuple(_PUSHES))
                ways.on_click(lambda _: self._push(float(hard.value), ways.value))
                clear = gui.add_button("Clear all faults", icon=viser.Icon.BANDAGE)
                clear.on_click(lambda _: self._ask(robot.clear()))
                reset = gui.add_button("Reset the robot", icon=viser.Icon.REFRESH)
                reset.on_click(lambda _: self._ask(robot.reset()))
        tab = tabs.add_tab("Charts")
        self._charts = Charts(gui, tab)
        with tab:
            self._freeze: Any = gui.add_checkbox("freeze the model", False, hint="The adapted model is kept as it is")
            self._freeze.on_update(self._freeze_or_not)
        with tabs.add_tab("Why"):
            self._why = WhyPanel(gui)
        with tabs.add_tab("Settings") as place:
            self._settings = SettingsPanel(gui, place, self._change)
        with tabs.add_tab("Nodes"):
            self._nodes = gui.add_html("")

    def _push(self, hard: float, way: str) -> None:
        if way in _PUSHES:  # a stranger's browser may send anything
            ahead, left = _PUSHES[way]
            self._ask(self._robot.push(hard * ahead, hard * left))

    def _freeze_or_not(self, event: viser.GuiEvent[Any]) -> None:
        if event.client is not None:  # somebody has clicked
            self._ask(self._robot.freeze(self._freeze.value))

    def _change(self, setting: Setting, value: Any) -> Answer:
        answer = self._robot.change(setting, value)
        self._ask(answer)
        return answer

    def _ask(self, answer: Answer) -> None:
        """Show the answer to what was asked for, when it comes."""

        def show(done: Answer) -> None:
            success, text = done.result()
            colour = "inherit" if success else "#c0392b"
            self._answer.content = f"<div style='padding:0 0.9em;color:{colour}'><small>{escape(text)}</small></div>"
            self._answered = time.monotonic()

        answer.add_done_callback(show)

    def describe(self, urdf: str) -> None:
        """Show the robot of a URDF.

        Raises:
            ValueError: If it is none.
        """
        self._world.describe(urdf)

    def offer(self, node: str, settings: Sequence[Setting]) -> None:
        """Show settings of a node, which can be changed."""
        self._settings.offer(node, settings)

    def note(self, node: str, name: str, value: Any) -> None:
        """Show a value that a setting has."""
        self._settings.note(node, name, value)

    def report(self, parts: Sequence[tuple[str, int, str]], sentence: str = "") -> None:
        """Show how nodes are: names of their parts, levels (0: well, 1: a warning, above: an error) and words.

        A sentence is what a node has logged.
        """
        if sentence:
            self._sentences.append(sentence)
        marks = {0: ("#27864a", "●"), 1: ("#d68910", "▲")}
        rows = (
            "<div><span style='color:{}'>{}</span> <b>{}</b> {}</div>".format(
                *marks.get(level, ("#c0392b", "■")), escape(name), escape(text)
            )
            for name, level, text in parts
        )
        said = (f"<div style='color:#c0392b'>{escape(each)}</div>" for each in reversed(self._sentences))
        self._nodes.content = f"<div style='padding:0.4em 1em;font-size:0.85em'>{''.join([*rows, *said])}</div>"

    def say(self, status: Status) -> None:
        """Show words."""
        if self._answer.content and time.monotonic() - self._answered > _ANSWER_TIME:
            self._answer.content = ""
        if status == self._status:
            return
        self._status = status
        self._words.content = status.as_html()
        self._go_on.visible = status.stopped
        self._pause.visible, self._resume.visible = status.paused is False, bool(status.paused)
        if self._fault_folder is not None:
            self._fault_folder.visible = status.takes_faults
            self._no_faults.visible = not status.takes_faults
        if self._freeze.value != status.frozen:
            self._freeze.value = status.frozen

    def chart(self, figure: str) -> None:
        """Let the charts show a figure of the task, by its name with the unit at its end."""
        self._charts.add_figure(figure)

    def look_back(self, seconds: float) -> None:
        """Hold the moment that was some seconds ago; 0: show what happens."""
        self._ago.visible = bool(self._past) and seconds > 0.0
        if not self._past or seconds == 0.0:
            self._held = None
            return
        self._ago.content = _AGO.format(seconds)
        wanted = self._past[-1].time - seconds
        self._held = min(tuple(self._past), key=lambda moment: abs(moment.time - wanted))
        with self._server.atomic():
            self._world.show(self._held)
            self._why.show(self._held.foresight)

    def show(self, moment: Snapshot) -> None:
        """Show a moment."""
        if self._past and moment.time < self._past[-1].time:
            self._past.clear()
        if not self._past or moment.time - self._past[-1].time > 0.99 * _APART:
            self._past.append(moment)
        self._charts.take(moment.time, moment.numbers)
        if not self._server.get_clients():
            return
        with self._server.atomic():
            if self._held is None:
                self._world.show(moment)
            if (now := time.monotonic()) >= self._next_slow:
                self._next_slow = now + _SLOW_PERIOD
                self._world.draw_way([past.position for past in islice(reversed(self._past), _TRACE)])
                self._charts.draw()
                if self._held is None:
                    self._why.show(moment.foresight)
