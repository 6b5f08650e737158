"""The command that drills the stack."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from mbmrl_control.cli.options import AsJson, Seed, console, refuse, refusing, stoppable

app = typer.Typer()
Threads = Annotated[int, typer.Option(help="Threads of the planner.", min=1)]


@app.command(epilog="Example: mbmrl drill --events 100 --seed 1")
def drill(
    events: Annotated[int, typer.Option(help="What is done to each stack.", min=1)] = 50,
    stack: Annotated[
        str,
        typer.Option(help="sim, serial: an emulated robot on a line, topics: a base that speaks ROS, or all."),
    ] = "all",
    seed: Seed = 0,
    threads: Threads = 1,
    out: Annotated[Path, typer.Option(help="Folder in which the drill's own folder is made.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Do to the real stack what may go wrong.

    Its processes are killed and held up, a stranger sends garbage, and so on;
    what follows is held against docs/safety.md. Exit code 1 if it differs.
    """
    from rich.progress import track

    from mbmrl_base.system import surroundings
    from mbmrl_base.system.files import check_folder
    from mbmrl_control.bringup.graph import SIM
    from mbmrl_control.bringup.node_processes import NodeEndedError
    from mbmrl_control.bringup.parameters import check_nodes
    from mbmrl_control.drills.drill import Drill, play
    from mbmrl_control.drills.stack import STACKS, StackError

    names = STACKS if stack == "all" else (stack,)
    if not set(names) <= set(STACKS):
        refuse(f"unknown stack {stack!r}: allowed is {', '.join(STACKS)}, all")
    with refusing():
        surroundings.prepare()
        check_nodes(SIM, {})
        check_folder(out)
    folder = out / f"drill-{datetime.now():%Y%m%d-%H%M%S}"
    done = Drill()
    with refusing(NodeEndedError, StackError), stoppable(f"the logs are in {folder}"):
        for name in names:
            played = play(name, {"threads": threads}, events, seed, folder / name, done, console)
            for outcome in track(played, f"{name}: events", total=events, console=console):
                if outcome.wrong:
                    console.print(f"{outcome.kind}: {outcome.wrong}", markup=False, highlight=False)
    found = done.as_json()
    console.print(f"as documented: {found['as_documented']} of {found['events']}; logs: {folder}", soft_wrap=True)
    if as_json:
        print(json.dumps(found))
    if found["as_documented"] < found["events"] or found["orphans"] or found["tracebacks"]:
        raise typer.Exit(1)


@app.command(epilog="Example: mbmrl soak --minutes 60 --seed 1")
def soak(
    minutes: Annotated[float, typer.Option(help="How long the robot walks.", min=0.1)] = 10.0,
    seed: Seed = 0,
    threads: Threads = 1,
    starts: Annotated[int, typer.Option(help="Starts after that, each ended by Ctrl-C at a random moment.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder in which the soak's own folder is made.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Run the simulated stack for long, and see what grows.

    At 50 Hz, with faults, goals and other parameters at random. Exit code 1 if
    over 0.1 % of the ticks are missed, a node's memory grows by over 1 %, open
    files or threads get more, or the recording has a gap, or if a start leaves
    something behind, or takes over 3 s to end.
    """
    from mbmrl_base.system import surroundings
    from mbmrl_base.system.files import check_folder
    from mbmrl_control.bringup.graph import SIM
    from mbmrl_control.bringup.node_processes import NodeEndedError
    from mbmrl_control.bringup.parameters import check_nodes
    from mbmrl_control.drills.drill import spread
    from mbmrl_control.drills.soak import soak as run
    from mbmrl_control.drills.starts import starts as play

    with refusing():
        surroundings.prepare()
        check_nodes(SIM, {})
        check_folder(out)
    folder = out / f"soak-{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    with refusing(NodeEndedError), stoppable(f"the recording is in {folder}"), console.status(f"{minutes:g} min"):
        found = run(60.0 * minutes, seed, folder, threads)
        ends = list(play(starts, seed, folder))
    found["starts"] = {"count": starts, "end_s": spread([end.took for end in ends], 2)}
    found["wrong"] += [end.wrong for end in ends if end.wrong]
    for sentence in found["wrong"]:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    missed = f"{found['missed']} of {found['ticks']} ticks missed, {found['events']} events"
    console.print(f"{missed}; recording: {folder}", soft_wrap=True, highlight=False)
    if as_json:
        print(json.dumps(found))
    if found["wrong"]:
        raise typer.Exit(1)
