"""The report of a run: one HTML file that opens from disk, without internet."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from mbmrl_base.system.files import write_text
from mbmrl_control.control.run_record import Record
from mbmrl_control.evaluation.html import cards, page, picture, table, warning
from mbmrl_control.evaluation.metrics import summarise
from mbmrl_control.evaluation.plots import draw, draw_times
from mbmrl_control.evaluation.tables import summary_table
from mbmrl_control.evaluation.units import in_units

# A data URI would be of another origin, in which browsers refuse some of what the page does.
_FILM: Final = """<h2>In 3-D</h2>
<iframe title="The run in 3-D" loading="lazy" srcdoc="{}"></iframe>
<p class="note">The path is blue, the way orange. If plans were recorded, ghosts stand where the prior (red) and the
adapted model (green) expected the plan to lead, and thin lines are its candidates.</p>"""


def write_report(
    record: Record, errors: Sequence[str], warnings: Sequence[str], file: Path, film: str = ""
) -> dict[str, Any]:
    """Write the report of a run.

    Args:
        record: The run.
        errors: What nodes have logged as errors.
        warnings: Sentences on what may be wrong with the recording.
        file: HTML file to write, whole or not at all.
        film: Page that plays the run in 3-D, HTML that loads nothing; empty: none.

    Returns:
        The object of summary.json.

    Raises:
        ValueError: If the task is of a file that is not there.
        WriteError: If it cannot be written.
    """
    task = record.make_task()
    tracking = record.track(task)
    path = task.reference()
    duration = float(record.time[-1])
    summary = summarise(record, tracking, duration + 1.0 / record.rate) | {"errors": list(errors)}
    summary_rows = summary_table(summary)
    title = str(summary_rows.title)
    choices = {"task": record.task, "planner": record.planner}
    settings = [
        ((f"{kind} {choice['name']}", name, value), False)
        for kind, choice in choices.items()
        for name, value in choice["settings"].items()
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{duration:.1f} s at {record.rate:g} Hz, seed {record.seed}</p>",
        *map(warning, (*warnings, *errors)),
        _figures(summary),
        *([_FILM.format(escape(film))] if film else []),
        picture(draw(record, tracking, None if path is None else path[:, :2]), "Way, distance and model error"),
        "<h2>Summary</h2>",
        _rows(summary_rows),
        "<h2>Computing time</h2>",
        picture(draw_times(record), "Time that planning and adaptation took in each tick"),
        "<h2>Settings</h2>",
        table(("", "setting", "value"), settings),
    ]
    write_text(file, page(title, parts))
    return summary


def _figures(summary: dict[str, Any]) -> str:
    """What a reader wants to know first; what was not measured is left out."""
    name, first = next(iter(summary["figures"].items()), ("", dict.fromkeys(("before", "after"))))
    unit, error = in_units(name), summary["model_error"]
    shown = [
        (first["before"], f"{unit.title}, before the fault" if summary["fault"] else unit.title, unit.text),
        (first["after"], f"{unit.title}, after it", unit.text),
        (summary["recovery_s"], "time to recover", "{:.2f} s".format),
        (error["prior_after"], "model error after it, prior", "{:.3f}".format),
        (error["adapted_after"], "model error after it, adapted", "{:.3f}".format),
        (summary["command_rate_hz"], "command rate", "{:.1f} Hz".format),
    ]
    known = [(text(value), title) for value, title, text in shown if value is not None]
    return cards(known)


def _rows(shown: Table) -> str:
    """A table for the terminal as HTML."""
    cells = zip(*(column.cells for column in shown.columns), strict=True)
    titles = [str(column.header) for column in shown.columns]
    return table(titles, ((row, each.end_section) for row, each in zip(cells, shown.rows, strict=True)))
