"""The ``mbmrl robots`` commands: which robots there are, and the description of one."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from mbmrl_base.robots.catalogue import ROBOTS, load_robot
from mbmrl_control.cli import completion
from mbmrl_control.cli.options import AsJson, console, refusing, warn

if TYPE_CHECKING:
    from rich.table import Table

    from mbmrl_base.robots.features import Features
    from mbmrl_base.robots.robot import Robot

app = typer.Typer()
robots = typer.Typer(no_args_is_help=False)
app.add_typer(robots, name="robots", help="List the robots that come with the package; describe one.")


@robots.callback(invoke_without_command=True, epilog="Example: mbmrl robots --json")
def list_robots(context: typer.Context, as_json: AsJson = False) -> None:
    """List the robots that come with the package; describe one."""
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    from mbmrl_control.priors import shipped_learners

    found: list[dict[str, Any]] = [
        {
            "name": robot.name,
            "states": len(robot.state_names),
            "actions": len(robot.action_names),
            "rate": robot.rate,
            "priors": shipped_learners(robot.name),
        }
        for robot in map(load_robot, ROBOTS)
    ]
    table = Table("robot", "states", "actions", "rate, Hz", "shipped priors, of the learners")
    for robot in found:
        numbers = (f"{robot[name]:g}" for name in ("states", "actions", "rate"))
        table.add_row(str(robot["name"]), *numbers, ", ".join(robot["priors"]) or "none")
    console.print(table)
    if as_json:
        print(json.dumps(found))


@robots.command(epilog="Example: mbmrl robots show husky")
def show(
    robot: Annotated[
        str, typer.Argument(help="Name of a robot, or its file, *.yaml or *.py.", autocompletion=completion.robots)
    ],
    as_json: AsJson = False,
) -> None:
    """Print the description of a robot as YAML.

    With what its model sees and predicts as comments.
    """
    with refusing():
        loaded = load_robot(robot)
        safe = loaded.safe_action().tolist()
    description = loaded.description.as_json()
    found = {
        "safe_action": safe,
        "sees": _sees(loaded, loaded.features),
        "predicts": _predicts(loaded, loaded.features),
    }
    if as_json:
        print(json.dumps({"description": description, **found}))
        return
    for what, values in found.items():
        print(textwrap.fill(f"{what}: {', '.join(map(str, values))}", initial_indent="# ", subsequent_indent="#   "))
    print(yaml.safe_dump(description, sort_keys=False, default_flow_style=None, width=120), end="")


@robots.command(epilog="Example: mbmrl robots check rover.yaml --bag drive")
def check(
    contract: Annotated[Path, typer.Argument(help="Contract of the robot, *.yaml: which topics its numbers are.")],
    bag: Annotated[
        Path | None, typer.Option(help="A recording: a folder of rosbag2, or a file, *.mcap; if not given, live.")
    ] = None,
    duration: Annotated[float, typer.Option(help="How long to listen to the robot, s.", min=1.0, max=86400.0)] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Compare a contract with a running robot, or with a recording.

    What is missing, late, constant or out of bounds makes the exit code 1.
    """
    from mbmrl_base.robots.contract.contract import load_contract
    from mbmrl_base.robots.contract.fields import FieldError
    from mbmrl_base.robots.contract.inspection import Inspection

    with refusing():
        inspection, unheard = Inspection(load_contract(contract), commanded=bag is not None), list[str]()
        try:
            if bag is not None:
                from mbmrl_control.training.from_bag import messages

                with console.status("reading"):
                    for message in messages(bag, inspection.contract):
                        inspection.take(*message)
            else:
                from mbmrl_control.nodes.listening import listen

                with console.status("listening"):
                    unheard = listen(inspection.contract, inspection.take, duration)
        except FieldError as error:
            raise ValueError(f"{contract}: {error}") from None
    found = inspection.as_json()
    found["problems"] += unheard
    for table in _tables(found):
        console.print(table)
    for problem in (*inspection.contract.gaps(), *found["problems"]):
        warn(problem)
    for sentence in inspection.unused():
        console.print(sentence, soft_wrap=True)
    if not found["problems"]:
        console.print(f"in order: {found['states']['complete']} states")
    if as_json:
        print(json.dumps(found))
    raise typer.Exit(1 if found["problems"] else 0)


def _tables(found: dict[str, Any]) -> Iterator[Table]:
    """Topics and numbers of an inspection."""
    from rich.table import Table

    from mbmrl_control.evaluation.tables import cell

    for title, rows in (("topic", found["topics"]), ("number", found["numbers"])):
        columns = list(next(iter(rows.values())))
        table = Table(title, *(name.replace("_hz", ", Hz").replace("_s", ", s").replace("_", " ") for name in columns))
        for name, row in rows.items():
            table.add_row(name, *(cell(value) for value in row.values()))
        yield table


def _sees(robot: Robot, features: Features) -> list[str]:
    """Names of the model's inputs."""
    names = robot.state_names
    plain = [_name(robot, features, place) for place in features.plain]
    angles = [f"{function} {names[place]}" for function in ("cos", "sin") for place in features.turning]
    return [*plain, *angles, *robot.action_names]


def _predicts(robot: Robot, features: Features) -> list[str]:
    """Names of the model's outputs: each is a change over a control interval."""
    sines = dict(robot.description.pairs)
    names = [_name(robot, features, place) for place in features.predicted]
    turns = [f"angle of {name} and {sines[name]}" if name in sines else name for name in names]
    return [*turns, *(("way ahead", "way to the left") if features.position else ())]


def _name(robot: Robot, features: Features, place: int) -> str:
    """Name of a state as the model has it."""
    return f"{robot.state_names[place]} in its heading" if place in features.velocity else robot.state_names[place]
