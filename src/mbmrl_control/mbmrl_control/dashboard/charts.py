"""Charts of what changes with time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import viser
from viser import uplot

WINDOW: Final = 30.0
"""Time that charts show, s."""
_GREY: Final = "rgba(128, 128, 128, 0.25)"


@dataclass(frozen=True)
class Curve:
    """A curve: the name of its number, how it is called, its colour in CSS, and what it is multiplied by."""

    number: str
    label: str
    colour: str
    factor: float = 1.0


class Chart:
    """The newest seconds of some numbers."""

    def __init__(self, gui: viser.GuiApi, title: str, curves: tuple[Curve, ...], *, logarithmic: bool = False) -> None:
        """Add a chart to the part of the page that is being made."""
        self._curves = curves
        self._rows: deque[tuple[float, ...]] = deque()
        time: uplot.Series = {"label": "s"}
        lines: list[uplot.Series] = [
            {"label": curve.label, "stroke": curve.colour, "width": 2, "spanGaps": True} for curve in curves
        ]
        axis: uplot.Axis = {"stroke": "#888", "grid": {"stroke": _GREY}, "size": 44}
        self._chart = gui.add_uplot(
            tuple(np.zeros(1) for _ in range(len(curves) + 1)),
            (time, *lines),
            title=title,
            height=150,
            scales={"x": {"time": False}, "y": {"distr": 3} if logarithmic else {}},
            axes=(axis | {"size": 30}, axis),
            padding=(4, 12, 0, 0),
        )

    def take(self, time: float, numbers: Mapping[str, float]) -> None:
        """Take in the numbers of a moment; time that runs back begins anew."""
        if self._rows and time < self._rows[-1][0]:
            self._rows.clear()
        self._rows.append((time, *(curve.factor * numbers.get(curve.number, np.nan) for curve in self._curves)))
        while self._rows[0][0] < time - WINDOW:
            self._rows.popleft()

    def draw(self) -> None:
        """Show what was taken in."""
        if self._rows:
            self._chart.data = tuple(np.array(self._rows).T.copy())
