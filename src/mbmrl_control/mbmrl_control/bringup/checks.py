"""What the nodes would refuse, before any of them is started."""

from __future__ import annotations

from contextlib import ExitStack

from mbmrl_base.robots.robot import Robot
from mbmrl_base.system import surroundings
from mbmrl_base.system.exclusive import hold
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.bringup.graph import NodeSpec, Values
from mbmrl_control.bringup.parameters import is_started, read_settings
from mbmrl_control.nodes.settings import ModelSettings


def check_nodes(nodes: tuple[NodeSpec, ...], values: Values) -> dict[str, NodeSettings]:
    """Check what is to run, and that no other robot does in that namespace, nor another simulator's clock.

    Returns:
        Settings that the nodes will have, by their executables; of those that are started.

    Raises:
        ValueError: If a value is not possible, or another robot runs: until a second simulator gave up, two
            planners would drive it.
    """
    surroundings.check()
    found = {spec.executable: read_settings(spec, values) for spec in nodes if is_started(spec, values)}
    robots: dict[str, Robot] = {}
    for name, settings in found.items():
        if robot := settings.check():
            robots[name] = robot
        found[name] = settings.in_use()
    for name, robot in robots.items():
        first, other = next(iter(robots.items()))
        if difference := other.difference(robot):
            raise ValueError(f"{name} is for another robot than {first}: {difference}")
    models = [settings for settings in found.values() if isinstance(settings, ModelSettings)]
    if len({settings.load_prior().hash for settings in models}) > 1:
        raise ValueError(
            "adaptation_node and mpc_node have different priors: give both the same learner and checkpoint"
        )
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
