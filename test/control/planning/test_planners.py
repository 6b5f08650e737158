"""The planners on a model whose best plan is known."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mbmrl_base.robots.millirobot.features import BODY_SIZE, INPUT_SIZE, OUTPUT_SIZE
from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED, MIN_LEG_SPEED
from mbmrl_control.dynamics.network import Layers, initial_layers
from mbmrl_control.planning import PLANNERS, Plan, Planner, SamplingSettings, make_planner, rollout
from mbmrl_control.planning.rollout import BLOCK, Packed, RollOuts, roll_out
from mbmrl_control.tasks.path.cost import PathCost
from mbmrl_control.tasks.path.paths import make_path

INTERVAL = 0.05
SETTINGS = SamplingSettings(candidates=200, horizon=8, deviation=6.0, correlation=0.6, temperature=0.15)
COST = PathCost(speed=0.25)
AHEAD_PER_RADIAN = 0.3 * INTERVAL / MAX_LEG_SPEED  # 0.3 m/s at full speed
TURN_PER_RADIAN = 0.002
BODY = torch.zeros(BODY_SIZE)
BESIDE = torch.tensor([0.2, 0.03, 0.2])
"""A pose beside the straight path that looks away from it."""
ASKEW = torch.tensor([0.2, 0.0, 0.3])
"""A pose on the path that looks away from it."""
every_planner = pytest.mark.parametrize("name", PLANNERS)


@pytest.fixture
def model() -> Layers:
    """A single linear layer: the mean leg speed moves the robot ahead, their difference turns it."""
    weight = torch.zeros(OUTPUT_SIZE, INPUT_SIZE)
    left, right = BODY_SIZE, BODY_SIZE + 1
    ahead, turn = 19, 6
    weight[ahead, [left, right]] = AHEAD_PER_RADIAN / 2
    weight[turn, right], weight[turn, left] = TURN_PER_RADIAN, -TURN_PER_RADIAN
    return [(weight, torch.zeros(OUTPUT_SIZE))]


def planner(name: str = "mppi", seed: int = 0, settings: SamplingSettings = SETTINGS) -> Planner:
    return make_planner(name, settings, COST, INTERVAL, seed)


def plan(planner: Planner, model: Layers, pose: Tensor = BESIDE) -> Plan | None:
    return planner.plan(model, BODY, pose, make_path("straight").window(0.0, 1.5))


def cost_of(model: Layers, actions: Tensor, pose: Tensor) -> float:
    """Cost of one action sequence."""
    poses, _ = roll_out(model, BODY, pose, actions.unsqueeze(0))
    return float(COST.steps(make_path("straight").window(0.0, 1.5), poses, INTERVAL).mean())


def record(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What is rolled out from now on."""
    tried: list[Tensor] = []

    def recorded(packed: Packed, body: Tensor, pose: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        tried.append(actions.clone())
        return roll_out(packed, body, pose, actions)

    monkeypatch.setattr(rollout, "roll_out", recorded)
    return tried


# The model


def test_roll_out_is_step_by_step(model: Layers) -> None:
    actions = torch.tensor([[[40.0, 40.0], [20.0, 50.0]], [[30.0, 30.0], [30.0, 30.0]]])
    poses, bodies = roll_out(model, BODY, BESIDE, actions)
    assert (poses.shape, bodies.shape) == ((2, 3, 3), (2, BODY_SIZE))
    assert torch.equal(poses[:, 0], BESIDE.expand(2, 3))
    first = BESIDE + torch.tensor([torch.cos(BESIDE[2]), torch.sin(BESIDE[2]), 0.0]) * 40 * AHEAD_PER_RADIAN
    torch.testing.assert_close(poses[0, 1], first)
    assert float(poses[0, 2, 2] - poses[0, 1, 2]) == pytest.approx(30 * TURN_PER_RADIAN, rel=1e-4)


# The plan


@pytest.mark.parametrize("seed", range(4))
def test_cost_falls_over_the_iterations(model: Layers, seed: int) -> None:
    search = planner("mppi", seed)
    middle = torch.full((SETTINGS.horizon, 2), (MIN_LEG_SPEED + MAX_LEG_SPEED) / 2)
    costs = [cost_of(model, middle, ASKEW)]
    for _ in range(12):
        found = plan(search, model, ASKEW)
        assert found is not None
        costs.append(cost_of(model, found.actions, ASKEW))
    assert costs[-1] < costs[1] < costs[0]
    assert costs[-1] < 0.75 * costs[0]


@every_planner
def test_plan_turns_towards_the_path(model: Layers, name: str) -> None:
    left_of_it, right_of_it = (plan(planner(name), model, torch.tensor([0.2, y, 0.0])) for y in (0.1, -0.1))
    assert left_of_it is not None
    assert right_of_it is not None
    turns = [float((found.actions[:4, 1] - found.actions[:4, 0]).mean()) for found in (left_of_it, right_of_it)]
    assert turns[0] < -1.0 < 1.0 < turns[1]


@every_planner
def test_plan_tells_the_best_candidates_poses_and_cost(model: Layers, name: str) -> None:
    found = plan(planner(name), model)
    assert found is not None
    assert found.actions.shape == (SETTINGS.horizon, 2)
    assert found.poses.shape == (SETTINGS.horizon + 1, 3)
    window = make_path("straight").window(0.0, 1.5)
    assert found.cost == pytest.approx(float(COST.steps(window, found.poses, INTERVAL).mean()), rel=1e-5)


@every_planner
def test_same_seed_same_plans(model: Layers, name: str) -> None:
    searches = planner(name, 5), planner(name, 5), planner(name, 6)
    for _ in range(3):
        first, second, other = (plan(search, model) for search in searches)
        assert first is not None
        assert second is not None
        assert other is not None
        assert torch.equal(first.actions, second.actions)
        assert torch.equal(first.poses, second.poses)
        assert not torch.equal(first.actions, other.actions)


@every_planner
@pytest.mark.parametrize("deviation", [6.0, 60.0])
def test_actions_are_within_bounds(model: Layers, monkeypatch: pytest.MonkeyPatch, name: str, deviation: float) -> None:
    """Far behind the wanted speed, with the path ahead: the plan would leave the bounds if it could."""
    tried = record(monkeypatch)
    search = planner(name, 0, replace(SETTINGS, deviation=deviation))
    search.cost = PathCost(heading=0.0, speed=5.0)
    fastest = 0.0
    for _ in range(8):
        found = plan(search, model, torch.tensor([0.2, 0.0, 0.0]))
        assert found is not None
        assert found.actions.min() >= MIN_LEG_SPEED - 1e-4
        assert found.actions.max() <= MAX_LEG_SPEED + 1e-4
        fastest = max(fastest, float(found.actions.max()))
    assert fastest > 0.9 * MAX_LEG_SPEED
    # What is judged is what the robot can do.
    assert all(actions.min() >= MIN_LEG_SPEED and actions.max() <= MAX_LEG_SPEED for actions in tried)


def test_next_plan_starts_from_the_last_one_shifted(model: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
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
    model: Layers, monkeypatch: pytest.MonkeyPatch, name: str, candidates: int
) -> None:
    tried = record(monkeypatch)
    assert plan(planner(name, settings=replace(SETTINGS, candidates=candidates)), model) is not None
    assert sum(map(len, tried)) == candidates


def test_plan_is_the_best_that_was_tried(model: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = record(monkeypatch)
    for name in ("cem", "random_shooting"):
        tried.clear()
        found = plan(planner(name), model)
        assert found is not None
        costs = [cost_of(model, actions, BESIDE) for actions in torch.cat(tried)]
        assert found.cost == pytest.approx(min(costs), rel=1e-5)
        assert cost_of(model, found.actions, BESIDE) == pytest.approx(found.cost, rel=1e-5)


def test_iterations_narrow_the_search(model: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = record(monkeypatch)
    plan(planner("cem"), model)
    assert len(tried) == SETTINGS.iterations
    costs = [sum(cost_of(model, actions, BESIDE) for actions in batch) / len(batch) for batch in tried]
    assert costs == sorted(costs, reverse=True)
    assert tried[-1].std(0).mean() < 0.5 * tried[0].std(0).mean()


def test_last_elites_are_tried_again_shifted(model: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
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
        planner("lqr")


def poses_of(roll_outs: RollOuts, layers: Layers, actions: Tensor) -> Tensor:
    outcome = roll_outs.evaluate(layers, BODY, BESIDE, actions, lambda poses: poses[:, -1, 0])
    assert outcome.tried == len(actions)
    assert torch.equal(outcome.costs, outcome.poses[:, -1, 0])
    return outcome.poses


@pytest.mark.parametrize("count", [1, 7, 99, 200, BLOCK, 2 * BLOCK + 7])
def test_blocks_and_threads_change_nothing(count: int) -> None:
    """But for rounding where a block is no multiple of what the processor computes at once."""
    layers = initial_layers((INPUT_SIZE, 32, 32, OUTPUT_SIZE), torch.Generator().manual_seed(0))
    actions = torch.rand(count, 5, 2, generator=torch.Generator().manual_seed(1))
    whole, _ = roll_out(layers, BODY, BESIDE, actions)
    for threads in (1, 2, 3):
        torch.testing.assert_close(poses_of(RollOuts(threads=threads), layers, actions), whole)


def test_half_precision_of_the_hidden_layers_hardly_changes_where_candidates_lead() -> None:
    """Against what adapting changes: outputs of the last layer are not rounded."""
    layers = initial_layers((INPUT_SIZE, 64, 64, OUTPUT_SIZE), torch.Generator().manual_seed(0))
    actions = torch.rand(200, 8, 2, generator=torch.Generator().manual_seed(1))
    exact, rounded = (poses_of(RollOuts(kind), layers, actions) for kind in ("float32", "bfloat16"))
    assert not torch.equal(rounded, exact)
    assert (rounded - exact).abs().max() < 0.03 * (exact - BESIDE).abs().max()
    assert RollOuts("auto").precision in (torch.float32, torch.bfloat16)
    with pytest.raises(ValueError, match="unknown precision 'half': allowed is auto, float32, bfloat16"):
        RollOuts("half")


# What is not finite


def corrupt(monkeypatch: pytest.MonkeyPatch, value: float, entry: tuple[int, int]) -> list[Tensor]:
    """Let the model predict a value that is no number for fast candidates; returns the costs of the others."""
    kept: list[Tensor] = []

    def corrupted(packed: Packed, body: Tensor, pose: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        poses, bodies = roll_out(packed, body, pose, actions)
        fast = actions.mean((1, 2)) > actions.mean()
        window = make_path("straight").window(0.0, 1.5)
        kept.append(COST.steps(window, poses[~fast], INTERVAL).mean(1))
        poses[fast, entry[0], entry[1]] = value
        return poses, bodies

    monkeypatch.setattr(rollout, "roll_out", corrupted)
    return kept


@every_planner
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("entry", [(1, 0), (8, 1), (4, 2)], ids=["first x", "last y", "middle yaw"])
def test_candidates_that_are_not_finite_never_win(
    model: Layers, monkeypatch: pytest.MonkeyPatch, name: str, value: float, entry: tuple[int, int]
) -> None:
    kept = corrupt(monkeypatch, value, entry)
    search = planner(name)
    for _ in range(3):
        kept.clear()
        found = plan(search, model)
        assert found is not None
        assert torch.isfinite(found.actions).all()
        assert torch.isfinite(found.poses).all()
        assert found.cost == pytest.approx(float(torch.cat(kept).min()), rel=1e-5)


@every_planner
@pytest.mark.parametrize("distance", [1e10, 1e20, 1e35])
def test_model_that_diverges_gives_finite_actions(
    model: Layers, monkeypatch: pytest.MonkeyPatch, name: str, distance: float
) -> None:
    """Costs near the limit of single precision, some beyond it: their squares are far beyond it."""

    def diverging(packed: Packed, body: Tensor, pose: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        poses, bodies = roll_out(packed, body, pose, actions)
        poses[:, -1, 1] = distance * actions.mean((1, 2))
        poses[::3, -1, 1] = torch.inf
        return poses, bodies

    monkeypatch.setattr(rollout, "roll_out", diverging)
    search = planner(name)
    for _ in range(3):
        found = plan(search, model)
        assert found is not None
        assert torch.isfinite(found.actions).all()


@every_planner
def test_nothing_finite_gives_no_plan_and_forgets_the_last_one(model: Layers, name: str) -> None:
    broken = [(torch.full_like(model[0][0], torch.nan), model[0][1])]
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


def plan_by(search: Planner, model: Layers, deadline: float) -> Plan | None:
    return search.plan(model, BODY, BESIDE, make_path("straight").window(0.0, 1.5), deadline)


def slow_down(monkeypatch: pytest.MonkeyPatch, clock: list[float], pace: float) -> None:
    """Let each candidate take a time, s, on a clock that roll-outs turn."""

    def slow(packed: Packed, body: Tensor, pose: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        clock[0] += pace * len(actions)
        return roll_out(packed, body, pose, actions)

    monkeypatch.setattr(rollout, "roll_out", slow)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])


@every_planner
def test_plan_with_time_enough_is_the_same(model: Layers, name: str) -> None:
    free, timed = planner(name, 1), planner(name, 1)
    for _ in range(3):
        first, second = plan(free, model), plan_by(timed, model, time.monotonic() + 1e3)
        assert first is not None
        assert second is not None
        assert torch.equal(first.actions, second.actions)
        assert first.tried == second.tried == SETTINGS.candidates


@every_planner
def test_best_so_far_is_taken_when_the_deadline_nears(
    model: Layers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clock = [100.0]
    search = planner(name, settings=replace(SETTINGS, candidates=4 * BLOCK, horizon=4))
    slow_down(monkeypatch, clock, 1e-3)
    assert plan_by(search, model, math.inf) is not None
    start = clock[0]
    found = plan_by(search, model, start + 2.6e-3 * BLOCK)
    assert found is not None
    assert found.tried == 2 * BLOCK
    assert clock[0] <= start + 2.6e-3 * BLOCK
    assert torch.isfinite(found.actions).all()
    assert math.isfinite(found.cost)


@every_planner
def test_last_plan_is_the_fall_back_as_long_as_it_reaches(
    model: Layers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    clock = [100.0]
    slow_down(monkeypatch, clock, 1e-3)
    search = planner(name)
    # Nothing to fall back on.
    assert plan_by(search, model, clock[0] - 1.0) is None
    last = plan_by(search, model, math.inf)
    assert last is not None
    for step in range(1, SETTINGS.horizon):
        found = plan_by(search, model, clock[0] - 1.0)
        assert found is not None
        assert found.tried == 0
        assert math.isnan(found.cost)
        assert torch.equal(found.actions[0], last.actions[step])
    assert plan_by(search, model, clock[0] - 1.0) is None


def test_block_that_was_held_up_does_not_end_all_plans(model: Layers, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    slow_down(monkeypatch, clock, 10.0)
    search = planner()
    assert plan_by(search, model, math.inf) is not None
    slow_down(monkeypatch, clock, 1e-6)
    tried = [found.tried for _ in range(SETTINGS.horizon * 10) if (found := plan_by(search, model, clock[0] + 1.0))]
    assert tried[-1] > 0


@pytest.mark.parametrize(("pace", "expected"), [(1e-3, 200), (4e-3, 176), (40e-3, 50)])
def test_candidates_are_as_many_as_fit_within_bounds(
    model: Layers, monkeypatch: pytest.MonkeyPatch, pace: float, expected: int
) -> None:
    """In 0.8 s, of which 10 % are kept free; a fast machine has all."""
    clock = [100.0]
    slow_down(monkeypatch, clock, pace)
    search = planner(settings=replace(SETTINGS, fewest=50))
    for _ in range(100):
        plan_by(search, model, clock[0] + 0.8)
    assert search.budget.count == pytest.approx(expected, rel=0.15)
