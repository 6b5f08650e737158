"""The priors that come with the package, a file for each learner."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Final

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT

DEFAULT_LEARNER: Final = "bayes_replay"
"""The one that follows paths best after a fault: see docs/results."""


def shipped_prior(learner: str, robot: str = DEFAULT_ROBOT) -> Path:
    """File of the prior that comes with the package, for a learner and a robot; it need not be there.

    Raises:
        ValueError: If the learner is unknown.
    """
    from mbmrl_control.learners import load_learner  # it loads torch, for which a command line has no time

    name = load_learner(learner).name
    return Path(str(resources.files("mbmrl_control.priors") / robot / f"{name}.safetensors"))


def shipped_learners(robot: str) -> tuple[str, ...]:
    """Learners for which a prior of a robot comes with the package."""
    folder = resources.files("mbmrl_control.priors") / robot
    names = (file.name for file in folder.iterdir()) if folder.is_dir() else ()
    return tuple(sorted(name.removesuffix(".safetensors") for name in names if name.endswith(".safetensors")))
