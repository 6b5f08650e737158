"""What the nodes would refuse, before any of them is started."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, load_robot
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
    for name in found:
        if (check := _CHECKS.get(name)) and (robot := check(found[name])):
            robots[name] = robot
        found[name] = found[name].in_use()
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


def _check_simulator(settings: Any) -> Robot:
    from mbmrl_sim.catalogue import check_simulator
    from mbmrl_sim.render import check_screen

    simulated = settings.simulator or settings.robot
    robot, _ = check_simulator(simulated, settings.rate, **settings.world)
    if settings.gui:
        check_screen()
    return robot


def _check_planner(settings: Any) -> Robot:
    from mbmrl_control.planning import PRECISIONS, RollOuts, make_planner

    robot = load_robot(settings.robot)
    settings.make_task(robot)
    settings.load_prior().check_rate(settings.rate)
    precision = settings.precision.replace("auto", PRECISIONS[1])  # which is faster, takes its time to measure
    roll_outs = RollOuts(precision, 1, settings.device)
    make_planner(settings.planner, robot, settings.sampling, 1.0 / settings.rate, roll_outs=roll_outs)
    return robot


def _check_bridge(settings: Any) -> None:
    settings.codec("host")


def _check_emulator(settings: Any) -> None:
    from mbmrl_control.hardware.emulator.emulator import default_link, hold_link
    from mbmrl_sim.catalogue import check_simulator

    settings.codec("robot")
    check_simulator(DEFAULT_ROBOT, terrain=settings.terrain, sensors=settings.sensors)
    hold_link(Path(settings.tty) if settings.tty else default_link()).close()


_CHECKS: Final[dict[str, Callable[[Any], Robot | None]]] = {
    "adaptation_node": lambda settings: load_robot(settings.robot),
    "simulator_node": _check_simulator,
    "mpc_node": _check_planner,
    "serial_bridge_node": _check_bridge,
    "emulator_node": _check_emulator,
}
"""What a node's settings do not say themselves, by its executable; returns its robot, which all have to share."""
