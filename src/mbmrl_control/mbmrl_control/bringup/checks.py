"""What the nodes would refuse, before any of them is started."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.system import surroundings
from mbmrl_base.system.exclusive import hold
from mbmrl_base.toolkit.settings import refusal
from mbmrl_control.nodes.settings import PlannerSettings
from mbmrl_control.tasks.path.paths import make_path
from mbmrl_sim.catalogue import DEFAULT_TERRAIN, check_simulator


def check_run(
    learner: str | None,
    checkpoint: Path | None,
    path: str,
    rate: float,
    terrain: str = DEFAULT_TERRAIN,
    sensors: str = "ideal",
    namespace: str = "",
    clock: bool = False,
) -> str:
    """Check what is to run, and that no other robot does in that namespace, nor another simulator's clock.

    Returns:
        The learner that is meant, where None is given that of the checkpoint.

    Raises:
        ValueError: If a value is not possible, or another robot runs: until a second simulator gave up, two
            planners would drive it.
    """
    surroundings.check()
    make_path(path)
    check_simulator(DEFAULT_ROBOT, rate, terrain=terrain, sensors=sensors)
    try:
        given = PlannerSettings(learner=learner or "", checkpoint=str(checkpoint or ""), path=path, rate=rate)
    except ValidationError as error:
        raise ValueError(refusal(error)) from None
    prior = given.load_prior()
    prior.check_rate(rate)
    robot = "another robot publishes robot_state on this ROS domain: stop it, or set another ROS_DOMAIN_ID or namespace"
    refusals = {f"{namespace}/robot_state": robot}
    if clock:
        refusals["/clock"] = (
            "another simulator publishes /clock on this ROS domain: stop it, give --no-clock, or set another"
            " ROS_DOMAIN_ID"
        )
    for topic, sentence in refusals.items():
        held = hold(f"{topic}@{surroundings.domain()}")
        if held is None:
            raise ValueError(sentence)
        held.close()
    return prior.settings.learner


def check_seeing(gui: bool, camera_rate: float) -> None:
    """Check whether a window can be opened, where one is wanted, and the rate of images, Hz, where any are.

    Raises:
        ValueError: If there is no screen, or the rate is not possible.
    """
    if gui:
        from mbmrl_sim.render import check_screen

        check_screen()
    if camera_rate:
        from mbmrl_sim.nodes.camera_node import CameraSettings

        try:
            CameraSettings(rate=camera_rate)
        except ValidationError as error:
            raise ValueError(refusal(error)) from None


def check_bridge(values: Mapping[str, Any]) -> None:
    """Check parameters of the serial bridge; those that are None are not given.

    Raises:
        ValueError: If one is not possible.
    """
    from mbmrl_control.hardware.settings import BridgeSettings

    try:
        settings = BridgeSettings(**{name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise ValueError(refusal(error)) from None
    settings.codec.reset()


def check_emulator(values: Mapping[str, Any]) -> None:
    """Check parameters of the emulated robot.

    Raises:
        ValueError: If one is not possible.
    """
    from mbmrl_control.hardware.emulator.emulator import hold_link
    from mbmrl_control.hardware.settings import codec_of

    surroundings.check()
    codec_of(values["protocol"], "robot", values["profile"], values["framing"])
    check_simulator(DEFAULT_ROBOT, terrain=values["terrain"], sensors=values["sensors"])
    hold_link(Path(values["tty"])).close()
