"""What the controller decides in a tick, and why: with a planner that is played, and with a real one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mbmrl_base.robots.description import describe
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.control.controller import Controller, Decision, Outcome, Situation
from mbmrl_control.dynamics.model import Model, ReluNetwork
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.dynamics.rollout import roll_out
from mbmrl_control.planning import PLANNERS, Plan, make_planner, quick
from mbmrl_control.planning.mppi import Mppi, MppiSettings
from mbmrl_control.tasks import Task, make_task
from mbmrl_msgs.msg import PlannerStatus
from robot_testing import path_task, standing

MakePrior = Callable[..., Prior]
ARM = Robot(
    describe(
        {
            "name": "carriage",
            "states": [{"name": "x", "unit": "m"}, {"name": "y", "unit": "m"}, {"name": "yaw", "angle": True}, "arm"],
            "actions": [{"name": "arm_target", "low": -1.0, "high": 1.0, "safe": "arm"}],
            "planar": {"position": ["x", "y"], "heading": "yaw"},
        }
    )
)
"""A robot that is safe where it is: its safe action is the position of its arm."""


class Played(Mppi):
    """A planner that returns given plans, and keeps what it was asked with."""

    def __init__(self, robot: Robot) -> None:
        super().__init__(robot, MppiSettings(horizon=4), 0.05)
        self.plans: Iterator[Plan | None] = iter(())
        self.asked: list[dict[str, Any]] = []

    def plan(self, *given: Any, **named: Any) -> Plan | None:
        self.asked.append(dict(zip(("model", "normalizer", "state", "costs", "deadline"), given, strict=False)) | named)
        return next(self.plans)


def planned(*actions: float, tried: int = 5) -> list[Plan]:
    return [Plan(torch.tensor([[action]]), None, 1.0, tried) for action in actions]


class Steady(Model):
    """Predicts that nothing changes."""

    def predict(self, inputs: Tensor, memory: Any = None) -> Any:
        raise AssertionError("a planner that is played predicts nothing")


def observation(sequence: int, arm: float = 0.25, episode: int = 1, x: float = 0.0, action: float = 0.1) -> Observation:
    return Observation(np.array([x, 0.0, 0.0, arm]), np.array([action]), 0.05 * sequence, sequence, episode, 0.05)


@pytest.fixture
def played() -> Played:
    return Played(ARM)


@pytest.fixture
def controller(played: Played) -> Controller:
    size = torch.zeros(ARM.features.input_size), torch.ones(ARM.features.input_size)
    out = torch.zeros(ARM.features.output_size), torch.ones(ARM.features.output_size)
    task = make_task("follow_path", ARM, {"path": "straight"}, 0.05)
    return Controller(task, played, Normalizer(*size, *out), timeout=0.1)


def test_outcomes_are_those_of_the_message() -> None:
    assert {outcome.name: outcome.value for outcome in Outcome} == {
        name: getattr(PlannerStatus, name) for name in ("PLANNED", "NO_STATE", "STOPPED", "NO_FINITE_PLAN", "LAST_PLAN")
    }


GOOD = Situation(observation(7), Steady(), model_sequence=3)


@pytest.mark.parametrize(
    ("situation", "plans", "outcome", "why", "action", "numbers"),
    [
        (GOOD, planned(0.5), Outcome.PLANNED, "as planned", 0.5, (7, 3)),
        (GOOD, planned(0.5, tried=0), Outcome.LAST_PLAN, "no time", 0.5, (7, 3)),
        (GOOD, [None], Outcome.NO_FINITE_PLAN, "nothing finite", 0.25, (7, 3)),
        (replace(GOOD, stop="latched"), [], Outcome.STOPPED, "latched", 0.25, (7, 0)),
        (replace(GOOD, stop="/x and /y publish"), [], Outcome.STOPPED, "/x and /y", 0.25, (7, 0)),
        (replace(GOOD, age=0.11), [], Outcome.NO_STATE, "0.11 s old", 0.4, (0, 0)),
        (replace(GOOD, age=-5.0), [], Outcome.NO_STATE, "-5 s old", 0.4, (0, 0)),
        (replace(GOOD, observation=None), [], Outcome.NO_STATE, "no state", 0.4, (0, 0)),
        (replace(GOOD, observation=observation(7, math.nan)), [], Outcome.NO_STATE, "not finite", 0.4, (7, 0)),
        (replace(GOOD, observation=observation(7, -1e300)), [], Outcome.NO_STATE, "not finite", 0.4, (7, 0)),
        (replace(GOOD, observation=observation(7, x=50.0)), [], Outcome.NO_STATE, "believed", 0.25, (7, 0)),
        # What goes before: without a state nothing else counts.
        (replace(GOOD, age=0.11, stop="latched"), [], Outcome.NO_STATE, "old", 0.4, (0, 0)),
    ],
)
def test_decision_and_its_reason(
    controller: Controller,
    played: Played,
    situation: Situation,
    plans: list[Plan | None],
    outcome: Outcome,
    why: str,
    action: float,
    numbers: tuple[int, int],
) -> None:
    """Whatever fails, the action is the safe one of the newest state that is known: 0.4 before, 0.25 in the tick."""
    played.plans = iter([*planned(0.9), *plans])
    controller.decide(Situation(observation(6, 0.4), Steady()))
    decision = controller.decide(situation)
    assert decision.outcome == outcome
    assert why in decision.why
    assert decision.action == pytest.approx([action])
    assert (decision.state_sequence, decision.model_sequence) == numbers
    assert decision.sequence == 2
    assert list(decision.figures) == ["cross_track_m", "progress_m", "heading_error_rad", "cost"]
    known = outcome != Outcome.NO_STATE
    assert math.isfinite(decision.figures["cross_track_m"]) == known
    assert not decision.began


def test_robot_takes_the_middle_of_its_bounds_before_any_state(controller: Controller) -> None:
    decision = controller.decide(Situation(None, Steady()))
    assert (decision.outcome, decision.action) == (Outcome.NO_STATE, pytest.approx([0.0]))


def test_task_begins_anew_in_a_new_episode_and_where_the_robot_was_started_again(
    controller: Controller, played: Played
) -> None:
    played.plans = iter(planned(0.1, 0.2, 0.3, 0.4))
    decisions = [
        controller.decide(Situation(observation(sequence, episode=episode, x=x), Steady()))
        for sequence, episode, x in ((7, 1, 0.0), (8, 1, 0.1), (9, 2, 60.0), (1, 2, 90.0))
    ]
    assert [decision.began for decision in decisions] == [True, False, True, True]
    assert [decision.figures["progress_m"] for decision in decisions] == pytest.approx([0.0, 0.1, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("in_force", "pending"),
    [(4, [0.1]), (3, [0.4]), (2, [0.3, 0.4]), (0, [0.3, 0.4])],
    ids=["all came", "one is on its way", "two are", "more did not arrive"],
)
def test_plans_allow_for_commands_on_their_way(
    controller: Controller, played: Played, in_force: int, pending: list[float]
) -> None:
    played.plans = iter(planned(0.1, 0.2, 0.3, 0.4, 0.5))
    for sequence in range(1, 5):
        controller.decide(Situation(observation(sequence), Steady(), command_sequence=sequence - 1))
    controller.response.reset()
    controller.decide(Situation(observation(5), Steady(), command_sequence=in_force))
    torch.testing.assert_close(played.asked[-1]["pending"], torch.tensor(pending)[:, None])


def test_task_that_stands_takes_the_safe_action(controller: Controller, played: Played) -> None:
    controller.use(make_task("follow_path", ARM, {"path": "straight", "speed": 0.0}, 0.05))
    decision = controller.decide(GOOD)
    assert (decision.outcome, decision.why, decision.action) == (Outcome.PLANNED, "the task stands", 0.25)
    assert not played.asked


def test_other_task_begins_with_the_next_tick_and_other_settings_go_on(controller: Controller, played: Played) -> None:
    played.plans = iter(planned(*[0.1] * 9))

    def decide(sequence: int) -> Decision:
        return controller.decide(Situation(observation(sequence, x=0.1 * sequence), Steady()))

    decide(0), decide(1)
    controller.use(make_task("follow_path", ARM, {"path": "straight", "speed": 0.3}, 0.05))
    slower = decide(2)
    assert not slower.began
    assert slower.figures["progress_m"] == pytest.approx(0.2, abs=1e-6)
    assert controller.task.settings.speed == 0.3
    controller.use(make_task("follow_path", ARM, {"path": "left"}, 0.05))
    assert decide(3).began
    controller.use(make_task("go_to_goal", ARM, {"goal": [2.0, 0.0]}, 0.05))
    other = decide(4)
    assert other.began
    assert other.figures["distance_m"] == pytest.approx(1.6, abs=1e-6)


# With a real planner

SETTINGS = MppiSettings(candidates=60, horizon=6, noise_std=(6.0,), correlation=(0.6,), temperature=0.15)
POSES = [(0.0, 0.0, 0.0), (3.0, -2.0, 1.0), (-1.0, 0.5, 3.0), (0.2, 5.0, -2.0)]


def real(prior: Prior) -> Controller:
    planner = make_planner("mppi", prior.robot, SETTINGS, 0.05, 0)
    return Controller(path_task("figure_eight"), planner, prior.normalizer)


def plan_of(decision: Decision) -> Plan:
    assert decision.plan is not None
    return decision.plan


def plan_at(prior: Prior, origin: tuple[float, float, float]) -> Plan:
    """The second plan of a robot that started at an origin and is now 10 cm ahead and 2 cm beside it."""
    control, model = real(prior), ReluNetwork(prior.layers)
    cosine, sine = math.cos(origin[2]), math.sin(origin[2])
    x, y = origin[0] + cosine * 0.1 - sine * 0.02, origin[1] + sine * 0.1 + cosine * 0.02
    control.decide(Situation(standing(*origin), model))
    return plan_of(control.decide(Situation(standing(x, y, origin[2] + 0.1, 1), model, command_sequence=9)))


@pytest.mark.parametrize("origin", POSES[1:])
def test_plan_is_the_same_wherever_the_robot_is_and_looks(
    make_prior: MakePrior, origin: tuple[float, float, float]
) -> None:
    prior = make_prior()
    there, here = plan_at(prior, origin), plan_at(prior, POSES[0])
    torch.testing.assert_close(there.actions, here.actions, rtol=0, atol=1e-4)
    torch.testing.assert_close(there.poses, here.poses, rtol=0, atol=1e-4)


def test_plan_starts_from_where_the_pending_action_leads(make_prior: MakePrior) -> None:
    prior = make_prior()
    start, model = standing(0.0, 0.0, 0.0), ReluNetwork(prior.layers)
    plan = plan_of(real(prior).decide(Situation(start, model)))
    pending = torch.from_numpy(start.action).reshape(1, 1, 2)
    led_to = roll_out(prior.features, prior.normalizer, model, torch.from_numpy(start.state), pending).poses
    assert led_to is not None
    assert plan.poses is not None
    torch.testing.assert_close(plan.poses[0], led_to[0, -1].float(), rtol=0, atol=1e-4)
    assert led_to[0, -1].abs().max() > 1e-3


def test_model_that_is_prepared_is_not_packed_again(make_prior: MakePrior, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = make_prior()
    controller, model, pack, packed = real(prior), ReluNetwork(prior.layers), quick.pack, []

    def counted(normalizer: Normalizer, model: ReluNetwork, *given: Any) -> quick.Packed:
        packed.append(model)
        return pack(normalizer, model, *given)

    monkeypatch.setattr(quick, "pack", counted)
    controller.prepare(model)
    first = plan_of(controller.decide(Situation(standing(0.0, 0.0, 0.0), model)))
    assert [id(each) for each in packed] == [id(model)]
    other = ReluNetwork([(weight, bias + 0.1) for weight, bias in prior.layers])
    second = plan_of(controller.decide(Situation(standing(0.0, 0.0, 0.0, 1), other)))
    assert [id(each) for each in packed] == [id(model), id(other)]
    assert second.cost != first.cost


def test_warm_up_leaves_no_trace_but_in_the_samples(make_prior: MakePrior) -> None:
    prior = make_prior()
    warm, model = real(prior), ReluNetwork(prior.layers)
    warm.warm_up(model)
    decision = warm.decide(Situation(standing(2.0, 1.0, -1.0), model))
    assert decision.figures["progress_m"] == pytest.approx(0.0, abs=1e-6)
    assert (decision.outcome, decision.sequence) == (Outcome.PLANNED, 1)


def test_model_that_predicts_nothing_finite_ends_in_the_safe_action(make_prior: MakePrior) -> None:
    prior = make_prior()
    broken = ReluNetwork([(weight * math.nan, bias) for weight, bias in prior.layers])
    decision = real(prior).decide(Situation(standing(0.0, 0.0, 0.0), broken))
    safe: Array = np.zeros(2)
    assert (decision.outcome, decision.action.tolist()) == (Outcome.NO_FINITE_PLAN, safe.tolist())


# Whatever comes

NUMBER = st.floats() | st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf, 1e15, -9e14, 1e300])


@pytest.mark.parametrize("planner", PLANNERS)
@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(data=st.data())
def test_action_is_within_bounds_whatever_comes(make_prior: MakePrior, planner: str, data: st.DataObject) -> None:
    """States, actions, times and weights of any numbers, in any order: what is sent is what the robot accepts."""
    prior = make_prior()
    made = make_planner(planner, prior.robot, PLANNERS[planner].settings_type(candidates=20, horizon=3), 0.05, 0)
    task = make_task("follow_path", prior.robot, {"path": "straight"}, 0.05)
    control = Controller(task, made, prior.normalizer, timeout=0.1)
    for sequence in range(3):
        seen, layers = standing(0.0, 0.0, 0.0, sequence), [(w.clone(), b.clone()) for w, b in prior.layers]
        for place in data.draw(st.sets(st.integers(0, 23), max_size=2)):
            seen.state[place] = data.draw(NUMBER)
        if data.draw(st.booleans()):
            seen.action[data.draw(st.integers(0, 1))] = data.draw(NUMBER)
            layers[data.draw(st.integers(0, 2))][0][0] = data.draw(st.floats(width=32))
        seen = replace(seen, time=data.draw(NUMBER), interval=data.draw(NUMBER), sequence=data.draw(st.integers(0, 3)))
        situation = Situation(seen, ReluNetwork(layers), age=data.draw(st.just(0.0) | NUMBER))
        decision = control.decide(replace(situation, deadline=data.draw(st.sampled_from([math.inf, 0.0, math.nan]))))
        assert (prior.robot.low <= decision.action).all()
        assert (decision.action <= prior.robot.high).all()
        if decision.outcome not in (Outcome.PLANNED, Outcome.LAST_PLAN):
            assert decision.action.tolist() == [0.0, 0.0]


class Push(Task[Any]):
    """The higher the action, the better."""

    def reset(self) -> None:
        """It has no progress."""

    def observe(self, observation: Observation) -> dict[str, float] | None:
        return {"cost": math.nan}

    def costs(self, steps: int) -> Any:
        return lambda trajectories: -trajectories.actions[..., 0]


@settings(derandomize=True, deadline=None, max_examples=60, database=None)
@given(st.floats(-1e300, 1e300), st.floats(1e-6, 1e300), st.floats(-1, 1), st.sampled_from([*PLANNERS]))
@example(322961409.0, 1.0, 0.0, "mppi")
def test_action_is_within_any_bounds(low: float, width: float, gain: float, planner: str) -> None:
    """Bounds that single precision rounds to others, too."""
    assume(low < low + width)
    action = {"name": "a", "low": low, "high": low + width, "safe": "x"}
    robot = Robot(describe({"name": "any", "states": ["x"], "actions": [action]}))
    normalizer = Normalizer(torch.zeros(2), torch.ones(2), torch.zeros(1), torch.ones(1))
    made = make_planner(planner, robot, PLANNERS[planner].settings_type(candidates=20, horizon=3), 0.05, 0)
    control = Controller(Push(robot, NodeSettings(), 0.05), made, normalizer)
    model = ReluNetwork([(torch.tensor([[0.0, gain]]), torch.zeros(1))])
    seen = Observation(np.zeros(1), robot.safe_action(None), 0.0, 0, 1, 0.05)
    decision = control.decide(Situation(seen, model))
    assert (robot.low <= decision.action).all()
    assert (decision.action <= robot.high).all()
