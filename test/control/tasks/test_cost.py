"""The cost of following a path, term by term."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mbmrl_control.tasks.path import SPACING, PathCost, PathWindow, make_path

INTERVAL = 0.05


@pytest.fixture
def window() -> PathWindow:
    """Two metres of the straight path."""
    return make_path("straight").window(0.0, 2.0)


def walk(steps: list[float], y: float = 0.0, yaw: float = 0.0) -> Tensor:
    """Poses along the straight path after steps of these lengths, from 0.5 m on."""
    x = 0.5 + torch.cumsum(torch.tensor([0.0, *steps]), 0)
    return torch.stack([x, torch.full_like(x, y), torch.full_like(x, yaw)], dim=-1)


def assert_costs(costs: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(costs, torch.tensor(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("y", [-0.04, 0.04])
def test_distance_alone(window: PathWindow, y: float) -> None:
    cost = PathCost(distance=2.0, progress=0.0, heading=0.0)
    near_the_path = 2.0 * 0.05 * math.tanh(0.04 / 0.05)
    assert_costs(cost.steps(window, walk([0.01, 0.02], y, yaw=1.0), INTERVAL), [near_the_path] * 2)


def test_distance_beyond_the_reach_hardly_costs_more(window: PathWindow) -> None:
    cost = PathCost(distance=2.0, progress=0.0, heading=0.0, reach=0.05)
    assert_costs(cost.steps(window, walk([0.01], y=0.001), INTERVAL), [0.002])
    assert_costs(cost.steps(window, walk([0.01], y=0.4), INTERVAL), [0.1])


def test_progress_alone(window: PathWindow) -> None:
    """Steps as wanted, half as long, none at all, and back."""
    cost = PathCost(distance=0.0, progress=3.0, heading=0.0, speed=0.2)
    costs = cost.steps(window, walk([0.01, 0.005, 0.0, -0.01], y=0.1, yaw=1.0), INTERVAL)
    assert_costs(costs, [0.0, 0.015, 0.03, 0.06])


def test_running_ahead_of_the_wanted_speed_costs_like_staying_behind(window: PathWindow) -> None:
    cost = PathCost(distance=0.0, progress=3.0, heading=0.0, speed=0.2)
    assert_costs(cost.steps(window, walk([0.015, 0.03]), INTERVAL), [0.015, 0.06])


@pytest.mark.parametrize(
    ("yaw", "error"), [(0.3, 0.3), (-0.3, 0.3), (math.pi, math.pi), (2 * math.pi - 0.1, 0.1), (4 * math.pi + 0.2, 0.2)]
)
def test_heading_alone_is_the_shorter_way_round(window: PathWindow, yaw: float, error: float) -> None:
    cost = PathCost(distance=0.0, progress=0.0, heading=5.0)
    assert_costs(cost.steps(window, walk([0.0], yaw=yaw), INTERVAL), [5.0 * error])


@pytest.mark.parametrize("side", [-1, 1])
def test_wanted_heading_beside_the_path_leads_back_to_it(window: PathWindow, side: int) -> None:
    cost = PathCost(distance=0.0, progress=0.0, heading=1.0, lookahead=0.1)
    away, back = side * math.pi / 4, -side * math.pi / 4
    assert_costs(cost.steps(window, walk([0.0], y=0.1 * side, yaw=back), INTERVAL), [0.0])
    assert_costs(cost.steps(window, walk([0.0], y=0.1 * side, yaw=away), INTERVAL), [math.pi / 2])


def test_heading_counts_against_a_path_that_has_turned() -> None:
    path = make_path("left")
    row = len(path.points) * 3 // 4
    window = path.window((row - 20) * SPACING, (row + 20) * SPACING)
    pose = torch.tensor([*path.points[row], path.headings[row] - 2 * math.pi], dtype=torch.float32)
    assert_costs(PathCost(0.0, 0.0, 1.0).steps(window, torch.stack([pose, pose]), INTERVAL), [0.0])


def test_terms_add_up(window: PathWindow) -> None:
    poses = walk([0.003, -0.002], y=0.02, yaw=0.4)
    terms = [PathCost(50.0, 0.0, 0.0), PathCost(0.0, 50.0, 0.0), PathCost(0.0, 0.0, 1.0)]
    total = sum(term.steps(window, poses, INTERVAL) for term in terms)
    torch.testing.assert_close(PathCost(50.0, 50.0, 1.0).steps(window, poses, INTERVAL), total)


def test_many_trajectories_at_once(window: PathWindow) -> None:
    trajectories = [walk([0.01, 0.0], y, yaw) for y, yaw in ((0.0, 0.1), (0.05, 0.0), (-0.02, -0.3))]
    together = PathCost().steps(window, torch.stack(trajectories), INTERVAL)
    assert together.shape == (3, 2)
    for costs, poses in zip(together, trajectories, strict=True):
        torch.testing.assert_close(costs, PathCost().steps(window, poses, INTERVAL))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_pose_that_is_not_finite_has_no_finite_cost(window: PathWindow, value: float) -> None:
    for index in range(3):
        poses = walk([0.01, 0.01])
        poses[1, index] = value
        assert not torch.isfinite(PathCost().steps(window, poses, INTERVAL)).all()
