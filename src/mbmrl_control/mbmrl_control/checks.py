"""What the nodes would refuse, before any of them is started."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from mbmrl_control.settings import PlannerSettings
from mbmrl_control.tasks.paths import make_path
from mbmrl_sim.exclusive import hold
from mbmrl_sim.sensors import make_sensors
from mbmrl_sim.settings import refusal
from mbmrl_sim.terrain import check_terrain
from mbmrl_sim.world import substeps


def check_run(learner: str | None, checkpoint: Path | None, path: str, rate: float, terrain: str, sensors: str) -> str:
    """Check what is to run, and that no other robot does.

    Returns:
        The learner that is meant, where None is given that of the checkpoint.

    Raises:
        ValueError: If a value is not possible, or another robot runs: until a second simulator gave up, two
            planners would drive it.
    """
    make_path(path)
    check_terrain(terrain)
    make_sensors(sensors)
    substeps(rate)
    try:
        given = PlannerSettings(learner=learner or "", checkpoint=str(checkpoint or ""), path=path, rate=rate)
    except ValidationError as error:
        raise ValueError(refusal(error)) from None
    prior = given.load_prior()
    prior.check_rate(rate)
    held = hold(f"/robot_state@{os.environ.get('ROS_DOMAIN_ID') or 0}")
    if held is None:
        raise ValueError(
            "another robot publishes robot_state on this ROS domain: stop it, or set another ROS_DOMAIN_ID"
        )
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
        from mbmrl_sim.camera_node import CameraSettings

        try:
            CameraSettings(rate=camera_rate)
        except ValidationError as error:
            raise ValueError(refusal(error)) from None
