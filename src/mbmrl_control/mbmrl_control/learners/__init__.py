"""Learners: rules that turn a prior and the last transitions into an adapted model."""

from __future__ import annotations

from typing import Final

import torch

from mbmrl_base.system.plugins import PluginError, class_of
from mbmrl_control.dynamics.prior import Prior, PriorError
from mbmrl_control.learners.base import Learner, NetworkLearner, Update
from mbmrl_control.learners.bayes import BayesLastLayer
from mbmrl_control.learners.committee import Committee
from mbmrl_control.learners.context import Attention, Rebal
from mbmrl_control.learners.grbal import Grbal
from mbmrl_control.learners.hybrid import Hybrid
from mbmrl_control.learners.mb import DynamicEvaluation, ModelBased
from mbmrl_control.learners.replay import BayesReplay

LEARNER_TYPES: Final[dict[str, type[Learner]]] = {
    learner.name: learner
    for learner in (
        *(Grbal, Rebal, Attention, Hybrid, BayesLastLayer, BayesReplay, Committee, DynamicEvaluation, ModelBased),
    )
}
LEARNERS: Final = tuple(LEARNER_TYPES)
LEARNER_FILES: Final[dict[str, str]] = {}
"""Files of learners that do not come with the package, by their names."""

__all__ = [
    "LEARNERS",
    "LEARNER_FILES",
    "LEARNER_TYPES",
    "Learner",
    "NetworkLearner",
    "Update",
    "load_learner",
    "make_learner",
]


def load_learner(given: str) -> type[Learner]:
    """A learner by its name, or by its file; that of a file is known by its name from then on.

    Args:
        given: A name of `LEARNER_TYPES`, or a Python file, ``*.py``, whose ``learner()`` returns a class of them.

    Raises:
        ValueError: If there is none.
    """
    if given in LEARNER_TYPES:
        return LEARNER_TYPES[given]
    found = class_of(given, "learner", LEARNER_TYPES, Learner)  # type: ignore[type-abstract]
    if found.name in LEARNERS:
        raise PluginError(f"{given}: the name {found.name!r} is that of a learner that comes with the package")
    LEARNER_TYPES[found.name], LEARNER_FILES[found.name] = found, given
    return found


def make_learner(prior: Prior) -> Learner:
    """The learner that a prior was made for.

    Raises:
        PriorError: If the prior's learner is unknown or its tensors are missing.
    """
    learner = LEARNER_TYPES.get(prior.settings.learner)
    if learner is None:
        raise PriorError(
            f"the prior is for the learner {prior.settings.learner!r}: allowed is {', '.join(LEARNER_TYPES)}"
        )
    if issubclass(learner, NetworkLearner) != bool(prior.layers):
        raise PriorError(f"a prior of {learner.name} needs {'no layers' if prior.layers else 'layers of a network'}")
    try:
        made = learner(prior.layers, prior.extras)
        for member in () if prior.layers else made.members:
            outputs = member.adapted_model({}).predict(torch.zeros(1, prior.features.input_size)).mean
            if outputs.shape != (1, prior.features.output_size):
                raise ValueError(f"the model of a prior of {member.name} gives {outputs.shape[-1]} outputs")
    except (ValueError, RuntimeError) as error:
        raise PriorError(str(error)) from None
    return made
