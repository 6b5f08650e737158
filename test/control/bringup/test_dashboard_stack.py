"""The page of the running stack in a real browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Header

from browser_testing import browser
from mbmrl_base.toolkit import qos
from mbmrl_msgs.msg import FaultArray, MotorCommand, PlannerStatus, RobotState
from ros_testing import NodeProcess, Peer, processes

StartCommand = Callable[..., subprocess.Popen[str]]


def test_page_shows_the_robot_and_steers_it(start_command: StartCommand, peer: Peer, mark: str, tmp_path: Path) -> None:
    faults = peer.record(FaultArray, "faults", qos.LATCHED)
    stack = start_command("sim", "--dashboard", "--page-port", "0", "--bag", str(tmp_path / "bag"))
    assert stack.stderr is not None
    address = next(found[1] for line in stack.stderr if (found := re.search(r"the page: (http://\S+)", line)))
    with browser(1000, 640) as window:
        window.driver.get(address)
        window.wait(lambda: window.shows("on its way"))
        window.wait(lambda: window.shows("committee"))
        window.button("Let it happen").click()
        window.wait(lambda: window.shows("leg_loss:"))
        peer.spin_until(lambda: faults and len(faults[-1].faults) == 1)
        window.tab("Why")
        window.wait(lambda: window.shows("cheapest candidate"))
        window.tab("Settings")
        window.wait(lambda: window.field("figure_eight"))
        window.choose("committee", "attention")
        window.wait(lambda: window.shows("follow_path · attention"))
        window.wait(lambda: window.shows("on its way"))
        window.tab("Nodes")
        window.wait(lambda: window.shows("mpc_node: ticks"))
        window.tab("Charts")
        window.wait(lambda: window.shows("cross track (mm)"))
        window.picture(tmp_path / "page.png")
        # Time stands still for the planner too: nothing is planned again and again.
        statuses = peer.record(PlannerStatus, "planner_status", qos.STATE)
        diagnostics = peer.record(DiagnosticArray, "/diagnostics", qos.STATE)
        window.button("Pause").click()
        window.wait(lambda: window.shows("paused"))
        diagnostics.clear()
        peer.spin_until(lambda: len(diagnostics) >= 9)
        window.button("Resume").click()
        window.wait(lambda: window.shows("on its way"))
        assert max(Counter(status.state_sequence for status in statuses).values()) <= 4
        window.button("STOP").click()
        window.wait(lambda: window.shows("stopped"))
        commands = peer.record(MotorCommand, "motor_command", qos.LATEST)
        peer.spin_until(lambda: commands and not any(commands[-1].action))
        window.driver.refresh()
        window.button("Go on").click()
        window.wait(lambda: window.shows("on its way"))
        # A planner that hangs is told, and so is a click that nobody answers.
        (planner,) = processes(mark, "mpc_node")
        os.kill(planner, signal.SIGSTOP)
        window.wait(lambda: window.shows("the planner is silent"))
        window.button("STOP").click()
        window.wait(lambda: window.shows("nobody has answered to stop") or window.shows("nobody serves stop"))
        os.kill(planner, signal.SIGCONT)
        window.wait(lambda: window.shows("stopped"))
        window.button("Go on").click()
        window.wait(lambda: window.shows("on its way"))
    # A page, or a recorder, that is killed changes nothing.
    for node in ("dashboard_node", "recorder_node"):
        (process,) = processes(mark, node)
        os.kill(process, signal.SIGKILL)
    states = peer.record(RobotState, "robot_state", qos.STATE)
    peer.spin_until(lambda: len(states) > 40)
    assert stack.poll() is None


def test_page_of_a_robot_that_has_no_place(domain: int, peer: Peer, tmp_path: Path) -> None:
    states = peer.node.create_publisher(RobotState, "robot_state", qos.LATEST)

    def publish() -> None:
        states.publish(RobotState(header=Header(stamp=peer.node.get_clock().now().to_msg())))

    peer.node.create_timer(0.05, publish)
    node = NodeProcess("mbmrl_control.nodes.dashboard_node", domain, "-p", "page_port:=0", folder=tmp_path)
    with node, browser(1000, 640) as window:
        peer.spin_until(lambda: "the page: " in node.errors)
        (address,) = re.findall(r"the page: (http://\S+)", node.errors)
        window.driver.get(address)
        peer.spin_until(lambda: window.shows("no planner"))
