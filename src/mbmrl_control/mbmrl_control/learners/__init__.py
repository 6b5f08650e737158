"""Learners: rules that turn a prior and the last transitions into an adapted model."""

from __future__ import annotations

from typing import Final

from mbmrl_control.dynamics.prior import Prior, PriorError
from mbmrl_control.learners.base import Learner, Update
from mbmrl_control.learners.grbal import Grbal, psi_of
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
    try:
        return Grbal(prior.layers, psi_of(prior.extras, prior.layers))
    except ValueError as error:
        raise PriorError(str(error)) from None
