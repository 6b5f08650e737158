"""Commands that run the stack with the simulated robot, and show what was recorded."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mbmrl_control.bringup.graph import EMULATOR, HARDWARE, RECORDER, SIM, NodeSpec, Values, arguments
from mbmrl_control.bringup.nursery import Nursery
from mbmrl_control.cli import completion
from mbmrl_control.cli.options import AsJson, Respawn, console, refuse, refuse_path, refusing, stoppable, warn
from mbmrl_control.cli.parameters import flag, takes_parameters

if TYPE_CHECKING:
    from mbmrl_control.control.run_record import Record

app = typer.Typer()
LOOK_PERIOD: Final = 0.01
"""Time between two looks whether all nodes run, s: if one does not, the robot is to stop."""
_DEMO_OPTIONS: Final = (
    *("robot", "simulator", "task", "path", "learner", "checkpoint", "planner", "seed", "rate", "terrain", "sensors"),
    *("protocol", "publish_clock", "dashboard", "page_port"),
)


def load(context: typer.Context, nodes: Iterable[NodeSpec], values: Values) -> Nursery:
    """Load the modules of nodes in the background, while their arguments are looked at; ends with the command."""
    nursery = Nursery(spec.module for spec in nodes if spec.is_started(values))
    return context.with_resource(nursery)


def run_nodes(
    nodes: tuple[NodeSpec, ...],
    values: Values,
    use_sim_time: bool,
    respawn: bool = False,
    nursery: Nursery | None = None,
) -> None:
    """Run nodes until Ctrl-C; with `respawn`, those that die are started again."""
    from mbmrl_control.bringup.node_processes import NodeEndedError, Processes

    with (
        suppress(KeyboardInterrupt),
        refusing(NodeEndedError),
        Processes(nodes, values, use_sim_time, respawn=respawn, nursery=nursery) as running,
    ):
        while True:
            running.check()
            time.sleep(LOOK_PERIOD)


@takes_parameters(app, SIM, "mbmrl sim --robot husky --path left")
def sim(values: Values, context: typer.Context, respawn: Respawn = False) -> None:
    """Run simulator, adaptation and planning until Ctrl-C."""
    nursery = load(context, SIM, values)
    from mbmrl_control.bringup.parameters import check_nodes, clock_is_simulated

    with refusing():
        settings = check_nodes(SIM, values)
    run_nodes(SIM, values, clock_is_simulated(settings), respawn, nursery)


@takes_parameters(app, RECORDER, "mbmrl record --out walk", ("exclude",))
def record(
    values: Values,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to record in, which is made; rosbag2_ and date and time if not given."),
    ] = None,
) -> None:
    """Record all topics of a running robot until Ctrl-C.

    As a rosbag2 folder (MCAP).
    """
    from mbmrl_control.bringup.parameters import check_nodes

    given = {**values, "bag": None if out is None else str(out)}
    with refusing():
        check_nodes(RECORDER, given)
    run_nodes(RECORDER, given, use_sim_time=False)


@takes_parameters(
    app, (*SIM, *HARDWARE, *EMULATOR), "mbmrl demo --fault leg_loss:3+leg_loss:5@10 --against mb", _DEMO_OPTIONS
)
def demo(
    values: Values,
    context: typer.Context,
    duration: Annotated[float, typer.Option(help="Length of the run, s.", min=1.0, max=86400.0)] = 30.0,
    fault: Annotated[
        str | None,
        typer.Option(
            help="KIND[:VALUE,...]@T, T in s after the first command, such as payload:15,x=0.03@10, several with"
            " + between, as in leg_loss:3+leg_loss:5@10; 'none' for none; if not given, the robot's first one, which"
            " training does not show, at 10 s.",
            autocompletion=completion.plans,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Another learner, such as mb, that then makes the same run; the film shows both.",
            autocompletion=completion.OF_PARAMETERS["learner"],
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder in which the run's own folder is made.")] = Path("runs"),
    record: Annotated[
        Path | None,
        typer.Option(help="Folder, to be made, for a recording of all topics (rosbag2); of the other run: -against."),
    ] = None,
    film: Annotated[bool, typer.Option(help="Render the robot as it walked.")] = True,
    hardware: Annotated[
        bool, typer.Option("--hardware", help="Through a serial line: bridge and emulated robot.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Follow a path, lose a leg on the way, and record it all.

    Or suffer another fault, which --fault names.
    """
    nodes = (*EMULATOR, *HARDWARE) if hardware else SIM
    nursery = load(context, nodes, values)
    from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
    from mbmrl_base.system.files import check_folder
    from mbmrl_base.system.ports import free_port
    from mbmrl_control.bringup.parameters import check_nodes, clock_is_simulated
    from mbmrl_control.nodes.settings import PlannerSettings
    from mbmrl_sim.catalogue import fault_kinds
    from mbmrl_sim.nodes.simulator_node import SimulatorSettings

    taken = {"namespace", "params_file", *arguments(nodes)}
    if odd := next((name for name, value in values.items() if value is not None and name not in taken), None):
        way = "with" if hardware else "without"
        refuse(f"{flag(odd, values[odd])} changes nothing {way} --hardware: leave it out")
    with refusing():
        if values["dashboard"] is None and console.is_terminal:  # somebody watches
            values = {**values, "dashboard": True}
        other = {**values, "learner": against, "checkpoint": None}
        if record is not None:
            values, other = {**values, "bag": str(record)}, {**other, "bag": f"{record}-against"}
        settings = check_nodes(nodes, values)
        if page := settings.get("dashboard_node"):
            port = free_port(dict(page)["page_port"])
            values, other = ({**each, "page_port": port} for each in (values, other))
            console.print(f"watch it: http://127.0.0.1:{port}")
        planners = [settings["mpc_node"], *([check_nodes(nodes, other)["mpc_node"]] if against else [])]
        for planner in planners:
            refuse_path("--path", values["path"], dict(planner)["task"])
        robot = settings.get("simulator_node")
        simulated = robot.simulated if isinstance(robot, SimulatorSettings) else DEFAULT_ROBOT
        kinds = fault_kinds(simulated)
        if fault is None:
            name, kind = next(iter(kinds.items()))
            fault = f"{':'.join([name, *kind.spared[-1:]])}@10"
        plan = None if fault == "none" else kinds.plan(fault)
        check_folder(out)
    if plan is not None and plan.time >= duration:
        refuse(f"the fault at {plan.time:g} s comes after the run of {duration:g} s: give --fault KIND@T or none")
    from mbmrl_control.bringup.demo import Demo, run_demo
    from mbmrl_control.bringup.node_processes import NodeEndedError

    demos = [
        Demo(planner, given, plan, duration, clock_is_simulated(settings), hardware)
        for planner, given in zip(planners, (values, other), strict=False)
        if isinstance(planner, PlannerSettings)
    ]
    folder = out / datetime.now().strftime("%Y%m%d-%H%M%S")
    with refusing(NodeEndedError), stoppable(f"the robot stands still, what is done is in {folder}"):
        summary = run_demo(demos[0], folder, console, nursery, film=film, against=demos[1] if against else None)
    if as_json:
        print(json.dumps(summary))


@app.command(epilog="Example: mbmrl render runs/20260101-120000 --out walk.gif")
def render(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, as demo writes them, or recordings.")
    ],
    out: Annotated[Path | None, typer.Option(help="File, .mp4 or .gif; RUN/robot.mp4 if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Render recorded runs as a film, several side by side."""
    from mbmrl_control.evaluation.film import render_runs
    from mbmrl_control.nodes.bag_reader import read_run

    def read(path: Path) -> Record:
        run = read_run(path)
        for sentence in run.warnings:
            warn(sentence)
        return run.record

    with refusing(), stoppable("nothing was written"):
        file = render_runs(runs, out, console, read)
    console.print(f"written: {file}", soft_wrap=True)
    if as_json:
        print(json.dumps({"written": str(file)}))


@app.command(epilog="Example: mbmrl replay runs/20260101-120000")
def replay(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN [RUN]", help="Folder of a run, as demo writes it, or a recording; two are compared."
        ),
    ],
    page_port: Annotated[int, typer.Option(help="Port of the page; 0: any that is free.", min=0, max=65535)] = 8080,
    host: Annotated[
        str, typer.Option(help="Address at which the page is served; 0.0.0.0: all of this machine's.")
    ] = "127.0.0.1",
) -> None:
    """Show recorded runs on a page in the browser, until Ctrl-C.

    In 3-D, with their charts and a scrubber.
    """
    if len(runs) > 2:
        refuse(f"{len(runs)} runs are given: allowed is one, or two that are compared")
    if len(runs) > len({run.resolve() for run in runs}):
        refuse(f"{runs[0]} is given twice: allowed is one run, or two that are compared")
    from mbmrl_control.dashboard.replay_page import ReplayPage
    from mbmrl_control.dashboard.server import PageServer
    from mbmrl_control.nodes.replay_reader import read_replay

    with suppress(KeyboardInterrupt), refusing():
        read = [read_replay(run) for run in runs]
        for sentence in (sentence for recorded, _ in read for sentence in recorded.warnings):
            warn(sentence)
        replays = [each for _, each in read]
        learners = [each.record.learner for each in replays]
        names = learners if len(set(learners)) > 1 else list(map(str, runs))
        with closing(PageServer(host, page_port)) as server:
            page = ReplayPage(server.viser, replays, names)
            console.print(f"the page: {server.address}", soft_wrap=True)
            page.play(threading.Event())


@app.command(epilog="Example: mbmrl report runs/20260101-120000 --out walk.html")
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, as demo writes it, or a recording.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; RUN/report.html if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page on a run that opens from disk.

    With its figures, a table and plots, and in 3-D.
    """
    from mbmrl_base.system.files import check_file
    from mbmrl_control.dashboard.replay_film import as_page
    from mbmrl_control.evaluation.report import write_report
    from mbmrl_control.nodes.bag_reader import read_run
    from mbmrl_control.nodes.replay_reader import replay_of_run

    file = out or (run / "report.html" if run.is_dir() else run.with_suffix(".html"))
    with refusing(), stoppable("nothing was written"):
        recorded = read_run(run)
        check_file(file)
        film = ""
        with suppress(ValueError):  # of a robot without a URDF, or that does not move on a plane, there is none
            film = as_page(replay_of_run(recorded))
        summary = write_report(recorded.record, recorded.errors, recorded.warnings, file, film)
    for sentence in recorded.warnings:
        warn(sentence)
    console.print(f"written: {file}", soft_wrap=True)
    if as_json:
        print(json.dumps(summary))
