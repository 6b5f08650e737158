"""What the nodes of a graph will read as their parameters, and what they would refuse, before they are started."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory

from mbmrl_base.robots.contract.contract import load_contract
from mbmrl_base.robots.robot import Robot
from mbmrl_base.system import surroundings
from mbmrl_base.system.exclusive import hold
from mbmrl_base.system.yaml_text import YamlError, parse, read_text
from mbmrl_base.toolkit.parameters import read
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.bringup.graph import NodeSpec, Values
from mbmrl_control.nodes.settings import ModelSettings


def params_file(values: Values) -> Path:
    """The file of parameters that is meant."""
    installed = Path(get_package_share_directory("mbmrl_control")) / "config" / "mbmrl.yaml"
    return Path(values.get("params_file") or installed)


def overrides(spec: NodeSpec, values: Values) -> dict[str, Any]:
    """Parameters of a node that are given beside the file."""
    return {name: values[argument] for argument, name in spec.arguments.items() if values.get(argument) is not None}


def read_settings(spec: NodeSpec, values: Values) -> NodeSettings:
    """The settings that a node will have: its defaults, the file of parameters, and what is given.

    Raises:
        ValueError: If the file cannot be read, or the node would refuse a value.
    """
    file = params_file(values)
    node = f"{values.get('namespace') or ''}/{spec.executable}"
    found: dict[str, Any] = {}
    for pattern, parameters in _sections(file):
        if re.fullmatch(pattern, node):
            found |= parameters
    return read(spec.settings, found | overrides(spec, values))


def _sections(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Parameters in a file, after a regular expression for the full names of their nodes."""
    try:
        content = parse(read_text(file))
    except OSError as error:
        raise ValueError(f"the file of parameters {file} cannot be read: {error.strerror}") from None
    except YamlError as error:
        raise ValueError(f"the file of parameters {file} is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"the file of parameters {file} holds no nodes: wanted is NODE: {{ros__parameters: ...}}")
    yield from _sections_of("", content)


def _sections_of(name: str, content: dict[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in content.items():
        if key == "ros__parameters" and isinstance(value, dict):
            # As rcl has it: ** stands for any number of names, * for one.
            pattern = re.escape(name).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"/\w+")
            yield pattern, {str(key): each for key, each in value.items()}
        elif isinstance(value, dict):
            yield from _sections_of(f"{name}/{str(key).lstrip('/')}", value)


def implied(values: Values) -> dict[str, Any]:
    """Arguments that were not given, and follow from a contract that was: its rate.

    Raises:
        ValueError: If it is none.
    """
    if not values.get("contract") or values.get("rate") is not None:
        return {}
    return {"rate": load_contract(Path(values["contract"]).expanduser()).rate}


def check_settings(nodes: tuple[NodeSpec, ...], values: Values) -> dict[str, NodeSettings]:
    """Check what is to run.

    Returns:
        Settings that the nodes will have, by their executables; of those that are started.

    Raises:
        ValueError: If a value is not possible, or not with one of another node.
    """
    found = {spec.executable: read_settings(spec, values) for spec in nodes if spec.is_started(values)}
    robots: dict[str, Robot] = {}
    for name, settings in found.items():
        if robot := settings.check():
            robots[name] = robot
        found[name] = settings.in_use()
    for name, robot in robots.items():
        first, other = next(iter(robots.items()))
        if difference := other.difference(robot):
            spec = next(spec for spec in nodes if spec.executable == name)
            if spec.switches and "robot" not in spec.arguments.values():  # there is no other robot for it
                option = spec.switches[0][0].replace("_", "-")
                raise ValueError(f"--{option} is for the {robot.name} alone, this one is {other.name}: leave it out")
            raise ValueError(f"{name} is for another robot than {first}: {difference}")
    rates = {spec.executable: dict(found[spec.executable])["rate"] for spec in nodes if "rate" in spec.parameters}
    if values.get("contract"):
        rates = {"the contract": implied({**values, "rate": None})["rate"]} | rates
    for name, rate in rates.items():
        first, other = next(iter(rates.items()))
        if rate != other:
            raise ValueError(f"{first} runs at {other:g} Hz and {name} at {rate:g} Hz: give both the same rate")
    models = [settings for settings in found.values() if isinstance(settings, ModelSettings)]
    if len({settings.load_prior().hash for settings in models}) > 1:
        raise ValueError(
            "adaptation_node and mpc_node have different priors: give both the same learner and checkpoint"
        )
    return found


def check_nodes(nodes: tuple[NodeSpec, ...], values: Values) -> dict[str, NodeSettings]:
    """Check what is to run, and that no other robot does in that namespace, nor another simulator's clock.

    Returns:
        As of `check_settings`.

    Raises:
        ValueError: If a value is not possible, or another robot runs: until a second simulator gave up, two
            planners would drive it.
    """
    surroundings.prepare()
    found = check_settings(nodes, values)
    refusals = {}
    if "mpc_node" in found:
        refusals[f"{values.get('namespace') or ''}/robot_state"] = (
            "another robot publishes robot_state on this ROS domain: stop it, or set another ROS_DOMAIN_ID or namespace"
        )
    if clock_is_simulated(found):
        refusals["/clock"] = (
            "another simulator publishes /clock on this ROS domain: stop it, give --no-clock, or set another"
            " ROS_DOMAIN_ID"
        )
    with ExitStack() as stack:
        for topic, sentence in refusals.items():
            held = hold(f"{topic}@{surroundings.domain()}")
            if held is None:
                raise ValueError(sentence)
            stack.enter_context(held)
    return found


def clock_is_simulated(settings: dict[str, NodeSettings]) -> bool:
    """Whether a simulator among the nodes publishes /clock."""
    return bool(getattr(settings.get("simulator_node"), "publish_clock", False))
