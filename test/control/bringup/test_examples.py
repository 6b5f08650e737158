"""The worked examples of docs/examples: robots that know nothing of this project, from nothing to one that adapts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from std_msgs.msg import Float64MultiArray

from mbmrl_base.toolkit import qos
from mbmrl_control.nodes.conversions import from_figures
from mbmrl_msgs.msg import AdaptationStatus, PlannerStatus
from pages import LONGEST
from ros_testing import TIME_LIMIT, Peer

ROOT = Path(__file__).resolve().parents[3]
Robot = Callable[[str], subprocess.Popen[str]]
Start = Callable[..., subprocess.Popen[str]]


def read_page(name: str, folder: Path) -> list[list[str]]:
    """Write the files of a page to a folder; returns its commands, without the robot's own."""
    text = (ROOT / "docs" / "examples" / f"{name}.md").read_text()
    files = dict(re.findall(r"^`(\S+\.yaml)`[^\n]*\n\n```yaml\n(.*?)```", text, re.DOTALL | re.MULTILINE))
    assert sum(len(content.splitlines()) for content in files.values()) <= LONGEST
    for file, content in files.items():
        (folder / file).write_text(content)
    return [line.split()[1:] for line in re.findall(r"^mbmrl .*", text, re.MULTILINE)]


@pytest.fixture
def robot(domain: int, start_command: Any, tmp_path: Path) -> Iterator[Robot]:
    """Starts a robot by the name of its file; it ends before the test's commands are seen to have ended."""
    started = list[subprocess.Popen[str]]()

    def start(name: str) -> subprocess.Popen[str]:
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(tmp_path)}
        command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
        started.append(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        assert process.wait(TIME_LIMIT) == 0


def done(start_command: Start, *commands: list[str]) -> None:
    """Run commands to their end, one after the other."""
    for command in commands:
        process = start_command(*command)
        _, errors = process.communicate(timeout=3 * TIME_LIMIT)
        assert process.returncode == 0, errors


def checked(start_command: Start, command: list[str]) -> None:
    """Check a contract; a busy machine makes gaps, and nothing else may be wrong."""
    _, errors = start_command(*command).communicate(timeout=TIME_LIMIT)
    told = [line for line in errors.splitlines() if line.startswith(("warning:", "error:"))]
    assert not [line for line in told if not any(words in line for words in ("gaps", "not complete"))], errors


@pytest.mark.timeout(300)
def test_wheeled_base_learns_to_know_itself_and_adapts(
    robot: Robot, start_command: Start, peer: Peer, tmp_path: Path
) -> None:
    check, explore, convert, train, run = read_page("wheeled", tmp_path)
    explore[explore.index("--duration") + 1] = "60"
    train += ["--learner", "bayes_replay", "--preset", "quick", "--steps", "300"]
    run.remove("--dashboard")
    husky = robot("husky")
    checked(start_command, check)
    done(start_command, explore, convert, train)
    ticks = peer.record(PlannerStatus, "mbmrl/planner_status", qos.STATE)
    adaptations = peer.record(AdaptationStatus, "mbmrl/adaptation_status", qos.STATE)
    process = start_command(*run)

    def way() -> float:
        assert process.poll() is None, process.communicate()
        return from_figures(ticks[-1]).get("progress_m", 0.0) if ticks else 0.0

    peer.spin_until(lambda: way() > 1.0)
    print("load 40", file=husky.stdin, flush=True)
    broken, before = way(), len(adaptations)
    peer.spin_until(lambda: way() > broken + 3.0)
    assert max(abs(from_figures(tick)["cross_track_m"]) for tick in ticks[-40:]) < 0.15
    errors = [(each.adapted_error, each.prior_error) for each in adaptations[before + 40 :]]
    adapted, prior = (sum(column) for column in zip(*errors, strict=True))
    assert adapted < 0.5 * prior
    process.send_signal(signal.SIGINT)
    assert process.wait(TIME_LIMIT) == 0


@pytest.mark.timeout(420)
def test_legged_robot_adapts(robot: Robot, start_command: Start, peer: Peer, tmp_path: Path) -> None:
    check, explore, convert, train, walk, convert_more, train_more, run = read_page("legged", tmp_path)
    explore[explore.index("--duration") + 1] = "40"
    for command in (train, train_more):
        command += ["--learner", "bayes_replay", "--steps", "300"]
    run.remove("--dashboard")
    ant = robot("ant")
    checked(start_command, check)
    done(start_command, explore, convert, train)
    ticks = peer.record(PlannerStatus, "mbmrl/planner_status", qos.STATE)
    adaptations = peer.record(AdaptationStatus, "mbmrl/adaptation_status", qos.STATE)
    walking = start_command(*walk)
    for count, breaks in ((120, "leg 2"), (240, "nothing")):
        peer.spin_until(lambda count=count: len(ticks) > count or walking.poll() is not None)  # type: ignore[misc]
        assert walking.poll() is None, walking.communicate()
        print(breaks, file=ant.stdin, flush=True)
    walking.send_signal(signal.SIGINT)
    assert walking.wait(TIME_LIMIT) == 0
    done(start_command, convert_more, train_more)
    ticks.clear()
    targets = peer.record(Float64MultiArray, "position_controller/commands", 10)
    process = start_command(*run)
    # So few data need not teach it to walk; it is commanded, within what its joints can do.
    peer.spin_until(lambda: len(ticks) > 60 or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    angles = np.array([target.data for target in targets])
    assert (np.abs(angles[:, ::2]) <= 0.69).all() and (np.abs(angles[:, 1::2]) <= 1.74).all()
    assert (np.ptp(angles, axis=0) > 0.2).all()
    print("leg 1", file=ant.stdin, flush=True)
    before = len(adaptations)
    peer.spin_until(lambda: len(adaptations) > before + 140)
    errors = [(each.adapted_error, each.prior_error) for each in adaptations[before + 40 :]]
    adapted, prior = (sum(column) for column in zip(*errors, strict=True))
    assert adapted < 0.9 * prior
    process.send_signal(signal.SIGINT)
    assert process.wait(TIME_LIMIT) == 0
