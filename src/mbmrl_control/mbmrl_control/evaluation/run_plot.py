"""Plot of a run."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from mbmrl_base.robots.observation import Array
from mbmrl_base.system.files import whole
from mbmrl_control.control.run_record import Record, in_a_word

_SMOOTHING: Final = 0.5
_CLOSED: Final = 0.1
"""Distance of its ends at which a path is closed, m."""
_SHOWN: Final = 4
"""States that are drawn of a robot that does not move on a plane."""


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
    """Draw the way that the robot took, the first figure of its task, and the model error.

    Of a robot that does not move on a plane the first states over time are drawn in place of the way.

    Args:
        record: The run.
        tracking: What `Record.track` returns.
        reference: Points of the path, shape (n, 2), m, odom; None if there is none.
        file: PNG file to write.
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
        ground.set(xlim=(shown[:, 0].min() - 0.1, shown[:, 0].max() + 0.1))
        ground.set(ylim=(shown[:, 1].min() - 0.1, shown[:, 1].max() + 0.1))
        ground.plot(*places[: split + 1].T, color="tab:blue", lw=1.2, label="walked, intact")
        if split < len(time):
            words = record.fault_in_words(dict.fromkeys(name for tick in record.ticks[split:] for name in tick.faults))
            ground.plot(*places[split:].T, color="tab:orange", lw=1.2, label=fill(f"walked, {words}", 36))
            ground.plot(*places[split], "rX", ms=10, label="fault")
        ground.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
    ground.set(title=f"{record.robot.name}, {record.learner} on {in_a_word(record.task)}")
    left.legend(loc="outside lower center", ncols=2, frameon=False)
    name, values = next(iter(tracking.items()))
    distance.plot(time, np.abs(values), color="tab:blue", lw=1)
    distance.set(ylabel=f"|{name}|", ylim=(0, None))
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
