"""``mbmrl runs``: lists what was trained, evaluated and driven, and says in what two differ."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mbmrl_control.cli.options import AsJson, console, refuse

app = typer.Typer()
runs = typer.Typer(no_args_is_help=False)
app.add_typer(runs, name="runs", help="List trainings, evaluations and demos; compare two.")


@runs.callback(invoke_without_command=True, epilog="Example: mbmrl runs --in experiments")
def list_runs(
    context: typer.Context,
    places: Annotated[
        list[Path] | None, typer.Option("--in", help="Folder, or file, to look into; the current folder if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List trainings, evaluations and demos; compare two.

    By the files that they left: priors, runs, summaries.
    """
    if context.invoked_subcommand is not None:
        return
    from rich.box import SIMPLE
    from rich.table import Column, Table

    from mbmrl_control.evaluation.known_runs import PRIOR, find

    wanted = places or [Path()]
    if missing := next((place for place in wanted if not place.exists()), None):
        refuse(f"there is no {missing}")
    with console.status("looking"):
        found = find(wanted)
    whole = (Column(name, no_wrap=True) for name in ("what", "when"))
    folded = (Column(name, overflow="fold") for name in ("learner, task", "result", "where"))
    table = Table(*whole, *folded, box=SIMPLE)
    for known in found:
        when = datetime.fromtimestamp(known.time).strftime("%Y-%m-%d %H:%M")
        robot = [known.robot] if known.kind != PRIOR and len({each.robot for each in found}) > 1 else []
        table.add_row(known.kind, when, ", ".join([*robot, known.name]), known.result, str(known.path))
    console.print(table if found else "nothing that was trained, evaluated or driven is there")
    if as_json:
        print(json.dumps([known.as_json() for known in found]))


@runs.command(epilog="Example: mbmrl runs compare mb.safetensors old/mb.safetensors")
def compare(
    first: Annotated[Path, typer.Argument(help="File of a prior, or folder of a run or an evaluation.")],
    second: Annotated[Path, typer.Argument(help="Another one of the kind.")],
    as_json: AsJson = False,
) -> None:
    """Show in what two differ, and what came out of them."""
    from rich.table import Table

    from mbmrl_control.evaluation.known_runs import differences, find

    both = []
    for place in (first, second):
        if not place.exists():
            refuse(f"there is no {place}")
        if not (known := find([place])):
            refuse(f"{place} holds nothing that was trained, evaluated or driven")
        both.append(known)
    pairs = [(one, other) for one, other in zip(*both, strict=False) if one.kind == other.kind]
    if len(both[0]) != len(both[1]) or len(pairs) < len(both[0]):
        refuse(f"{first} and {second} hold other things, or more of them: {len(both[0])} and {len(both[1])}")
    told: list[dict[str, Any]] = []
    for one, other in pairs:
        config, figures = differences(one, other)
        table = Table("", str(one.path), str(other.path), title=one.name if one.name == other.name else None)
        for part in (config, figures):
            for name, values in part.items():
                table.add_row(name, *map(_cell, values))
            table.add_section()
        console.print(table)
        told.append({"differs": config, "figures": figures})
    if as_json:
        print(json.dumps(told))


def _cell(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{40,}", value):
        return value[:12]  # a hash
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
