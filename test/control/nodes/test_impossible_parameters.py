"""Parameters that the nodes refuse: exit code 2, one sentence, and nothing started."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rclpy.node import Node

from mbmrl_base.toolkit import spin
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.nodes.adaptation_node import AdaptationNode
from mbmrl_control.nodes.mpc_node import MpcNode
from mbmrl_control.nodes.serial_bridge_node import SerialBridgeNode
from ros_testing import NodeProcess

Refusal = Callable[..., str]


def shared_memory() -> set[str]:
    """Segments of Fast DDS that this process has open: each node that has not left its domain has some."""
    files = (os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink())
    return {file for file in files if "fastrtps_" in file}


@pytest.fixture
def refusal(domain: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Refusal]:
    """A function that runs a node in this process, which it must end at once; returns its sentence."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setattr(spin, "exit_within", lambda *_: None)  # it would end the tests
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def refuse(node: type[Node], *arguments: str) -> str:
        before = threading.active_count(), shared_memory()
        assert spin.run(node, ["--ros-args", *arguments]) == 2
        assert (threading.active_count(), shared_memory()) == before
        output, errors = capfd.readouterr()
        assert output == ""
        *others, sentence = errors.splitlines()
        # What rcl itself logs before it gives up is not ours.
        assert not [line for line in others if "[rcl]" not in line]
        assert sentence.startswith("error: ")
        return sentence.removeprefix("error: ")

    yield refuse
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def files(make_prior: Callable[..., Prior], tmp_path: Path) -> Path:
    """A folder of checkpoints that are not what is wanted."""
    make_prior("mb").save(tmp_path / "plain.safetensors")
    make_prior(rate=50.0).save(tmp_path / "fast.safetensors")
    make_prior("maml").save(tmp_path / "unknown.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(make_prior().to_bytes()[:500])
    (tmp_path / "text.safetensors").write_text("no model")
    return tmp_path


MODEL = [
    (
        "learner:=maml",
        "unknown learner 'maml': allowed is grbal, rebal, attention, hybrid, bayes_last_layer, bayes_replay, committee",
    ),
    ("learner:=7", "parameter 'learner' is 7: input should be a valid string"),
    ("checkpoint:={files}/none.safetensors", "there is no checkpoint {files}/none.safetensors"),
    ("checkpoint:={files}/cut.safetensors", "{files}/cut.safetensors is cut or no safetensors file"),
    ("checkpoint:={files}/text.safetensors", "{files}/text.safetensors is cut or no safetensors file"),
    ("checkpoint:={files}/unknown.safetensors", "the prior is for the learner 'maml': allowed is grbal, rebal"),
    ("colour:=red", "unknown parameter 'colour': allowed is robot, learner, checkpoint, members, autostart, threads"),
    ("threads:=0", "parameter 'threads' is 0: input should be greater than or equal to 1"),
    ("cpus:=0,one", "cpus is '0,one': wanted are numbers with commas between, such as 0,1"),
    ("cpus:='7000'", "there is no processor 7000 for this process: cpus is '7000'"),
    ("realtime_priority:=100", "parameter 'realtime_priority' is 100: input should be less than or equal to 99"),
]
PLANNER = [
    ("path:=spiral", "unknown path 'spiral': allowed is straight, left, right, zigzag, figure_eight"),
    ("planner:=lqr", "unknown planner 'lqr': allowed is mppi, cem, random_shooting"),
    ("rate:=10.0", "the prior predicts at 20 Hz, not at 10 Hz"),
    ("rate:=0.0", "parameter 'rate' is 0.0: input should be greater than or equal to 5"),
    ("rate:=-20.0", "parameter 'rate' is -20.0: input should be greater than or equal to 5"),
    ("rate:=fast", "parameter 'rate' is 'fast': input should be a valid number"),
    ("rate:=.nan", "parameter 'rate' is nan"),
    ("checkpoint:={files}/fast.safetensors", "the prior predicts at 50 Hz, not at 20 Hz"),
    ("candidates:=1", "parameter 'candidates' is 1: input should be greater than or equal to 2"),
    ("horizon:=1.5", "parameter 'horizon' is 1.5: input should be a valid integer"),
    ("speed:=7.0", "parameter 'speed' is 7: millirobot cannot go as fast, allowed is 0, to stand, or 0.1 to 0.45 m/s"),
    ("task:=dance", "unknown task 'dance': allowed is follow_path, go_to_goal, track_velocity, move_forward"),
    (
        "speed:=0.05",
        "parameter 'speed' is 0.05: millirobot cannot go as slowly, allowed is 0, to stand, or 0.1 to 0.45 m/s",
    ),
    ("device:=abacus", "the device 'abacus' is not there: Expected one of cpu, cuda"),
    ("plan_share:=1.5", "parameter 'plan_share' is 1.5: input should be less than or equal to 1"),
    ("seed:=-1", "parameter 'seed' is -1: input should be greater than or equal to 0"),
]
CASES = [*((AdaptationNode, *case) for case in MODEL), *((MpcNode, *case) for case in MODEL + PLANNER)]


@pytest.mark.parametrize(
    ("node", "argument", "sentence"), CASES, ids=[f"{node.__name__}-{argument}" for node, argument, _ in CASES]
)
def test_impossible_parameter_is_refused(
    refusal: Refusal, files: Path, node: type[Node], argument: str, sentence: str
) -> None:
    assert refusal(node, "-p", argument.format(files=files)).startswith(sentence.format(files=files))


@pytest.mark.parametrize("node", [AdaptationNode, MpcNode])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/**: {ros__parameters: {colour: red}}", "unknown parameter 'colour': allowed is robot, learner"),
        (
            "/**: {ros__parameters: {learner: {grbal: 1}}}",
            "unknown parameter 'learner.grbal': allowed is robot, learner",
        ),
        ("/**: {ros__parameters: {threads: many}}", "parameter 'threads' is 'many': input should be a valid integer"),
        ("/**: [", "the ROS arguments were refused"),
    ],
)
def test_impossible_parameter_file_is_refused(
    refusal: Refusal, tmp_path: Path, node: type[Node], text: str, sentence: str
) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(text)
    assert refusal(node, "--params-file", str(file)).startswith(sentence)


@pytest.mark.parametrize("node", [AdaptationNode, MpcNode])
def test_prior_of_another_learner_than_asked_for_is_refused(refusal: Refusal, files: Path, node: type[Node]) -> None:
    file = files / "plain.safetensors"
    sentence = refusal(node, "-p", "learner:=grbal", "-p", f"checkpoint:={file}")
    assert sentence == f"{file} is a prior of mb, wanted is one of grbal"


def test_bridge_without_its_port_is_refused(refusal: Refusal) -> None:
    sentence = refusal(SerialBridgeNode, "-p", "port:=/dev/ttyNONE")
    assert sentence.startswith("there is no port /dev/ttyNONE")


@pytest.mark.parametrize("name", ["adaptation_node", "mpc_node"])
def test_process_ends_with_one_sentence(start_node: Callable[..., NodeProcess], name: str) -> None:
    start_node(name, learner="maml").assert_refused(
        "unknown learner 'maml': allowed is grbal, rebal, attention, hybrid, bayes_last_layer, bayes_replay, committee"
    )
