"""The mbmrl command: what it refuses before anything is started, and what it collects."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mbmrl_base.system.exclusive import hold
from mbmrl_base.system.interpreter import command_of
from mbmrl_control.bringup.nursery import Nursery
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.training.episodes import Episode
from mbmrl_sim.millirobot import calibration
from pages import example

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def files(make_prior: Callable[..., Prior], tmp_path: Path) -> Path:
    """A folder of checkpoints that are not what is wanted."""
    make_prior("mb").save(tmp_path / "plain.safetensors")
    make_prior(rate=50.0).save(tmp_path / "fast.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(make_prior().to_bytes()[:500])
    (tmp_path / "text.safetensors").write_text("no model")
    (tmp_path / "bad.yaml").write_text("mpc_node: [")
    (tmp_path / "text.yaml").write_text("no parameters")
    (tmp_path / "spiral.yaml").write_text("/**/mpc_node: {ros__parameters: {path: spiral}}")
    (tmp_path / "fast.yaml").write_text("/**: {ros__parameters: {rate: 500}}")
    for name, values in (
        ("unknown", "{colour: red}"),
        ("planner", "{planner: lqr}"),
        ("noise", "{noise_std: [0.1, 0.2, 0.3]}"),
        ("device", "{device: abacus}"),
        ("other", "{robot: husky}"),
        ("plain", "{learner: mb}"),
    ):
        (tmp_path / f"{name}.yaml").write_text(f"/**/mpc_node: {{ros__parameters: {values}}}")
    (tmp_path / "faster.yaml").write_text("/**/simulator_node: {ros__parameters: {rate: 50}}")
    (tmp_path / "rover.yaml").write_text("{name: rover, states: [x], actions: [{name: u, low: -1.0, high: 1.0}]}")
    (tmp_path / "twice.yaml").write_text("{name: rover, states: [x, x]}")
    return tmp_path


def assert_refused(result: tuple[int, str, str], sentence: str, usage: bool = False) -> None:
    code, output, errors = result
    assert code == 2
    assert output == ""
    assert "Traceback" not in errors
    *others, last = errors.splitlines()
    assert sentence in last
    if usage:  # what Typer itself refuses comes with the usage of the command
        assert last.startswith("Error: ")
        assert others[0].startswith("Usage: mbmrl ")
    else:
        assert last.startswith("error: ")
        assert others == []


RUNS = [
    (["--path", "spiral"], "unknown path 'spiral': allowed is straight, left, right, zigzag, figure_eight"),
    (
        ["--learner", "maml"],
        "unknown learner 'maml': allowed is grbal, rebal, attention, hybrid, bayes_last_layer, bayes_replay, committee",
    ),
    (["--rate", "0"], "parameter 'rate' is 0.0: input should be greater than or equal to 5"),
    (["--rate", "-5"], "parameter 'rate' is -5.0: input should be greater than or equal to 5"),
    (["--rate", "7"], "a control rate of 7 Hz is not reachable"),
    (["--rate", "30"], "a control rate of 30 Hz is not reachable"),
    (["--rate", "nan"], "parameter 'rate' is nan: input should be a finite number"),
    (["--seed", "-1"], "parameter 'seed' is -1: input should be greater than or equal to 0"),
    (["--seed", "2147483648"], "parameter 'seed' is 2147483648: input should be less than or equal to 2147483647"),
    (["--rate", "10"], "the prior predicts at 20 Hz, not at 10 Hz"),
    (["--rate", "1000"], "parameter 'rate' is 1000.0: input should be less than or equal to 200"),
    (["--terrain", "ice"], "unknown terrain 'ice': allowed is carpet, styrofoam, turf, gravel"),
    (["--sensors", "none"], "unknown sensors 'none': allowed is ideal, real"),
    (["--sensors", "real,delay=-1"], "'delay=-1' is no imperfection"),
    (["--checkpoint", "{files}/none.safetensors"], "there is no checkpoint {files}/none.safetensors"),
    (["--checkpoint", "{files}"], "there is no checkpoint {files}"),
    (["--checkpoint", "{files}/cut.safetensors"], "{files}/cut.safetensors is cut or no safetensors file"),
    (["--checkpoint", "{files}/text.safetensors"], "{files}/text.safetensors is cut or no safetensors file"),
    (["--checkpoint", "{files}/plain.safetensors", "--learner", "grbal"], "is a prior of mb, wanted is one of grbal"),
    (["--checkpoint", "{files}/fast.safetensors"], "the prior predicts at 50 Hz, not at 20 Hz"),
]
FAULTS = [
    (["--fault", "leg_loss"], "a fault is written KIND[:VALUE,...]@T, such as leg_loss@10"),
    (["--fault", "leg_loss:4"], "a fault is written KIND[:VALUE,...]@T"),
    (["--fault", "leg_loss:four@10"], "leg_loss hits no part 'four': allowed is left_front, left_middle"),
    (["--fault", "leg_loss@-1"], "a fault is written KIND[:VALUE,...]@T"),
    (["--fault", ""], "a fault is written KIND[:VALUE,...]@T"),
    (["--fault", "rust@3"], "unknown fault kind 'rust': allowed is leg_loss"),
    (["--fault", "leg_loss:9@3"], "leg_loss hits no part '9': allowed is left_front, left_middle"),
    (["--fault", "payload:80@3"], "magnitude of payload is 80: allowed is 0.1 to 60 g"),
    (["--fault", "payload:nan@2"], "magnitude of payload is nan: allowed is 0.1 to 60 g"),
    (["--fault", "payload:-inf@2"], "magnitude of payload is -inf: allowed is 0.1 to 60 g"),
    (["--fault", "leg_loss:4@30"], "the fault at 30 s comes after the run of 30 s"),
    (["--duration", "5"], "the fault at 10 s comes after the run of 5 s"),
]
OTHERS = [
    (["sim", "--namespace", "robot 1"], "'robot 1' is no namespace: allowed are letters, digits and _, no digit first"),
    (["demo", "--namespace", "1"], "'1' is no namespace"),
    (["clear", "--namespace", "a//b"], "'a//b' is no namespace"),
    (["activate", "--namespace", "größe"], "'größe' is no namespace"),
    (["activate", "--namespace", "a" * 300], "the namespace aaaaaaaaaaaaaaaaaaaa... has 300 characters: allowed are"),
    (
        ["hardware", "--port", "/dev/null", "--pose-topic", "/" + "p" * 300],
        "has 301 characters: allowed are at most",
    ),
    (["sim", "--real-time-factor", "11"], "parameter 'real_time_factor' is 11.0: input should be less than or equal"),
    (["sim", "--params-file", "{files}/none.yaml"], "the file of parameters {files}/none.yaml cannot be read: No such"),
    (["sim", "--params-file", "{files}/bad.yaml"], "the file of parameters {files}/bad.yaml is no YAML: "),
    (["sim", "--params-file", "{files}/text.yaml"], "the file of parameters {files}/text.yaml holds no nodes"),
    (["sim", "--params-file", "{files}/spiral.yaml"], "unknown path 'spiral'"),
    (["demo", "--params-file", "{files}/fast.yaml"], "parameter 'rate' is 500: input should be less than or equal to"),
    (["sim", "--params-file", "{files}/unknown.yaml"], "unknown parameter 'colour': allowed is robot, learner"),
    (["sim", "--params-file", "{files}/planner.yaml"], "unknown planner 'lqr': allowed is mppi, cem, random_shooting"),
    (["demo", "--params-file", "{files}/noise.yaml"], "noise_std has 3 numbers: allowed is one for all actions, or"),
    (["sim", "--params-file", "{files}/device.yaml"], "the device 'abacus' is not there"),
    (
        ["sim", "--params-file", "{files}/other.yaml"],
        "mpc_node is for another robot than simulator_node: it is husky, this one is millirobot",
    ),
    (
        ["sim", "--params-file", "{files}/faster.yaml"],
        "simulator_node runs at 50 Hz and mpc_node at 20 Hz: give both the same rate",
    ),
    (["sim", "--params-file", "{files}/plain.yaml"], "adaptation_node and mpc_node have different priors: give both"),
    (
        ["sim", "--robot", "rover"],
        "no simulator of 'rover': there are those of millirobot, husky, half_cheetah, ant, or a file, *.py",
    ),
    (["sim", "--robot", "{files}/rover.yaml"], "no simulator of '{files}/rover.yaml': there are those of"),
    (
        ["hardware", "--port", "/dev/null", "--robot", "{files}/rover.yaml"],
        "parameter 'robot' is '{files}/rover.yaml': the serial bridge drives the millirobot only",
    ),
    (
        ["demo", "--robot", "husky", "--checkpoint", "{files}/plain.safetensors"],
        "{files}/plain.safetensors is for another robot: it is millirobot, this one is husky",
    ),
    (["robots", "show", "rover"], "unknown robot 'rover': allowed is millirobot"),
    (["robots", "show", "{files}/none.yaml"], "there is no robot's file {files}/none.yaml"),
    (["robots", "show", "{files}/twice.yaml"], "{files}/twice.yaml: the name 'x' stands for several states or actions"),
    (
        ["sim", "--no-clock", "--real-time-factor", "2"],
        "parameter 'real_time_factor' is 2.0: without publish_clock time is real time, only 1 is allowed",
    ),
    (["collect", "--faults", "leg_loss,rust"], "unknown fault kind 'rust'"),
    (["collect", "--parts", "0,9"], "leg_loss hits no part '9'"),
    (
        ["collect", "--robot", "tank"],
        "no simulator of 'tank': there are those of millirobot, husky, half_cheetah, ant, or a file, *.py",
    ),
    (["collect", "--terrains", "carpet,ice"], "unknown terrain 'ice'"),
    (["collect", "--sensors", "bad"], "unknown sensors 'bad'"),
    (["sim", "--camera-rate", "0.01"], "parameter 'rate' is 0.01: input should be greater than or equal to 0.1"),
    (
        ["sim", "--robot", "husky", "--camera-rate", "5"],
        "--camera-rate is for the millirobot alone, this one is husky: leave it out",
    ),
    (["sim", "--camera-rate", "-1"], "parameter 'rate' is -1.0: input should be greater than or equal to 0.1"),
    (["sim", "--bag", "{files}"], "{files} cannot be written: it exists, and a recording makes a folder of its own"),
    (["demo", "--record", "{files}"], "{files} cannot be written: it exists"),
    (["record", "--out", "{files}"], "{files} cannot be written: it exists"),
    (["record", "--out", "{files}/text.safetensors/bag"], "{files}/text.safetensors is no folder"),
    (["record", "--out", "/proc/bag"], "/proc/bag cannot be written: "),
    (["render", "{files}"], "{files} holds no run: there is no run.json"),
    (["render", "{files}/none"], "{files}/none holds no run: there is no run.json"),
    (["report", "{files}"], "{files} holds no run: there is no run.json"),
    (["render", "{files}", "--out", "walk.avi"], "a film ends in .mp4 or .gif, not 'walk.avi'"),
    (["bench", "--only", "lunch"], "unknown part 'lunch': allowed is planning, growth, neighbour, loop, page"),
    (["collect", "--rate", "0"], "a control rate of 0 Hz is not reachable"),
    (["collect", "--prior", "{files}/none.safetensors"], "there is no checkpoint {files}/none.safetensors"),
    (["collect", "--prior", "{files}/fast.safetensors"], "the prior predicts at 50 Hz, not at 20 Hz"),
    (["hardware", "--port", "x", "--pose-topic", "a b"], "'a b' is no topic: allowed are letters, digits and _"),
    (["hardware", "--port", "x", "--odometry-topic", ""], "'' is no topic"),
    (["sim", "--gui"], "there is no screen for a window: DISPLAY names none that can be opened"),
    (["train", "--set", "inner_steps=1"], "committee has no setting 'inner_steps': allowed is none"),
    (["join", "{files}/none.safetensors"], "there is no checkpoint {files}/none.safetensors"),
    (["train", "--learner", "maml"], "unknown learner 'maml': allowed is grbal, rebal"),
    (["train", "--task-set", "sped=1"], "follow_path has no setting 'sped': allowed is NAME=VALUE of speed, path"),
    (["train", "--task-set", "speed"], "the setting speed of follow_path has no value: wanted is speed=VALUE"),
    (["train", "--learner", "grbal", "--set", "psi"], "the setting psi of grbal has no value: wanted is psi=VALUE"),
    (
        ["train", "--duration", "1", "--learner", "mb"],
        "episodes of 1 s are too short for mb: its window and the future",
    ),
    (
        ["collect", "--task-set", "speed=1"],
        "--task-set speed=1: random actions do no task, a controller's --prior does",
    ),
    (["train", "--data", "x", "--rounds", "3"], "--rounds: with --data nothing is collected"),
    (["train", "--data", "x", "--task", "move_forward"], "--task: with --data nothing is collected"),
    (["evaluate", "--learners", "default,maml"], "unknown learner 'maml': allowed is grbal, rebal"),
    (["evaluate", "--learners", "mb,mb"], "the learner mb is given twice"),
    (["evaluate", "--learners", "mb,"], "'' is no name of a learner: it has letters, digits and _ only"),
    (["evaluate", "--learners", "new={files}/none.safetensors"], "there is no checkpoint {files}/none.safetensors"),
    (["evaluate", "--learners", "new={files}/cut.safetensors"], "{files}/cut.safetensors is cut or no safetensors"),
    (["evaluate", "--scenarios", "leg_loss,rust"], "unknown scenario 'rust': allowed is none, leg_loss, motor_weak"),
    (["evaluate", "--scenarios", "none,none"], "the scenario none is given twice"),
    (["evaluate", "--paths", "spiral"], "unknown path 'spiral': allowed is straight, left, right, zigzag"),
    (
        ["evaluate", "--robot", "half_cheetah", "--task", "move_forward", "--paths", "left"],
        "--paths left changes nothing with --task move_forward: leave it out",
    ),
    (["evaluate", "--paths", "left", "--set", "path=right"], "--paths left changes nothing with path=right: leave it"),
    (
        ["tune", "--task", "move_forward", "--path", "nopath"],
        "--path nopath changes nothing with --task move_forward: leave it out",
    ),
    (
        ["demo", "--task", "move_forward", "--path", "left"],
        "--path left changes nothing with --task move_forward: leave it out",
    ),
    (["evaluate", "--planner", "lqr"], "unknown planner 'lqr': allowed is mppi, cem, random_shooting, or all"),
    (["evaluate", "--fault-time", "29"], "the fault at 29 s leaves too little of a run of 30 s: allowed is 4 s to"),
    (
        ["evaluate", "--duration", "5"],
        "a run of 5 s is too short to compare what is before and after a fault: allowed is",
    ),
    (["evaluate", "--duration", "8"], "the fault at 10 s leaves too little of a run of 8 s"),
    (["collect", "--faults", ""], "--faults is empty: allowed are kinds of faults, or none"),
    (["collect", "--duration", "1", "--rate", "0.5"], "--duration 1: at 0.5 Hz that is not even one control interval"),
    (["evaluate", "--fault-time", "nan"], "the fault at nan s leaves too little of a run of 30 s"),
    (["demo", "--hardware", "--simulator", "x.py"], "--simulator changes nothing with --hardware: leave it out"),
    (["demo", "--hardware", "--no-clock"], "--no-clock changes nothing with --hardware: leave it out"),
    (["demo", "--protocol", "ascii"], "--protocol changes nothing without --hardware: leave it out"),
    (["demo", "--against", "nobody"], "unknown learner 'nobody'"),
    (["demo", "--robot", "husky", "--against", "grbal"], "no prior of grbal is shipped for the robot husky"),
    (["demo", "--out", "{files}/text.safetensors"], "{files}/text.safetensors cannot be written: "),
    (["demo", "--out", "{files}/text.safetensors/runs"], "{files}/text.safetensors is no folder"),
    (["demo", "--out", "/proc/runs"], "/proc/runs cannot be written: "),
    (["calibrate", "--out", "none/table.md"], "none/table.md cannot be written: there is no folder none"),
    (["calibrate", "--out", "/dev/null"], "/dev/null cannot be written: it is no regular file"),
    (["collect", "--out", "{files}/text.safetensors"], "{files}/text.safetensors is no folder"),
    (["train", "--out", "none/p.safetensors"], "none/p.safetensors cannot be written: there is no folder none"),
    (["train", "--out", "/proc/prior"], "/proc/prior cannot be written: no such file or directory"),
    (["train", "--out", "/dev/null"], "/dev/null cannot be written: it is no regular file"),
    (["train", "--out", "{files}"], "{files} cannot be written: it is a folder"),
    (
        ["train", "--robot", "husky", "--out", "{files}/plain.safetensors"],
        "{files}/plain.safetensors is for another robot: it is millirobot, this one is husky; give the new",
    ),
    (["train", "--work", "{files}/text.safetensors"], "{files}/text.safetensors is no folder"),
    (["train", "--data", "{files}", "--work", "/proc/work"], "/proc/work cannot be written: "),
    (["evaluate", "--work", "{files}/text.safetensors"], "{files}/text.safetensors is no folder"),
    (["evaluate", "--out", "{files}/text.safetensors"], "{files}/text.safetensors is no folder"),
    (["bench", "--only", "simulator", "--out", "{files}/text.safetensors"], "{files}/text.safetensors is no folder"),
    (["train", "--out", b"a\xff".decode(errors="surrogateescape")], "the argument b'a\\xff' is no UTF-8"),
    (["train", "--hold-out", "terrain=gravel"], "--hold-out terrain=gravel: no --data are given"),
    (["train", "--data", "x", "--hold-out", "gravel"], "--hold-out gravel: allowed is FIELD=VALUE, such as"),
    (["train", "--data", "x", "--hold-out", "terrain="], "--hold-out terrain=: allowed is FIELD=VALUE"),
    (["train", "--data", "{files}/none"], "there is no folder {files}/none"),
    (["train", "--data", "{files}"], "{files} holds no episodes: no file there ends in .npz"),
    (["model-error", "--checkpoint", "{files}/text.safetensors", "--data", "{files}"], "is cut or no safetensors file"),
    (["model-error", "--checkpoint", "{files}/fast.safetensors", "--data", "{files}"], "future, the number of steps"),
]
REFUSED = [
    *((["demo", *arguments], sentence) for arguments, sentence in RUNS + FAULTS),
    *((["sim", *arguments], sentence) for arguments, sentence in RUNS),
    *OTHERS,
]
USAGE = [
    (["train", "--duration", "inf"], "Input should be less than or equal to 600"),
    (["train", "--duration", "nan"], "'--duration': Input should be a finite number"),
    (["demo", "--duration", "nan"], "'--duration': Input should be a finite number"),
    (["evaluate", "--seeds", "1000000000"], "Input should be less than or equal to 10000"),
    (["demo", "--duration", "0"], "Invalid value for '--duration'"),
    (["demo", "--duration", "soon"], "Invalid value for '--duration'"),
    (["sim", "--seed", "one"], "Invalid value for '--seed'"),
    (["demo", "--rate", "fast"], "Invalid value for '--rate'"),
    (["demo", "--colour", "red"], "No such option: --colour"),
    (["fault", "--ramp", "four"], "Invalid value for '--ramp'"),
    (["collect", "--episodes", "0"], "Invalid value for '--episodes'"),
    (["collect", "--workers", "0"], "Invalid value for '--workers'"),
    (["train", "--steps", "0"], "Invalid value for '--steps'"),
    (["evaluate", "--seeds", "0"], "Invalid value for '--seeds'"),
    (["train", "--window", "0"], "Invalid value for '--window'"),
    (["model-error", "--data", "x"], "Missing option '--checkpoint'"),
    (["walk"], "No such command 'walk'"),
]


def start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have any start of a process fail, but for what would load modules in the background."""
    monkeypatch.setattr(subprocess, "Popen", None)
    for name in ("__init__", "stop"):
        monkeypatch.setattr(Nursery, name, lambda *_: None)


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_impossible_request_is_refused_with_one_sentence(
    mbmrl: Run, files: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    start_nothing(monkeypatch)
    monkeypatch.delenv("DISPLAY", raising=False)
    result = mbmrl(*(argument.format(files=files) for argument in arguments))
    assert_refused(result, sentence.format(files=files))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("arguments", "sentence"), USAGE, ids=[" ".join(arguments) for arguments, _ in USAGE])
def test_what_no_option_takes_is_refused(mbmrl: Run, folder: Path, arguments: list[str], sentence: str) -> None:
    assert_refused(mbmrl(*arguments), sentence, usage=True)
    assert list(folder.iterdir()) == []


def test_without_a_robot_there_is_none_to_ask(mbmrl: Run, domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    sentence = "no robot answers within 5 s: start one with `mbmrl sim`, on this ROS_DOMAIN_ID"
    assert_refused(mbmrl("clear"), sentence)


@pytest.mark.parametrize("command", [["demo", "--fault", "leg_loss:0@0"], ["sim"]], ids=["demo", "sim"])
def test_nothing_is_started_beside_another_robot(
    mbmrl: Run, folder: Path, domain: int, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """Its planner, and its fault, would be for the robot that runs already."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    start_nothing(monkeypatch)
    held = hold(f"/robot_state@{domain}")
    assert held is not None
    with held:
        assert_refused(mbmrl(*command), "another robot publishes robot_state on this ROS domain")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["demo", "sim"])
def test_second_clock_is_refused(
    mbmrl: Run, folder: Path, domain: int, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    start_nothing(monkeypatch)
    held = hold(f"/clock@{domain}")
    assert held is not None
    with held:
        result = mbmrl(command, "--namespace", "robot2")
    assert_refused(result, "another simulator publishes /clock on this ROS domain: stop it, give --no-clock")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("display", [None, "", ":9999"])
def test_nothing_is_started_without_a_screen_for_its_window(
    mbmrl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, display: str | None
) -> None:
    start_nothing(monkeypatch)
    if display is None:
        monkeypatch.delenv("DISPLAY", raising=False)
    else:
        monkeypatch.setenv("DISPLAY", display)
    assert_refused(mbmrl("sim", "--gui"), "there is no screen for a window")
    assert list(folder.iterdir()) == []


def test_home_is_meant_by_its_sign(mbmrl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves that in ``--out=~/file`` as it is."""
    monkeypatch.setenv("HOME", str(folder))
    for arguments in (("--checkpoint=~/none",), ("--checkpoint", "~/none")):
        assert_refused(mbmrl("sim", *arguments), f"there is no checkpoint {folder}/none")


def test_process_ends_with_one_sentence(folder: Path) -> None:
    command = [*command_of("mbmrl_control.cli.main"), "demo", "--path", "spiral"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert_refused((result.returncode, result.stdout, result.stderr), "unknown path 'spiral'")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "command", ["demo", "sim", "record", "hardware --port /dev/null", "emulate", "clear", "activate"]
)
@pytest.mark.parametrize("name", ["ROS_DOMAIN_ID", "RMW_IMPLEMENTATION"])
def test_surroundings_that_ros_cannot_use_are_named(
    mbmrl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    monkeypatch.setenv(name, "nonsense")
    start_nothing(monkeypatch)
    assert_refused(mbmrl(*command.split()), f"{name} is 'nonsense'")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_command_works_without_its_standard_streams(folder: Path, closed: str) -> None:
    command = f"exec {shlex.join(command_of('mbmrl_control.cli.main'))} sim --path spiral {closed}"
    result = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert ("unknown path 'spiral'" in result.stderr) == ("2>" not in closed)


def test_command_that_is_stopped_while_it_loads_ends_without_a_trace() -> None:
    command = [sys.executable, "-X", "importtime", *command_of("mbmrl_control.cli.main")[1:], "sim"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("typer.models" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert "Traceback" not in process.stderr.read()
    assert process.returncode in (-signal.SIGINT, 130)  # as of a shell, if it was just ready to start


@pytest.mark.parametrize("command", ["sim", "fault"])
def test_part_that_is_missing_is_named_with_who_knows_what_to_do(folder: Path, command: str) -> None:
    (folder / "rclpy.py").write_text("raise ImportError('librcl.so: no such file')")
    around = {**os.environ, "PYTHONPATH": f"{folder}:{os.environ['PYTHONPATH']}"}
    command_line = [*command_of("mbmrl_control.cli.main"), command]
    result = subprocess.run(command_line, capture_output=True, text=True, env=around)
    sentence = "a part is missing or broken, librcl.so: no such file: `mbmrl doctor` says what to do"
    assert_refused((result.returncode, result.stdout, result.stderr), sentence)


def test_folder_that_is_gone_is_told(folder: Path) -> None:
    folder.rmdir()
    command = [*command_of("mbmrl_control.cli.main"), "sim"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert_refused((result.returncode, result.stdout, result.stderr), "the current folder cannot be used")


@pytest.mark.parametrize(
    "command",
    ["demo", "sim", "record", "render", "report", "fault", "clear", "collect", "train", "evaluate", "model-error"],
)
def test_command_describes_itself(mbmrl: Run, command: str) -> None:
    code, output, errors = mbmrl(command, "--help")
    assert (code, errors) == (0, "")
    assert f"Usage: mbmrl {command}" in output


def test_demo_has_the_options_of_the_issue(mbmrl: Run) -> None:
    _, output, _ = mbmrl("demo", "--help")
    options = ("duration", "fault", "path", "learner", "checkpoint", "seed", "rate", "json")
    assert all(f"--{option}" in output for option in options)


def test_episodes_are_collected(mbmrl: Run, folder: Path) -> None:
    arguments = ("collect", "--episodes", "2", "--seed", "3", "--duration", "1", "--workers", "1", "--out", "data")
    code, output, errors = mbmrl(*arguments, "--json")
    assert (code, json.loads(output)) == (0, {"written": "data", "episodes": 2})
    assert "written: 2 episodes in data" in errors
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert names == ["03000000.npz", "03000001.npz"]
    assert len(Episode.load(folder / "data" / names[0]).action) == 20


def test_episodes_of_another_robot_are_not_added_to(mbmrl: Run, folder: Path) -> None:
    few = ("collect", "--episodes", "1", "--workers", "1", "--duration", "1")
    assert mbmrl(*few, "--out", "episodes")[0] == 0
    sentence = "episodes/00000000.npz is of another robot: it is millirobot, this one is husky"
    assert_refused(mbmrl(*few, "--robot", "husky", "--out", "episodes"), sentence)


def test_controller_walks_only_what_moves_on_a_plane(mbmrl: Run, folder: Path) -> None:
    file = str(example("simulator", folder / "pendulum.py"))
    few = ("collect", "--robot", file, "--episodes", "2", "--workers", "1", "--duration", "2")
    assert mbmrl(*few, "--out", "episodes")[0] == 0
    learner = ("--learner", "bayes_last_layer", "--window", "8", "--future", "4", "--steps", "1")
    assert mbmrl("train", "--data", "episodes", *learner, "--out", "prior.safetensors")[0] == 0
    assert_refused(mbmrl(*few, "--prior", "prior.safetensors", "--out", "others"), "does not move on a plane")
    assert not (folder / "others").exists()


def test_calibration_is_told_and_checked(mbmrl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks = dict(calibration.TARGETS)
    monkeypatch.setattr(calibration, "calibrate", lambda *_: iter(walks.items()))
    code, output, errors = mbmrl("calibrate", "--check", "--json", "--out", "table.md")
    assert code == 0
    assert [entry["name"] for entry in json.loads(output)["terrains"]] == list(calibration.TARGETS)
    assert "| carpet |" in errors
    assert (folder / "table.md").read_text().count("+0%") == 8
    walks["turf"] = replace(walks["turf"], path_per_rev=0.1)
    code, _, errors = mbmrl("calibrate", "--check")
    assert code == 1
    assert "off by more than 15%: turf" in errors
    assert mbmrl("calibrate")[0] == 0
