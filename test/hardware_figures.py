"""Figures of the serial line, run by hand: frames lost, delay from tty to topic, disconnects survived, stop times.

.venv/bin/ros-env python test/hardware_figures.py --minutes 10 --disconnects 200
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np

from hardware_testing import Host, Robot, until
from mbmrl_base.system.interpreter import command_of
from mbmrl_base.toolkit.conversions import to_motor_command
from mbmrl_control.hardware.codecs.wire import Message, Telemetry
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_sim.millirobot.world import World
from ros_testing import NodeProcess, free_domain, peer_in

RATE = 50.0
"""Control rate, Hz."""


def hurry() -> None:
    """Go before other processes, where the system allows it: what measures must not be what is measured."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def give_way() -> None:
    """Go as other processes go: what is measured is not to be hurried by what measures."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def play(folder: Path, stop: Event, written: Any) -> None:
    """The robot, in a process of its own; tells when it wrote each frame of telemetry."""
    times: dict[int, float] = {}
    pending: list[int] = []
    with Robot(World(), folder) as robot:
        encode, write = robot.emulator.codec.encode, robot.emulator._write

        def noting(message: Message) -> bytes:
            if isinstance(message, Telemetry):
                pending.append(message.sequence)
            return encode(message)

        def writing() -> None:
            now = time.monotonic()
            while pending:
                times[pending.pop()] = now
            write()

        robot.emulator.codec.encode = noting  # type: ignore[method-assign]
        robot.emulator._write = writing  # type: ignore[method-assign]
        stop.wait()
    written.put(times)


def drive(minutes: float, folder: Path) -> dict[str, float]:
    """State and command at 50 Hz through bridge, DDS and a pseudo-terminal."""
    from diagnostic_msgs.msg import DiagnosticArray

    from mbmrl_base.toolkit import qos
    from mbmrl_msgs.msg import MotorCommand, RobotState

    stop, written = multiprocessing.Event(), multiprocessing.Queue()  # type: ignore[var-annotated]
    robot = multiprocessing.Process(target=play, args=(folder, stop, written), daemon=True)
    robot.start()
    until(lambda: (folder / "tty").exists())
    arrivals: list[tuple[int, float]] = []
    settings = {"port": folder / "tty", "rate": RATE, "telemetry_rate": RATE, "lost_time": 5.0}
    parameters = [text for name, value in settings.items() for text in ("-p", f"{name}:={value}")]
    with free_domain() as domain, peer_in(domain) as peer:
        commands = peer.node.create_publisher(MotorCommand, "motor_command", qos.LATEST)
        reports = peer.record(DiagnosticArray, "/diagnostics", 10)

        def take(state: RobotState) -> None:
            arrivals.append((state.sequence, time.monotonic()))
            now = peer.node.get_clock().now().nanoseconds * 1e-9
            commands.publish(to_motor_command(MILLIROBOT, np.array([30.0, 35.0]), now, state.sequence, state.sequence))

        peer.node.create_subscription(RobotState, "robot_state", take, qos.STATE)
        with NodeProcess("mbmrl_control.nodes.serial_bridge_node", domain, *parameters, folder=folder) as bridge:
            peer.spin_until(lambda: arrivals, bridge)
            end = time.monotonic() + 60 * minutes
            peer.spin_until(lambda: time.monotonic() > end, bridge, limit=60 * minutes + 60)
            values = {value.key: value.value for status in reports[-1].status for value in status.values}
    stop.set()
    times = written.get()
    robot.join()
    delays = np.array([at - times[number] for number, at in arrivals if number in times])
    told = {f"tty to topic p{share} (ms)": float(np.percentile(delays, share) * 1e3) for share in (50, 99, 99.9)}
    counted = (
        "sessions",
        "telemetry taken",
        "telemetry dropped",
        "frames or bytes bad",
        "commands sent",
        "commands expired",
    )
    return told | {"states": float(len(arrivals))} | {name: float(values[name]) for name in counted}


def stop_times(folder: Path, runs: int) -> dict[str, float]:
    """How long the legs go on, s: after the last command, after the host has fallen silent, after the cable is out."""

    def measure(robot: Robot, host: Host, act: Callable[[], Any]) -> float:
        host.drive(lambda: robot.moves)
        act()
        began = time.monotonic()
        until(lambda: not robot.moves)
        return time.monotonic() - began

    times: dict[str, list[float]] = {"commands stay away": [], "cable pulled": [], "host silent": []}
    world = World()
    for _ in range(runs):
        with Robot(world, folder) as robot, Host(robot, lost_time=0.5) as host:
            host.link.wait_open()
            host.link.enable()
            times["commands stay away"].append(measure(robot, host, lambda: None))
            send = host.link._line.send
            times["host silent"].append(
                measure(robot, host, lambda: setattr(host.link._line, "send", lambda message: None))
            )
            host.link._line.send = send  # type: ignore[method-assign]
            until(lambda: host.link.status.state == "enabled" or host.link.status.state == "ready")
            host.link.enable()
            times["cable pulled"].append(measure(robot, host, robot.emulator.unplug))
    world.close()
    return {f"legs stop, {name}, longest (s)": max(values) for name, values in times.items()}


def kill_nodes(folder: Path, runs: int) -> dict[str, float]:
    """How long the legs go on, s, after SIGKILL of a node of ``mbmrl hardware``."""
    world = World()
    times: dict[str, float] = {}
    for node in ("mpc_node", "adaptation_node", "serial_bridge_node"):
        for _ in range(runs):
            with free_domain() as domain, Robot(world, folder) as robot:
                command = [*command_of("mbmrl_control.cli.main"), "hardware", "--port", str(robot.port)]
                environment = os.environ | {"ROS_DOMAIN_ID": str(domain)}
                with subprocess.Popen(
                    command, env=environment, cwd=folder, stderr=subprocess.DEVNULL, preexec_fn=give_way
                ) as hardware:
                    until(lambda robot=robot: robot.moves)
                    time.sleep(2.0)
                    children = Path(f"/proc/{hardware.pid}/task/{hardware.pid}/children").read_text().split()
                    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
                    (victim,) = (child for child, line in commands.items() if f"nodes.{node} ".encode() in line)
                    os.kill(victim, signal.SIGKILL)
                    began = time.monotonic()
                    until(lambda robot=robot: not robot.moves)
                    times[node] = max(times.get(node, 0.0), time.monotonic() - began)
    world.close()
    return {f"legs stop, {node} killed, longest (s)": value for node, value in times.items()}


def disconnect(count: int, folder: Path) -> dict[str, float]:
    """Cables pulled at random while the robot walks; each needs a new hand-shake and an explicit enable."""
    rng = np.random.default_rng(0)
    world = World()
    survived = 0
    with Robot(world, folder) as robot, Host(robot) as host:
        host.link.wait_open()
        host.link.enable()
        for _ in range(count):
            host.drive(lambda: robot.moves)
            frames = len(host.samples) + int(rng.integers(0, 30))
            host.drive(lambda frames=frames: len(host.samples) > frames)
            losses = host.link.counts.losses
            robot.emulator.unplug()
            until(lambda losses=losses: host.link.counts.losses > losses)
            until(lambda: not robot.moves)
            time.sleep(float(rng.uniform(0.0, 0.2)))
            robot.emulator.plug()
            until(lambda: host.link.status.state == "ready")
            assert not robot.moves
            host.link.enable()
            survived += 1
    world.close()
    return {"disconnects survived": survived}


def main() -> None:
    """Print the figures as JSON, part by part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--disconnects", type=int, default=20)
    given = parser.parse_args()
    os.environ.setdefault("ROS_LOG_DIR", tempfile.gettempdir())
    hurry()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(json.dumps(drive(given.minutes, folder), indent=2), flush=True)
        print(json.dumps(stop_times(folder, 10), indent=2), flush=True)
        print(json.dumps(kill_nodes(folder, 5), indent=2), flush=True)
        print(json.dumps(disconnect(given.disconnects, folder), indent=2), flush=True)


if __name__ == "__main__":
    main()
