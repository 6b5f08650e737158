"""Commands of the ``mbmrl`` command that make data of what others have recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbmrl_control.cli.options import AsJson, console, refusing, stoppable, warn

if TYPE_CHECKING:
    from mbmrl_base.robots.contract.contract import Contract
    from mbmrl_base.robots.contract.inspection import Inspection

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
    report: Annotated[
        Path | None, typer.Option(help="HTML file on messages and data: rates, gaps, ranges, delays.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make episodes of recordings of a robot that speaks ROS.

    No ROS has to be installed.
    """
    from mbmrl_base.robots.contract.contract import load_contract
    from mbmrl_base.system.files import check_file, check_folder
    from mbmrl_control.training.data_checks import warnings_of
    from mbmrl_control.training.episodes import EpisodeError, read_folder
    from mbmrl_control.training.from_bag import check_bag, write
    from mbmrl_control.training.pipeline import progress_bar

    with refusing():
        robot = load_contract(contract)
        check_folder(out)
        if report is not None:
            check_file(report)
        if out.is_dir() and any(out.iterdir()):
            raise EpisodeError(f"{out} is not empty: episodes of several contracts would be mixed")
        for bag in bags:
            if bags.count(bag) > 1:
                raise ValueError(f"{bag} is given twice")
            check_bag(bag, robot)
        with stoppable("nothing was written"), progress_bar(console) as bar:
            task = bar.add_task("reading", total=1.0, note="")
            found = write(bags, robot, out, lambda share: bar.update(task, completed=share))
            bar.update(task, completed=1.0)
        folder = read_folder(out)
        if report is not None:
            from mbmrl_control.evaluation.data_report import write_data_report

            with console.status("reading once more, for the report"):
                inspections = {bag.name: _inspected(bag, robot) for bag in bags}
            write_data_report(folder, report, found.dropped, inspections, found.why)
        for sentence in warnings_of(folder):
            warn(sentence)
    dropped = {name: count for name, count in found.dropped.items() if count}
    console.print(f"written: {found.episodes} episodes with {found.transitions} transitions in {out}", soft_wrap=True)
    for sentence in found.why:
        warn(sentence)
    if dropped:
        words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in dropped.items())
        console.print(f"found and not used: {words}", soft_wrap=True)
    if report is not None:
        console.print(f"written: {report}", soft_wrap=True)
    if as_json:
        print(json.dumps({"episodes": found.episodes, "transitions": found.transitions, "dropped": dropped}))


def _inspected(bag: Path, contract: Contract) -> Inspection:
    """What the messages of a recording look like."""
    from mbmrl_base.robots.contract.inspection import Inspection
    from mbmrl_control.training.from_bag import messages

    inspection = Inspection(contract)
    for message in messages(bag, contract):
        inspection.take(*message)
    return inspection


@dataset.command("report", epilog="Example: mbmrl dataset report data --out data.html")
def report_on(
    data: Annotated[Path, typer.Argument(help="Folder of episodes.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; DATA/report.html if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page on data that opens from disk.

    With what there is, its ranges, what looks wrong, and how long actions take
    to act.
    """
    from mbmrl_base.system.files import check_file
    from mbmrl_control.evaluation.data_report import write_data_report
    from mbmrl_control.training.episodes import read_folder

    file = out or data / "report.html"
    with refusing(), stoppable("nothing was written"):
        check_file(file)
        with console.status("looking"):
            found = write_data_report(read_folder(data), file)
    for sentence in found["warnings"]:
        warn(sentence)
    console.print(f"written: {file}", soft_wrap=True)
    if as_json:
        print(json.dumps(found))


@dataset.command("to-lerobot", epilog="Example: mbmrl dataset to-lerobot data --out lerobot")
def to_lerobot(
    data: Annotated[Path, typer.Argument(help="Folder of episodes.")],
    out: Annotated[Path, typer.Option(help="Folder, new or empty, of the data set.")],
    task: Annotated[str, typer.Option(help="What the robot does, in words.")] = "move",
    as_json: AsJson = False,
) -> None:
    """Make a LeRobot data set (v3.0) of episodes."""
    from mbmrl_base.system.files import new_folder
    from mbmrl_control.training.episodes import read_folder
    from mbmrl_control.training.lerobot import export

    with refusing(), stoppable("nothing was written"):
        folder = read_folder(data)
        with new_folder(out) as place, console.status("writing"):
            frames = export(folder, place, task)
    console.print(f"written: {len(folder.episodes)} episodes with {frames} frames in {out}", soft_wrap=True)
    if as_json:
        print(json.dumps({"episodes": len(folder.episodes), "frames": frames}))


@dataset.command("from-lerobot", epilog="Example: mbmrl dataset from-lerobot lerobot --out data")
def from_lerobot(
    data_set: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a LeRobot data set, v3.0.")],
    out: Annotated[Path, typer.Option(help="Folder, new or empty, of the episodes, one .npz file each.")],
    robot: Annotated[
        str | None, typer.Option(help="Robot, *.yaml or *.py; states and actions of the data set's names if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make episodes of a LeRobot data set (v3.0).

    Of its states and actions; pictures are left out.
    """
    from mbmrl_base.robots.catalogue import load_robot
    from mbmrl_base.system.files import new_folder
    from mbmrl_control.training.data_checks import warnings_of
    from mbmrl_control.training.episodes import read_folder
    from mbmrl_control.training.lerobot import episodes, open_data_set

    frames = 0
    with refusing(), stoppable("nothing was written"):
        found = open_data_set(data_set, load_robot(robot) if robot else None)
        with new_folder(out) as place, console.status("reading"):
            for number, episode in enumerate(episodes(found)):
                episode.save(place / f"{number:06d}.npz")
                frames += len(episode.state)
            folder = read_folder(place)
            sentences = [sentence.replace(str(place), str(out)) for sentence in warnings_of(folder)]
    for sentence in sentences:
        warn(sentence)
    console.print(f"written: {len(folder.episodes)} episodes with {frames} frames in {out}", soft_wrap=True)
    if as_json:
        print(json.dumps({"episodes": len(folder.episodes), "frames": frames}))
