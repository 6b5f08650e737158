"""The priors that come with the package, a file for each learner."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT

if TYPE_CHECKING:
    from mbmrl_base.robots.robot import Robot
    from mbmrl_control.dynamics.prior import Prior

DEFAULT_LEARNER: Final = "committee"
"""The one that follows paths best after a fault: see docs/results."""
MEMBERS: Final = "mb,attention,bayes_replay"
"""Members of a committee, if no others are given."""


def shipped_prior(learner: str, robot: str = DEFAULT_ROBOT) -> Path:
    """File of the prior that comes with the package, for a learner and a robot; it need not be there.

    Raises:
        ValueError: If the learner is unknown.
    """
    from mbmrl_control.learners import load_learner  # it loads torch, for which a command line has no time

    name = load_learner(learner).name
    return Path(str(resources.files("mbmrl_control.priors") / robot / f"{name}.safetensors"))


def load_shipped(learner: str, robot: Robot, members: str = "") -> Prior:
    """The prior that comes with the package; that of a committee is put together from its members'.

    Args:
        learner: Name or file of the learner.
        robot: The robot.
        members: Names of a committee's members, with commas between; empty: MEMBERS.

    Raises:
        ValueError: If the learner is unknown, or no prior of it comes with the package.
    """
    from mbmrl_control.dynamics.prior import PriorError, load_prior
    from mbmrl_control.learners.committee import Committee, join

    file = shipped_prior(learner, robot.name)
    if not file.is_file() and learner == Committee.name:
        names = (members or MEMBERS).split(",")
        if all(shipped_prior(name, robot.name).is_file() for name in names):
            return join([load_shipped(name, robot) for name in names])
    if not file.is_file():
        raise PriorError(
            f"no prior of {file.stem} is shipped for the robot {robot.name}: train one with `mbmrl train`, and give its"
            f" file, as the checkpoint or as {file.stem}=FILE in a comparison"
        )
    return load_prior(file, robot)


def shipped_learners(robot: str) -> tuple[str, ...]:
    """Learners for which a prior of a robot comes with the package, or those of all its members."""
    folder = resources.files("mbmrl_control.priors") / robot
    names = (file.name for file in folder.iterdir()) if folder.is_dir() else ()
    found = {name.removesuffix(".safetensors") for name in names if name.endswith(".safetensors")}
    return tuple(sorted({*found, *(["committee"] if found.issuperset(MEMBERS.split(",")) else [])}))
