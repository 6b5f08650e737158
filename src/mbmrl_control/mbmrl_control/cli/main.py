"""The ``mbmrl`` command."""

from __future__ import annotations

import signal

if __name__ == "__main__":  # who stops it while it still loads sees no trace-back
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.completion import get_completion_inspect_parameters

from mbmrl_base.system import surroundings
from mbmrl_control.cli import (
    bench,
    completion,
    dataset,
    doctor,
    drill,
    evaluation,
    hardware,
    learning,
    robots,
    run,
    runs,
    tune,
)
from mbmrl_control.cli.options import AsJson, Commands, Namespace, Seed, Workers, console, refuse, show, within

if TYPE_CHECKING:
    from rclpy.task import Future

    from mbmrl_control.nodes.monitor_node import MonitorNode

app = typer.Typer(
    name="mbmrl",
    cls=Commands,
    help="Model-based meta-reinforcement learning for robots that adapt while they move.",
    epilog="Example: mbmrl demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
app.add_typer(run.app)
app.add_typer(hardware.app)
app.add_typer(robots.app)
app.add_typer(learning.app)
app.add_typer(evaluation.app)
app.add_typer(tune.app)
app.add_typer(runs.app)
app.add_typer(dataset.app)
app.add_typer(bench.app)
app.add_typer(doctor.app)
app.add_typer(drill.app)
app.add_typer(completion.app)


def _call(
    ask: Callable[[MonitorNode], Future],
    namespace: str,
    as_json: bool,
    more: Callable[[Any], dict[str, Any]] = lambda _: {},
    timeout: float = 5.0,
) -> None:
    """Call a service of the robot that runs in a namespace and print its answer, as JSON with more of it."""
    surroundings.prepare()
    from mbmrl_base.toolkit.spin import beside
    from mbmrl_control.nodes.monitor_node import MonitorNode

    with beside(partial(MonitorNode, namespace)) as monitor:
        if not monitor.wait_for_robot(timeout):
            refuse(
                f"no robot{within(namespace)} answers within {timeout:g} s:"
                " start one with `mbmrl sim`, on this ROS_DOMAIN_ID, or give its --namespace"
            )
        response = monitor.answer(ask(monitor), timeout)
    if response is None:
        refuse(f"the robot did not answer within {timeout:g} s")
    if not response.success:
        refuse(response.message)
    print(response.message)
    if as_json:
        print(json.dumps({"message": response.message, **more(response)}))


@app.command(epilog="Example: mbmrl fault leg_loss --part left_middle")
def fault(
    kind: Annotated[
        str,
        typer.Argument(
            help="Kind, such as leg_loss, of those that the simulator has; its first one.",
            autocompletion=completion.words(completion.running_kinds),
        ),
    ] = "",
    part: Annotated[
        str,
        typer.Option(
            help="What is hit, such as left_middle, or its number; a random one that still works.",
            autocompletion=completion.words(completion.running_parts("parts")),
        ),
    ] = "",
    terrain: Annotated[
        str,
        typer.Option(
            help="Ground to which it changes; a random other one.",
            autocompletion=completion.words(completion.running_parts("terrains")),
        ),
    ] = "",
    magnitude: Annotated[float, typer.Option(help="In the unit of the kind; 0: its default.")] = 0.0,
    x: Annotated[float, typer.Option(help="Place of a payload, or shift of the pose, ahead, m.")] = 0.0,
    y: Annotated[float, typer.Option(help="The same to the left, m.")] = 0.0,
    direction: Annotated[float, typer.Option(help="Heading in odom that leads up a slope, degrees.")] = 0.0,
    loss: Annotated[float, typer.Option(help="Share of the commands that a link loses, percent.")] = 0.0,
    ramp: Annotated[float, typer.Option(help="Time over which it grows to its magnitude, s.")] = 0.0,
    namespace: Namespace = "",
    as_json: AsJson = False,
) -> None:
    """Inject a fault into the running robot.

    Which there are, docs/faults.md lists.
    """
    from mbmrl_base.robots.faults import Fault

    def in_force(response: Any) -> dict[str, Any]:
        from mbmrl_sim.nodes.conversions import from_fault

        return {"fault": asdict(from_fault(response.fault))}

    request = Fault(kind, part, terrain, magnitude, x, y, direction, loss, ramp)
    _call(lambda monitor: monitor.inject(request), namespace, as_json, in_force)


@app.command(epilog="Example: mbmrl clear --namespace robot1")
def clear(namespace: Namespace = "", as_json: AsJson = False) -> None:
    """Undo all faults of the running robot."""
    _call(lambda monitor: monitor.clear(), namespace, as_json)


@app.command(epilog="Example: mbmrl push --left 0.3")
def push(
    ahead: Annotated[float, typer.Option(help="Change of its velocity ahead, m/s.")] = 0.0,
    left: Annotated[float, typer.Option(help="Change of its velocity to the left, m/s.")] = 0.0,
    up: Annotated[float, typer.Option(help="Change of its velocity up, m/s.")] = 0.0,
    namespace: Namespace = "",
    as_json: AsJson = False,
) -> None:
    """Give the running simulated robot a push."""
    _call(lambda monitor: monitor.push(ahead, left, up), namespace, as_json)


@app.command(epilog="Example: mbmrl calibrate --runs 20 --check")
def calibrate(
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 if a figure misses its target by over 15 %.")
    ] = False,
    convergence: Annotated[bool, typer.Option(help="Walk with half the physics step too.")] = False,
    runs: Annotated[int, typer.Option(help="Walks of 5 s on each terrain.", min=2)] = 100,
    seed: Seed = 0,
    workers: Workers = 2,
    out: Annotated[Path | None, typer.Option(help="Markdown file of the table.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare walks on each terrain with those of the real robot."""
    from rich.progress import track

    from mbmrl_base.system.files import check_file, write_text
    from mbmrl_sim.millirobot import calibration
    from mbmrl_sim.millirobot.terrain import TERRAINS

    if out is not None:
        check_file(out)

    def walk(parts: int, title: str) -> dict[str, calibration.Walk]:
        walks = calibration.calibrate(runs, seed, workers, parts)
        return dict(track(walks, title, total=len(TERRAINS), console=console))

    walks = walk(1, "walking")
    found = calibration.as_json(walks, walk(2, "half the physics step") if convergence else None)
    table = calibration.as_markdown(found)
    show(table)
    if out is not None:
        write_text(out, table)
    if as_json:
        print(json.dumps(found))
    missed = [
        name for name, made in walks.items() if max(map(abs, calibration.misses(name, made))) > calibration.TOLERANCE
    ]
    if check and missed:
        console.print(f"off by more than {calibration.TOLERANCE:.0%}: {', '.join(missed)}")
        raise typer.Exit(1)


def main() -> None:
    """Entry point."""
    surroundings.open_streams()
    get_completion_inspect_parameters()  # Typer comes to know the shells, as it does for its own options
    command = typer.main.get_command(app)
    # The nodes that a command has started must end with it, whoever ends it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    command(prog_name="mbmrl")


if __name__ == "__main__":
    main()
