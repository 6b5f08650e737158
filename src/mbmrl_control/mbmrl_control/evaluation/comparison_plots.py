"""Charts of evaluated runs: the cost after the fault, and the cost over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from mbmrl_base.system.files import whole
from mbmrl_control.evaluation.run_cache import TRACE_STEP
from mbmrl_control.evaluation.statistics import Row, bootstrap, mean

_MOST_BANDS: Final = 4
"""Contenders whose intervals can still be seen apart."""


def _names(rows: Sequence[Row], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def cost_after(rows: Sequence[Row], file: Path) -> None:
    """Draw the mean cost after the fault of each contender in each scenario, with its 95 % interval."""
    scenarios, contenders = _names(rows, "scenario"), _names(rows, "contender")
    height = 1.2 + len(scenarios) * (0.15 + 0.11 * len(contenders))
    figure = Figure((8, height), layout="constrained")
    axes = figure.subplots()
    offsets = (np.arange(len(contenders)) + 0.5) / len(contenders) * 0.8 - 0.4
    for contender, offset in zip(contenders, offsets, strict=True):
        own = [row for row in rows if row["contender"] == contender]
        means = [mean(row["cost_after"] for row in own if row["scenario"] == scenario) for scenario in scenarios]
        middle, low, high = np.array([[each["mean"], *each["ci95"]] for each in means], dtype=np.float64).T
        bars = np.abs(np.stack([middle - low, high - middle]))
        axes.errorbar(middle, np.arange(len(scenarios)) + offset, xerr=bars, fmt="o", ms=4, capsize=2, label=contender)
    axes.set_yticks(range(len(scenarios)), scenarios)
    axes.set_ylim(len(scenarios) - 0.5, -0.5)
    axes.set(xlabel="tracking cost per step after the fault (mean, 95 % interval)", xlim=(0, None))
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    with whole(file) as part:
        figure.savefig(part, dpi=120, format="png")


def cost_over_time(rows: Sequence[Row], fault_time: float, file: Path) -> None:
    """Draw the mean cost over time of each contender, of few with 95 % intervals, a panel for each scenario."""
    scenarios, contenders = _names(rows, "scenario"), _names(rows, "contender")
    columns = min(3, len(scenarios))
    lines = -(-len(scenarios) // columns)
    size = (max(6.5, 4.2 * columns), 0.6 + 2.6 * lines)
    figure = Figure(size, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True)
    for axes, scenario in zip(panels.flat, scenarios, strict=False):
        for contender in contenders:
            traces = [row["cost_trace"] for row in rows if (row["contender"], row["scenario"]) == (contender, scenario)]
            values = np.array(traces, dtype=np.float64)
            time = (np.arange(values.shape[1]) + 0.5) * TRACE_STEP
            (line,) = axes.plot(time, values.mean(0), lw=1.2, label=contender)
            if len(contenders) <= _MOST_BANDS:
                axes.fill_between(time, *bootstrap(values, np.mean), color=line.get_color(), alpha=0.2, lw=0)
        axes.set(title=scenario, ylim=(0, None))
        axes.axvline(fault_time, color="red", ls="--", lw=1)
        axes.grid(alpha=0.3)
        axes.tick_params(labelbottom=True)
    for axes in panels.flat[len(scenarios) :]:
        axes.set_axis_off()
    figure.supxlabel("time [s]")
    figure.supylabel("tracking cost per step")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=4, loc="outside upper center")
    with whole(file) as part:
        figure.savefig(part, dpi=120, format="png")
