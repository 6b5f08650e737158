"""What the parts of the ``mbmrl`` command share: options, the console, and how bad input is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from mbmrl_control.graph import DEFAULT_LEARNER

console = Console(stderr=True)

Seed = Annotated[int, typer.Option(help="Seed of leg phases, random faults and samples.", min=0, max=2**31 - 1)]
Learner = Annotated[
    str | None,
    typer.Option(help=f"How the model adapts each tick; where not given, as the checkpoint, else {DEFAULT_LEARNER}."),
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="File of the prior, *.safetensors; the shipped one where not given.")
]
PathName = Annotated[str, typer.Option("--path", help="straight, left, right, zigzag or figure_eight.")]
Terrain = Annotated[str, typer.Option(help="Ground: carpet, styrofoam, turf or gravel.")]
Sensors = Annotated[str, typer.Option(help="Imperfections of the sensors: ideal, or real; or as in real,delay=0.")]
Protocol = Annotated[str, typer.Option(help="Protocol on the serial line: mbmrl or velociroach.")]
Rate = Annotated[float, typer.Option(help="Control rate, Hz.")]
Workers = Annotated[int, typer.Option(help="Processes.", min=1)]


def refuse(error: Exception | str) -> NoReturn:
    """End with one sentence and the exit code of a usage error."""
    console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(2)
