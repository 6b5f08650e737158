"""The part of the page that shows why the robot moves so: terms of the cost of the plan and of the runners-up."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np
import viser

from mbmrl_base.robots.observation import Array
from mbmrl_control.dashboard.snapshot import Foresight

_COLOURS: Final = ("#3b6fc8", "#e08a3c", "#8a5bc7", "#2ca05a", "#c0392b", "#7f8c8d")
_SIGNS: Final = "<p>Costs are right of the grey line, rewards left. The mark is their sum: farther left is better.</p>"


class WhyPanel:
    """A bar per action sequence: its costs to the right of a line at 0, its rewards to the left, a mark at the sum."""

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
        # Widths in % of the panel, in which all bars have their place.
        least, most = np.minimum(terms, 0.0).sum(0).min(), np.maximum(terms, 0.0).sum(0).max()
        scale = 100.0 / max(float(most - least), 1e-9)
        zero = -scale * float(least)
        rows = "".join(_row(label, values, scale, zero) for label, values in zip(labels, terms.T, strict=False))
        key = " ".join(
            f"<span style='color:{colour}'>■</span> {escape(name)}"
            for name, colour in zip(names, _COLOURS, strict=False)
        )
        apart = 1e3 * float(np.linalg.norm(foresight.expected[-1, :2] - foresight.expected_by_prior[-1, :2]))
        self._html.content = (
            "<div style='padding:0.2em 1em;font-size:0.85em'>"
            f"<p>Mean cost of a step, by what it is of:<br>{key}</p>{_SIGNS if least < 0.0 else ''}{rows}"
            "<p>With the planned actions the prior (red) expects the robot to be "
            f"<b>{apart:.0f} mm</b> from where the adapted model (green) does.</p></div>"
        )


def _rank(rank: float) -> str:
    return "cheapest candidate" if rank == 0 else f"cheaper: {rank:.0%}"


def _row(label: str, values: Array, scale: float, zero: float) -> str:
    """A bar; 1 is ``scale`` % of its whole width, and 0 lies at ``zero`` %."""
    ends = np.where(values < 0.0, np.cumsum(np.minimum(values, 0.0)), np.cumsum(np.maximum(values, 0.0)))
    lefts, total = np.minimum(ends, ends - values), float(values.sum())
    parts = "".join(
        f"<span style='{_part(zero + scale * left, scale * abs(value))};background:{colour}'></span>"
        for left, value, colour in zip(lefts, values, _COLOURS, strict=False)
    )
    marks = "".join(
        f"<span style='position:absolute;left:calc({place:.1f}% - 1px);top:{-out}px;bottom:{-out}px;width:2px;"
        f"background:{colour}'></span>"
        for place, out, colour in ((zero, 0, "#888"), (zero + scale * total, 2, "currentColor"))
    )
    return (
        f"<div>{escape(label)}: <b>{total:.2f}</b></div>"
        f"<div style='position:relative;height:0.9em;margin-bottom:0.4em'>{parts}{marks}</div>"
    )


def _part(left: float, width: float) -> str:
    return f"position:absolute;top:0;bottom:0;left:{left:.1f}%;width:{width:.1f}%"
