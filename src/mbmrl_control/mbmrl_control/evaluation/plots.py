"""Plots: of a run, and of evaluated runs: the cost after the fault, and over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from mbmrl_base.robots.observation import Array
from mbmrl_base.system.files import whole
from mbmrl_control.control.run_record import Record, in_a_word
from mbmrl_control.evaluation.run_cache import TRACE_STEP
from mbmrl_control.evaluation.statistics import Row, bootstrap, mean
from mbmrl_control.evaluation.units import in_units, is_error

_SMOOTHING: Final = 0.5
_CLOSED: Final = 0.1
"""Distance of its ends at which a path is closed, m."""
_NARROWEST: Final = 0.4
"""Least share of the longer side of the ground that the shorter one has: on a line too there is room for its labels."""
_SHOWN: Final = 4
"""States that are drawn of a robot that does not move on a plane."""
_MOST_BANDS: Final = 4
"""Contenders whose intervals can still be seen apart."""


def _smooth(time: Array, values: Array) -> Array:
    """Mean over the last _SMOOTHING s."""
    starts = np.searchsorted(time, time - _SMOOTHING)
    return np.array(
        [
            np.nanmean(values[s : e + 1]) if np.isfinite(values[s : e + 1]).any() else np.nan
            for e, s in enumerate(starts)
        ]
    )


def plot(record: Record, tracking: dict[str, Array], reference: Array | None, file: Path) -> None:
    """Write the picture of a run, see `draw`, to a PNG file."""
    with whole(file) as part:
        draw(record, tracking, reference).savefig(part, dpi=120, format="png")


def draw(record: Record, tracking: dict[str, Array], reference: Array | None) -> Figure:
    """Draw the way that the robot took, the first figure of its task, and the model error.

    Of a robot that does not move on a plane the first states over time are drawn in place of the way.

    Args:
        record: The run.
        tracking: What `Record.track` returns.
        reference: Points of the path, shape (n, 2), m, odom; None if there is none.
    """
    time, places = record.time, record.places
    figure = Figure((11, 4.6), layout="constrained")
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.3))
    ground = left.subplots()
    distance, error = right.subplots(2, sharex=True)
    fault = record.fault_time
    split = len(time) if fault is None else int(np.searchsorted(time, fault))
    if places is None:
        for index, name in enumerate(record.robot.state_names[:_SHOWN]):
            ground.plot(time, record.states[:, index], lw=1.2, label=name)
        ground.set(xlabel="time [s]", ylabel="state")
    else:
        shown = places
        if reference is not None:
            ground.plot(*reference.T, "." if len(reference) == 1 else "-", color="0.75", lw=3, ms=16, label="reference")
            # One that ends at its start is shown whole.
            closed = np.linalg.norm(reference[-1] - reference[0]) < _CLOSED
            shown = np.concatenate([places, reference]) if closed else places
        low, high = shown.min(0) - 0.1, shown.max(0) + 0.1
        wider = np.maximum(_NARROWEST * (high - low).max() - (high - low), 0.0) / 2
        ground.set(**dict(zip(("xlim", "ylim"), np.transpose([low - wider, high + wider]), strict=True)))
        ground.plot(*places[: split + 1].T, color="tab:blue", lw=1.2, label="walked, intact")
        if split < len(time):
            words = record.fault_in_words(dict.fromkeys(name for tick in record.ticks[split:] for name in tick.faults))
            ground.plot(*places[split:].T, color="tab:orange", lw=1.2, label=fill(f"walked, {words}", 36))
            ground.plot(*places[split], "rX", ms=10, label="fault")
        ground.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
    ground.set(title=f"{record.robot.name}, {record.learner} on {in_a_word(record.task)}")
    left.legend(loc="outside lower center", ncols=2, frameon=False)
    name, values = next(iter(tracking.items()))
    unit = in_units(name)
    distance.plot(time, (np.abs(values) if is_error(name) else values) * unit.factor, color="tab:blue", lw=1)
    distance.set(ylabel=f"{unit.title} [{unit.symbol}]" if unit.symbol else unit.title)
    if is_error(name):
        distance.set(ylim=(0, None))
    for name, colour in (("prior", "tab:red"), ("adapted", "tab:green")):
        error.plot(time, _smooth(time, record.array(f"{name}_error")), color=colour, lw=1.2, label=name)
    error.set(xlabel="time [s]", ylabel="one-step error", ylim=(0, None))
    error.legend(loc="upper left", frameon=False)
    for axes in (distance, error):
        axes.grid(alpha=0.3)
        if fault is not None:
            axes.axvline(fault, color="red", ls="--", lw=1)
    return figure


def draw_times(record: Record) -> Figure:
    """Draw how long planning and adaptation took in each tick, and the period that they have."""
    figure = Figure((11, 2.6), layout="constrained")
    axes = figure.subplots()
    for name, colour in (("planning", "tab:blue"), ("adaptation", "tab:green")):
        axes.plot(record.time, 1e3 * record.array(f"{name}_time"), ".", ms=3, color=colour, label=name, rasterized=True)
    axes.axhline(1e3 / record.rate, color="0.5", ls="--", lw=1, label="period")
    axes.set(xlabel="time [s]", ylabel="took [ms]", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", frameon=False, ncols=3)
    return figure


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
    axes.set(xlabel="cost per step after the fault (mean, 95 % interval)")
    axes.set_xlim(left=_from_zero(axes.dataLim.x0))
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    with whole(file) as part:
        figure.savefig(part, dpi=120, format="png")


def _from_zero(least: float) -> float | None:
    """Where an axis of costs begins: at 0, unless some are rewards, which are below it."""
    return 0.0 if least >= 0.0 else None


def envelope(rows: Sequence[Row], file: Path) -> None:
    """Draw in how many runs of each scenario each contender was lost, see `before_and_after`."""
    scenarios, contenders = _names(rows, "scenario"), _names(rows, "contender")
    counts = np.full((len(scenarios), len(contenders), 2), 0)
    for row in rows:
        place = scenarios.index(row["scenario"]), contenders.index(row["contender"])
        counts[place] += (int(row["lost"]), 1)
    shares = counts[..., 0] / counts[..., 1]
    figure = Figure((3.2 + 1.1 * len(contenders), 1.2 + 0.42 * len(scenarios)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="YlOrRd", vmin=0, vmax=1.5, aspect="auto")
    for line, column in np.ndindex(*shares.shape):
        lost, runs = counts[line, column]
        axes.text(column, line, f"{lost} of {runs}", ha="center", va="center")
    axes.set_xticks(range(len(contenders)), contenders)
    axes.set_yticks(range(len(scenarios)), [fill(name.replace("_", " "), 32) for name in scenarios])
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set(title="runs that left the path, stopped or fell" if rows[0]["path"] else "runs that never walked, or fell")
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
        axes.set(title=scenario)
        axes.set_ylim(bottom=_from_zero(axes.dataLim.y0))
        axes.axvline(fault_time, color="red", ls="--", lw=1)
        axes.grid(alpha=0.3)
        axes.tick_params(labelbottom=True)
    for axes in panels.flat[len(scenarios) :]:
        axes.set_axis_off()
    figure.supxlabel("time [s]")
    figure.supylabel("cost per step")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=4, loc="outside upper center")
    with whole(file) as part:
        figure.savefig(part, dpi=120, format="png")
