"""A robot that is not in the project, as docs/extending says: collected from, trained, and driven over real DDS."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mbmrl_base.toolkit import qos
from mbmrl_control.nodes.conversions import from_figures
from mbmrl_msgs.msg import AdaptationStatus, PlannerStatus, RobotState
from mbmrl_msgs.srv import InjectFault
from ros_testing import TIME_LIMIT, Peer

PAGE = Path(__file__).resolve().parents[3] / "docs" / "extending" / "robot.md"
COMMANDS = {"collect": ("--workers", "1"), "train": ("--workers", "1")}
"""What is added to those of the page, for a small machine."""


@pytest.fixture
def boat(tmp_path: Path) -> list[list[str]]:
    """The page's files in the folder where commands run; returns its commands."""
    text = PAGE.read_text()
    (shell,), (description,), (code,) = (
        re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("sh", "yaml", "python")
    )
    assert len(description.splitlines()) + len(code.splitlines()) <= 60
    (tmp_path / "boat.yaml").write_text(description)
    (tmp_path / "boat.py").write_text(code)
    return [line.split()[1:] for line in shell.splitlines()]


def test_robot_of_ones_own(
    boat: list[list[str]], start_command: Callable[..., subprocess.Popen[str]], peer: Peer
) -> None:
    collect, train, sim = boat
    for command in (collect, train):
        process = start_command(*command, *COMMANDS[command[0]])
        _, errors = process.communicate(timeout=2 * TIME_LIMIT)
        assert process.returncode == 0, errors
    states = peer.record(RobotState, "robot_state", qos.STATE)
    ticks = peer.record(PlannerStatus, "planner_status", qos.STATE)
    adaptations = peer.record(AdaptationStatus, "adaptation_status", qos.STATE)
    process = start_command(*sim)

    def follows() -> bool:
        figures = from_figures(ticks[-1]) if ticks else {}
        return process.poll() is not None or (states != [] and figures.get("progress_m", 0.0) > 0.3)

    peer.spin_until(follows)
    assert process.poll() is None, process.communicate()
    assert states[-1].robot == "boat"
    assert (list(states[-1].state_names), list(states[-1].action_names)) == (["x", "y", "yaw"], ["rudder"])
    assert abs(from_figures(ticks[-1])["cross_track_m"]) < 0.05
    inject = peer.node.create_client(InjectFault, "inject_fault")
    peer.spin_until(inject.service_is_ready)
    peer.spin_until(inject.call_async(InjectFault.Request()).done)
    before = len(adaptations)
    # The bend turns it by more than the prior knows of; the window forgets what was before it.
    peer.spin_until(lambda: any(a.adapted_error < 0.1 * a.prior_error for a in adaptations[before + 16 :]))
    assert process.poll() is None
