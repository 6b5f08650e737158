"""Charts of what changes with time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import viser
from viser import uplot

from mbmrl_base.robots.observation import Array
from mbmrl_control.evaluation.units import in_units

WINDOW: Final = 30.0
"""Time that charts show, s."""
_SMOOTH: Final = 10
"""Moments that an average is of."""
_MOST: Final = 600
"""Most points of a curve that are drawn: no chart is wider."""
_GREY: Final = "rgba(128, 128, 128, 0.25)"


def averaged(values: Array) -> Array:
    """Average of each value and of those just before it, shape (n,)."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - _SMOOTH, 0)
    means: Array = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def root_mean_square(squares: Array) -> Array:
    """Root of the average of each square and of those just before it, shape (n,)."""
    roots: Array = np.sqrt(np.maximum(averaged(squares), 0.0))
    return roots


@dataclass(frozen=True)
class Curve:
    """A curve: the name of its number, how it is called, its colour in CSS, and what is drawn of the numbers."""

    number: str
    label: str
    colour: str
    drawn: Callable[[Array], Array] = lambda values: values


_ERRORS: Final = (
    Curve("prior_error", "prior", "#d9534f", root_mean_square),
    Curve("adapted_error", "adapted", "#2ca05a", root_mean_square),
)
STANDARD: Final = (
    ("error of the model in a step (RMS)", _ERRORS),
    ("surprise: error above what was expected", (Curve("surprise", "deviations", "#d9534f"),)),
    (
        "weights moved from the prior",
        (Curve("weights_moved", "% of the prior's", "#2ca05a", lambda share: 1e2 * share),),
    ),
    ("cost of a step", (Curve("cost", "cost", "#e08a3c"),)),
    ("time of a plan", (Curve("planning_time", "ms", "#8a5bc7", lambda seconds: 1e3 * seconds),)),
)
"""Titles and curves of the charts of any run."""


def curve_of(figure: str) -> tuple[str, Curve]:
    """The title of the chart of a figure of a task, and its curve, in the unit in which it reads well."""
    unit = in_units(figure)
    title = f"{unit.title} ({unit.symbol})" if unit.symbol else unit.title
    return title, Curve(figure, unit.symbol or unit.title, "#3b6fc8", lambda values: unit.factor * values)


class Chart:
    """The newest seconds of some numbers, or those of a whole run."""

    def __init__(self, gui: viser.GuiApi, title: str, curves: tuple[Curve, ...], duration: float | None = None) -> None:
        """Add a chart to the part of the page that is being made.

        Args:
            gui: The page.
            title: Stands above it.
            curves: What it shows.
            duration: Of the whole run, s; None: the newest WINDOW of what comes is shown.
        """
        self._curves, self._whole = curves, duration is not None
        self._rows: deque[tuple[float, ...]] = deque()
        time: uplot.Series = {"label": "s"}
        lines: list[uplot.Series] = [
            {"label": curve.label, "stroke": curve.colour, "width": 2, "points": {"show": False}} for curve in curves
        ]
        axis: uplot.Axis = {"stroke": "#888", "grid": {"stroke": _GREY, "width": 1}, "ticks": {"show": False}}
        span: uplot.Scale = {"time": False} if duration is None else {"time": False, "range": (0.0, duration)}
        self._chart = gui.add_uplot(
            tuple(np.zeros(1) for _ in range(len(curves) + 1)),
            (time, *lines),
            title=title,
            height=130,
            scales={"x": span},
            axes=({**axis, "size": 26}, {**axis, "size": 44}),
            padding=(4, 12, 0, 0),
            visible=not self._whole,
        )

    def take(self, time: float, numbers: Mapping[str, float]) -> None:
        """Take in the numbers of a moment; what is not known stays as it was. Time that runs back begins anew."""
        if self._rows and time < self._rows[-1][0]:
            self._rows.clear()
        values = [numbers.get(curve.number, np.nan) for curve in self._curves]
        if self._rows:
            values = [
                value if np.isfinite(value) else last for value, last in zip(values, self._rows[-1][1:], strict=True)
            ]
        if not np.isfinite(values).all():
            return  # a chart can draw no gap
        self._rows.append((time, *values))
        while not self._whole and self._rows[0][0] < time - WINDOW:
            self._rows.popleft()

    def draw(self, until: float = np.inf) -> None:
        """Show what was taken in until a time, s; of a whole run a chart without numbers is left out."""
        if not self._rows:
            return
        rows = np.array(self._rows)
        rows = rows[: max(1, int(np.searchsorted(rows[:, 0], until, "right")))]
        drawn = [rows[:, 0], *(curve.drawn(values) for curve, values in zip(self._curves, rows.T[1:], strict=True))]
        step = -(-len(rows) // _MOST)
        self._chart.data = tuple(np.ascontiguousarray(values[::-step][::-1]) for values in drawn)
        if not self._chart.visible:
            self._chart.visible = True


class Charts:
    """The charts of a page: the STANDARD ones, and one of the task's first figure."""

    def __init__(
        self,
        gui: viser.GuiApi,
        place: Any,
        charts: Sequence[tuple[str, tuple[Curve, ...]]] = STANDARD,
        duration: float | None = None,
    ) -> None:
        """Take their place on the page, titles and curves, and, of a whole run, its duration, s."""
        self._gui, self._place, self._duration = gui, place, duration
        self._figures: set[str] = set()
        self._charts: list[Chart] = []
        for title, curves in charts:
            self.add(title, curves)

    def add(self, title: str, curves: tuple[Curve, ...]) -> None:
        """Add a chart."""
        with self._place:
            self._charts.append(Chart(self._gui, title, curves, self._duration))

    def add_figure(self, figure: str) -> None:
        """Show a figure of the task, by its name with the unit at its end, unless it is there."""
        if figure not in self._figures:
            self._figures.add(figure)
            title, curve = curve_of(figure)
            self.add(title, (curve,))

    def take(self, time: float, numbers: Mapping[str, float]) -> None:
        """Take in the numbers of a moment, see `Chart.take`."""
        for chart in self._charts:
            chart.take(time, numbers)

    def draw(self, until: float = np.inf) -> None:
        """Show what was taken in until a time, s."""
        for chart in self._charts:
            chart.draw(until)
