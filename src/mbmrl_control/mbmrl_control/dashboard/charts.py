"""Charts of what changes with time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import viser
from viser import uplot

from mbmrl_base.robots.observation import Array

WINDOW: Final = 30.0
"""Time that charts show, s."""
_SMOOTH: Final = 10
"""Moments that an average is of."""
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


class Chart:
    """The newest seconds of some numbers."""

    def __init__(self, gui: viser.GuiApi, title: str, curves: tuple[Curve, ...]) -> None:
        """Add a chart to the part of the page that is being made."""
        self._curves = curves
        self._rows: deque[tuple[float, ...]] = deque()
        time: uplot.Series = {"label": "s"}
        lines: list[uplot.Series] = [
            {"label": curve.label, "stroke": curve.colour, "width": 2, "points": {"show": False}} for curve in curves
        ]
        axis: uplot.Axis = {"stroke": "#888", "grid": {"stroke": _GREY, "width": 1}, "ticks": {"show": False}}
        self._chart = gui.add_uplot(
            tuple(np.zeros(1) for _ in range(len(curves) + 1)),
            (time, *lines),
            title=title,
            height=130,
            scales={"x": {"time": False}},
            axes=({**axis, "size": 26}, {**axis, "size": 44}),
            padding=(4, 12, 0, 0),
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
        while self._rows[0][0] < time - WINDOW:
            self._rows.popleft()

    def draw(self) -> None:
        """Show what was taken in."""
        if self._rows:
            time, *numbers = np.array(self._rows).T
            self._chart.data = (
                np.array(time),
                *(curve.drawn(values) for curve, values in zip(self._curves, numbers, strict=True)),
            )
