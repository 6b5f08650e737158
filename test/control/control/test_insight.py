"""What is behind a plan: the terms of its cost, and where the models expect it to lead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_control.control.controller import Controller, Outcome, Situation
from mbmrl_control.control.insight import RANKS, SHOWN, cost_terms
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.learners import make_learner
from mbmrl_control.planning import make_planner
from mbmrl_control.tasks import TASKS, make_task
from robot_testing import MILLIROBOT

MakePrior = Callable[..., Prior]
STATE = pack_state(
    [0.3, -0.2, 0.02], np.zeros(3), [0.0, 0.0, 0.4], np.zeros(3), np.zeros(2), np.zeros(2), np.zeros(2), 4.0
)


def seen(sequence: int = 1) -> Observation:
    return Observation(STATE, np.array([10.0, 10.0]), 0.05 * sequence, sequence, 0, 0.05)


@pytest.mark.parametrize("name", TASKS)
def test_terms_add_up_to_the_cost(name: str) -> None:
    settings: dict[str, Any] = {"go_to_goal": {"goal": (1.0, 0.5)}, "track_velocity": {"forward_speed": 0.2}}
    task = make_task(name, MILLIROBOT, settings.get(name), 0.05)
    task.observe(seen())
    generator = torch.Generator().manual_seed(0)
    poses = 0.1 * torch.randn(5, 9, 3, generator=generator)
    trajectories = Trajectories(torch.zeros(5, 9, 24), torch.full((5, 8, 2), 20.0), poses)
    terms = cost_terms(task, 8, trajectories)
    whole: Tensor = task.costs(8)(trajectories).mean(-1)
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(0), whole, rtol=1e-4, atol=1e-4)
    if name == "follow_path":
        assert list(terms) == ["distance", "progress", "heading"]
        assert all((term > 0).all() for term in terms.values())


@pytest.mark.parametrize("planner", ["mppi", "cem", "random_shooting"])
def test_plan_leads_from_the_robot_and_candidates_are_ordered(make_prior: MakePrior, planner: str) -> None:
    prior = make_prior("mb")
    model = make_learner(prior).adapted_model({})
    other = make_learner(make_prior("mb", seed=1)).adapted_model({})
    task = make_task("follow_path", MILLIROBOT, None, 0.05)
    controller = Controller(task, make_planner(planner, MILLIROBOT, None, 0.05), prior.normalizer)
    decision = controller.decide(Situation(seen(), model))
    assert decision.outcome is Outcome.PLANNED
    insight = controller.explain(decision, other)
    assert insight is not None
    horizon = controller.planner.settings.horizon
    assert insight.expected.shape == insight.expected_by_prior.shape == (horizon + 1, 3)
    assert insight.candidates.shape == (SHOWN, horizon + 1, 3)
    assert (np.diff(insight.costs) >= 0).all()
    # A command comes into force an interval later: until then the robot has gone on.
    assert np.linalg.norm(insight.expected[0, :2] - [0.3, -0.2]) < 0.1
    assert not np.allclose(insight.expected, insight.expected_by_prior)
    assert all(term.shape == (1 + len(RANKS),) for term in insight.terms.values())
    costs = np.array(list(insight.terms.values())).sum(0)
    assert (np.diff(costs[1:]) > 0).all()
    np.testing.assert_allclose(costs[1], insight.costs[0], rtol=0.05)
    same = controller.explain(decision, model)
    assert same is not None
    np.testing.assert_allclose(same.expected, same.expected_by_prior, atol=1e-6)


def test_what_was_not_planned_is_not_explained(make_prior: MakePrior) -> None:
    prior = make_prior("mb")
    model = make_learner(prior).adapted_model({})
    task = make_task("follow_path", MILLIROBOT, None, 0.05)
    controller = Controller(task, make_planner("mppi", MILLIROBOT, None, 0.05), prior.normalizer)
    assert controller.explain(controller.decide(Situation(None, model)), model) is None
    controller.decide(Situation(seen(), model))
    assert controller.explain(controller.decide(Situation(seen(2), model, stop="stopped")), model) is None
