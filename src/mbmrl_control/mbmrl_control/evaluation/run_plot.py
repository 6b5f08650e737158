"""Plot of a run."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Final

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from mbmrl_base.robots.observation import Array
from mbmrl_base.system.files import whole
from mbmrl_control.control.run_record import Record

_SMOOTHING: Final = 0.5


def _smooth(time: Array, values: Array) -> Array:
    """Mean over the last _SMOOTHING s."""
    starts = np.searchsorted(time, time - _SMOOTHING)
    return np.array(
        [
            np.nanmean(values[s : e + 1]) if np.isfinite(values[s : e + 1]).any() else np.nan
            for e, s in enumerate(starts)
        ]
    )


def plot(record: Record, tracking: dict[str, Array], reference: Array, closed: bool, file: Path) -> None:
    """Draw the path walked against the reference, the distance from it, and the model error.

    Args:
        record: The run.
        tracking: What `Record.track` tells of it.
        reference: Points of the path, shape (n, 2), m, odom.
        closed: Whether the path is closed, and so shown whole.
        file: PNG file to write.
    """
    time, states = record.time, record.states
    figure = plt.figure(figsize=(11, 4.6), layout="constrained")
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=(1, 1.3))
    ground = left.subplots()
    distance, error = right.subplots(2, sharex=True)
    ground.plot(*reference.T, color="0.75", lw=3, label="reference")
    shown = np.concatenate([states[:, :2], reference]) if closed else states[:, :2]
    ground.set(xlim=(shown[:, 0].min() - 0.1, shown[:, 0].max() + 0.1))
    ground.set(ylim=(shown[:, 1].min() - 0.1, shown[:, 1].max() + 0.1))
    fault = record.fault_time
    split = len(time) if fault is None else int(np.searchsorted(time, fault))
    ground.plot(*states[: split + 1, :2].T, color="tab:blue", lw=1.2, label="walked, intact")
    if fault is not None and split < len(time):
        words = record.fault_in_words(frozenset().union(*(tick.lost_legs for tick in record.ticks[split:])))
        ground.plot(*states[split:, :2].T, color="tab:orange", lw=1.2, label=fill(f"walked, {words}", 36))
        ground.plot(*states[split, :2], "rX", ms=10, label="fault")
    ground.set(xlabel="x [m]", ylabel="y [m]", title=f"{record.learner} on {record.path}", aspect="equal")
    left.legend(loc="outside lower center", ncols=2, frameon=False)
    distance.plot(time, np.abs(tracking["cross_track"]) * 1e3, color="tab:blue", lw=1)
    distance.set(ylabel="distance from path [mm]", ylim=(0, None))
    for name, colour in (("prior", "tab:red"), ("adapted", "tab:green")):
        error.plot(time, _smooth(time, record.array(f"{name}_error")), color=colour, lw=1.2, label=name)
    error.set(xlabel="time [s]", ylabel="one-step error", ylim=(0, None))
    error.legend(loc="upper left", frameon=False)
    for axes in (distance, error):
        axes.grid(alpha=0.3)
        if fault is not None:
            axes.axvline(fault, color="red", ls="--", lw=1)
    with whole(file) as part:
        figure.savefig(part, dpi=120, format="png")
    plt.close(figure)
