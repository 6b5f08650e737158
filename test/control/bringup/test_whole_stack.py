"""The mbmrl command with all nodes as processes, over real DDS."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imageio_ffmpeg import count_frames_and_secs
from nav_msgs.msg import Path as PathMessage
from rclpy.qos import QoSProfile

from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_seconds
from mbmrl_control.control.run_record import Record
from mbmrl_control.nodes.bag_reader import read_bag
from mbmrl_control.nodes.conversions import from_figures
from mbmrl_msgs.msg import AdaptedModel, FaultArray, MotorCommand, PlannerStatus, RobotState
from ros_testing import TIME_LIMIT, Peer, number_of, processes

EVERY_STATE = QoSProfile(depth=1000)
KEYS = {
    *(
        "robot",
        "learner",
        "task",
        "planner",
        "seed",
        "rate_hz",
        "duration_s",
        "ticks",
        "missed_ticks",
        "command_rate_hz",
        "fault",
    ),
    *("planning_ms", "adaptation_ms", "tracking_cost", "figures", "recovery_s", "model_error", "prior", "errors"),
}
StartCommand = Callable[..., subprocess.Popen[str]]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(start_command: StartCommand) -> Run:
    """A function that runs the command to its end; returns exit code, output and error output."""

    def run(*arguments: str) -> tuple[int, str, str]:
        process = start_command(*arguments)
        output, errors = process.communicate(timeout=2 * TIME_LIMIT)
        return process.returncode, output, errors

    return run


def test_demo_walks_loses_a_leg_and_writes_what_happened(run: Run, mark: str, tmp_path: Path) -> None:
    fault = ("--fault", "leg_loss:4@2")
    code, output, errors = run("demo", "--duration", "5", *fault, "--json", "--out", "out", "--record", "bag")
    assert code == 0, errors
    assert "Traceback" not in errors
    summary = json.loads(output.splitlines()[-1])
    assert set(summary) == KEYS
    assert (summary["learner"], summary["seed"]) == ("committee", 0)
    assert (summary["task"]["name"], summary["task"]["settings"]["path"]) == ("follow_path", "figure_eight")
    assert (summary["planner"]["name"], summary["planner"]["settings"]["horizon"]) == ("mppi", 16)
    assert (summary["rate_hz"], summary["duration_s"], summary["fault"]) == (20.0, 5.0, "leg_loss:4@2")
    assert summary["ticks"] > 0
    assert summary["missed_ticks"] >= 0
    for figure in ("planning_ms", "adaptation_ms"):
        assert 0 < summary[figure]["p50"] <= summary[figure]["p99"]
    assert summary["figures"]["cross_track_m"]["after"] > 0
    assert 0 < summary["model_error"]["adapted_after"] < summary["model_error"]["prior_after"]
    assert "cost per step" in errors

    (folder,) = (tmp_path / "out").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"summary.json", "ticks.csv", "plot.png", "robot.mp4"}
    assert json.loads((folder / "summary.json").read_text()) == summary
    with (folder / "ticks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lost = [row["faults"] for row in rows]
    assert set(lost) == {"", "leg_loss:right_middle"}
    assert lost == sorted(lost)  # from some tick on
    assert len(rows) >= summary["ticks"]
    x, y = ([float(row[name]) for row in rows] for name in ("x_m", "y_m"))
    assert max(x) - min(x) + max(y) - min(y) > 0.2
    plot, film = (folder / "plot.png").read_bytes(), (folder / "robot.mp4").read_bytes()
    assert plot.startswith(b"\x89PNG\r\n")
    assert 20_000 < len(plot) < 2_000_000
    assert film[4:8] == b"ftyp"
    assert 10_000 < len(film) < 20_000_000
    assert processes(mark) == {}
    assert_recorded(tmp_path / "bag", Record.read(folder))


def assert_recorded(bag: Path, run: Record) -> None:
    """The recording is of the same run, with each of its ticks, and with all between them.

    On a loaded machine one of the two may find the topics while the robot walks: what both have is compared.
    """
    recorded = read_bag(bag)
    record = recorded.record
    assert (recorded.warnings, (bag / "metadata.yaml").is_file()) == ([], True)
    assert (record.task, record.planner, record.learner) == (run.task, run.planner, run.learner)
    assert run.fault_time is not None
    assert record.fault_time is not None
    assert record.origin == pytest.approx(run.origin)
    assert np.diff(record.time) == pytest.approx(0.05)
    places = np.rint(20 * (run.time - run.fault_time + record.fault_time)).astype(int)
    both = (places >= 0) & (places < len(record.ticks))
    places = places[both]
    assert record.states[places] == pytest.approx(run.states[both], abs=1e-6)
    # On a loaded machine the message of a fault overtakes states, or they it.
    sure = np.flatnonzero(both & (abs(run.time - run.fault_time) > 1))
    ticks = dict(zip(np.flatnonzero(both), places, strict=True))
    assert all(record.ticks[ticks[tick]].faults == run.ticks[tick].faults for tick in sure)
    own, recorded_errors = run.array("adapted_error")[both], record.array("adapted_error")[places]
    came = np.isfinite(own)  # on a loaded machine the command is late for some
    heard = np.isfinite(recorded_errors[came])  # what is published before a new topic is found is not recorded
    assert list(heard) == sorted(heard)
    assert recorded_errors[came][heard] == pytest.approx(own[came][heard], rel=1e-6)
    assert heard.sum() > 60


def test_demo_compares_learners_that_suffer_the_same(run: Run, mark: str, tmp_path: Path) -> None:
    fault = "leg_loss:3+leg_loss:5@1"
    code, output, errors = run("demo", "--against", "mb", "--duration", "3", "--fault", fault, "--json", "--out", "out")
    assert code == 0, errors
    summary = json.loads(output.splitlines()[-1])
    (folder,) = (tmp_path / "out").iterdir()
    assert summary.pop("against") == json.loads((folder / "mb" / "summary.json").read_text())
    assert summary == json.loads((folder / "summary.json").read_text())
    for run_folder, learner in ((folder, "committee"), (folder / "mb", "mb")):
        record = Record.read(run_folder)
        assert (record.learner, record.fault) == (learner, fault)
        lost = [tick.faults for tick in record.ticks]
        assert set(lost[-10:]) == {("leg_loss:right_front", "leg_loss:right_rear")}
        assert not lost[0]
    assert count_frames_and_secs(str(folder / "robot.mp4"))[0] > 0
    assert processes(mark) == {}


@pytest.mark.parametrize(("factor", "count", "share"), [(0.2, 20, 0.9), (2.0, 60, 0.9), (5.0, 100, 0.5)])
def test_robot_walks_whatever_the_real_time_factor(
    factor: float, count: int, share: float, start_command: StartCommand, peer: Peer
) -> None:
    """Ticks and time-outs are of simulated time, which waits for the planner where the machine is too slow for it."""
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    statuses = peer.record(PlannerStatus, "planner_status", EVERY_STATE)
    sim = start_command("sim", "--path", "straight", "--real-time-factor", str(factor))
    # Each topic is found by itself, a second apart at times.
    peer.spin_until(lambda: sim.poll() is not None or (statuses and states and states[-1].command_sequence > 0))
    assert sim.poll() is None
    first = len(states)
    peer.spin_until(lambda: sim.poll() is not None or len(states) >= first + count)
    in_force = [state.command_sequence > 0 for state in states[first:]]
    assert sum(in_force) > share * len(in_force)
    # It walks, along its path.
    assert from_figures(statuses[-1])["progress_m"] > 0.03 * count * 0.05
    assert abs(from_figures(statuses[-1])["cross_track_m"]) < 0.1


def test_two_robots_in_two_namespaces(start_command: StartCommand, mbmrl: Run, peer: Peer) -> None:
    """Both walk, time does not jump, and what is asked of one does not reach the other."""
    names = ("robot1", "robot2")
    states = {name: peer.record(RobotState, f"{name}/robot_state", EVERY_STATE) for name in names}
    faults = {name: peer.record(FaultArray, f"{name}/faults", qos.LATCHED) for name in names}
    paths = {name: peer.record(PathMessage, f"{name}/reference_path", qos.LATCHED) for name in names}
    commands = {name: peer.record(MotorCommand, f"{name}/motor_command", EVERY_STATE) for name in names}
    sims = [start_command("sim", "--namespace", "robot1")]
    peer.spin_until(lambda: sims[0].poll() is not None or states["robot1"])
    sims.append(start_command("sim", "--namespace", "robot2", "--no-clock", "--frame-prefix", "robot2/"))

    def walked(name: str) -> bool:
        return len(states[name]) > 0 and number_of(states[name][-1], "x") > 0.1

    peer.spin_until(lambda: any(sim.poll() is not None for sim in sims) or all(map(walked, names)))
    assert [sim.poll() for sim in sims] == [None, None]
    answer = mbmrl("fault", "leg_loss", "--part", "2", "--namespace", "robot2")
    assert answer == (0, "in force: leg_loss:left_rear\n", "")
    peer.spin_until(lambda: faults["robot2"][-1].faults)
    # Each topic is found by itself.
    peer.spin_until(lambda: all(paths[name] and commands[name] for name in names))
    assert not faults["robot1"][-1].faults
    assert mbmrl("clear", "--namespace", "/robot1") == (0, "no fault was in force\n", "")
    assert mbmrl("clear", "--namespace", "robot2") == (0, "undone: leg_loss:left_rear\n", "")
    for name in names:
        stamps = [to_seconds(command.header.stamp) for command in commands[name]]
        assert stamps == sorted(stamps)
        prefix = "robot2/" if name == "robot2" else ""
        assert states[name][-1].header.frame_id == paths[name][0].poses[-1].header.frame_id == f"{prefix}odom"
        assert commands[name][-1].header.frame_id == f"{prefix}base_link"
    # The second one's stamps are of ROS time, its commands' too.
    newest = to_seconds(states["robot2"][-1].header.stamp)
    assert abs(to_seconds(commands["robot2"][-1].header.stamp) - newest) < TIME_LIMIT
    assert newest > 1e9


def test_demo_that_is_stopped_leaves_nothing_behind(start_command: StartCommand, mark: str, peer: Peer) -> None:
    states = peer.record(RobotState, "robot_state", qos.STATE)
    demo = start_command("demo", "--fault", "none", "--duration", "100")
    peer.spin_until(lambda: demo.poll() is not None or (states and states[-1].command_sequence > 0))
    demo.send_signal(signal.SIGINT)
    _, errors = demo.communicate(timeout=TIME_LIMIT)
    assert demo.returncode == 130, errors
    assert "Traceback" not in errors
    assert "stopped: the robot stands still" in errors.splitlines()[-1]
    assert processes(mark) == {}


def test_nodes_that_are_killed_are_started_again_and_the_robot_walks_on(
    start_command: StartCommand, mark: str, peer: Peer
) -> None:
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    statuses = peer.record(PlannerStatus, "planner_status", EVERY_STATE)
    models = peer.record(AdaptedModel, "adapted_model", EVERY_STATE)
    sim = start_command("sim", "--respawn")

    def walks(since: int) -> Any:
        """Whether a plan with an adapted model is in force."""
        planned = any(status.outcome == PlannerStatus.PLANNED and status.model_sequence for status in statuses[since:])
        return sim.poll() is not None or (planned and states and states[-1].command_sequence > 0)

    peer.spin_until(lambda: walks(0))
    for name, said in (("mpc_node", statuses), ("adaptation_node", models), ("simulator_node", states)):
        (node,) = processes(mark, f".nodes.{name}")
        os.kill(node, signal.SIGKILL)
        peer.spin_until(lambda name=name, node=node: set(processes(mark, f".nodes.{name}")) - {node})
        before = len(said)
        peer.spin_until(lambda said=said, before=before: sim.poll() is not None or len(said) > before)
        since = len(statuses)
        peer.spin_until(lambda since=since: walks(since))
        assert sim.poll() is None, sim.communicate()
    assert states[-1].sequence < len(states)  # the new simulator's world is a new one
    sim.send_signal(signal.SIGINT)
    _, errors = sim.communicate(timeout=TIME_LIMIT)
    assert sim.returncode == 0
    assert "Traceback" not in errors
    assert errors.count("has ended with exit code -9: it is started again") == 3
    # Nobody took the new node for a second one beside that which was killed.
    assert "several publishers" not in errors


def test_faults_come_and_go_while_the_robot_walks(
    start_command: StartCommand, run: Run, mbmrl: Run, mark: str, peer: Peer
) -> None:
    states = peer.record(RobotState, "robot_state", qos.STATE)
    faults = peer.record(FaultArray, "faults", qos.LATCHED)
    sim = start_command("sim", "--path", "zigzag")
    peer.spin_until(lambda: sim.poll() is not None or (states and states[-1].command_sequence > 0))
    assert sim.poll() is None

    assert mbmrl("fault", "leg_loss", "--part", "2") == (0, "in force: leg_loss:left_rear\n", "")
    peer.spin_until(lambda: faults and [fault.part for fault in faults[-1].faults] == ["left_rear"])
    code, output, errors = mbmrl("fault", "leg_loss", "--part", "2")
    assert (code, output) == (2, "")
    working = "left_front, left_middle, right_front, right_middle, right_rear"
    assert errors == f"error: leg_loss of left_rear is in force already: still working are {working}\n"
    code, output, errors = mbmrl("fault", "slope", "--json")
    assert (code, errors) == (0, "")
    sentence, answer = output.splitlines()
    assert sentence == json.loads(answer)["message"] == "in force: slope:magnitude=8"
    assert json.loads(answer)["fault"].items() >= {"kind": "slope", "magnitude": 8.0}.items()
    assert mbmrl("clear") == (0, "undone: leg_loss:left_rear, slope:magnitude=8\n", "")
    peer.spin_until(lambda: not faults[-1].faults)

    # A second robot on the same domain.
    code, output, errors = run("demo", "--fault", "leg_loss:0@0", "--out", "second")
    assert (code, output) == (2, "")
    assert errors.startswith("error: another robot publishes robot_state on this ROS domain")
    assert len(errors.splitlines()) == 1
    assert not faults[-1].faults

    assert sim.poll() is None
    sequence, walked = states[-1].sequence, number_of(states[-1], "x")
    peer.spin_until(lambda: states[-1].sequence > sequence + 20)
    assert number_of(states[-1], "x") != walked
    sim.send_signal(signal.SIGINT)
    _, errors = sim.communicate(timeout=TIME_LIMIT)
    assert sim.returncode == 0, errors
    assert "Traceback" not in errors
    assert processes(mark) == {}
