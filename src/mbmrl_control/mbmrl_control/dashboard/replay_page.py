"""The page of recorded runs: one, or two to be compared, with a scrubber in place of what steers a robot."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import viser

from mbmrl_base.toolkit.ticker import Ticker
from mbmrl_control.control.run_record import in_a_word
from mbmrl_control.dashboard.charts import Charts
from mbmrl_control.dashboard.compared import compared
from mbmrl_control.dashboard.replay import Replay
from mbmrl_control.dashboard.robot_view import Colour
from mbmrl_control.dashboard.snapshot import Snapshot
from mbmrl_control.dashboard.status import Status
from mbmrl_control.dashboard.why_panel import WhyPanel
from mbmrl_control.dashboard.world_view import WorldView

RATE: Final = 20.0
"""Pictures per second."""
SPEEDS: Final = ("0.25", "0.5", "1", "2", "4")
COLOURS: Final = ((224, 138, 60), (138, 91, 199))
"""Of two robots that are compared."""
_SLOW: Final = 5
"""Pictures from one drawing of charts, ways and words to the next while it plays."""
_APART: Final = 1.6
"""From one of two robots side by side to the other, in their lengths."""
_HOLD: Final = 0.5
"""Time for which the run waits after somebody has moved the scrubber, s."""


class ReplayPage:
    """Recorded runs in 3-D with their charts, for any number of browsers, which all see the same moment."""

    def __init__(self, server: viser.ViserServer, replays: Sequence[Replay], names: Sequence[str]) -> None:
        """Lay out the page.

        Args:
            server: Serves it.
            replays: A run, or two that are compared.
            names: How they are called.
        """
        self._server, self._replays, self._names = server, replays, names
        self._end = max(replay.end for replay in replays)
        self._lock = threading.Lock()
        self._time, self._playing, self._held_until, self._changed = 0.0, True, 0.0, True
        self._seen = 0
        """Number of the run that the scene follows, and of which expectations are shown."""
        self._apart = False
        self._views = []
        colours: Sequence[Colour | None] = COLOURS if len(replays) > 1 else (None,)
        for number, (replay, colour) in enumerate(zip(replays, colours, strict=True)):
            view = WorldView(server, replay.kinds, name=f"/run{number}", colour=colour)
            view.describe(replay.urdf)
            self._views.append(view)
        self._lay_out(server.gui)

    def _lay_out(self, gui: viser.GuiApi) -> None:
        self._words = gui.add_html("")
        self._play = gui.add_button("Pause", icon=viser.Icon.PLAYER_PAUSE)
        self._play.on_click(lambda _: self._toggle())
        faults = [fault for replay in self._replays if (fault := replay.record.fault_time) is not None]
        named = {fault: "" if index else "fault" for index, fault in enumerate(dict.fromkeys(faults))}
        marks = ((0.0, "0"), *named.items(), (self._end, f"{self._end:.0f}"))
        step = 1.0 / RATE
        self._scrubber: Any = gui.add_slider("time (s)", 0.0, max(self._end, step), step, 0.0, marks=marks)
        self._scrubber.on_update(self._seek)
        self._speed: Any = gui.add_dropdown("speed", SPEEDS, initial_value="1")
        if len(self._replays) > 1:
            look: Any = gui.add_dropdown("look at", tuple(self._names), hint="Whose expectations are shown")
            look.on_update(lambda _: self._look(look.value, apart=bool(apart.value)))
            apart: Any = gui.add_checkbox("side by side", False, hint="Each on its own ground, with its expectations")
            apart.on_update(lambda _: self._look(look.value, apart=bool(apart.value)))
        tabs = gui.add_tab_group()
        self._charts = self._fill(gui, tabs.add_tab("Charts"))
        self._why: WhyPanel | None = None
        if any(moment.foresight for replay in self._replays for moment in replay.moments):
            with tabs.add_tab("Why"):
                self._why = WhyPanel(gui)

    def _fill(self, gui: viser.GuiApi, place: viser.GuiTabHandle) -> Charts:
        if len(self._replays) > 1:
            (first, second), (name, other) = self._replays, self._names
            titles, rows = compared(first, second, (name, other), COLOURS)
            charts = Charts(gui, place, titles, duration=self._end)
        else:
            (replay,) = self._replays
            charts = Charts(gui, place, duration=self._end)
            charts.add_figure(replay.figure)
            rows = [(moment.time, moment.numbers) for moment in replay.moments]
        for moment, numbers in rows:
            charts.take(moment, numbers)
        return charts

    def _toggle(self) -> None:
        with self._lock:
            self._playing, self._changed = not self._playing, True
            if self._playing and self._time >= self._end:
                self._time = 0.0

    def _seek(self, event: viser.GuiEvent[Any]) -> None:
        if event.client is not None:  # somebody has moved it
            with self._lock:
                self._time, self._changed = float(self._scrubber.value), True
                self._held_until = time.monotonic() + _HOLD

    def _look(self, name: str, *, apart: bool) -> None:
        with self._lock:
            self._seen = self._names.index(name) if name in self._names else 0
            self._apart, self._changed = apart, True

    def play(self, stop: threading.Event) -> None:
        """Show the runs, whenever somebody looks, until an event is set."""
        ticker, drawn = Ticker(1.0 / RATE), 0
        last = ticker.current
        while ticker.wait(stop):
            passed, last = ticker.current - last, ticker.current
            if not self._server.get_clients():
                continue
            with self._lock:
                changed, self._changed = self._changed, False
                goes_on = self._playing and time.monotonic() >= self._held_until
                if goes_on:
                    # A stranger's browser may send anything.
                    speed = float(self._speed.value) if self._speed.value in SPEEDS else 1.0
                    self._time = min(self._time + speed * passed, self._end)
                    self._playing = self._time < self._end
            if goes_on or changed:
                drawn += 1
                self._show(self._time, whole=changed or not self._playing or drawn % _SLOW == 0)

    def _show(self, now: float, *, whole: bool) -> None:
        """Show a moment, s: the robots, and the whole page with them, or not."""
        moments = [replay.at(now) for replay in self._replays]
        seen = moments[self._seen]
        with self._server.atomic():
            for number, (view, moment) in enumerate(zip(self._views, moments, strict=True)):
                if self._apart:
                    view.show(moment, shift=_APART * (number - 0.5))
                else:
                    view.show(moment if moment is seen else replace(moment, foresight=None), seen.position)
            if not whole:
                return
            for view, replay in zip(self._views, self._replays, strict=True):
                view.draw_way(replay.way(now))
            self._charts.draw(now)
            if self._why is not None:
                self._why.show(seen.foresight)
            self._words.content = "".join(map(self._status, range(len(moments)), moments))
            label, icon = ("Pause", viser.Icon.PLAYER_PAUSE) if self._playing else ("Play", viser.Icon.PLAYER_PLAY)
            if label != self._play.label:
                self._play.label, self._play.icon = label, icon
            if time.monotonic() >= self._held_until:  # else it would slip from under a finger
                self._scrubber.value = round(now, 2)

    def _status(self, number: int, moment: Snapshot) -> str:
        record, name = self._replays[number].record, self._names[number]
        learner = "" if name == record.learner else record.learner
        words = Status(record.robot.name, learner, in_a_word(record.task), name, True, faults=moment.faults)
        return words.as_html(f"rgb{COLOURS[number]}" if len(self._replays) > 1 else "")
