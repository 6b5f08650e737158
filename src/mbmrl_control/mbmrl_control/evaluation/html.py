"""Pages that open from disk, without internet: one HTML file with all that it shows."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from matplotlib import rc_context
from matplotlib.figure import Figure

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


def page(title: str, parts: Iterable[str]) -> str:
    """A page of parts."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    start = f'<!doctype html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head><body>'
    return "\n".join([start, *parts, "</body></html>\n"])


def cards(shown: Iterable[tuple[str, str]]) -> str:
    """Values, each with what it is, large and side by side."""
    found = "".join(f"<div><b>{escape(value)}</b><span>{escape(title)}</span></div>" for value, title in shown)
    return f'<div class="figures">{found}</div>'


def warning(text: str) -> str:
    """A sentence on what may be wrong."""
    return f'<p class="warning">{escape(text)}</p>'


def picture(figure: Figure, text: str) -> str:
    """A figure in the page itself, as SVG; the same one gives the same bytes."""
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": text}):
        figure.savefig(content, format="svg", dpi=150, metadata={"Date": None})
    data = base64.b64encode(content.getvalue()).decode()
    return f'<div class="wide"><img alt="{escape(text)}" src="data:image/svg+xml;base64,{data}"></div>'


def table(titles: Sequence[str], rows: Iterable[tuple[Iterable[Any], bool]]) -> str:
    """Rows of cells, each with whether a section ends with it."""
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    lines = [f"<tr>{head}</tr>"] if titles else []
    for row, ends in rows:
        cells = "".join(f"<td>{escape(str(cell))}</td>" for cell in row)
        lines.append(f'<tr class="end">{cells}</tr>' if ends else f"<tr>{cells}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'
