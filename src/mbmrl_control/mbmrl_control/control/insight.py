"""Why a tick decided as it did: what the models expect of the plan, and what it was chosen among."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from mbmrl_base.robots.observation import Array
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import Trajectories, roll_out
from mbmrl_control.planning import Plan, Tried
from mbmrl_control.tasks import Task

SHOWN: Final = 24
"""Candidates that are shown."""
RANKS: Final = (0.0, 0.1, 0.5)
"""Of runners-up: the cheapest candidate, one that a tenth of all are cheaper than, and one in the middle."""
_WEIGHT: Final = "_weight"
"""End of the names of settings that weigh terms of a task's cost."""


@dataclass(frozen=True)
class Insight:
    """What is behind a decision; poses are planar, x, y (m) and yaw (rad), in the frame of the states.

    Attributes:
        expected: Where the plan leads by the adapted model, shape (H + 1, 3).
        expected_by_prior: Where the same actions lead by the prior, shape (H + 1, 3).
        candidates: Where SHOWN candidates lead, or fewer, the cheapest first, shape (n, H + 1, 3).
        costs: Mean cost of a step of each, shape (n,).
        terms: Terms of the cost by name, mean of the steps: of the plan, and of candidates at RANKS, shape (4,).
    """

    expected: Array
    expected_by_prior: Array
    candidates: Array
    costs: Array
    terms: dict[str, Array]


@dataclass(frozen=True)
class Basis:
    """What a plan was made of.

    Attributes:
        model: The model.
        state: The state at the start, in the task's frame, shape (n,).
        pending: Actions in force before those that were planned, shape (p, m).
        in_force: As of `Planner.plan`.
    """

    model: Model
    state: Tensor
    pending: Tensor
    in_force: Callable[[Tensor], Tensor]


@torch.inference_mode()
def explain(
    task: Task[Any], normalizer: Normalizer, basis: Basis, prior: Model, plan: Plan, tried: Tried
) -> Insight | None:
    """What is behind a plan; None if the robot is not planar, or no candidate had a finite cost."""
    ranked = tried.costs.argsort()[: int(torch.isfinite(tried.costs).sum())]
    if tried.poses is None or not len(ranked):
        return None
    features, count = task.robot.features, len(basis.pending)
    shown = ranked[torch.linspace(0, len(ranked) - 1, min(SHOWN, len(ranked))).long()]
    runners_up = ranked[(torch.tensor(RANKS) * (len(ranked) - 1)).long()]
    actions = basis.in_force(torch.cat([plan.actions[None], tried.actions[runners_up]]))
    before = basis.pending.expand(len(actions), -1, -1)

    def lead(model: Model, number: int) -> Trajectories:
        found = roll_out(features, normalizer, model, basis.state, torch.cat([before, actions], dim=1)[:number])
        poses = None if found.poses is None else found.poses[:, count:].float()
        variance = None if found.variance is None else found.variance[:, count:]
        return Trajectories(found.states[:, count:], actions[:number], poses, variance)

    def in_states(poses: Tensor | None) -> Array:
        assert poses is not None  # where candidates have them, all trajectories have
        return task.to_states(poses.reshape(-1, 3).double().numpy()).reshape(poses.shape)

    expected = lead(basis.model, len(actions))
    return Insight(
        in_states(expected.poses)[0],
        in_states(lead(prior, 1).poses)[0],
        in_states(tried.poses[shown]),
        tried.costs[shown].numpy(),
        {name: part.numpy() for name, part in cost_terms(task, actions.shape[1] + count, expected).items()},
    )


def cost_terms(task: Task[Any], steps: int, trajectories: Trajectories) -> dict[str, Tensor]:
    """Terms of a task's cost by name, mean of the steps, shape (n,) each.

    A setting whose name ends in ``_weight`` weighs a term, in which the cost is linear; ``rest`` is what is left if
    all of them are 0.

    Args:
        task: The task, which has seen the newest observation.
        steps: As of `Task.costs`.
        trajectories: n of them.
    """
    weights = {name: 0.0 for name in type(task.settings).model_fields if name.endswith(_WEIGHT)}

    def cost(kept: dict[str, float]) -> Tensor:
        other = copy.copy(task)
        other.settings = task.settings.model_copy(update=weights | kept)
        return other.costs(steps)(trajectories).mean(-1)

    rest = cost({})
    terms = {name.removesuffix(_WEIGHT): cost({name: getattr(task.settings, name)}) - rest for name in weights}
    return terms if weights and not rest.any() else terms | {"rest": rest}
