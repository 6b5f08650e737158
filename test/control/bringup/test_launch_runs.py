"""The launch files as `ros2 launch` runs them: with which exit code it ends, and that no node outlives it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hardware_testing import Robot
from mbmrl_base.toolkit import qos
from mbmrl_msgs.msg import RobotState
from mbmrl_sim.millirobot.world import World
from ros_testing import TIME_LIMIT, Peer, processes

Launch = Callable[..., subprocess.Popen[str]]
pytestmark = pytest.mark.skipif(
    shutil.which("ros2") is None, reason="needs the ros2 command: it runs where a ROS 2 is sourced"
)
NODES = "/lib/mbmrl_"


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    """A robot at the other end of a serial line."""
    world = World()
    with Robot(world, tmp_path) as robot:
        yield robot
    world.close()


@pytest.fixture
def launch(mark: str, domain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    """A function that launches a file in the test's domain; none of its nodes may stay."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    with ExitStack() as stack:

        def start(file: str, *arguments: str) -> subprocess.Popen[str]:
            log = stack.enter_context((tmp_path / "launch.log").open("w"))
            # Where the tests run in the background, a shell had them ignore SIGINT, and so would launch.
            command = ["env", "--default-signal=INT", "ros2", "launch", "mbmrl_control", file, *arguments]
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, text=True)
            stack.callback(process.wait, TIME_LIMIT)
            stack.callback(process.send_signal, signal.SIGINT)
            return process

        yield start
    left = processes(mark, NODES)
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert left == {}


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("rate:=0", "greater than or equal to 5"),
        ("learner:=ppo", "unknown learner 'ppo'"),
        ("bag:=.", "a recording makes a folder of its own"),
        ("params_file:=none.yaml", "there is no such file"),
    ],
)
def test_launch_that_fails_says_so(launch: Launch, tmp_path: Path, argument: str, sentence: str) -> None:
    assert launch("sim.launch.py", argument).wait(TIME_LIMIT) == 1
    assert sentence in (tmp_path / "launch.log").read_text()


def test_node_that_is_killed_is_a_failure_and_ctrl_c_is_none(
    launch: Launch, mark: str, peer: Peer, tmp_path: Path
) -> None:
    for killed in (True, False):
        states = peer.record(RobotState, "robot_state", qos.STATE)
        running = launch("sim.launch.py")
        peer.spin_until(lambda states=states: states and states[-1].command_sequence)
        if killed:
            (planner,) = processes(mark, "/mpc_node ")
            os.kill(planner, signal.SIGKILL)
        else:
            running.send_signal(signal.SIGINT)
        assert running.wait(TIME_LIMIT) == int(killed)
        assert ("mpc_node has ended with exit code -9" in (tmp_path / "launch.log").read_text()) == killed


def test_node_that_is_killed_is_started_again_where_that_is_wanted(
    launch: Launch, mark: str, robot: Robot, peer: Peer, tmp_path: Path
) -> None:
    running = launch("hardware.launch.py", f"port:={robot.port}", "respawn:=true")
    peer.spin_until(lambda: running.poll() is not None or robot.moves)
    for name, moves in (("mpc_node", True), ("serial_bridge_node", False)):
        (node,) = processes(mark, f"/{name} ")
        os.kill(node, signal.SIGKILL)
        peer.spin_until(lambda: running.poll() is not None or not robot.moves)
        peer.spin_until(lambda name=name, node=node: set(processes(mark, f"/{name} ")) - {node})
        peer.spin_until(lambda moves=moves: running.poll() is not None or robot.moves == moves)
    assert running.poll() is None
    assert (tmp_path / "launch.log").read_text().count("has ended with exit code -9: it is started again") == 2
    running.send_signal(signal.SIGINT)
    assert running.wait(TIME_LIMIT) == 0
    assert not robot.moves


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_robot_stands_still_and_no_node_is_left_however_the_launch_ends(
    launch: Launch, mark: str, robot: Robot, peer: Peer, number: signal.Signals
) -> None:
    running = launch("hardware.launch.py", f"port:={robot.port}")
    peer.spin_until(lambda: running.poll() is not None or robot.moves)
    running.send_signal(number)
    running.wait(TIME_LIMIT)
    peer.spin_until(lambda: not processes(mark, NODES))
    assert not robot.moves
    assert not robot.firmware.enabled
