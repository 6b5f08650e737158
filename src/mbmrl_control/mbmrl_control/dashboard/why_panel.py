"""The part of the page that shows why the robot moves so: terms of the cost of the plan and of the runners-up."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np
import viser

from mbmrl_base.robots.observation import Array
from mbmrl_control.dashboard.snapshot import Foresight

_COLOURS: Final = ("#3b6fc8", "#e08a3c", "#8a5bc7", "#2ca05a", "#c0392b", "#7f8c8d")


class WhyPanel:
    """A bar per action sequence, in which each term of its cost has its share."""

    def __init__(self, gui: viser.GuiApi) -> None:
        """Add it to the part of the page that is being made."""
        self._html = gui.add_html("<p style='padding:0 1em'>no plan yet</p>")

    def show(self, foresight: Foresight | None) -> None:
        """Show what a plan was chosen among."""
        if foresight is None or not foresight.terms:
            self._html.content = "<p style='padding:0 1em'>nothing is planned</p>"
            return
        names, terms = list(foresight.terms), np.array(list(foresight.terms.values()))
        labels = ["the plan", *(_rank(rank) for rank in foresight.ranks)]
        largest = max(float(np.maximum(terms, 0.0).sum(0).max()), 1e-9)
        rows = "".join(_row(label, values, largest) for label, values in zip(labels, terms.T, strict=False))
        key = " ".join(
            f"<span style='color:{colour}'>■</span> {escape(name)}"
            for name, colour in zip(names, _COLOURS, strict=False)
        )
        apart = 1e3 * float(np.linalg.norm(foresight.expected[-1, :2] - foresight.expected_by_prior[-1, :2]))
        self._html.content = (
            "<div style='padding:0.2em 1em;font-size:0.85em'>"
            f"<p>Mean cost of a step, by what it is of:<br>{key}</p>{rows}"
            "<p>With the planned actions the prior (red) expects the robot to be "
            f"<b>{apart:.0f} mm</b> from where the adapted model (green) does.</p></div>"
        )


def _rank(rank: float) -> str:
    return "cheapest candidate" if rank == 0 else f"cheaper: {rank:.0%}"


def _row(label: str, values: Array, largest: float) -> str:
    style = "display:inline-block;height:0.9em"
    parts = "".join(
        f"<span style='{style};width:{100 * max(value, 0.0) / largest:.1f}%;background:{colour}'></span>"
        for value, colour in zip(values, _COLOURS, strict=False)
    )
    return f"<div>{escape(label)}: <b>{values.sum():.2f}</b></div><div style='line-height:0.9em'>{parts}</div>"
