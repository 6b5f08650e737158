"""The live line of a recorded run."""

from __future__ import annotations

import io
import math
import re
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from mbmrl_base.robots.faults import Fault
from mbmrl_control.bringup.demo import _drive, errors_in
from mbmrl_control.nodes.run_messages import frame_of
from mbmrl_control.tasks import Task, make_task
from robot_testing import MILLIROBOT, path_task


@pytest.mark.parametrize("terminal", [True, False])
def test_live_line_is_one_line_of_its_own(terminal: bool) -> None:
    planner = SimpleNamespace(
        figure_names=["cross_track_m", "progress_m"], figures=[-0.0316, 1.0], cost=0.1, missed_ticks=0
    )
    adaptation = SimpleNamespace(prior_error=1.234, adapted_error=0.056)
    run = SimpleNamespace(planner=planner, adaptation=adaptation, faults=(Fault("payload", magnitude=15.0),))
    missed = chain([12], repeat(15))  # 12 of them before the run
    following = (SimpleNamespace(**vars(planner) | {"missed_ticks": count}) for count in missed)
    nodes = SimpleNamespace(check=lambda: setattr(run, "planner", next(following)))
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=terminal)
    _drive(None, 0.3, cast(Any, SimpleNamespace(run=run)), cast(Any, nodes), console)
    console.print("the title")
    *_, event, line, title, end = output.getvalue().split("\n")
    assert "\x1b[1A" not in output.getvalue()  # up, to a line above
    assert " 0.0 s: payload:magnitude=15" in event
    last = re.sub(r"\x1b\[[?\d;]*\w|\r", "", line.split("\r")[-1])
    assert last.rstrip() == "  0.3 of 0.3 s | cross track  -31.6 mm | error  1.23 ->  0.06 | skipped 3"
    assert title.endswith("the title")
    assert not end


@pytest.mark.parametrize(
    ("task", "start", "frame"),
    [
        (path_task("left"), (1.0, -2.0, 0.3), (1.0, -2.0, 0.3)),
        (path_task("[[1, 2], [1, 4]]"), (1.0, 2.0, math.pi / 2), (0.0, 0.0, 0.0)),
        (make_task("go_to_goal", MILLIROBOT, {"goal": (3.0, 4.0, 1.0)}), (3.0, 4.0, 1.0), (0.0, 0.0, 0.0)),
        (make_task("track_velocity", MILLIROBOT), (3.0, 4.0, 1.0), None),
    ],
)
def test_frame_of_a_task_is_known_by_where_its_reference_starts(task: Task[Any], start: Any, frame: Any) -> None:
    found = frame_of(task, np.array(start))
    assert (found is None) == (frame is None)
    assert frame is None or found == pytest.approx(frame, abs=1e-6)


def test_frame_of_a_path_that_starts_elsewhere_is_where_the_robot_stood(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("1,0\n2,0\n")
    found = frame_of(path_task(str(tmp_path / "p.csv")), np.array([5.0, 6.0, math.pi / 2]))
    assert found == pytest.approx([5.0, 5.0, math.pi / 2])


def test_errors_of_nodes_are_told_once_each(tmp_path: Path) -> None:
    (tmp_path / "mpc_node.log").write_text(
        "[INFO] [17.5] [mpc_node]: planning at 20 Hz\n"
        "[ERROR] [18.5] [robot1.mpc_node]: motor_command has several publishers, /a, /b: the legs stand still\n"
        "[ERROR] [23.6] [robot1.mpc_node]: motor_command has several publishers, /a, /b: the legs stand still\n"
    )
    (tmp_path / "simulator_node.log").write_text("[WARN] [1.0] [simulator_node]: slow\nno log [ERROR] at all\n")
    assert errors_in(tmp_path) == [
        "robot1.mpc_node: motor_command has several publishers, /a, /b: the legs stand still"
    ]
