"""The ``mbmrl doctor`` command: what of this machine is not right for the stack, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Final

import typer

from mbmrl_control.cli.options import console

app = typer.Typer()
_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as the last line.")] = False,
) -> None:
    """Look at ROS 2, ports, GPU, real-time limits and the rest; exit code 1 if there is a problem."""
    from rich.table import Table
    from rich.text import Text

    from mbmrl_control.bringup.checkup import look

    found = []
    with console.status("looking") as status:
        for finding in look():
            found.append(finding)
            status.update(f"looking: {finding.subject}")
    table = Table.grid(padding=(0, 2))
    for finding in found:
        text = f"{finding.text}\n-> {finding.remedy}" if finding.remedy else finding.text
        table.add_row(Text(finding.state, _STYLES[finding.state]), finding.subject, text)
    console.print(table)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found]))
    if any(finding.state == "problem" for finding in found):
        raise typer.Exit(1)
