"""The ``mbmrl bench`` command: speeds on this machine, against what users would pick instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mbmrl_base.system import surroundings
from mbmrl_control.cli.completion import words
from mbmrl_control.cli.options import AsJson, console, refuse, refusing, show, stoppable

app = typer.Typer()

PARTS: Final = ("planning", "growth", "neighbour", "loop", "page", "handover", "adaptation", "outer_step", "simulator")


@app.command(epilog="Example: mbmrl bench --only planning,adaptation")
def bench(
    only: Annotated[
        str,
        typer.Option(
            help=f"What to measure, with commas between: {', '.join(PARTS)}; or all.",
            autocompletion=words(lambda _: (*PARTS, "all"), many=True),
        ),
    ] = "all",
    threads: Annotated[int, typer.Option(help="Threads of torch.", min=1, max=64)] = 2,
    duration: Annotated[float, typer.Option(help="Length of each run of the loop, s.", min=5.0, max=3600.0)] = 60.0,
    realtime_priority: Annotated[
        int, typer.Option(help="Priority of SCHED_FIFO of the loop's planner and adaptation; 0: none.", min=0, max=99)
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of performance.md, in which what was measured before stays; such as docs."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure speeds on this machine.

    `make bench` installs what they are compared with.
    """
    parts = PARTS if only == "all" else tuple(only.split(","))
    for part in parts:
        if part not in PARTS:
            refuse(f"unknown part {part!r}: allowed is {', '.join(PARTS)}, or all")
    import torch

    from mbmrl_control.benchmarks import page, peers
    from mbmrl_control.bringup.node_processes import NodeEndedError
    from mbmrl_control.training.pipeline import progress_bar

    if {"loop", "page", "handover"}.intersection(parts):
        surroundings.prepare()
    if out is not None:
        page.check(out)
    conditions, found = page.machine(threads), {}
    peers.enable()
    if absent := peers.missing(parts):
        console.print(absent, soft_wrap=True)
    with stoppable("nothing was written"), progress_bar(console) as bar, refusing(NodeEndedError):
        task = bar.add_task("measuring", total=len(parts), note="")
        for part in parts:
            bar.update(task, note=part)
            torch.set_num_threads(threads)  # the part before may have left another number
            found[part] = _measure(part, threads, duration, realtime_priority)
            bar.advance(task)
            show(page.section(part, found[part]))
    if out is not None:
        console.print(f"written: {', '.join(map(str, page.write(found, out, conditions)))}", soft_wrap=True)
    if as_json:
        print(json.dumps(found))


def _measure(part: str, threads: int, duration: float, priority: int) -> dict[str, Any]:
    """Figures of a part; what it needs is loaded only then."""
    if part == "loop":
        from mbmrl_control.benchmarks import loop

        return {str(case): loop.run_loop(case, duration, threads, priority) for case in loop.CASES}
    if part == "page":
        from mbmrl_control.benchmarks import dashboard

        return dashboard.measure(duration, threads)
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
