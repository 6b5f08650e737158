"""The ``mbmrl bench`` command: speeds on this machine, against what users would pick instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mbmrl_base.system import surroundings
from mbmrl_control.cli.completion import words
from mbmrl_control.cli.options import console, refuse

app = typer.Typer()

PARTS: Final = ("planning", "growth", "neighbour", "loop", "handover", "adaptation", "outer_step", "simulator")


@app.command()
def bench(
    only: Annotated[
        str,
        typer.Option(
            help=f"What to measure, with commas between: {', '.join(PARTS)}; or all.",
            autocompletion=words(lambda _: (*PARTS, "all"), many=True),
        ),
    ] = "all",
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1, max=64)] = 2,
    duration: Annotated[float, typer.Option(help="Length of each run of the loop, s.", min=5.0)] = 60.0,
    realtime_priority: Annotated[
        int, typer.Option(help="Priority of SCHED_FIFO of the loop's planner and adaptation; 0: none.", min=0, max=99)
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of performance.md, in which what was measured before stays; such as docs."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as the last line.")] = False,
) -> None:
    """Measure speeds on this machine; `make bench` installs what they are compared with."""
    parts = PARTS if only == "all" else tuple(only.split(","))
    for part in parts:
        if part not in PARTS:
            refuse(f"unknown part {part!r}: allowed is {', '.join(PARTS)}, or all")
    import torch

    from mbmrl_control.benchmarks import page, peers
    from mbmrl_control.bringup.node_processes import NodeEndedError

    if {"loop", "handover"}.intersection(parts):
        surroundings.check()
    if out is not None:
        page.check(out)
    conditions, found = page.machine(threads), {}
    peers.enable()
    if absent := peers.missing(parts):
        console.print(absent, soft_wrap=True)
    for part in parts:
        torch.set_num_threads(threads)  # the part before may have left another number
        try:
            with console.status(f"measuring: {part}"):
                found[part] = _measure(part, threads, duration, realtime_priority)
        except NodeEndedError as error:
            refuse(error)
        console.print(page.section(part, found[part]), soft_wrap=True)
    if out is not None:
        console.print(f"written: {', '.join(map(str, page.write(found, out, conditions)))}", soft_wrap=True)
    if as_json:
        print(json.dumps(found))


def _measure(part: str, threads: int, duration: float, priority: int) -> dict[str, Any]:
    """Figures of a part; what it needs is loaded only then."""
    if part == "loop":
        from mbmrl_control.benchmarks import loop

        return {str(case): loop.run_loop(case, duration, threads, priority) for case in loop.CASES}
    if part == "handover":
        from mbmrl_control.benchmarks import handover

        return dict(handover.measure())
    if part == "simulator":
        from mbmrl_sim.millirobot.benchmark import measure_simulator

        return measure_simulator()
    from mbmrl_control.benchmarks import adaptation, planning

    measures: dict[str, Callable[[], Any]] = {
        "planning": lambda: planning.measure(threads),
        "growth": lambda: planning.measure_growth(threads),
        "neighbour": lambda: planning.measure_beside_neighbour(threads),
        "adaptation": adaptation.measure,
        "outer_step": adaptation.measure_outer_step,
    }
    return dict(measures[part]())
