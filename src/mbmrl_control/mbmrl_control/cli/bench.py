"""The ``mbmrl bench`` command: speeds on this machine, against what users would pick instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mbmrl_base.system import surroundings
from mbmrl_control.cli.options import console, refuse

app = typer.Typer()

PARTS: Final = ("planning", "growth", "neighbour", "loop", "handover", "adaptation", "outer_step", "simulator")


@app.command()
def bench(
    only: Annotated[str, typer.Option(help=f"What to measure, with commas between: {', '.join(PARTS)}; or all.")] = (
        "all"
    ),
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
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "planning": lambda: _planning(threads),
        "growth": lambda: _growth(threads),
        "neighbour": lambda: _neighbour(threads),
        "loop": lambda: _loop(duration, threads, realtime_priority),
        "handover": _handover,
        "adaptation": lambda: _adaptation(threads),
        "outer_step": lambda: _outer_step(threads),
        "simulator": _simulator,
    }
    from mbmrl_control.benchmarks import page

    if {"loop", "handover"}.intersection(parts):
        surroundings.check()
    if out is not None:
        page.check(out)
    conditions, found = page.machine(threads), {}
    for part in parts:
        with console.status(f"measuring: {part}"):
            found[part] = measures[part]()
    if out is not None:
        console.print(f"written: {', '.join(map(str, page.write(found, out, conditions)))}", soft_wrap=True)
    if as_json:
        print(json.dumps(found))


def _planning(threads: int) -> dict[str, Any]:
    from mbmrl_control.benchmarks import peers, planners, planning

    peers.enable()
    if absent := peers.missing(planners.PEERS):
        console.print(absent, soft_wrap=True)
    found = dict(planning.measure(threads))
    _show("one plan, candidates x horizon x units", found)
    for case, figures in found.items():
        parts = ", ".join(f"{name} {value:.2f}" for name, value in figures["parts_ms"].items())
        console.print(
            f"{case}: {figures['precision']}, {figures['gemm_fraction']:.0%} of the rate of the matrix products alone;"
            f" on one thread, ms: {parts}",
            soft_wrap=True,
        )
    return found


def _growth(threads: int) -> dict[str, Any]:
    from mbmrl_control.benchmarks import planning

    found = planning.measure_growth(threads)
    for name in ("candidates", "horizon", "width", "threads"):
        console.print(f"plan, ms over {name}: " + ", ".join(f"{size} {time:.1f}" for size, time in found[name]))
    calculated = ", ".join(f"{name} {time:.1f}" for name, time in found["calculated"].items())
    console.print(f"calculated, ms: {calculated}")
    return found


def _neighbour(threads: int) -> dict[str, Any]:
    from mbmrl_control.benchmarks import peers, planning

    peers.enable()
    found = dict(planning.measure_beside_neighbour(threads))
    for case, figures in found.items():
        for name, taken in figures.items():
            console.print(
                f"{case} by {name}: {taken['alone']['p50']:.1f} ms alone, {taken['busy']['p50']:.1f} ms beside a busy"
                f" process, {taken['slowdown']:.2f} times as long",
                soft_wrap=True,
            )
    return found


def _loop(duration: float, threads: int, priority: int) -> dict[str, Any]:
    from mbmrl_control.benchmarks import loop
    from mbmrl_control.bringup.node_processes import NodeEndedError

    found = {}
    try:
        for case in loop.CASES:
            figures = found[str(case)] = loop.run_loop(case, duration, threads, priority)
            growth = max(node["memory_growth"] for node in figures["nodes"].values())
            console.print(
                f"{case} for {figures['seconds']:.0f} s: {figures['missed']} of {figures['ticks']} ticks missed"
                f" ({figures['missed_share']:.3%}), jitter p99 {figures['jitter_ms']['p99']:.2f} ms, state to command"
                f" p99 {figures['state_to_command_ms']['p99']:.1f} ms, {figures['candidates']['mean']:.0f} candidates"
                f" (fewest {figures['candidates']['fewest']}), memory {growth:+.2%}",
                soft_wrap=True,
            )
    except NodeEndedError as error:
        refuse(error)
    return found


def _handover() -> dict[str, Any]:
    from mbmrl_control.benchmarks import handover

    found = dict(handover.measure())
    for name, figures in found.items():
        console.print(
            f"{name}: {figures['bytes'] / 1e3:.1f} kB, {figures['delay_ms']['p50']:.2f} ms over DDS (p99"
            f" {figures['delay_ms']['p99']:.2f}), {figures['lost']} lost, {figures['apply_ms']['p50']:.3f} ms to apply",
            soft_wrap=True,
        )
    return found


def _simulator() -> dict[str, Any]:
    from mbmrl_sim.millirobot.benchmark import measure_simulator

    found = measure_simulator()
    console.print(
        f"simulator: {found['steps_per_s']:.0f} physics steps/s on one core,"
        f" {found['real_time_factor']:.1f} times real time\n"
        f"  PyBullet's stepSimulation alone does {found['bare_steps_per_s']:.0f} steps/s: it takes"
        f" {found['ratio']:.0%} of the time, motors, battery, speed control and measurements take the rest\n"
        f"  two workers do {found['two_workers']:.2f} times the work of one",
    )
    return found


def _adaptation(threads: int) -> dict[str, Any]:
    from mbmrl_control.benchmarks import adaptation

    _prepare(threads)
    found = dict(adaptation.measure())
    _show("adaptation of one window, M x units", found)
    return found


def _outer_step(threads: int) -> dict[str, Any]:
    from mbmrl_control.benchmarks import adaptation, peers

    _prepare(threads)
    peers.enable()
    if absent := peers.missing(("learn2learn", "higher", "torchopt")):
        console.print(absent, soft_wrap=True)
    found = dict(adaptation.measure_outer_step())
    _show("outer step of meta-training, tasks x M x units", found)
    return found


def _prepare(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _show(title: str, found: dict[str, dict[str, Any]]) -> None:
    """A table of cases: the time of each contender, and its multiple of ours."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("", "mbmrl, ms", "p99", *next(iter(found.values()))["peers_ms"]):
        table.add_column(column, justify="right")
    for case, figures in found.items():
        others = [
            f"{took['p50']:.2f} ({took['p50'] / figures['ms']['p50']:.1f}x)" for took in figures["peers_ms"].values()
        ]
        table.add_row(case, *(f"{figures['ms'][name]:.2f}" for name in ("p50", "p99")), *others)
    console.print(table)
