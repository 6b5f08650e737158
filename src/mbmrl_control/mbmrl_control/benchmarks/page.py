"""The page of results: Markdown and plots of what `mbmrl bench` measured."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from matplotlib.figure import Figure

from mbmrl_base.system.files import WriteError, check_file, whole, write_text
from mbmrl_control.evaluation.tables import table

Figures = dict[str, Any]
_AXES: Final = {
    "candidates": "candidates",
    "horizon": "horizon, steps",
    "width": "units per layer",
    "threads": "threads",
}


def machine(threads: int) -> Figures:
    """What is measured on, with how many threads, and how busy it was when the measurement began."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def check(folder: Path) -> Figures:
    """See whether `write` can write into a folder; returns what was measured before.

    Raises:
        WriteError: If it cannot, or the file of figures holds something else.
    """
    for name in ("performance.md", "results/performance.json", "images/planning_time.png"):
        check_file(folder / name, new_folder=True)
    file = folder / "results" / "performance.json"
    try:
        return dict(json.loads(file.read_text())) if file.exists() else {}
    except (TypeError, ValueError):
        raise WriteError(f"{file} cannot be written: it holds no figures of `mbmrl bench`") from None


def write(measured: Figures, folder: Path, conditions: Figures) -> list[Path]:
    """Write the page, its plot and its figures; parts that were measured before, and not now, stay.

    Args:
        measured: Figures by part.
        folder: Where the page goes; its figures go to ``results``, its plot to ``images``.
        conditions: What `machine` returned when the measurement began.
    """
    figures = check(folder)
    (folder / "results").mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    file = folder / "results" / "performance.json"
    figures |= {part: {"machine": conditions, "figures": values} for part, values in measured.items()}
    write_text(file, json.dumps(figures, indent=1) + "\n")
    page = folder / "performance.md"
    write_text(page, markdown({part: figures[part] for part in _SECTIONS if part in figures}))
    written = [page, file]
    if "growth" in figures:
        written.append(folder / "images" / "planning_time.png")
        _plot(figures["growth"]["figures"], written[-1])
    return written


def markdown(figures: Figures) -> str:
    """The page."""
    lines = [
        "# Performance",
        "",
        'Made by `make bench ARGS="--out docs"`; times in ms, medians if nothing else is said.',
    ]
    for part, entry in figures.items():
        where = entry["machine"]
        lines += ["", section(part, entry["figures"]), ""]
        lines.append(
            f"<sub>{where['processor']}, {where['cores']} cores, threads: {where['threads']}, load {where['load']} at"
            f" the start, Python {where['python']}, torch {where['torch']}, {where['date']}</sub>"
        )
    return "\n".join(lines) + "\n"


def section(part: str, figures: Figures) -> str:
    """What the page says of the figures of a part."""
    title, lines = _SECTIONS[part]
    return "\n".join([f"## {title}", "", *lines(figures)])


def _table(columns: dict[str, str], rows: Figures, title: str = "") -> str:
    """A row for each case: its name, and what `str.format` makes of its figures, by the titles of the columns."""
    lines = [[case, *(form.format(**each) for form in columns.values())] for case, each in rows.items()]
    return table([title, *columns], lines)


def _compared(measured: Figures, digits: int = 2) -> Iterator[str]:
    times = {"ours": f"{{ms[p50]:.{digits}f}}", "p99": f"{{ms[p99]:.{digits}f}}"}
    ratios = {f"ratio to {peer}": f"{{ratio[{peer}]}}" for peer in next(iter(measured.values()))["ratio"]}
    rows = {
        case: each | {"ratio": {peer: "" if ratio is None else f"{ratio:.2f}" for peer, ratio in each["ratio"].items()}}
        for case, each in measured.items()
    }
    yield _table(times | ratios | {"share of the products' rate": "{gemm_fraction:.0%}"}, rows)


def _planning(measured: Figures) -> Iterator[str]:
    yield "Candidates x horizon x units of each of two hidden layers; all contenders with the same network, cost and"
    yield "number of threads, taking turns in one process. Ratio: our time / theirs in single precision; the last but"
    yield "one column is pytorch-mppi under bfloat16 autocast. The network is frozen, as in pytorch-mppi's example of a"
    yield "learned model: if it is not, each plan of pytorch-mppi also keeps all that its gradients would need."
    yield ""
    rows = {
        f"{case}, {each['precision']}": each
        | {"ratio": each["ratio"] | {"pytorch_mppi in bfloat16": each["informed_ratio"]}}
        for case, each in measured.items()
    }
    yield from _compared(rows, digits=1)
    yield ""
    yield "What takes a plan on one thread:"
    yield ""
    parts = {"plan": "plan", "roll-outs": "roll_outs", "cost": "cost", "sampling, weighting": "rest"}
    yield _table({title: f"{{parts_ms[{part}]:.2f}}" for title, part in parts.items()}, measured)


def _neighbour(measured: Figures) -> Iterator[str]:
    yield "A plan alone, and with one busy process on another core, in blocks that take turns."
    columns = {
        "alone": "{alone[p50]:.1f}",
        "busy": "{busy[p50]:.1f}",
        "busy, p99": "{busy[p99]:.1f}",
        "slowdown": "{slowdown:.2f}",
    }
    for case, contenders in measured.items():
        yield from ("", _table(columns, contenders, case))


def _page(measured: Figures) -> Iterator[str]:
    yield "The same with the default learner's prior, with the page and without it, in turns. Three viewers on this"
    yield "machine take all that the page sends, and draw nothing."
    yield ""
    yield from _rows(measured)


def _loop(measured: Figures) -> Iterator[str]:
    yield "Simulator, adaptation (M = 32) and planner as processes over DDS, with a prior of random weights. Missed are"
    yield "ticks that were skipped, and those whose command came after the next one was due. The candidates are as many"
    yield "as the planner found time for by its deadline, 0.65 of the period; at most those of the case."
    yield ""
    yield from _rows(measured)


def _rows(measured: Figures) -> Iterator[str]:
    columns = {
        "s": "{seconds:.0f}",
        "missed": "{missed_share:.3%}",
        "jitter p99": "{jitter_ms[p99]:.2f}",
        "state to command p50": "{state_to_command_ms[p50]:.1f}",
        "p99": "{state_to_command_ms[p99]:.1f}",
        "candidates, mean": "{candidates[mean]:.0f}",
        "memory growth": "{memory_growth:+.2%}",
        "cores": "{cores}",
    }
    rows = {
        case: each
        | {
            "memory_growth": max(node["memory_growth"] for node in each["nodes"].values()),
            "cores": ", ".join(
                f"{name.removesuffix('_node')} {node['cores']:.2f}" for name, node in each["nodes"].items()
            ),
        }
        for case, each in measured.items()
    }
    yield _table(columns, rows)


def _handover(measured: Figures) -> Iterator[str]:
    yield "What an adaptation changed, from one process to another; two hidden layers of 512 units, M = 32."
    yield ""
    columns = {
        "kB": "{kilobytes:.1f}",
        "delay": "{delay_ms[p50]:.2f}",
        "p99": "{delay_ms[p99]:.2f}",
        "lost": "{lost}",
        "to apply": "{apply_ms[p50]:.3f}",
    }
    yield _table(columns, {name: each | {"kilobytes": each["bytes"] / 1e3} for name, each in measured.items()})


def _growth(measured: Figures) -> Iterator[str]:
    yield f"From {measured['base']} on, one size changed at a time."
    yield ""
    for name, label in _AXES.items():
        yield f"- {label}: " + ", ".join(f"{time:.1f} at {size}" for size, time in measured[name])
    yield ""
    yield "![Time of a plan over candidates, horizon, units and threads](images/planning_time.png)"
    yield ""
    yield "**Calculated, not measured**, from the parts of a plan on one thread: only roll-outs and costs are shared by"
    yield "more cores of this kind; a GPU is taken to reach 50 TFLOP/s, and to take 5 us to launch a kernel."
    yield ""
    yield table(["", "plan"], [[name, f"{value:.1f}"] for name, value in measured["calculated"].items()])


def _simulator(measured: Figures) -> Iterator[str]:
    rate, factor = measured["steps_per_s"], measured["real_time_factor"]
    yield f"{rate:.0f} physics steps/s on one core, {factor:.1f} times real time; PyBullet alone does"
    yield f"{measured['bare_steps_per_s']:.0f}. Two processes do {measured['two_workers']:.2f} times the work of one."


_SECTIONS: Final = {
    "planning": ("One plan", _planning),
    "growth": ("How a plan's time grows", _growth),
    "neighbour": ("A busy neighbour", _neighbour),
    "loop": ("The whole stack at a fixed rate", _loop),
    "page": ("The page in the browser", _page),
    "handover": ("Hand-over of the adapted model", _handover),
    "adaptation": ("Adaptation of one window, M x units", _compared),
    "outer_step": ("Outer step of meta-training, tasks x M x units", _compared),
    "simulator": ("Simulator", _simulator),
}


def _plot(measured: Figures, file: Path) -> None:
    """Draw the times over each size, and proportional growth beside them."""
    figure = Figure((12, 3.2), layout="constrained")
    panels = figure.subplots(1, 4)
    for axes, (name, label) in zip(panels, _AXES.items(), strict=True):
        sizes, times = zip(*measured[name], strict=True)
        axes.plot(sizes, times, "o-", ms=4)
        axes.set(xlabel=label, ylim=(0, None), xlim=(0, None))
        axes.grid(alpha=0.3)
    panels[3].set_xticks([size for size, _ in measured["threads"]])
    panels[0].set_ylabel("time of a plan [ms]")
    with whole(file) as part:
        figure.savefig(part, dpi=120, format="png")
