"""Tables: of evaluated runs, as CSV and as Markdown; of one run, for the terminal."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from mbmrl_base.system.files import whole
from mbmrl_control.control.run_record import in_a_word
from mbmrl_control.evaluation.statistics import Row, differences, mean, pairs, recovery
from mbmrl_control.evaluation.units import in_units, number_text

_COLUMNS: Final = {
    "cost before": ("cost_before", 1.0, 2),
    "cost after": ("cost_after", 1.0, 2),
    "from path before, mm": ("cross_track_before_m", 1e3, 1),
    "from path after, mm": ("cross_track_after_m", 1e3, 1),
    "lost runs, %": ("lost", 100.0, 0),
    "speed kept": ("speed_kept", 1.0, 2),
    "on its back after, %": ("on_back_after", 100.0, 0),
    "one-step error before": ("model_error_before", 1.0, 3),
    "one-step error after": ("model_error_after", 1.0, 3),
    "open-loop error after, mm": ("open_loop_error_after_m", 1e3, 1),
    "adaptation, ms": ("adaptation_ms", 1.0, 2),
    "planning, ms": ("planning_ms", 1.0, 2),
}
"""Title of a column, its figure, factor and digits."""
_FAR_OFF: Final = 1e4


def write_csv(rows: Sequence[Row], file: Path) -> None:
    """Write a row for each run, with units in the names of the columns."""
    with whole(file) as part, part.open("w", newline="") as opened:
        writer = csv.writer(opened)
        names = [name for name in rows[0] if name != "cost_trace"]
        writer.writerow(names)
        for row in rows:
            values = [" ".join(value) if isinstance(value, list) else value for value in map(row.__getitem__, names)]
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values])


def _cell(estimate: dict[str, Any], factor: float = 1.0, digits: int = 2, sign: str = "") -> str:
    """A mean or median, and its interval."""

    def number(value: float | None, absent: str) -> str:
        # Errors of a model that has diverged are beyond all columns.
        form = f"{digits}f" if value is None or abs(value) < _FAR_OFF else "0e"
        return absent if value is None else f"{value * factor:{sign}.{form}}"

    low, high = estimate["ci95"]
    if "median" in estimate:
        return f"{number(estimate['median'], 'never')} ({number(low, 'never')} to {number(high, 'never')})"
    return f"{number(estimate['mean'], '-')} ({number(low, '-')} to {number(high, '-')})" if low is not None else "-"


def table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, ["---"] * len(titles), *lines))


def markdown(rows: Sequence[Row]) -> str:
    """Tables of each path and scenario: means (recovery: median) with 95 % bootstrap intervals, and differences.

    A column of which nothing is known is left out.
    """
    parts: list[str] = []
    columns = dict(_COLUMNS)
    if not rows[0]["path"]:
        known = {name for name, _, _ in columns.values()}
        reported = [name for name in rows[0] if name.endswith("_after") and name not in known]
        for name in reported:
            unit = in_units(name.removesuffix("_after"))
            columns[", ".join(filter(None, (f"{unit.title} after", unit.symbol)))] = name, unit.factor, unit.digits
    groups = dict.fromkeys((row["path"], row["scenario"]) for row in rows)
    for path, scenario in groups:
        own = [row for row in rows if (row["path"], row["scenario"]) == (path, scenario)]
        contenders = list(dict.fromkeys(row["contender"] for row in own))
        parts.append(f"## {scenario} on {path or rows[0]['task']}, {len({row['seed'] for row in own})} seeds")
        lines = []
        for contender in contenders:
            runs = [row for row in own if row["contender"] == contender]
            cells = [
                _cell(mean(run[name] for run in runs), factor, digits) for name, factor, digits in columns.values()
            ]
            time = recovery(runs)
            came_back = sum(run["recovery_s"] is not None for run in runs)
            again = "-" if scenario == "none" else f"{_cell(time)}; {came_back} of {len(runs)}"
            lines.append([contender, *cells[:4], again, *cells[4:]])
        titles = ["learner", *columns]
        titles.insert(5, "recovery, s; recovered")
        told = [any(line[place] != "-" for line in lines) for place in range(len(titles))]
        parts.append(table(list(compress(titles, told)), [list(compress(line, told)) for line in lines]))
        if compared := [[f"{a} - {b}", _cell(differences(own, a, b), sign="+")] for a, b in pairs(own)]:
            parts.append(table(["same seeds", "difference of the cost after"], compared))
    return "\n\n".join(parts) + "\n"


def summary_table(summary: dict[str, Any]) -> Table:
    """Table of the object of summary.json."""
    fault = summary["fault"] or "no fault"
    who = f"{summary['robot']}, {summary['learner']}"
    result = Table(title=f"{who} on {in_a_word(summary['task'])}, {fault}", title_justify="left")
    for column in ("", "before the fault", "after it", "at the end"):
        result.add_column(column, justify="left" if not column else "right")
    cost, error = summary["tracking_cost"], summary["model_error"]
    result.add_row("cost per step", number_text(cost["before"], 2), number_text(cost["after"], 2))
    for name, values in summary["figures"].items():
        unit = in_units(name)
        result.add_row(unit.title, *(unit.text(values[when]) for when in ("before", "after", "end")))
    recovered = number_text(summary["recovery_s"], 2, "s")
    if summary["recovery_s"] is None and None not in cost.values():
        recovered = "not by the end"
    result.add_row("time to recover", "", recovered)
    result.add_row("one-step error, prior", "", number_text(error["prior_after"], 3))
    result.add_row("one-step error, adapted", "", number_text(error["adapted_after"], 3))
    result.add_section()
    result.add_row("", "median", "p99")
    for name in ("planning", "adaptation"):
        times = summary[f"{name}_ms"]
        result.add_row(f"{name} time", number_text(times["p50"], 2, "ms"), number_text(times["p99"], 2, "ms"))
    result.add_section()
    result.add_row("command rate", number_text(summary["command_rate_hz"], 2, "Hz"), "")
    result.add_row("intervals without a command", f"{summary['missed_ticks']} of {summary['ticks']}", "")
    return result


def cell(value: float | None) -> str:
    """A number of a table that knows nothing of its unit: counts whole, others with four digits, none empty."""
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"
