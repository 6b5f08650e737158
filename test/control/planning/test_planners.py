"""The planners on a model whose best plan is known."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_control.dynamics.model import Model, ReluNetwork
from mbmrl_control.dynamics.network import Normalizer, initial_layers
from mbmrl_control.dynamics.rollout import Trajectories, roll_out
from mbmrl_control.planning import PLANNERS, Plan, Planner, RollOuts, make_planner
from mbmrl_control.planning.cem import CrossEntropySettings
from mbmrl_control.planning.rollout import BLOCK, RollOut
from mbmrl_control.tasks.path import PathCost, make_path

INTERVAL = 0.05
ROBOT = load_robot("millirobot")
INPUTS, OUTPUTS = ROBOT.features.input_size, ROBOT.features.output_size
AS_THEY_ARE = Normalizer(torch.zeros(INPUTS), torch.ones(INPUTS), torch.zeros(OUTPUTS), torch.ones(OUTPUTS))
SLOWEST, FASTEST = ROBOT.planned[0, 0], ROBOT.planned[1, 0]
SETTINGS: dict[str, Any] = {"candidates": 200, "horizon": 8, "noise_std": [6.0], "correlation": [0.6]}
TEMPERATURE = {"mppi": {"temperature": 0.15}}
COST = PathCost(speed=0.25)
WINDOW = make_path("straight").window(0.0, 1.5)
AHEAD_PER_RADIAN = 0.3 * INTERVAL / FASTEST  # 0.3 m/s at full speed
TURN_PER_RADIAN = 0.002
BESIDE = torch.tensor([0.2, 0.03, 0.2])
"""A pose beside the straight path that looks away from it."""
ASKEW = torch.tensor([0.2, 0.0, 0.3])
"""A pose on the path that looks away from it."""
every_planner = pytest.mark.parametrize("name", PLANNERS)


@pytest.fixture
def model() -> ReluNetwork:
    """A single linear layer: the mean leg speed moves the robot ahead, their difference turns it."""
    weight = torch.zeros(OUTPUTS, INPUTS)
    left, right = INPUTS - 2, INPUTS - 1
    ahead, turn = OUTPUTS - 2, ROBOT.features.predicted.index(ROBOT.state("cos_yaw"))
    weight[ahead, [left, right]] = AHEAD_PER_RADIAN / 2
    weight[turn, right], weight[turn, left] = TURN_PER_RADIAN, -TURN_PER_RADIAN
    return ReluNetwork([(weight, torch.zeros(OUTPUTS))])


def planner(name: str = "mppi", seed: int = 0, **changed: Any) -> Planner:
    settings = PLANNERS[name].settings_type(**(SETTINGS | TEMPERATURE.get(name, {}) | changed))
    return make_planner(name, ROBOT, settings, INTERVAL, seed)


def state_at(pose: Tensor) -> Tensor:
    """State of a robot that stands at a pose."""
    state = torch.zeros(len(ROBOT.state_names), dtype=torch.float64)
    state[ROBOT.features.position] = pose[:2].double()
    state[[ROBOT.state("cos_roll"), ROBOT.state("cos_pitch")]] = 1.0
    state[ROBOT.features.heading] = torch.stack([pose[2].double().cos(), pose[2].double().sin()])
    return state


def costs(trajectories: Trajectories) -> Tensor:
    assert trajectories.poses is not None
    return COST.steps(WINDOW, trajectories.poses.float(), INTERVAL)


def plan(
    planner: Planner,
    model: Model,
    pose: Tensor = BESIDE,
    deadline: float = math.inf,
    costs: Callable[[Trajectories], Tensor] = costs,
) -> Plan | None:
    return planner.plan(model, AS_THEY_ARE, state_at(pose), costs, deadline, sees_states=False)


def led_to(model: Model, pose: Tensor, actions: Tensor) -> Tensor:
    """Poses that action sequences lead to, by the reference."""
    poses = roll_out(ROBOT.features, AS_THEY_ARE, model, state_at(pose), actions).poses
    assert poses is not None
    return poses.float()


def cost_of(model: Model, actions: Tensor, pose: Tensor) -> float:
    """Cost of one action sequence."""
    return float(COST.steps(WINDOW, led_to(model, pose, actions.unsqueeze(0)), INTERVAL).mean())


def intercept(monkeypatch: pytest.MonkeyPatch, change: Callable[[RollOut, Tensor], Trajectories]) -> None:
    """Let a function see each call of a roll-out, and change what it returns."""
    ready = RollOuts.ready

    def intercepted(self: RollOuts, *given: Any, **named: Any) -> RollOut:
        return partial(change, ready(self, *given, **named))

    monkeypatch.setattr(RollOuts, "ready", intercepted)


def record(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What is rolled out from now on."""
    tried: list[Tensor] = []

    def recorded(roll_out: RollOut, actions: Tensor) -> Trajectories:
        tried.append(actions.clone())
        return roll_out(actions)

    intercept(monkeypatch, recorded)
    return tried


# The model


def test_roll_out_is_step_by_step(model: ReluNetwork) -> None:
    actions = torch.tensor([[[40.0, 40.0], [20.0, 50.0]], [[30.0, 30.0], [30.0, 30.0]]])
    poses = led_to(model, BESIDE, actions)
    assert poses.shape == (2, 3, 3)
    torch.testing.assert_close(poses[:, 0], BESIDE.expand(2, 3))
    first = BESIDE + torch.tensor([torch.cos(BESIDE[2]), torch.sin(BESIDE[2]), 0.0]) * 40 * AHEAD_PER_RADIAN
    torch.testing.assert_close(poses[0, 1], first.float())
    assert float(poses[0, 2, 2] - poses[0, 1, 2]) == pytest.approx(30 * TURN_PER_RADIAN, rel=1e-4)


# The plan


@pytest.mark.parametrize("seed", range(4))
def test_cost_falls_over_the_iterations(model: ReluNetwork, seed: int) -> None:
    search = planner("mppi", seed)
    middle = torch.full((SETTINGS["horizon"], 2), (SLOWEST + FASTEST) / 2)
    costs = [cost_of(model, middle, ASKEW)]
    for _ in range(12):
        found = plan(search, model, ASKEW)
        assert found is not None
        costs.append(cost_of(model, found.actions, ASKEW))
    assert costs[-1] < costs[1] < costs[0]
    assert costs[-1] < 0.75 * costs[0]


@every_planner
def test_plan_turns_towards_the_path(model: ReluNetwork, name: str) -> None:
    left_of_it, right_of_it = (plan(planner(name), model, torch.tensor([0.2, y, 0.0])) for y in (0.1, -0.1))
    assert left_of_it is not None
    assert right_of_it is not None
    turns = [float((found.actions[:4, 1] - found.actions[:4, 0]).mean()) for found in (left_of_it, right_of_it)]
    assert turns[0] < -1.0 < 1.0 < turns[1]


@every_planner
def test_plan_tells_the_best_candidates_poses_and_cost(model: ReluNetwork, name: str) -> None:
    found = plan(planner(name), model)
    assert found is not None
    assert found.poses is not None
    assert found.actions.shape == (SETTINGS["horizon"], 2)
    assert found.poses.shape == (SETTINGS["horizon"] + 1, 3)
    assert found.cost == pytest.approx(float(COST.steps(WINDOW, found.poses, INTERVAL).mean()), rel=1e-5)


@every_planner
def test_same_seed_same_plans(model: ReluNetwork, name: str) -> None:
    searches = planner(name, 5), planner(name, 5), planner(name, 6)
    for _ in range(3):
        first, second, other = (plan(search, model) for search in searches)
        assert first is not None
        assert second is not None
        assert other is not None
        assert torch.equal(first.actions, second.actions)
        assert first.poses is not None
        assert second.poses is not None
        assert torch.equal(first.poses, second.poses)
        assert not torch.equal(first.actions, other.actions)


@every_planner
@pytest.mark.parametrize("noise_std", [6.0, 60.0])
def test_actions_are_within_bounds(
    model: ReluNetwork, monkeypatch: pytest.MonkeyPatch, name: str, noise_std: float
) -> None:
    """Far behind the wanted speed, with the path ahead: the plan would leave the bounds if it could."""
    tried = record(monkeypatch)
    search, eager = planner(name, noise_std=[noise_std]), PathCost(heading=0.0, speed=5.0)

    def costs(trajectories: Trajectories) -> Tensor:
        assert trajectories.poses is not None
        return eager.steps(WINDOW, trajectories.poses, INTERVAL)

    fastest = 0.0
    for _ in range(8):
        found = plan(search, model, torch.tensor([0.2, 0.0, 0.0]), costs=costs)
        assert found is not None
        assert found.actions.min() >= SLOWEST - 1e-4
        assert found.actions.max() <= FASTEST + 1e-4
        fastest = max(fastest, float(found.actions.max()))
    assert fastest > 0.9 * FASTEST
    # What is judged is what the robot can do.
    low, high = torch.tensor(ROBOT.planned).float()
    assert all(((actions >= low) & (actions <= high)).all() for actions in tried)


def test_next_plan_starts_from_the_last_one_shifted(model: ReluNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = record(monkeypatch)
    search = planner()
    first, second = plan(search, model), plan(search, model)
    assert first is not None
    assert second is not None
    # The first candidate is what the others are scattered about.
    assert (tried[0][0] == tried[0][0, 0]).all()
    torch.testing.assert_close(tried[1][0], torch.cat([first.actions[1:], first.actions[-1:]]))


@every_planner
@pytest.mark.parametrize("candidates", [2, 3, 50, 203])
def test_as_many_candidates_are_tried_as_wanted(
    model: ReluNetwork, monkeypatch: pytest.MonkeyPatch, name: str, candidates: int
) -> None:
    tried = record(monkeypatch)
    assert plan(planner(name, candidates=candidates), model) is not None
    assert sum(map(len, tried)) == candidates


def test_plan_is_the_best_that_was_tried(model: ReluNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = record(monkeypatch)
    for name in ("cem", "random_shooting"):
        tried.clear()
        found = plan(planner(name), model)
        assert found is not None
        costs = [cost_of(model, actions, BESIDE) for actions in torch.cat(tried)]
        assert found.cost == pytest.approx(min(costs), rel=1e-5)
        assert cost_of(model, found.actions, BESIDE) == pytest.approx(found.cost, rel=1e-5)


def test_iterations_narrow_the_search(model: ReluNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = record(monkeypatch)
    search = planner("cem")
    plan(search, model)
    assert isinstance(search.settings, CrossEntropySettings)
    assert len(tried) == search.settings.iterations
    costs = [sum(cost_of(model, actions, BESIDE) for actions in batch) / len(batch) for batch in tried]
    assert costs == sorted(costs, reverse=True)
    assert tried[-1].std(0).mean() < 0.5 * tried[0].std(0).mean()


def test_last_elites_are_tried_again_shifted(model: ReluNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = record(monkeypatch)
    search = planner("cem")
    plan(search, model)
    costs = torch.tensor([cost_of(model, actions, BESIDE) for actions in torch.cat(tried)])
    second = torch.cat(tried)[costs.argsort()[1]]
    for reset in (False, True):
        tried.clear()
        if reset:
            search.reset()
        plan(search, model)
        assert torch.equal(tried[0][1], torch.cat([second[1:], second[-1:]])) == (not reset)


def test_unknown_planner_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown planner 'lqr': allowed is mppi, cem, random_shooting"):
        make_planner("lqr", ROBOT, None, INTERVAL)


def poses_of(roll_outs: RollOuts, model: ReluNetwork, actions: Tensor) -> Tensor:
    roll_out = roll_outs.ready(ROBOT.features, AS_THEY_ARE, model, state_at(BESIDE), actions[0, :0], sees_states=False)
    outcome = roll_outs.evaluate(roll_out, actions, lambda found: found.poses[:, -1, 0])
    assert outcome.tried == len(actions)
    assert outcome.poses is not None
    assert torch.equal(outcome.costs, outcome.poses[:, -1, 0])
    return outcome.poses


@pytest.mark.parametrize("count", [1, 7, 99, 200, BLOCK, 2 * BLOCK + 7])
def test_blocks_and_threads_change_nothing(count: int) -> None:
    """But for rounding where a block is no multiple of what the processor computes at once."""
    model = ReluNetwork(initial_layers((INPUTS, 32, 32, OUTPUTS), torch.Generator().manual_seed(0)))
    actions = torch.rand(count, 5, 2, generator=torch.Generator().manual_seed(1))
    whole = led_to(model, BESIDE, actions)
    for threads in (1, 2, 3):
        torch.testing.assert_close(poses_of(RollOuts(threads=threads), model, actions), whole)


def test_half_precision_of_the_hidden_layers_hardly_changes_where_candidates_lead() -> None:
    """Against what adapting changes: outputs of the last layer are not rounded."""
    model = ReluNetwork(initial_layers((INPUTS, 64, 64, OUTPUTS), torch.Generator().manual_seed(0)))
    actions = torch.rand(200, 8, 2, generator=torch.Generator().manual_seed(1))
    exact, rounded = (poses_of(RollOuts(kind), model, actions) for kind in ("float32", "bfloat16"))
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.03 * (exact - BESIDE).abs().max()
    assert RollOuts("auto").precision in (torch.float32, torch.bfloat16)
    with pytest.raises(ValueError, match="unknown precision 'half': allowed is auto, float32, bfloat16"):
        RollOuts("half")


# What is not finite


def corrupt(monkeypatch: pytest.MonkeyPatch, value: float, entry: tuple[int, int]) -> list[Tensor]:
    """Let the model predict a value that is no number for fast candidates; returns the costs of the others."""
    kept: list[Tensor] = []

    def corrupted(roll_out: RollOut, actions: Tensor) -> Trajectories:
        found = roll_out(actions)
        assert found.poses is not None
        fast = actions.mean((1, 2)) > actions.mean()
        kept.append(COST.steps(WINDOW, found.poses[~fast], INTERVAL).mean(1))
        found.poses[fast, entry[0], entry[1]] = value
        return found

    intercept(monkeypatch, corrupted)
    return kept


@every_planner
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("entry", [(1, 0), (8, 1), (4, 2)], ids=["first x", "last y", "middle yaw"])
def test_candidates_that_are_not_finite_never_win(
    model: ReluNetwork, monkeypatch: pytest.MonkeyPatch, name: str, value: float, entry: tuple[int, int]
) -> None:
    kept = corrupt(monkeypatch, value, entry)
    search = planner(name)
    for _ in range(3):
        kept.clear()
        found = plan(search, model)
        assert found is not None
        assert torch.isfinite(found.actions).all()
        assert found.poses is not None
        assert torch.isfinite(found.poses).all()
        assert found.cost == pytest.approx(float(torch.cat(kept).min()), rel=1e-5)


@every_planner
@pytest.mark.parametrize("distance", [1e10, 1e20, 1e35])
def test_model_that_diverges_gives_finite_actions(
    model: ReluNetwork, monkeypatch: pytest.MonkeyPatch, name: str, distance: float
) -> None:
    """Costs near the limit of single precision, some beyond it: their squares are far beyond it."""

    def diverging(roll_out: RollOut, actions: Tensor) -> Trajectories:
        found = roll_out(actions)
        assert found.poses is not None
        found.poses[:, -1, 1] = distance * actions.mean((1, 2))
        found.poses[::3, -1, 1] = torch.inf
        return found

    intercept(monkeypatch, diverging)
    search = planner(name)
    for _ in range(3):
        found = plan(search, model)
        assert found is not None
        assert torch.isfinite(found.actions).all()


@every_planner
def test_nothing_finite_gives_no_plan_and_forgets_the_last_one(model: ReluNetwork, name: str) -> None:
    weight, bias = model.layers[0]
    broken = ReluNetwork([(torch.full_like(weight, torch.nan), bias)])
    walked, fresh = planner(name, 3), planner(name, 3)
    assert plan(walked, model) is not None
    assert plan(walked, broken) is None
    # The other one has drawn as many samples, and has nothing to forget.
    assert plan(fresh, broken) is None
    assert plan(fresh, broken) is None
    after, expected = plan(walked, model), plan(fresh, model)
    assert after is not None
    assert expected is not None
    assert torch.equal(after.actions, expected.actions)


# A deadline


def slow_down(monkeypatch: pytest.MonkeyPatch, clock: list[float], pace: float) -> dict[str, float]:
    """Let each candidate take a time, s, on a clock that roll-outs turn; it can be changed as ``pace``."""
    given = {"pace": pace}

    def slow(roll_out: RollOut, actions: Tensor) -> Trajectories:
        clock[0] += given["pace"] * len(actions)
        return roll_out(actions)

    intercept(monkeypatch, slow)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    return given


@every_planner
def test_plan_with_time_enough_is_the_same(model: ReluNetwork, name: str) -> None:
    free, timed = planner(name, 1), planner(name, 1)
    for _ in range(3):
        first, second = plan(free, model), plan(timed, model, BESIDE, time.monotonic() + 1e3)
        assert first is not None
        assert second is not None
        assert torch.equal(first.actions, second.actions)
        assert first.tried == second.tried == SETTINGS["candidates"]


@every_planner
def test_best_so_far_is_taken_when_the_deadline_nears(
    model: ReluNetwork, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clock = [100.0]
    search = planner(name, candidates=4 * BLOCK, horizon=4)
    slow_down(monkeypatch, clock, 1e-3)
    assert plan(search, model, BESIDE, math.inf) is not None
    start = clock[0]
    found = plan(search, model, BESIDE, start + 2.6e-3 * BLOCK)
    assert found is not None
    assert found.tried == 2 * BLOCK
    assert clock[0] <= start + 2.6e-3 * BLOCK
    assert torch.isfinite(found.actions).all()
    assert math.isfinite(found.cost)


@every_planner
def test_last_plan_is_the_fall_back_as_long_as_it_reaches(
    model: ReluNetwork, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clock = [100.0]
    slow_down(monkeypatch, clock, 1e-3)
    search = planner(name)
    # Nothing to fall back on.
    assert plan(search, model, BESIDE, clock[0] - 1.0) is None
    last = plan(search, model, BESIDE, math.inf)
    assert last is not None
    for step in range(1, SETTINGS["horizon"]):
        found = plan(search, model, BESIDE, clock[0] - 1.0)
        assert found is not None
        assert found.tried == 0
        assert math.isnan(found.cost)
        assert torch.equal(found.actions[0], last.actions[step])
    assert plan(search, model, BESIDE, clock[0] - 1.0) is None


def test_block_that_was_held_up_does_not_end_all_plans(model: ReluNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    paced = slow_down(monkeypatch, clock, 10.0)
    search = planner()
    assert plan(search, model, BESIDE, math.inf) is not None
    paced["pace"] = 1e-6
    tried = [
        found.tried for _ in range(SETTINGS["horizon"] * 10) if (found := plan(search, model, BESIDE, clock[0] + 1.0))
    ]
    assert tried[-1] > 0


@pytest.mark.parametrize(("pace", "expected"), [(1e-3, 200), (4e-3, 176), (40e-3, 50)])
def test_candidates_are_as_many_as_fit_within_bounds(
    model: ReluNetwork, monkeypatch: pytest.MonkeyPatch, pace: float, expected: int
) -> None:
    """In 0.8 s, of which 10 % are kept free; a fast machine has all."""
    clock = [100.0]
    slow_down(monkeypatch, clock, pace)
    search = planner(min_candidates=50)
    for _ in range(100):
        plan(search, model, BESIDE, clock[0] + 0.8)
    assert search.budget.count == pytest.approx(expected, rel=0.15)
