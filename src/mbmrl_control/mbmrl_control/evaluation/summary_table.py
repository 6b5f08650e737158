"""The figures of a run as a table."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from mbmrl_control.control.run_record import in_a_word


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "-" if value is None else f"{value:.{digits}f} {unit}".rstrip()


def table(summary: dict[str, Any]) -> Table:
    """Table of the object of summary.json."""
    fault = summary["fault"] or "no fault"
    who = f"{summary['robot']}, {summary['learner']}"
    result = Table(title=f"{who} on {in_a_word(summary['task'])}, {fault}", title_justify="left")
    for column in ("", "before the fault", "after it", "at the end"):
        result.add_column(column, justify="left" if not column else "right")
    cost, error = summary["tracking_cost"], summary["model_error"]
    result.add_row("tracking cost per step", _number(cost["before"], 2), _number(cost["after"], 2))
    for name, values in summary["figures"].items():
        result.add_row(name, *(_number(values[when], 4) for when in ("before", "after", "end")))
    result.add_row("time to recover", "", _number(summary["recovery_s"], 2, "s"))
    result.add_row("one-step error of the prior", "", _number(error["prior_after"], 3))
    result.add_row("one-step error of the adapted model", "", _number(error["adapted_after"], 3))
    result.add_section()
    result.add_row("", "median", "p99")
    for name in ("planning", "adaptation"):
        times = summary[f"{name}_ms"]
        result.add_row(f"{name} time", _number(times["p50"], 2, "ms"), _number(times["p99"], 2, "ms"))
    result.add_section()
    result.add_row("command rate", _number(summary["command_rate_hz"], 2, "Hz"), "")
    result.add_row("intervals without a command", f"{summary['missed_ticks']} of {summary['ticks']}", "")
    return result
