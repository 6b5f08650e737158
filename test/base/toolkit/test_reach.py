"""Who reaches a robot from another machine: two network namespaces of Linux stand for the machines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE, THERE = f"mbmrl-here-{os.getpid()}", f"mbmrl-there-{os.getpid()}"
ROBOT = "import sys; from mbmrl_base.toolkit.entry import start; start('mbmrl_sim.nodes.simulator_node')"
STRANGER = """
import json, sys, time
import rclpy
from rclpy.node import Node
from mbmrl_base.toolkit import qos
from mbmrl_msgs.msg import MotorCommand, RobotState
from std_srvs.srv import Trigger

rclpy.init()
node, heard = Node("stranger"), []
node.create_subscription(RobotState, "robot_state", heard.append, qos.STATE)
command = node.create_publisher(MotorCommand, "motor_command", qos.LATEST)
stop = node.create_client(Trigger, "emergency_stop")
found = lambda: (
    "simulator_node" in node.get_node_names(),
    bool(heard),
    command.get_subscription_count() > 0,
    stop.service_is_ready(),
)
print("listening", flush=True)
sys.stdin.readline()  # until the robot is there
end = time.monotonic() + float(sys.argv[1])
while not all(found()) and time.monotonic() < end:
    rclpy.spin_once(node, timeout_sec=0.1)
print(json.dumps(found()))
"""
WAIT, PATIENCE = 5.0, 60.0
"""Time in which a stranger is to have found nothing, and longest time until it has found all, s."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def two_machines() -> Iterator[None]:
    """Two network namespaces, joined by a line."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need root, and ip")
    try:
        ip("netns", "add", HERE)
    except subprocess.CalledProcessError:
        pytest.skip("this system lets nobody make network namespaces")
    try:
        ip("netns", "add", THERE)
        ip("link", "add", "line", "netns", HERE, "type", "veth", "peer", "name", "line", "netns", THERE)
        for number, name in enumerate((HERE, THERE), start=1):
            ip("-n", name, "address", "add", f"192.168.77.{number}/24", "dev", "line")
            for link in ("line", "lo"):
                ip("-n", name, "link", "set", link, "up", "multicast", "on")
        yield
    finally:
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def inside(name: str, code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Python on a machine, with a line of input and of output."""
    kept = {key: value for key, value in os.environ.items() if not key.endswith(("_RANGE", "_PROFILES_FILE"))}
    return subprocess.Popen(
        ["ip", "netns", "exec", name, sys.executable, "-c", code, *arguments],
        env=kept | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def found_by_a_stranger(seconds: float, folder: Path, **environment: str) -> Any:
    """Whether the other machine sees the robot's node, hears it, may command it and call its services."""
    with (
        inside(THERE, STRANGER, str(seconds)) as stranger,
        inside(HERE, ROBOT, ROS_LOG_DIR=str(folder), **environment) as robot,
        # The robot's own machine hears it in any case.
        inside(HERE, STRANGER, str(PATIENCE)) as local,
    ):
        try:
            assert stranger.stdout is not None
            stranger.stdout.readline()
            assert json.loads(local.communicate("\n")[0].splitlines()[-1]) == [True] * 4
            return json.loads(stranger.communicate("\n")[0])
        finally:
            for process in (stranger, robot, local):
                process.terminate()


@pytest.mark.usefixtures("two_machines")
def test_robot_is_reached_from_its_own_machine_alone(tmp_path: Path) -> None:
    assert found_by_a_stranger(WAIT, tmp_path) == [False] * 4


@pytest.mark.usefixtures("two_machines")
def test_robot_that_is_opened_is_reached_from_the_network(tmp_path: Path) -> None:
    assert found_by_a_stranger(PATIENCE, tmp_path, ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET") == [True] * 4
