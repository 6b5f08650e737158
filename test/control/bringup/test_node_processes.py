"""Nodes as processes: their command lines, and that none is left behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node

from mbmrl_control.bringup import node_processes
from mbmrl_control.bringup.graph import EMULATOR, EXPLORE, HARDWARE, SIM, TOPICS, NodeSpec
from mbmrl_control.bringup.node_processes import NodeEndedError, Processes, ros_arguments
from mbmrl_control.bringup.respawn import TRIES
from ros_testing import TIME_LIMIT

ALL = {"seed": 3, "rate": 20.0, "path": "zigzag", "learner": "mb", "checkpoint": "8", "real_time_factor": 1.0}


def parameters(command: list[str]) -> dict[str, object]:
    """Parameters of a command line, read as ROS reads them."""
    given = [text.partition(":=") for flag, text in itertools.pairwise(command) if flag == "-p"]
    return {name: yaml.safe_load(value) for name, _, value in given}


def test_each_node_gets_its_own_values_alone() -> None:
    simulator, adaptation, planner = (parameters(ros_arguments(spec, ALL, use_sim_time=True)) for spec in SIM[1:4])
    assert simulator == {"seed": 3, "rate": 20.0, "real_time_factor": 1.0}
    assert adaptation == {"learner": "mb", "checkpoint": "8", "use_sim_time": True}
    assert planner == adaptation | {"path": "zigzag", "rate": 20.0, "seed": 3}


def test_robot_walks_on_without_what_only_shows_it() -> None:
    assert {node.executable for node in SIM if not node.essential} == {"recorder_node", "camera_node", "dashboard_node"}


def test_rate_of_the_camera_is_an_argument_of_its_own() -> None:
    assert parameters(ros_arguments(SIM[4], ALL | {"camera_rate": 5.0}, use_sim_time=True)) == {"rate": 5.0}


def test_folder_of_a_recording_is_given_to_the_recorder() -> None:
    given = {"record": True, "bag": "folder"}
    assert parameters(ros_arguments(SIM[0], ALL | given, use_sim_time=True)) == {"bag": "folder"}


@pytest.mark.parametrize(
    ("values", "started"),
    [
        ({}, False),
        ({"camera_rate": 0.0, "bag": "", "record": False}, False),
        *(({"record": False} | given, True) for given in ({"camera_rate": 5.0}, {"bag": "folder"}, {"record": True})),
    ],
)
def test_optional_node_is_started_where_a_switch_is_given(
    package: Path, values: dict[str, object], started: bool
) -> None:
    always, optional = write_node(package, "first"), write_node(package, "second")
    switches = (("camera_rate", "rate", ""), ("record", "", "Whether"), ("bag", "bag", ""))
    with Processes([replace(optional, switches=switches), always], values, False, log_folder=package):
        wait_until(package / "first")
    assert (package / "second.log").exists() == started


def test_what_is_not_given_is_left_to_the_file() -> None:
    for spec in SIM:
        assert set(parameters(ros_arguments(spec, {"seed": None}, use_sim_time=False))) <= {"use_sim_time"}
        assert "rate" not in parameters(ros_arguments(spec, {}, use_sim_time=False))


@pytest.mark.parametrize(
    "text",
    [
        *("8", "true", "null", "1e5", "a: b", "[x]", 'with "quotes"', "~", "", "# no", "größer", "\\U", "it's", "-p"),
        *("🤖", "a\nb", "\t", "\x7f", "\x80", "\ufeff", "$HOME", "%n", ":=", "{x}", "*", "&a"),
    ],
)
def test_strings_stay_strings(domain: int, text: str) -> None:
    command = ros_arguments(SIM[2], {"checkpoint": text}, use_sim_time=False)
    assert parameters(command)["checkpoint"] == text
    context = Context()  # and as ROS itself reads them
    rclpy.init(args=command, context=context, domain_id=domain)
    options = {"context": context, "automatically_declare_parameters_from_overrides": True}
    node = Node("adaptation_node", start_parameter_services=False, **options)
    assert node.get_parameter("checkpoint").value == text
    node.destroy_node()
    context.try_shutdown()


def test_parameter_file_is_the_installed_one() -> None:
    command = ros_arguments(SIM[1], {}, use_sim_time=False)
    file = Path(command[command.index("--params-file") + 1])
    nodes = {f"/**/{spec.executable}" for spec in SIM + HARDWARE + TOPICS + EXPLORE + EMULATOR}
    assert set(yaml.safe_load(file.read_text())) == {"/**", *nodes}


def test_topics_are_renamed_where_that_is_wanted() -> None:
    command = ros_arguments(HARDWARE[1], {"pose_topic": "/vrpn/robot/pose"}, False)
    assert command[-2:] == ["-r", "motion_capture/pose:=/vrpn/robot/pose"]
    assert "-r" not in ros_arguments(HARDWARE[1], {}, False)


def test_namespace_is_that_of_each_node() -> None:
    for spec in SIM + HARDWARE:
        command = ros_arguments(spec, {"namespace": "/lab/robot1"}, False)
        assert command[-2:] == ["-r", "__ns:=/lab/robot1"]


def test_bridge_gets_its_port() -> None:
    assert parameters(ros_arguments(HARDWARE[1], {"port": "/dev/ttyUSB0"}, False)) == {"port": "/dev/ttyUSB0"}


# Processes that are no nodes, but do what a node may do

STAND_IN = """
import pathlib, signal, sys, time
from mbmrl_base.system.endings import end_with_parent
folder = pathlib.Path(__file__).parent
def end(*_):
    with (folder / "ended").open("a") as file:
        file.write("{name} ")
    sys.exit(0)
def main():
    signal.signal(signal.SIGTERM, {handler})
    end_with_parent()  # as all nodes do
    (folder / "{name}").touch()
    print("ready to walk")
    {then}
"""
WAIT = "while True: signal.pause()"
PARENT = """
import pathlib, signal, sys, time
from mbmrl_control.bringup.graph import NodeSpec
from mbmrl_control.bringup import node_processes
from mbmrl_control.bringup.node_processes import Processes
# Where the tests run in the background, a shell or nohup had them ignore these.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
folder = pathlib.Path(sys.argv[1])
nodes = [NodeSpec(name, "stand_in.settings:None", (), uses_sim_time=False) for name in ("first", "second")]
try:
    with Processes(nodes, {}, use_sim_time=False, log_folder=folder):
        while not all((folder / "stand_in" / "nodes" / node.executable).exists() for node in nodes):
            time.sleep(0.01)
        print("running", flush=True)
        signal.pause()
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of executables for this test alone."""
    folder = tmp_path / "stand_in" / "nodes"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return folder


def write_node(package: Path, name: str, then: str = WAIT, handler: str = "end") -> NodeSpec:
    """An executable that says that it runs, does something then, and keeps how it ended."""
    (package / f"{name}.py").write_text(STAND_IN.format(name=name, then=then, handler=handler))
    return NodeSpec(name, "stand_in.settings:None", (), uses_sim_time=False)


def wait_until(path: Path, text: str = "") -> None:
    """Wait until a file is there and has a text in it."""
    end = time.monotonic() + TIME_LIMIT
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_nodes_are_stopped_in_reverse_order(package: Path) -> None:
    """The planner last started, first stopped: its last command must still arrive."""
    nodes = [write_node(package, name) for name in ("first", "second", "third")]
    with Processes(nodes, {}, use_sim_time=False, log_folder=package) as running:
        for node in nodes:
            wait_until(package / node.executable)
        running.check()
    assert (package / "ended").read_text() == "third second first "
    assert (package / "first.log").read_text() == "ready to walk\n"


def test_node_that_ended_is_told_with_its_last_words(package: Path) -> None:
    code = "print('error: there is no leg 9', file=sys.stderr); sys.exit(2)"
    nodes = [write_node(package, "first"), write_node(package, "second", code)]
    with Processes(nodes, {}, use_sim_time=False, log_folder=package) as running:
        wait_until(package / "second.log", "there is no leg 9\n")
        words = r"^second has ended with exit code 2: there is no leg 9 \(all of it: .*/second\.log\)$"
        with pytest.raises(NodeEndedError, match=words):
            for _ in iter(running.check, object()):
                time.sleep(0.01)


@pytest.mark.parametrize(("code", "all_end"), [(0, False), (1, False), (2, True)])
def test_all_end_with_a_node_that_is_not_essential_only_if_it_refuses(package: Path, code: int, all_end: bool) -> None:
    nodes = [write_node(package, "first"), replace(write_node(package, "second", f"sys.exit({code})"), essential=False)]
    with Processes(nodes, {}, use_sim_time=False, log_folder=package) as running:
        wait_until(package / "first")
        running._running[1].process.wait(TIME_LIMIT)
        if all_end:
            with pytest.raises(NodeEndedError, match=r"^second has ended with exit code 2"):
                running.check()
        else:
            running.check()
            assert running._running[0].code() is None


def test_node_that_dies_is_started_again(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [write_node(package, "first"), write_node(package, "second")]
    with Processes(nodes, {}, use_sim_time=False, log_folder=package, respawn=True) as running:
        for node in nodes:
            wait_until(package / node.executable)
        killed = running._running[0].process
        (package / "first").unlink()
        killed.kill()
        killed.wait(TIME_LIMIT)
        running.check()
        wait_until(package / "first")
        assert running._running[0].process.pid != killed.pid
        running.check()
    assert "first has ended with exit code -9: it is started again" in capsys.readouterr().err
    assert (package / "ended").read_text() == "second first "
    assert (package / "first.log").read_text() == "ready to walk\n" * 2


def test_all_end_with_a_node_that_does_not_get_going(package: Path) -> None:
    nodes = [write_node(package, "first"), write_node(package, "second", "sys.exit(1)")]
    with (
        Processes(nodes, {}, use_sim_time=False, log_folder=package, respawn=True) as running,
        pytest.raises(NodeEndedError, match=r"^second has ended with exit code 1"),
    ):
        for _ in iter(running.check, object()):
            time.sleep(0.01)
    assert (package / "second.log").read_text() == "ready to walk\n" * (TRIES + 1)


def test_node_that_does_not_listen_is_killed(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_processes, "STOP_TIME", 0.2)
    node = write_node(package, "first", handler="signal.SIG_IGN")
    with Processes([node], {}, use_sim_time=False, log_folder=package) as running:
        wait_until(package / "first")
    with pytest.raises(NodeEndedError, match=r"^first has ended with exit code -9"):
        running.check()


def test_folder_in_which_one_stands_is_not_imported_from(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = write_node(package, "first", then=f"import colorsys; print(colorsys.ONE_THIRD > 0)\n    {WAIT}")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "colorsys.py").write_text("raise RuntimeError('a file of the user')")
    monkeypatch.chdir(tmp_path / "here")
    with Processes([node], {}, use_sim_time=False, log_folder=package):
        wait_until(package / "first.log", "True\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_leaves_no_node_behind(package: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, a kill, a closed terminal: the robot must not walk on."""
    for name in ("first", "second"):
        write_node(package, name)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "running\n"
        parent.send_signal(number)
        output, errors = parent.communicate(timeout=TIME_LIMIT)
    assert (output, errors) == ("stopped\n", "")
    assert (package / "ended").read_text() == "second first "


def test_nodes_end_with_a_command_that_was_killed(package: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_node(package, name)
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "running\n"
        parent.kill()
    for name in ("first ", "second "):
        wait_until(package / "ended", name)


def test_second_signal_does_not_break_off_the_orderly_end(package: Path) -> None:
    nodes = [
        write_node(package, "first"),
        write_node(package, "second", handler="lambda *_: (time.sleep(0.5), end())"),
    ]
    running = Processes(nodes, {}, use_sim_time=False, log_folder=package)
    original = running.stop

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        original()

    running.stop = stop  # type: ignore[method-assign]
    with running:
        for node in nodes:
            wait_until(package / node.executable)
    assert (package / "ended").read_text() == "second first "


def test_handlers_are_what_they_were(package: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with Processes([], {}, use_sim_time=False):
        pass
    assert [signal.getsignal(number) for number in numbers] == before
