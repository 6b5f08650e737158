"""A robot that speaks ROS and knows nothing of this project: from its recording to a controller that drives it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.qos import qos_profile_sensor_data
from rclpy.time import Time
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from mbmrl_base.system.interpreter import command_of
from mbmrl_base.toolkit import qos
from mbmrl_control.drills import rover as rover_robot
from mbmrl_control.nodes.conversions import from_figures
from mbmrl_control.training.episodes import read_folder
from mbmrl_msgs.msg import AdaptationStatus, PlannerStatus, RobotState
from ros_testing import TIME_LIMIT, Peer
from rover_testing import ROVER, drive, record


@pytest.fixture
def rover(domain: int, tmp_path: Path) -> Iterator[None]:
    """The rover runs."""
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(tmp_path)}
    process = subprocess.Popen(command_of(rover_robot.__name__), env=environment)
    yield
    process.send_signal(signal.SIGINT)
    assert process.wait(TIME_LIMIT) == 0


@pytest.mark.usefixtures("rover")
def test_from_a_recording_to_a_robot_that_follows_paths(
    start_command: Callable[..., subprocess.Popen[str]], peer: Peer, tmp_path: Path
) -> None:
    places = peer.record(Odometry, "odom", 10)
    peer.spin_until(lambda: places)
    (tmp_path / "rover.yaml").write_text(ROVER)
    # Random actions, and what is recorded of them.
    for command in (
        "explore --contract rover.yaml --duration 8 --out explored",
        "dataset from-bag explored --contract rover.yaml --out random --json",
    ):
        process = start_command(*command.split())
        output, errors = process.communicate(timeout=2 * TIME_LIMIT)
        assert process.returncode == 0, errors
    assert json.loads(output.splitlines()[-1])["transitions"] > 40
    found = read_folder(tmp_path / "random")
    actions = np.concatenate([episode.action for episode in found.episodes])
    low, high = found.robot.planned
    assert (np.ptp(actions, axis=0) > 0.5 * (high - low)).all()
    record(tmp_path / "drive", drive(240.0))
    for command in (
        "robots check rover.yaml --bag drive",
        "dataset from-bag drive --contract rover.yaml --out episodes",
        "train --data episodes --learner bayes_last_layer --window 16 --steps 300 --out rover.safetensors",
    ):
        process = start_command(*command.split())
        _, errors = process.communicate(timeout=2 * TIME_LIMIT)
        assert process.returncode == 0, errors
    check = start_command("robots", "check", "rover.yaml", "--duration", "5", "--json")
    output, errors = check.communicate(timeout=TIME_LIMIT)
    found = json.loads(output)
    assert found["topics"]["odom"]["messages"] > 50
    # A busy machine makes gaps, the robot stands, and nothing else is wrong.
    fine = ("gaps", "not complete", "is always")
    assert not [problem for problem in found["problems"] if not any(words in problem for words in fine)]
    states = peer.record(RobotState, "mbmrl/robot_state", qos.STATE)
    ticks = peer.record(PlannerStatus, "mbmrl/planner_status", qos.STATE)
    adaptations = peer.record(AdaptationStatus, "mbmrl/adaptation_status", qos.STATE)
    commands = peer.record(Twist, "cmd_vel", 10)
    given = ("--contract", "rover.yaml", "--checkpoint", "rover.safetensors", "--path", "left", "--bag", "driven")
    process = start_command("run", *given)

    def follows() -> bool:
        figures = from_figures(ticks[-1]) if ticks else {}
        return process.poll() is not None or figures.get("progress_m", 0.0) > 0.6

    peer.spin_until(follows)
    assert process.poll() is None, process.communicate()
    assert states[-1].robot == "rover"
    assert max(abs(from_figures(tick).get("cross_track_m", 0.0)) for tick in ticks[-20:]) < 0.05
    assert adaptations[-1].window_length > 0
    assert adaptations[-1].adapted_error < 1.0
    stop = peer.node.create_client(Trigger, "mbmrl/emergency_stop")
    peer.spin_until(stop.service_is_ready)
    peer.spin_until(stop.call_async(Trigger.Request()).done)
    peer.spin_until(lambda: commands[-1] == Twist())
    activate = start_command("activate", "--namespace", "/mbmrl")
    peer.spin_until(lambda: activate.poll() is not None)
    assert activate.returncode == 0, activate.communicate()
    peer.spin_until(lambda: commands[-1] != Twist())
    process.send_signal(signal.SIGINT)
    assert process.wait(TIME_LIMIT) == 0
    peer.spin_until(lambda: commands[-1] == Twist())
    peer.spin_until(lambda: abs(places[-1].twist.twist.linear.x) < 1e-3)
    # What was driven is recorded, of the robot and of the stack: more data, and a run to be seen again.
    for command in (
        "dataset from-bag driven --contract rover.yaml --out more --json",
        "report driven --out report.html",
    ):
        process = start_command(*command.split())
        output, errors = process.communicate(timeout=TIME_LIMIT)
        assert process.returncode == 0, errors
    assert (tmp_path / "report.html").stat().st_size > 1000


def test_what_does_not_fit_the_contract_is_told(mbmrl: Callable[..., tuple[int, str, str]], folder: Path) -> None:
    record(folder / "drive", drive(5.0))
    (folder / "rover.yaml").write_text(ROVER.replace("twist.twist.linear.x", "twist.twist.linear.y"))
    code, output, errors = mbmrl("robots", "check", "rover.yaml", "--bag", "drive", "--json")
    assert code == 1
    (problem,) = json.loads(output)["problems"]
    assert problem == "forward (odom: twist.twist.linear.y) is always 0"
    assert f"warning: {problem}" in errors
    (folder / "rover.yaml").write_text(ROVER.replace("twist.twist.linear.x", "twist.speed"))
    code, _, errors = mbmrl("robots", "check", "rover.yaml", "--bag", "drive")
    assert (code, errors.count("\n")) == (2, 1), errors
    assert "rover.yaml: 'twist.speed': there is no 'speed' in" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a contract is missing: give its file, --contract robot.yaml"),
        (("--contract", "none.yaml"), "none.yaml: No such file or directory"),
        (("--contract", "rover.yaml"), "no prior of committee is shipped for the robot rover"),
    ],
)
def test_what_cannot_be_driven_is_refused_before_anything_starts(
    arguments: tuple[str, ...], words: str, mbmrl: Callable[..., tuple[int, str, str]], folder: Path
) -> None:
    (folder / "rover.yaml").write_text(ROVER)
    code, _, errors = mbmrl("run", *arguments)
    assert (code, errors.count("\n")) == (2, 1), errors
    assert words in errors


def test_check_and_exploring_say_that_there_is_no_robot(
    start_command: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "rover.yaml").write_text(ROVER)
    check = start_command("robots", "check", "rover.yaml", "--duration", "2")
    _, errors = check.communicate(timeout=TIME_LIMIT)
    assert check.returncode == 1
    for sentence in (
        "/odom: nothing has come",
        "/cmd_vel: nobody listens to it",
        "/cmd_vel: nobody commands the robot",
    ):
        assert sentence in errors
    process = start_command("explore", "--contract", "rover.yaml", "--duration", "600")
    _, errors = process.communicate(timeout=2 * TIME_LIMIT)
    assert process.returncode == 2
    assert "error: exploring has ended: nothing has come on /odom" in errors


def test_check_says_what_cannot_be_heard(
    start_command: Callable[..., subprocess.Popen[str]], peer: Peer, tmp_path: Path
) -> None:
    for _ in range(2):
        peer.node.create_publisher(Odometry, "odom", qos_profile_sensor_data)
    peer.record(TwistStamped, "cmd_vel", 10)
    (tmp_path / "rover.yaml").write_text(
        ROVER.replace("nav_msgs/msg/Odometry", "nav_msgs/msg/Odometry, reliability: reliable")
    )
    check = start_command("robots", "check", "rover.yaml", "--duration", "2")
    _, errors = check.communicate(timeout=TIME_LIMIT)
    assert check.returncode == 1
    name = peer.node.get_name()
    assert f"/odom: node {name} publishes it with reliability best_effort, by the contract it is reliable" in errors
    assert f"/cmd_vel: node {name} listens to it as geometry_msgs/msg/TwistStamped" in errors
    assert f"/odom has several publishers, /{name}, /{name}" in errors


def test_check_goes_by_the_clock_that_is_published(
    start_command: Callable[..., subprocess.Popen[str]], peer: Peer, tmp_path: Path
) -> None:
    clock, odom = peer.node.create_publisher(Clock, "/clock", 10), peer.node.create_publisher(Odometry, "odom", 10)
    now = itertools.count(100 * 10**9, 2 * 10**7)

    def tick() -> None:
        stamp = Time(nanoseconds=next(now)).to_msg()
        clock.publish(Clock(clock=stamp))
        odom.publish(Odometry(header=Header(stamp=stamp)))

    timer = peer.node.create_timer(0.02, tick)
    (tmp_path / "rover.yaml").write_text(ROVER)
    check = start_command("robots", "check", "rover.yaml", "--duration", "2", "--json")
    peer.spin_until(lambda: check.poll() is not None)
    output, errors = check.communicate()
    peer.node.destroy_timer(timer)
    figures = json.loads(output)["topics"]["odom"]
    assert abs(figures["delay_s"]) < 0.5, errors
    assert figures["messages"] > 20
