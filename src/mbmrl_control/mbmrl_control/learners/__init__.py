"""Learners: rules that turn a prior and the last transitions into an adapted model."""

from __future__ import annotations

from typing import Final

from mbmrl_control.dynamics.prior import Prior, PriorError
from mbmrl_control.learners.base import Learner, LearnerSettings, Update
from mbmrl_control.learners.bayes import BayesLastLayer
from mbmrl_control.learners.context import Attention, Rebal
from mbmrl_control.learners.grbal import Grbal
from mbmrl_control.learners.hybrid import Hybrid
from mbmrl_control.learners.mb import DynamicEvaluation, ModelBased
from mbmrl_control.learners.replay import BayesReplay

LEARNER_TYPES: Final[dict[str, type[Learner]]] = {
    learner.name: learner
    for learner in (Grbal, Rebal, Attention, Hybrid, BayesLastLayer, BayesReplay, DynamicEvaluation, ModelBased)
}
LEARNERS: Final = tuple(LEARNER_TYPES)

__all__ = ["LEARNERS", "LEARNER_TYPES", "Learner", "LearnerSettings", "Update", "make_learner"]


def make_learner(prior: Prior) -> Learner:
    """The learner that a prior was made for.

    Raises:
        PriorError: If the prior's learner is unknown or its tensors are missing.
    """
    learner = LEARNER_TYPES.get(prior.settings.learner)
    if learner is None:
        raise PriorError(f"the prior is for the learner {prior.settings.learner!r}: allowed is {', '.join(LEARNERS)}")
    try:
        return learner(prior.layers, prior.extras)
    except ValueError as error:
        raise PriorError(str(error)) from None
