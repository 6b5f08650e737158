"""What commands show fits a terminal, and is Markdown elsewhere."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from mbmrl_control.cli import options
from mbmrl_control.evaluation.run_cache import TRACE_STEP
from mbmrl_control.evaluation.tables import _COLUMNS, markdown


def rows() -> list[dict[str, Any]]:
    """Two runs of each of two learners."""
    figures = {name: 0.5 for name, _, _ in _COLUMNS.values()} | {"recovery_s": 1.0, "cost_trace": [TRACE_STEP]}
    about = {"path": "left", "scenario": "leg_loss", "task": "follow_path", "planner": "mppi"}
    return [
        {**about, **figures, "precision": "float32", "contender": name, "learner": name, "seed": seed}
        for name in ("default", "mb")
        for seed in (0, 1)
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_comparison_fits_a_terminal_and_is_markdown_elsewhere(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=terminal)
    monkeypatch.setattr(options, "console", console)
    options.show(markdown(rows()))
    text = re.sub(r"\x1b\[[\d;]*m", "", output.getvalue())
    titles = ["learner", *_COLUMNS, "recovery, s; recovered"]
    if terminal:
        lines = [line.rstrip() for line in text.splitlines()]
        assert max(map(len, lines)) <= 80
        assert all(any(line.startswith(f" {title[:20]}") for line in lines) for title in titles)
        assert re.search(r"^ learner +default +mb$", "\n".join(lines), re.MULTILINE)
    else:
        head = next(line for line in text.splitlines() if line.startswith("| learner"))
        assert all(f"| {title} |" in head for title in titles)
        assert max(map(len, text.splitlines())) > 80  # not wrapped
        assert len(re.findall(r"^\| (default|mb) \|", text, re.MULTILINE)) == 2
