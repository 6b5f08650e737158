"""Commands of the ``mbmrl`` command that make data of what others have recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mbmrl_control.cli.options import AsJson, console, refusing, stoppable, warn

app = typer.Typer()
dataset = typer.Typer(no_args_is_help=True)
app.add_typer(dataset, name="dataset")


@dataset.callback(epilog="Example: mbmrl dataset from-bag bag --contract rover.yaml --out data")
def make() -> None:
    """Make data to train on of recordings."""


@dataset.command("from-bag", epilog="Example: mbmrl dataset from-bag bag --contract rover.yaml --out data")
def from_bag(
    bags: Annotated[list[Path], typer.Argument(help="Recordings: folders of rosbag2, or files, *.mcap.")],
    contract: Annotated[Path, typer.Option(help="Contract of the robot, *.yaml: which topics its numbers are.")],
    out: Annotated[Path, typer.Option(help="Folder, new or empty, of the episodes, one .npz file each.")],
    as_json: AsJson = False,
) -> None:
    """Make episodes of recordings of a robot that speaks ROS.

    No ROS has to be installed.
    """
    from mbmrl_base.robots.contract.contract import load_contract
    from mbmrl_base.system.files import check_folder
    from mbmrl_control.training.data_checks import warnings_of
    from mbmrl_control.training.episodes import EpisodeError, read_folder
    from mbmrl_control.training.from_bag import check_bag, write
    from mbmrl_control.training.pipeline import progress_bar

    with refusing():
        robot = load_contract(contract)
        check_folder(out)
        if out.is_dir() and any(out.iterdir()):
            raise EpisodeError(f"{out} is not empty: episodes of several contracts would be mixed")
        for bag in bags:
            check_bag(bag, robot)
        with stoppable("nothing was written"), progress_bar(console) as bar:
            task = bar.add_task("reading", total=1.0, note="")
            found = write(bags, robot, out, lambda share: bar.update(task, completed=share))
            bar.update(task, completed=1.0)
        for sentence in warnings_of(read_folder(out)):
            warn(sentence)
    dropped = {name: count for name, count in found.dropped.items() if count}
    console.print(f"written: {found.episodes} episodes with {found.transitions} transitions in {out}", soft_wrap=True)
    for sentence in found.why:
        warn(sentence)
    if dropped:
        words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in dropped.items())
        console.print(f"found and not used: {words}", soft_wrap=True)
    if as_json:
        print(json.dumps({"episodes": found.episodes, "transitions": found.transitions, "dropped": dropped}))
