"""What `mbmrl doctor` finds: on this machine, and where much is missing or broken."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mbmrl_base.system.interpreter import command_of
from mbmrl_control.bringup import checkup
from mbmrl_control.bringup.checkup import Check, Finding, examine
from mbmrl_control.hardware.link import port

Run = Callable[..., tuple[int, str, str]]
SUBJECTS = {
    *("ROS 2", "workspace", "environment", "discovery range", "discovery", "simulator", "serial port", "processors"),
    *("precision", "GPU", "priority", "memory", "governor", "disk", "shared memory", "films", "camera", "screen"),
}


def test_machine_that_runs_the_stack_has_no_problem(mbmrl: Run, domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    code, output, errors = mbmrl("doctor", "--json")
    found = json.loads(output)
    assert [each for each in found if each["state"] == "problem"] == []
    assert code == 0
    assert {each["subject"] for each in found} >= SUBJECTS
    assert all(bool(each["remedy"]) == (each["state"] != "ok") for each in found)
    for each in found:
        assert f"{each['state']}  " in errors
        assert f"  {each['subject']}" in errors
    assert max(map(len, errors.splitlines())) <= 80
    assert "\x1b" not in errors


def test_machine_on_which_all_is_broken_is_looked_at_to_the_end(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("rclpy", "ament_index_python", "torch", "pybullet", "serial", "imageio_ffmpeg"):
        (broken / f"{name}.py").write_text(f"raise ImportError('libof{name}.so: no such file')")
    around = {
        **os.environ,
        "PYTHONPATH": f"{broken}:{os.environ.get('PYTHONPATH', '')}",
        "ROS_DOMAIN_ID": "home",
        "DISPLAY": ":9999",
        "PATH": "",
    }
    around.pop("HOME", None)
    around.pop("ROS_DISTRO", None)
    command = [*command_of("mbmrl_control.cli.main"), "doctor", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, env=around, cwd="/proc")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    found = [Finding(**each) for each in json.loads(result.stdout)]
    assert all(each.remedy for each in found if each.state != "ok")
    problems = " ".join(f"{each.text}." for each in found if each.state == "problem")
    for name in ("rclpy", "ament_index_python", "torch", "pybullet", "serial", "imageio_ffmpeg"):
        assert f"libof{name}.so" in problems
    assert "ROS_DOMAIN_ID is 'home': allowed is 0 to 232" in problems
    assert "runs cannot be written" in problems
    assert {"priority", "governor", "shared memory"} <= {each.subject for each in found}


def test_missing_ros_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (finding,) = checkup._ros()
    assert (finding.subject, finding.state) == ("ROS 2", "problem")
    assert "source /opt/ros/jazzy/setup.bash" in finding.remedy


@pytest.mark.parametrize("value", ["OFF", "LOCALHOST"])
def test_processes_that_do_not_find_each_other_are_told_from_those_that_do(
    domain: int, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", value)
    (finding,) = checkup._discovery()
    assert finding.state == ("problem" if value == "OFF" else "ok")
    assert ("multicast" in finding.remedy) == (value == "OFF")


def fail(*_: Any, **__: Any) -> NoReturn:
    raise PermissionError(1, "Operation not permitted")


def serial_port_of_another(patch: pytest.MonkeyPatch) -> Check:
    def refuse(name: str) -> NoReturn:
        raise port.LinkError(
            f"{name} may not be opened by this user: it is for the group dialout;"
            " `sudo usermod -a -G dialout $USER`, and a new log-in, add this user"
        )

    patch.setattr(port, "port_names", lambda: ["/dev/ttyUSB0"])
    patch.setattr(port, "check_port", refuse)
    return checkup._serial_ports


def no_priority(patch: pytest.MonkeyPatch) -> Check:
    patch.setattr(os, "sched_setscheduler", fail)
    return checkup._real_time


def one_processor(patch: pytest.MonkeyPatch) -> Check:
    patch.setattr(os, "sched_getaffinity", lambda _: {0})
    return checkup._processor


def full_disk(patch: pytest.MonkeyPatch) -> Check:
    patch.setattr(checkup.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1e7}))
    return checkup._disk


def no_ffmpeg(patch: pytest.MonkeyPatch) -> Check:
    patch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    return checkup._films


def bad_screen(patch: pytest.MonkeyPatch) -> Check:
    patch.setenv("DISPLAY", ":9999")
    return checkup._screen


@pytest.mark.parametrize(
    ("make", "state", "text", "remedy"),
    [
        (serial_port_of_another, "warning", "/dev/ttyUSB0 may not be opened", "usermod -a -G dialout"),
        (no_priority, "warning", "realtime_priority is not allowed", "rtprio"),
        (one_processor, "warning", "one for all nodes", "candidates"),
        (full_disk, "problem", "0.0 GB free", "make room"),
        (no_ffmpeg, "warning", "ffmpeg does not run", "--no-film"),
        (bad_screen, "warning", "there is no screen", "DISPLAY"),
    ],
)
def test_what_is_not_right_is_named_with_what_to_do(
    make: Callable[[pytest.MonkeyPatch], Check],
    state: str,
    text: str,
    remedy: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = next(each for each in make(monkeypatch)() if each.state != "ok")
    assert found.state == state
    assert text in found.text
    assert remedy in found.remedy


def test_check_that_fails_is_a_finding() -> None:
    (finding,) = examine(fail)
    assert (finding.subject, finding.state) == ("fail", "problem")
    assert "PermissionError" in finding.text
