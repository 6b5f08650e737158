"""The main function that all nodes share, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ros_testing import TIME_LIMIT

NODE = """
import os, signal, sys, threading
signal.signal(signal.SIGHUP, signal.{hang_up})  # where the tests run in the background, nohup had them ignore it
from rclpy.node import Node
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.worker import Worker

class Waiting(Node):
    def __init__(self):
        super().__init__("worker")
        self.stop = threading.Event()
        self.worker = Worker(lambda: {work}, "waiting")
        {in_constructor}
        {timer}

    def close(self):
        {in_close}
        self.stop.set()
        self.worker.join()
        print("closed")

def fail(text):
    raise ValueError(text)

sys.exit(run(Waiting, []))
"""
STARTS_NODE = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
LATER = "threading.Timer(0.2, lambda: {}).start()"
INTERRUPT = "os.kill(os.getpid(), signal.{})"


def node_code(**parts: str) -> str:
    """Python code of a node that does this."""
    defaults = {"in_constructor": "", "timer": "", "in_close": "", "work": "self.stop.wait()", "hang_up": "SIG_DFL"}
    return NODE.format(**defaults | parts)


def run_node(domain: int, **parts: str) -> tuple[int, str, str]:
    """Run a node that does this; returns exit code, output and error output."""
    code = node_code(**parts)
    result = subprocess.run(
        ["env", f"ROS_DOMAIN_ID={domain}", sys.executable, "-c", code], capture_output=True, text=True
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signal_while_spinning_closes_the_node(domain: int, name: str) -> None:
    timer = f"self.create_timer(0.01, lambda: {INTERRUPT.format(name)})"
    assert run_node(domain, timer=timer) == (0, "closed\n", "")


def test_signal_is_noticed_by_a_node_to_which_nothing_happens(domain: int) -> None:
    later = LATER.format(INTERRUPT.format("SIGTERM"))
    assert run_node(domain, in_constructor=later) == (0, "closed\n", "")


def test_node_that_outlives_its_terminal_is_left_alone(domain: int) -> None:
    hang_up = f"{INTERRUPT.format('SIGHUP')}; print('still there'); {INTERRUPT.format('SIGTERM')}"
    timer = f"self.create_timer(0.01, lambda: exec({hang_up!r}))"
    assert run_node(domain, timer=timer, hang_up="SIG_IGN") == (0, "still there\nclosed\n", "")


ASKS_FOR_IT = "import os; os.environ['MBMRL_PARENT'] = str(os.getpid()); "


@pytest.mark.parametrize("starter", [ASKS_FOR_IT, ""], ids=["launch", "shell"])
def test_node_ends_with_what_started_it_where_that_is_asked_for(domain: int, starter: str) -> None:
    """A launch that is killed cannot stop its nodes; a shell that has ended may leave them to themselves."""
    orphaned = "print('orphaned', flush=True), " + INTERRUPT.format("SIGTERM")
    parent = "self.parent = os.getppid(); print('running', flush=True)"
    timer = "" if starter else f"self.create_timer(0.01, lambda: os.getppid() == self.parent or exec({orphaned!r}))"
    command = [sys.executable, "-c", starter + STARTS_NODE, node_code(in_constructor=parent, timer=timer)]
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.kill()
        output, _ = process.communicate(timeout=TIME_LIMIT)  # until the node, which inherited it, has ended
    assert output == ("closed\n" if starter else "orphaned\nclosed\n")


def test_node_whose_launch_has_ended_while_it_loaded_is_not_made(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen("true") as ended:  # and is still to be reaped
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        monkeypatch.setenv("MBMRL_PARENT", str(ended.pid))
        assert run_node(domain, in_constructor="print('made')") == (-signal.SIGTERM, "", "")


@pytest.mark.parametrize(("refused", "code", "output"), [("", 0, "closed\n"), ("fail('no')", 2, "")])
def test_node_whose_middleware_never_lets_go_ends_too(domain: int, refused: str, code: int, output: str) -> None:
    """As Fast DDS may: in C code, and with Python's lock, which no signal and no thread of Python's breaks."""
    hang = "rclpy.try_shutdown = ctypes.PyDLL(None).pause"
    preparation = f"import ctypes, rclpy; {hang}; from mbmrl_base.toolkit import spin; spin.LEAVING_TIME = 0.5"
    timer = f"self.create_timer(0.01, lambda: {INTERRUPT.format('SIGINT')})"
    result = run_node(domain, in_constructor=f"{preparation}; {refused}", timer=timer)
    assert result[:2] == (code, output)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_while_the_node_is_made_closes_it_too(domain: int, name: str) -> None:
    """A worker that runs already must be stopped, or the process would never end."""
    assert run_node(domain, in_constructor=INTERRUPT.format(name)) == (0, "closed\n", "")


def test_second_signal_does_not_break_off_the_orderly_end(domain: int) -> None:
    interrupt = INTERRUPT.format("SIGINT")
    code, output, errors = run_node(domain, timer=f"self.create_timer(0.01, lambda: {interrupt})", in_close=interrupt)
    assert (code, output, errors) == (0, "closed\n", "")


def test_error_of_a_running_node_is_no_mistake_of_the_users(domain: int) -> None:
    code, output, errors = run_node(domain, timer="self.create_timer(0.01, lambda: fail('a bug'))")
    assert (code, output) == (1, "closed\n")
    assert "Traceback" in errors
    assert "a bug" in errors


def test_worker_that_fails_ends_the_node_in_order(domain: int) -> None:
    code, output, errors = run_node(domain, work="fail('a bug')")
    assert (code, output) == (1, "closed\n")
    assert "a bug" in errors
