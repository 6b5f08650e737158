"""Learners: rules that turn a prior and the last transitions into an adapted model."""

from __future__ import annotations

from typing import Final

from mbmrl_control.dynamics.prior import Prior, PriorError
from mbmrl_control.learners.base import Learner, Update
from mbmrl_control.learners.grbal import Grbal
from mbmrl_control.learners.mb import ModelBased

LEARNERS: Final = (Grbal.name, ModelBased.name)

__all__ = ["LEARNERS", "Learner", "Update", "make_learner"]


def make_learner(prior: Prior) -> Learner:
    """The learner that a prior was made for.

    Raises:
        PriorError: If the prior's learner is unknown or its tensors are missing.
    """
    name = prior.settings.learner
    if name == ModelBased.name:
        return ModelBased(prior.layers)
    if name != Grbal.name:
        raise PriorError(f"the prior is for the learner {name!r}: allowed is {', '.join(LEARNERS)}")
    psi = prior.extras.get("psi")
    if psi is None or psi.ndim != 2 or psi.shape[1] != len(prior.layers):
        raise PriorError(f"a prior of grbal needs step sizes psi for {len(prior.layers)} layers")
    return Grbal(prior.layers, psi)
