"""A file of parameters: nodes get what it says, unless an option says otherwise; what is known of it before."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import rclpy
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

from mbmrl_control.bringup.graph import SIM, NodeSpec
from mbmrl_control.bringup.parameters import read_settings
from mbmrl_control.dynamics.prior import Prior
from ros_testing import Peer

StartCommand = Callable[..., subprocess.Popen[str]]
ASKED: Final = {
    "simulator_node": {"rate": 50.0, "seed": 7, "terrain": "turf", "sensors": "real", "real_time_factor": 0.5},
    "adaptation_node": {"learner": "mb"},
    "mpc_node": {"rate": 50.0, "seed": 8, "path": "zigzag", "learner": "mb", "planner": "cem", "horizon": 5},
}


@pytest.fixture
def file(make_prior: Callable[..., Prior], tmp_path: Path) -> Path:
    """A file in which all that the command has options for is otherwise than by default."""
    make_prior("mb", rate=50.0).save(tmp_path / "fast.safetensors")
    content = {f"/**/{node}": {"ros__parameters": dict(values)} for node, values in ASKED.items()}
    for node in ("adaptation_node", "mpc_node"):
        content[f"/**/{node}"]["ros__parameters"]["checkpoint"] = str(tmp_path / "fast.safetensors")
    file = tmp_path / "other.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def parameters(peer: Peer, running: subprocess.Popen[str], node: str, names: list[str]) -> dict[str, Any]:
    """Parameters of a running node, by a service call."""
    client = peer.node.create_client(GetParameters, f"{node}/get_parameters")
    peer.spin_until(lambda: client.service_is_ready() or running.poll() is not None)
    assert running.poll() is None, running.communicate()
    # A response may be lost before the client is known there: the question is asked again.
    futures = [client.call_async(GetParameters.Request(names=names))]
    questions = itertools.count(1)

    def answered() -> bool:
        if next(questions) % 20 == 0:
            futures.append(client.call_async(GetParameters.Request(names=names)))
        return any(future.done() and len(future.result().values) == len(names) for future in futures)

    peer.spin_until(answered)
    response = next(future.result() for future in futures if future.done() and future.result().values)
    return dict(zip(names, map(parameter_value_to_python, response.values), strict=True))


@pytest.mark.parametrize(
    ("options", "changed"),
    [((), {}), (("--path", "left", "--seed", "3"), {"path": "left", "seed": 3})],
    ids=["none", "path and seed"],
)
def test_only_options_that_are_given_override_the_file(
    start_command: StartCommand, peer: Peer, file: Path, options: tuple[str, ...], changed: dict[str, Any]
) -> None:
    running = start_command("sim", "--params-file", str(file), *options)
    for node, wanted in ASKED.items():
        given = {name: changed.get(name, value) for name, value in wanted.items()}
        assert parameters(peer, running, node, list(wanted)) == given


def mpc_node() -> NodeSpec:
    """The planner's node."""
    return next(spec for spec in SIM if spec.executable == "mpc_node")


@pytest.mark.parametrize(
    ("key", "namespace", "matches"),
    [
        ("/**", "", True),
        ("/**", "/lab/robot1", True),
        ("/**/mpc_node", "", True),
        ("/**/mpc_node", "/lab/robot1", True),
        ("/mpc_node", "", True),
        ("mpc_node", "", True),
        ("/mpc_node", "/robot1", False),
        ("/robot1/mpc_node", "/robot1", True),
        ("/*/mpc_node", "/robot1", True),
        ("/*/mpc_node", "/lab/robot1", False),
        ("/**/adaptation_node", "", False),
    ],
)
def test_sections_are_matched_as_by_the_nodes(
    domain: int, tmp_path: Path, key: str, namespace: str, matches: bool
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(yaml.safe_dump({key: {"ros__parameters": {"horizon": 5}}}))
    told = read_settings(mpc_node(), {"params_file": file, "namespace": namespace}).model_dump()["horizon"]
    assert told == (5 if matches else 16)
    context = Context()  # and as ROS itself matches them
    arguments = ["--ros-args", "--params-file", str(file), *(["-r", f"__ns:={namespace}"] if namespace else [])]
    rclpy.init(args=arguments, context=context, domain_id=domain)
    node = Node(
        "mpc_node",
        context=context,
        start_parameter_services=False,
        automatically_declare_parameters_from_overrides=True,
    )
    assert node.has_parameter("horizon") == matches
    node.destroy_node()
    context.try_shutdown()


def test_sections_of_namespaces_may_be_nested(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(yaml.safe_dump({"robot1": {"mpc_node": {"ros__parameters": {"horizon": 5}}}}))
    for namespace, horizon in (("/robot1", 5), ("", 16)):
        settings = read_settings(mpc_node(), {"params_file": file, "namespace": namespace})
        assert settings.model_dump()["horizon"] == horizon


def test_what_is_given_comes_before_the_file(file: Path) -> None:
    settings = read_settings(mpc_node(), {"params_file": file, "path": "left", "seed": None}).model_dump()
    assert (settings["path"], settings["seed"], settings["rate"]) == ("left", 8, 50.0)


KEYS = st.text("/*mpc_node(+)[]\\.{1}", max_size=12) | st.sampled_from(["/**", "mpc_node"]) | st.none() | st.integers()
VALUES = st.none() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.floats(), max_size=2)
PARAMETERS = st.dictionaries(st.sampled_from(["horizon", "path", "goal", "noise_std", 1, None, "other"]), VALUES)


@settings(derandomize=True, deadline=None, max_examples=150, database=None)
@given(st.dictionaries(KEYS, st.fixed_dictionaries({"ros__parameters": PARAMETERS | VALUES}) | VALUES, max_size=3))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: dict[Any, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump(content))
    try:
        assert 1 <= read_settings(mpc_node(), {"params_file": file}).model_dump()["horizon"] <= 200
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("key", ["(", "/mpc_node+", "mpc.node", "/(a*)*b"])
def test_name_of_a_node_is_no_regular_expression(tmp_path: Path, key: str) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(yaml.safe_dump({key: {"ros__parameters": {"horizon": 5}}}))
    assert read_settings(mpc_node(), {"params_file": file}).model_dump()["horizon"] == 16


def test_name_of_a_parameter_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text("/**: {ros__parameters: {1: 2}}")
    with pytest.raises(ValueError, match="unknown parameter '1'"):
        read_settings(mpc_node(), {"params_file": file})
