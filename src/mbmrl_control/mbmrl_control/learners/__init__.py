"""Learners: rules that turn a prior and the last transitions into an adapted model."""

from __future__ import annotations

from typing import Final

import torch

from mbmrl_control.dynamics.prior import Prior, PriorError
from mbmrl_control.learners.base import Learner, NetworkLearner, Update
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

__all__ = ["LEARNERS", "LEARNER_TYPES", "Learner", "Update", "make_learner"]


def make_learner(prior: Prior) -> Learner:
    """The learner that a prior was made for.

    Raises:
        PriorError: If the prior's learner is unknown or its tensors are missing.
    """
    learner = LEARNER_TYPES.get(prior.settings.learner)
    if learner is None:
        raise PriorError(f"the prior is for the learner {prior.settings.learner!r}: allowed is {', '.join(LEARNERS)}")
    if issubclass(learner, NetworkLearner) != bool(prior.layers):
        raise PriorError(f"a prior of {learner.name} needs {'no layers' if prior.layers else 'layers of a network'}")
    try:
        made = learner(prior.layers, prior.extras)
        if not prior.layers:
            wanted = (1, prior.features.output_size)
            outputs = made.adapted_model({}).predict(torch.zeros(1, prior.features.input_size)).mean
            if outputs.shape != wanted:
                raise ValueError(f"the model of a prior of {learner.name} gives {outputs.shape[-1]} outputs")
    except (ValueError, RuntimeError) as error:
        raise PriorError(str(error)) from None
    return made
