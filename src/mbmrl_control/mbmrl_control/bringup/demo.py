"""A run of the whole stack: nodes as processes, a fault on the way, a live line, figures and pictures."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.faults import Fault, FaultPlan
from mbmrl_base.system.files import write_text
from mbmrl_base.toolkit.conversions import to_seconds
from mbmrl_base.toolkit.spin import beside
from mbmrl_control.bringup.graph import EMULATOR, HARDWARE, SIM, Values
from mbmrl_control.bringup.node_processes import NodeEndedError, Processes
from mbmrl_control.bringup.nursery import Nursery
from mbmrl_control.evaluation.metrics import summarise
from mbmrl_control.evaluation.tables import summary_table
from mbmrl_control.evaluation.units import in_units
from mbmrl_control.nodes.conversions import from_figures
from mbmrl_control.nodes.monitor_node import MonitorNode
from mbmrl_control.nodes.run_messages import RunMessages
from mbmrl_control.nodes.settings import PlannerSettings

if TYPE_CHECKING:
    from rclpy.task import Future

    from mbmrl_control.evaluation.film import Run  # takes its time

LOGGED_ERROR = re.compile(r"\[(?:ERROR|FATAL)\] \[[\d.]+\] \[(.+?)\]: (.*)")
"""A line of rclpy's logging: its node and its text."""
START_TIME = 60.0
"""Time that the nodes have to get the robot moving, s."""


def _live_line(run: RunMessages, elapsed: float, duration: float, skipped_before: int | None) -> Text:
    """What happens, within 80 columns."""
    planner, adaptation = run.planner, run.adaptation
    parts = [f"{elapsed:5.1f} of {duration:g} s"]
    if planner is not None:
        name, value = next(iter(from_figures(planner).items()))
        unit = in_units(name)
        parts.append(f"{unit.title} {unit.text(value, 6)}")
    if adaptation is not None:
        parts.append(f"error {adaptation.prior_error:5.2f} -> {adaptation.adapted_error:5.2f}")
    if planner is not None:
        parts.append(f"skipped {0 if skipped_before is None else planner.missed_ticks - skipped_before}")
    style = "bold red" if run.faults else ""
    return Text(" | ".join(parts), style, no_wrap=True, overflow="ellipsis")


@contextmanager
def _stack(given: Values, use_sim_time: bool, hardware: bool, folder: Path, nursery: Nursery) -> Iterator[Processes]:
    """The nodes; those of the emulated robot first, whose terminal the bridge opens."""
    logs = folder / "logs"
    if not hardware:
        with Processes(SIM, given, use_sim_time, logs, nursery=nursery) as nodes:
            yield nodes
        return
    tty = folder.resolve() / "tty"
    values = {**given, "tty": str(tty), "port": str(tty)}
    with Processes(EMULATOR, values, use_sim_time=False, log_folder=logs, nursery=nursery) as nodes:
        _await(tty.exists, nodes, "the emulated robot was not there", logs)
        nodes.start(HARDWARE, values)
        yield nodes


def _await(holds: Callable[[], bool], nodes: Processes, otherwise: str, logs: Path) -> None:
    end = time.monotonic() + START_TIME
    while not holds():
        nodes.check()
        if time.monotonic() > end:
            causes = "".join(f"; {error}" for error in errors_in(logs))
            raise NodeEndedError(f"{otherwise} within {START_TIME:g} s{causes}")
        time.sleep(0.05)


def _drive(
    plan: FaultPlan | None, duration: float, monitor: MonitorNode, nodes: Processes, console: Console
) -> float | None:
    """Wait out the run; returns when the fault came into force, s of the simulated time."""
    start, run = time.monotonic(), monitor.run
    known: tuple[Fault, ...] = ()
    answers: list[Future] = []
    fault_time = skipped_before = None
    first = run.planner  # it may be from before a pause in which the robot did not walk
    with Live(console=console, refresh_per_second=8) as live:
        while (elapsed := time.monotonic() - start) < duration:
            nodes.check()
            if plan is not None and not answers and elapsed >= plan.time:
                answers = [monitor.inject(fault) for fault in plan.faults]
            if answers and fault_time is None and all(answer.done() for answer in answers):
                for response in (answer.result() for answer in answers):
                    if not response.success:
                        raise NodeEndedError(f"the fault was refused: {response.message}")
                    fault_time = fault_time or to_seconds(response.fault.since)
            if skipped_before is None and run.planner not in (None, first):
                skipped_before = run.planner.missed_ticks
            if run.faults != known:
                known = run.faults
                words = ", ".join(map(str, known)) or "intact"
                live.console.print(Text(f"{elapsed:5.1f} s: {words}", "bold red" if known else ""), soft_wrap=True)
            live.update(_live_line(run, elapsed, duration, skipped_before))
            time.sleep(0.02)
    if not console.is_terminal:
        console.line()  # elsewhere the line ends with the live one
    return fault_time


def errors_in(logs: Path) -> list[str]:
    """What nodes have logged as errors, each once, after the node's name."""
    lines = (line for file in sorted(logs.iterdir()) for line in file.read_text(errors="replace").splitlines())
    found = (LOGGED_ERROR.match(line) for line in lines)
    return list(dict.fromkeys(f"{error[1]}: {error[2]}" for error in found if error))


@dataclass(frozen=True)
class Demo:
    """A run that is to be made.

    Attributes:
        planner: Settings that the planner will have of its arguments and of the file of parameters.
        values: Arguments of the nodes that are given.
        fault: The faults on the way.
        duration: Length of the run, s.
        use_sim_time: Whether time is simulated, on /clock.
        hardware: Whether the robot is an emulated one at the other end of a serial line, not the simulated one.
    """

    planner: PlannerSettings
    values: Values
    fault: FaultPlan | None
    duration: float
    use_sim_time: bool
    hardware: bool

    def run(self, folder: Path, console: Console, nursery: Nursery) -> tuple[dict[str, Any], Run]:
        """Run the stack and write its record.

        Args:
            folder: Where to write; it must not exist.
            console: Where to show progress.
            nursery: From which the nodes are started.

        Returns:
            The object of summary.json, and what a film shows.

        Raises:
            NodeEndedError: If a node ended by itself, or the robot did not get going.
        """
        (folder / "logs").mkdir(parents=True)
        planner = self.planner
        robot = load_robot(planner.robot)
        listening = partial(MonitorNode, self.values.get("namespace") or "", robot)
        # Who listens is there first, so that nothing of the run is missed.
        with (
            console.status("starting the nodes") as status,
            beside(listening) as monitor,
            _stack(self.values, self.use_sim_time, self.hardware, folder, nursery) as nodes,
        ):
            _await(monitor.run.moved.is_set, nodes, "no command was in force", folder / "logs")
            status.stop()
            fault_time = _drive(self.fault, self.duration, monitor, nodes, console)
            record = monitor.run.record(planner, None if self.fault is None else str(self.fault), fault_time)
        task = planner.make_task(robot)
        tracking = record.track(task)
        about = {"prior": planner.load_prior().hash, "errors": errors_in(folder / "logs")}
        summary = summarise(record, tracking, self.duration) | about
        write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
        record.write(folder, tracking)
        console.print(summary_table(summary))
        for error in summary["errors"]:
            console.print(f"warning: {error}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        path = task.reference()
        reference = None if path is None else path[:, :2]
        with console.status("drawing the plot"):
            from mbmrl_control.evaluation.plots import plot  # takes its time, which nobody is to wait for before

            plot(record, tracking, reference, folder / "plot.png")
        return summary, (record, reference)


def run_demo(
    demo: Demo, folder: Path, console: Console, nursery: Nursery, *, film: bool, against: Demo | None = None
) -> dict[str, Any]:
    """Make a run, and then another one to compare it with, in a folder within its own.

    Args:
        demo: The run.
        folder: Where to write; it must not exist.
        console: Where to show progress.
        nursery: From which the nodes are started.
        film: Whether to render a film, of both side by side.
        against: The other run.

    Returns:
        The object of summary.json; with the other one's as ``against``.

    Raises:
        NodeEndedError: If a node ended by itself, or the robot did not get going.
    """
    summary, run = demo.run(folder, console, nursery)
    runs = [run]
    if against is not None:
        other, run = against.run(folder / against.planner.learner, console, nursery)
        summary, runs = {**summary, "against": other}, [*runs, run]
    if film:
        from mbmrl_control.evaluation.film import check_scene
        from mbmrl_control.evaluation.film import film as render

        try:
            check_scene(runs[0][0].robot)
        except ValueError as error:
            console.print(f"no film: {error}", markup=False, highlight=False, soft_wrap=True)
        else:
            render(runs, folder / "robot.mp4", console)
    written = ", ".join(sorted(f"{file.name}/" if file.is_dir() else file.name for file in folder.iterdir()))
    console.print(f"written: {folder}/", soft_wrap=True)
    console.print(f"  {written}", highlight=False)
    recordings = [bag for each in (demo, against) if each is not None and (bag := each.values.get("bag"))]
    for recording in recordings:
        console.print(f"recorded: {recording}", soft_wrap=True)
    shown = recordings or [str(folder), *([str(folder / against.planner.learner)] if against is not None else [])]
    console.print(f"watch it again: mbmrl replay {' '.join(map(str, shown))}", soft_wrap=True)
    return summary
