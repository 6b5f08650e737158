"""The report of a run: one HTML file that opens from disk, without internet."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.table import Table

from mbmrl_base.system.files import write_text
from mbmrl_control.control.run_record import Record
from mbmrl_control.evaluation.metrics import summarise
from mbmrl_control.evaluation.plots import draw, draw_times
from mbmrl_control.evaluation.tables import in_units, summary_table

_STYLE: Final = """
:root { color-scheme: light dark; --line: light-dark(#ddd, #444); --card: light-dark(#f6f7f9, #24262b); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem;
       background: light-dark(#fff, #16181d); color: light-dark(#1c1e21, #e8e8e8); }
h1 { font-size: 1.5rem; margin: .5rem 0 0; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.figures div { background: var(--card); border-radius: .5rem; padding: .75rem 1rem; }
.figures b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.figures span { font-size: .85rem; opacity: .75; }
.wide { overflow-x: auto; }
img { width: 100%; min-width: 40rem; background: #fff; border-radius: .5rem; border: 1px solid var(--line); }
iframe { width: 100%; height: min(28rem, 80vh); border-radius: .5rem; border: 1px solid var(--line); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
td + td { white-space: nowrap; }
td:first-child, th:first-child { text-align: left; padding-left: 0; }
tr.end td { border-bottom-width: 2px; }
@media (max-width: 30rem) { table { font-size: .85rem; } td, th { padding: .3rem; } }
.note { font-size: .85rem; opacity: .75; margin: .25rem 0 1rem; }
.warning { border-left: .3rem solid #d08700; padding: .3rem .9rem; background: var(--card); }
"""

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
    table = summary_table(summary)
    title = str(table.title)
    choices = {"task": record.task, "planner": record.planner}
    settings = [
        ((f"{kind} {choice['name']}", name, value), False)
        for kind, choice in choices.items()
        for name, value in choice["settings"].items()
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{duration:.1f} s at {record.rate:g} Hz, seed {record.seed}</p>",
        *(f'<p class="warning">{escape(text)}</p>' for text in (*warnings, *errors)),
        _figures(summary),
        *([_FILM.format(escape(film))] if film else []),
        _picture(draw(record, tracking, None if path is None else path[:, :2]), "Way, distance and model error"),
        "<h2>Summary</h2>",
        _rows(table),
        "<h2>Computing time</h2>",
        _picture(draw_times(record), "Time that planning and adaptation took in each tick"),
        "<h2>Settings</h2>",
        _table(("", "setting", "value"), settings),
    ]
    write_text(file, _page(title, parts))
    return summary


def _page(title: str, parts: Iterable[str]) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    start = f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>'
    return "\n".join([start, *parts, "</body></html>\n"])


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
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(title)}</span></div>" for value, title in known)
    return f'<div class="figures">{cards}</div>'


def _picture(figure: Figure, text: str) -> str:
    """A figure in the page itself, as SVG; the same one gives the same bytes."""
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": text}):
        figure.savefig(content, format="svg", dpi=150, metadata={"Date": None})
    data = base64.b64encode(content.getvalue()).decode()
    return f'<div class="wide"><img alt="{escape(text)}" src="data:image/svg+xml;base64,{data}"></div>'


def _rows(table: Table) -> str:
    """A table for the terminal as HTML."""
    cells = zip(*(column.cells for column in table.columns), strict=True)
    titles = [str(column.header) for column in table.columns]
    return _table(titles, ((row, each.end_section) for row, each in zip(cells, table.rows, strict=True)))


def _table(titles: Sequence[str], rows: Iterable[tuple[Iterable[Any], bool]]) -> str:
    """Rows of cells, each with whether a section ends with it."""
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    lines = [f"<tr>{head}</tr>"] if titles else []
    for row, ends in rows:
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
        lines.append(f'<tr class="end">{cells}</tr>' if ends else f"<tr>{cells}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'
