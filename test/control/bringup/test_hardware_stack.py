"""The mbmrl command with the hardware stack as processes, over real DDS and a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lifecycle_msgs.srv import GetState
from rclpy.task import Future
from std_srvs.srv import SetBool

from hardware_testing import Robot
from mbmrl_base.toolkit import qos
from mbmrl_msgs.msg import RobotState
from mbmrl_sim.millirobot.world import World
from ros_testing import TIME_LIMIT, Peer, processes

StartCommand = Callable[..., subprocess.Popen[str]]
Run = Callable[..., tuple[int, str, str]]
SLACK = 1.0
"""What a loaded machine may add to the time in which the legs stop, s."""


@pytest.fixture
def robot(tmp_path: Path) -> Iterator[Robot]:
    world = World()
    with Robot(world, tmp_path) as robot:
        yield robot
    world.close()


@pytest.fixture
def patient(tmp_path: Path) -> tuple[str, str]:
    """An option by which links are lost late: a loaded machine may be slow, and motors then stay off."""
    file = tmp_path / "patient.yaml"
    file.write_text("/**/serial_bridge_node:\n  ros__parameters:\n    lost_time: 5.0\n")
    return "--params-file", str(file)


@pytest.mark.parametrize("protocol", ["mbmrl", "velociroach"])
def test_demo_over_the_line_is_the_demo(
    protocol: str, start_command: StartCommand, mark: str, patient: tuple[str, str], tmp_path: Path
) -> None:
    demo = start_command(
        *("demo", "--hardware", "--protocol", protocol, "--duration", "5", "--fault", "leg_loss:4@2"),
        *("--json", "--no-film", "--out", "out", *patient),
    )
    output, errors = demo.communicate(timeout=2 * TIME_LIMIT)
    assert demo.returncode == 0, errors
    assert "Traceback" not in errors
    assert "cost per step" in errors
    summary = json.loads(output.splitlines()[-1])
    assert (summary["rate_hz"], summary["fault"]) == (20.0, "leg_loss:4@2")
    assert summary["ticks"] > 20
    assert summary["model_error"]["adapted_after"] > 0
    (folder,) = (tmp_path / "out").iterdir()
    assert {path.name for path in folder.iterdir()} == {"summary.json", "run.json", "ticks.csv", "plot.png", "logs"}
    log = (folder / "logs" / "serial_bridge_node.log").read_text()
    assert "the motors are enabled" in log
    assert "Traceback" not in log
    assert processes(mark) == {}


@pytest.mark.parametrize("node", ["mpc_node", "adaptation_node", "serial_bridge_node"])
def test_killed_node_stops_the_legs(
    node: str, start_command: StartCommand, mark: str, robot: Robot, peer: Peer, patient: tuple[str, str]
) -> None:
    states = peer.record(RobotState, "robot_state", qos.STATE)
    hardware = start_command("hardware", "--port", str(robot.port), *patient)
    peer.spin_until(lambda: hardware.poll() is not None or (robot.moves and states))
    assert hardware.poll() is None, hardware.communicate()
    (process,) = processes(mark, f"mbmrl_control.nodes.{node}")
    os.kill(process, signal.SIGKILL)
    killed = time.monotonic()
    peer.spin_until(lambda: not robot.moves)
    assert time.monotonic() - killed < 0.1 + SLACK
    _, errors = hardware.communicate(timeout=TIME_LIMIT)
    assert hardware.returncode == 2
    assert f"{node} has ended with exit code -9" in errors
    assert "Traceback" not in errors
    assert not robot.moves
    assert processes(mark) == {}


def test_planner_that_is_held_up_stops_the_legs_until_it_goes_on(
    start_command: StartCommand, mark: str, robot: Robot, peer: Peer, patient: tuple[str, str]
) -> None:
    hardware = start_command("hardware", "--port", str(robot.port), *patient)
    peer.spin_until(lambda: hardware.poll() is not None or robot.moves)
    (planner,) = processes(mark, "mbmrl_control.nodes.mpc_node")
    for pause in (0.5, 3.0):  # after the second one, all have forgotten it
        os.kill(planner, signal.SIGSTOP)
        held = time.monotonic()
        peer.spin_until(lambda: not robot.moves)
        assert time.monotonic() - held < 0.1 + SLACK
        until = robot.firmware.world.time + pause
        peer.spin_until(lambda until=until: robot.moves or robot.firmware.world.time > until)
        assert not robot.moves
        os.kill(planner, signal.SIGCONT)
        peer.spin_until(lambda: hardware.poll() is not None or robot.moves)
        assert hardware.poll() is None
    hardware.send_signal(signal.SIGINT)
    _, errors = hardware.communicate(timeout=TIME_LIMIT)
    assert hardware.returncode == 0, errors
    assert "Traceback" not in errors


def test_bridge_that_is_started_again_leaves_the_motors_off_until_somebody_asks(
    start_command: StartCommand, mark: str, robot: Robot, peer: Peer, patient: tuple[str, str]
) -> None:
    hardware = start_command("hardware", "--respawn", "--port", str(robot.port), *patient)
    peer.spin_until(lambda: hardware.poll() is not None or robot.moves)
    bridge = "mbmrl_control.nodes.serial_bridge_node"
    (node,) = processes(mark, bridge)
    os.kill(node, signal.SIGKILL)
    peer.spin_until(lambda: not robot.moves)
    peer.spin_until(lambda: hardware.poll() is not None or set(processes(mark, bridge)) - {node})
    client = peer.node.create_client(GetState, "serial_bridge_node/get_state")
    answers: list[Future] = []

    def answers_again() -> bool:
        answers.append(client.call_async(GetState.Request()))
        return hardware.poll() is not None or any(answer.done() for answer in answers)

    peer.spin_until(answers_again)
    until = robot.firmware.world.time + 1.0
    peer.spin_until(lambda: robot.moves or robot.firmware.world.time > until)
    assert not robot.moves
    activate = start_command("activate")
    output, errors = activate.communicate(timeout=TIME_LIMIT)
    assert (activate.returncode, output) == (0, "the motors are enabled\n"), errors
    peer.spin_until(lambda: hardware.poll() is not None or robot.moves)
    hardware.send_signal(signal.SIGINT)
    _, errors = hardware.communicate(timeout=TIME_LIMIT)
    assert hardware.returncode == 0, errors
    assert not robot.firmware.enabled
    assert "Traceback" not in errors


def test_stop_is_latched_and_ctrl_c_switches_the_motors_off(
    start_command: StartCommand, mark: str, robot: Robot, peer: Peer, patient: tuple[str, str]
) -> None:
    hardware = start_command("hardware", "--port", str(robot.port), *patient)
    peer.spin_until(lambda: hardware.poll() is not None or robot.moves)
    stop = peer.node.create_client(SetBool, "stop")

    def call(value: bool) -> None:
        future = stop.call_async(SetBool.Request(data=value))
        peer.spin_until(future.done)

    peer.spin_until(stop.service_is_ready)
    call(True)
    peer.spin_until(lambda: not robot.moves)
    until = robot.firmware.world.time + 0.5
    peer.spin_until(lambda: robot.firmware.world.time > until)
    assert not robot.moves
    call(False)
    peer.spin_until(lambda: robot.moves)
    hardware.send_signal(signal.SIGINT)
    _, errors = hardware.communicate(timeout=TIME_LIMIT)
    assert hardware.returncode == 0, errors
    assert not robot.firmware.enabled
    assert "Traceback" not in errors
    assert processes(mark) == {}


def test_pulled_cable_needs_mbmrl_activate(
    start_command: StartCommand, robot: Robot, peer: Peer, patient: tuple[str, str]
) -> None:
    hardware = start_command("hardware", "--port", str(robot.port), "--namespace", "robot1", *patient)
    peer.spin_until(lambda: hardware.poll() is not None or robot.moves)
    robot.emulator.unplug()
    peer.spin_until(lambda: not robot.moves)
    refused = start_command("activate", "--namespace", "robot1")
    _, errors = refused.communicate(timeout=TIME_LIMIT)
    assert errors.startswith("error: the motors could not be enabled: there is no link"), errors
    assert refused.returncode == 2
    session = robot.firmware._session
    robot.emulator.plug()
    peer.spin_until(lambda: robot.firmware._session != session and robot.firmware._sequence > 20)
    assert not robot.moves
    assert start_command("activate", "--namespace", "robot1").communicate(timeout=TIME_LIMIT) == (
        "the motors are enabled\n",
        "",
    )
    peer.spin_until(lambda: robot.moves)
    assert hardware.poll() is None


def test_activate_without_a_bridge(start_command: StartCommand) -> None:
    process = start_command("activate")
    _, errors = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 2
    assert errors.startswith("error: no bridge answers within 5 s")


def test_emulated_robot_is_driven_from_another_terminal(
    start_command: StartCommand, peer: Peer, tmp_path: Path
) -> None:
    states = peer.record(RobotState, "robot_state", qos.STATE)
    tty = tmp_path / "robot"
    robot = start_command("emulate", "--tty", str(tty), "--protocol", "velociroach")
    peer.spin_until(lambda: robot.poll() is not None or tty.exists())
    hardware = start_command("hardware", "--port", str(tty), "--protocol", "velociroach")
    peer.spin_until(lambda: hardware.poll() is not None or (states and states[-1].command_sequence > 0))
    assert hardware.poll() is None, hardware.communicate()
    fault = start_command("fault", "leg_loss", "--part", "2")
    assert fault.communicate(timeout=TIME_LIMIT) == ("in force: leg_loss:left_rear\n", "")
    for process in (hardware, robot):
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=TIME_LIMIT)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
    assert output == f"{tty}\n"
    assert not tty.is_symlink()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("hardware", "--port", "/dev/ttyNONE"), "there is no port /dev/ttyNONE"),
        (("hardware", "--port", "x", "--protocol", "morse"), "unknown protocol 'morse'"),
        (("hardware", "--port", "x", "--path", "spiral"), "unknown path 'spiral'"),
        (("hardware", "--port", "x", "--baud", "3"), "parameter 'baud' is 3"),
        (("emulate", "--protocol", "morse"), "unknown protocol 'morse'"),
        (("emulate", "--terrain", "ice"), "unknown terrain 'ice'"),
        (("emulate", "--tty", "/proc/tty"), "/proc/tty cannot be made"),
        (("emulate", "--tty", "/none/tty"), "/none/tty cannot be made: there is no folder /none"),
        (("demo", "--hardware", "--protocol", "morse"), "unknown protocol 'morse'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_mistake_is_one_sentence(arguments: tuple[str, ...], words: str, start_command: StartCommand) -> None:
    process = start_command(*arguments)
    output, errors = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 2
    assert output == ""
    (sentence,) = [line for line in errors.splitlines() if line.startswith("error: ") and "exit code" not in line]
    assert words in sentence
    assert "Traceback" not in errors
