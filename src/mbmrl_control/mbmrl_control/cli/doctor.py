"""The ``mbmrl doctor`` command: what of this machine is not right for the stack, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

import typer

from mbmrl_control.cli.options import AsJson, console

app = typer.Typer()
_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@app.command(epilog="Example: mbmrl doctor")
def doctor(
    as_json: AsJson = False,
) -> None:
    """See what of this machine is not right, and what to do.

    ROS 2 and whether two processes find each other, serial ports, GPU, real-time limits, disk, films, screen. The exit
    code is 1 if there is a problem.
    """
    from rich.progress import track
    from rich.table import Table
    from rich.text import Text

    from mbmrl_control.bringup.checkup import CHECKS, examine

    checks = track(CHECKS, "looking", console=console, transient=True)
    found = [finding for check in checks for finding in examine(check)]
    table = Table.grid(padding=(0, 2))
    for finding in found:
        text = f"{finding.text}\n-> {finding.remedy}" if finding.remedy else finding.text
        table.add_row(Text(finding.state, _STYLES[finding.state]), finding.subject, text)
    console.print(table)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found]))
    if any(finding.state == "problem" for finding in found):
        raise typer.Exit(1)
