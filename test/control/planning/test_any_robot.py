"""Planners for robots with other actions, and with models that are no plain ReLU networks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mbmrl_base.robots.description import describe
from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.model import Model, Prediction
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.planning import PLANNERS, Planner, make_planner
from pages import example

FORCE = {"name": "force", "unit": "N", "low": -5.0, "high": 5.0, "planned_high": 3.0, "noise_std": 0.5}
VALVE = {"name": "valve", "low": 1000.0, "high": 2000.0, "safe": 1000.0}
CART = Robot(describe({"name": "cart", "states": ["place", "speed"], "actions": [FORCE, VALVE]}))
START = torch.tensor([1.0, 0.0], dtype=torch.float64)
every_planner = pytest.mark.parametrize("name", PLANNERS)


@dataclass(frozen=True)
class Ensemble(Model):
    """Members that agree the less the further the valve is open; the force pushes, and the speed moves the cart."""

    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        _, speed, force, valve = inputs.unbind(-1)
        members = torch.stack([torch.stack([0.1 * speed, 0.1 * force + sign * valve], -1) for sign in (-1e-4, 1e-4)])
        return Prediction(members.mean(0), members.var(0))


@dataclass(frozen=True)
class Recurrent(Model):
    """The force pushes one step later."""

    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        _, speed, force, _ = inputs.unbind(-1)
        before = torch.zeros_like(force) if memory is None else memory
        return Prediction(torch.stack([0.1 * speed, 0.1 * before], -1), memory=force)


def identity(robot: Robot) -> Normalizer:
    inputs, outputs = robot.features.input_size, robot.features.output_size
    return Normalizer(torch.zeros(inputs), torch.ones(inputs), torch.zeros(outputs), torch.ones(outputs))


def planner(name: str, **settings: Any) -> Planner:
    given = PLANNERS[name].settings_type(**({"candidates": 200, "horizon": 10} | settings))
    return make_planner(name, CART, given, 0.05)


def to_the_origin(trajectories: Trajectories) -> Tensor:
    return trajectories.states[:, 1:, 0].square()


@every_planner
def test_each_action_is_planned_within_its_own_bounds(name: str) -> None:
    """They differ by orders of magnitude."""
    seen: list[Tensor] = []

    def costs(trajectories: Trajectories) -> Tensor:
        seen.append(trajectories.actions)
        return to_the_origin(trajectories)

    search = planner(name)
    for _ in range(3):
        found = search.plan(Ensemble(), identity(CART), START, costs)
        assert found is not None
        assert found.poses is None
    actions = torch.cat(seen)
    low, high = torch.from_numpy(CART.planned).float()
    assert (actions.amax((0, 1)) - actions.amin((0, 1)) > 0.9 * (high - low)).all()
    assert ((actions >= low) & (actions <= high)).all()
    assert found.actions[0, 0] < -1.0  # back to the origin


def scatter(**settings: Any) -> Tensor:
    """Candidates about the middle of the bounds."""
    seen: list[Tensor] = []

    def costs(trajectories: Trajectories) -> Tensor:
        seen.append(trajectories.actions)
        return to_the_origin(trajectories)

    planner("mppi", candidates=4000, held_share=0.0, **settings).plan(Ensemble(), identity(CART), START, costs)
    return torch.cat(seen) - torch.from_numpy(CART.planned.mean(0)).float()


@pytest.mark.parametrize(
    ("given", "expected"), [((0.0,), (0.5, 250.0)), ((0.2,), (0.2, 0.2)), ((0.1, 30.0), (0.1, 30.0))]
)
def test_noise_is_that_of_each_action(given: tuple[float, ...], expected: tuple[float, float]) -> None:
    """By default that of the robot: as described, or a quarter of what is planned."""
    scattered = scatter(noise_std=given)
    inner = scattered.abs() < torch.from_numpy(np.ptp(CART.planned, axis=0) / 2).float()
    spread = [scattered[..., action][inner[..., action]].std() for action in (0, 1)]
    assert spread == pytest.approx(expected, rel=0.15)


def test_correlation_is_that_of_each_action() -> None:
    scattered = scatter(noise_std=(0.1, 30.0), correlation=(0.9, 0.2))
    for action, expected in enumerate((0.9, 0.2)):
        noise = scattered[1:, :, action]
        assert float(torch.corrcoef(torch.stack([noise[:, 3], noise[:, 4]]))[0, 1]) == pytest.approx(expected, abs=0.05)


def test_variance_of_a_model_can_be_planned_with() -> None:
    """Costs see it in the units of the outputs; without it nothing speaks for a closed valve."""
    normalizer = identity(CART)
    found = planner("cem").plan(Ensemble(), normalizer, START, careful)
    assert found is not None
    assert found.actions[:, 1].max() < 1300.0
    doubled = replace(normalizer, output_deviation=torch.full((2,), 2.0))
    other = planner("cem", candidates=2).plan(Ensemble(), doubled, START, careful)
    alike = planner("cem", candidates=2).plan(Ensemble(), normalizer, START, careful)
    assert other is not None
    assert alike is not None
    assert other.cost == pytest.approx(4.0 * alike.cost)


def careful(trajectories: Trajectories) -> Tensor:
    assert trajectories.variance is not None
    assert trajectories.variance.shape == (*trajectories.actions.shape[:2], 2)
    return trajectories.variance.sum(-1)


@pytest.mark.parametrize("pending", [(), (-2.0,), (-2.0, 1.0)])
def test_recurrent_model_remembers_along_a_roll_out_and_what_is_pending(pending: tuple[float, ...]) -> None:
    speeds: list[Tensor] = []

    def costs(trajectories: Trajectories) -> Tensor:
        speeds.append((trajectories.states[..., 1] - trajectories.states[:, :1, 1])[:, 1:])
        late = torch.cat(
            [
                torch.full((len(trajectories.actions), 1), 0.1 * (pending or (0.0,))[-1]),
                0.1 * trajectories.actions[:, :-1, 0],
            ],
            1,
        ).cumsum(1)
        torch.testing.assert_close(speeds[-1].float(), late, rtol=0, atol=1e-5)
        return to_the_origin(trajectories)

    before = torch.tensor([[force, 1500.0] for force in pending]).reshape(-1, 2)
    search = planner("mppi")
    assert search.plan(Recurrent(), identity(CART), START, costs, pending=before) is not None
    assert len(speeds) == 1


def test_robot_whose_actions_have_no_bounds_is_refused() -> None:
    free = Robot(describe({"name": "free", "states": ["x"], "actions": ["push"]}))
    with pytest.raises(ValueError, match=r"^the action 'push' has no bounds: .* needs low and high$"):
        make_planner("mppi", free, None, 0.05)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"noise_std": (1.0, 2.0, 3.0)},
            "noise_std has 3 numbers: allowed is one for all actions, or one each for force, valve",
        ),
        ({"noise_std": (-1.0,)}, "noise_std is [-1.0]: allowed is from 0 to below inf"),
        ({"correlation": (0.5, 1.0)}, "correlation is [0.5, 1.0]: allowed is from 0 to below 1"),
    ],
)
def test_settings_that_do_not_fit_the_actions_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        planner("mppi", **settings)


# A planner of a file


def test_example_of_the_page_plans(tmp_path: Path) -> None:
    search = make_planner(str(example("planner", tmp_path / "annealed.py")), CART, None, 0.05)
    found = search.plan(Ensemble(), identity(CART), START, to_the_origin)
    assert found is not None
    assert found.tried == search.settings.candidates
    assert found.actions[0, 0] < -1.0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("x = 1", r"gives no planner: it has no planner"),
        ("planner = dict", r"planner\(\) returns {}, wanted is a subclass of Planner"),
    ],
)
def test_file_that_gives_no_planner_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "none.py"
    file.write_text(content)
    with pytest.raises(ValueError, match=sentence):
        make_planner(str(file), CART, None, 0.05)
