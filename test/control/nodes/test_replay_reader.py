"""Recordings, read back to be shown again, and the command that shows them."""

from __future__ import annotations

import array
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from std_msgs.msg import String

from bag_testing import COUNT, Timed, walk, write
from mbmrl_base.toolkit.conversions import to_header, to_joint_state
from mbmrl_control.nodes.replay_reader import read_replay
from mbmrl_msgs.msg import PlanInsight
from robot_testing import MILLIROBOT, path_task, walked

Run = Callable[..., tuple[int, str, str]]
StartCommand = Callable[..., subprocess.Popen[str]]


def insight(index: int, **changed: int) -> PlanInsight:
    """What the plan from state number `index` was chosen among: two candidates, three poses each."""
    message = PlanInsight(header=to_header(100 + index / 20, "odom"), robot="millirobot", state_sequence=index)
    message.expected = message.expected_by_prior = array.array("f", [0.01 * index, 0, 0] * 3)
    message.candidates, message.candidate_poses = 2, array.array("f", range(18))
    message.term_names, message.terms = ["distance"], array.array("f", [1, 2, 3, 4])
    message.runner_up_ranks = array.array("f", [0, 0.1, 0.5])
    for name, value in changed.items():
        setattr(message, name, value)
    return message


def shown(namespace: str = "") -> list[Timed]:
    """Messages of a walk, with those beside it."""
    messages = [*walk(namespace), (0.0, f"{namespace}/robot_description", String(data=MILLIROBOT.urdf() or ""))]
    for index in range(COUNT):
        joints = to_joint_state(["left_front_hip"], np.array([0.1 * index]), np.zeros(1), 100 + index / 20)
        messages.append((index / 20 + 0.002, f"{namespace}/joint_states", joints))
        if index % 2:
            messages.append((index / 20 + 0.02, f"{namespace}/plan_insight", insight(index)))
    return messages


@pytest.mark.parametrize("namespace", ["", "/lab/robot1"])
def test_what_was_published_beside_the_run_is_shown(tmp_path: Path, namespace: str) -> None:
    run, replay = read_replay(write(tmp_path / "bag", shown(namespace)))
    assert run.warnings == []
    assert (replay.urdf, len(replay.moments)) == (MILLIROBOT.urdf(), COUNT - 4)
    first, second = replay.moments[:2]  # of the states 4 and 5
    assert first.foresight is None and second.foresight is not None
    assert second.joints == {"left_front_hip": pytest.approx(0.5)}
    assert second.foresight.expected[-1] == pytest.approx([0.05, 0, 0])
    assert second.foresight.candidates.shape == (2, 3, 3)
    assert second.foresight.terms["distance"] == pytest.approx([1, 2, 3, 4])
    assert replay.moments[2].foresight is second.foresight  # until there is a newer one
    assert second.path[-1] == pytest.approx([1, 0, 0])
    assert (second.numbers["prior_error"], second.numbers["planning_time"]) == (5.0, pytest.approx(0.02))
    assert replay.moments[-1].faults[0] == "leg_loss:right_front"


def test_insight_of_another_version_is_left_out(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", [*walk(), (0.5, "/plan_insight", insight(9, version=7))])
    run, replay = read_replay(bag)
    sentence = "a message on /plan_insight is refused: it is of version 7, allowed is 1"
    assert run.warnings == [f"{bag}: {sentence}"]
    assert not any(moment.foresight for moment in replay.moments)


def test_command_shows_a_run_until_it_is_stopped(start_command: StartCommand, tmp_path: Path) -> None:
    write(tmp_path / "bag", shown())
    (tmp_path / "run").mkdir()
    run = walked()
    run.write(tmp_path / "run", run.track(path_task("straight")))
    for number in (signal.SIGINT, signal.SIGTERM):
        command = start_command("replay", "bag", "run", "--page-port", "0")
        assert command.stderr is not None and command.stdout is not None
        address = command.stderr.readline()
        assert re.fullmatch(r"the page: http://127\.0\.0\.1:\d+\n", address)
        command.send_signal(number)
        assert (command.wait(), command.stdout.read(), command.stderr.read()) == (0, "", "")


REFUSED = [
    (("none",), "none holds no run: there is no run.json"),
    (("talk",), "talk holds no run: no topic robot_state of mbmrl_msgs/msg/RobotState is in it"),
    (("run", "run"), "run is given twice: allowed is one run, or two that are compared"),
    (("a", "b", "c"), "3 runs are given: allowed is one, or two that are compared"),
    (("cut",), "cut holds no run: no topic robot_state of mbmrl_msgs/msg/RobotState is in it; cut/cut.mcap is cut"),
]


@pytest.mark.parametrize(("runs", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_what_cannot_be_shown_is_refused(mbmrl: Run, folder: Path, runs: tuple[str, ...], sentence: str) -> None:
    write(folder / "talk", [(0.0, "/talk", String(data="hello"))])
    file = write(folder / "cut", walk()) / "cut.mcap"
    file.write_bytes(file.read_bytes()[:100])
    run = walked()
    (folder / "run").mkdir()
    run.write(folder / "run", run.track(path_task("straight")))
    code, output, errors = mbmrl("replay", *runs)
    assert (code, output) == (2, "")
    assert errors.startswith(f"error: {sentence}") and errors.count("\n") == 1


def test_port_in_use_is_refused(mbmrl: Run, folder: Path) -> None:
    run = walked()
    run.write(folder, run.track(path_task("straight")))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = f"error: no page can be served at 127.0.0.1:{port}: Address already in use\n"
        assert mbmrl("replay", str(folder), "--page-port", str(port)) == (2, "", sentence)
