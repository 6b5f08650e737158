"""What the model sees and predicts: exact inverses, and the same wherever the robot is and looks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mbmrl_base.robots.millirobot import layout
from mbmrl_base.robots.millirobot.features import (
    BODY_SIZE,
    INPUT_SIZE,
    OUTPUT_SIZE,
    advance_,
    body_state,
    model_inputs,
    model_targets,
    planar_pose,
    rotate,
)

RandomStates = Callable[..., Tensor]


def moved(states: Tensor, x: float, y: float, turn: float) -> Tensor:
    """The same robots in a world that was shifted and then turned about the origin."""
    cosine, sine = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
    states = states + torch.tensor([x, y] + [0.0] * 22, dtype=torch.float64)
    for part in (layout.POSITION, layout.LINEAR_VELOCITY, layout.YAW):
        states[:, part] = rotate(states[:, part], cosine, sine)
    return states


def assert_same_angles(left: Tensor, right: Tensor) -> None:
    assert torch.sin((left - right) / 2).abs().max() < 1e-12


def advanced(states: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
    """Body states and poses to which predictions lead."""
    body, pose = body_state(states).T.contiguous(), planar_pose(states).T.contiguous()
    advance_(body, pose, prediction.T)
    return body.T, pose.T


def test_sizes(random_states: RandomStates) -> None:
    states = random_states(0, 5)
    actions = torch.ones(5, 2).double()
    assert body_state(states).shape == (5, BODY_SIZE)
    assert model_inputs(states, actions).shape == (5, INPUT_SIZE)
    assert model_targets(states, states).shape == (5, OUTPUT_SIZE)


@pytest.mark.parametrize("seed", range(5))
def test_advance_by_the_targets_leads_to_the_next_state(random_states: RandomStates, seed: int) -> None:
    states, following = random_states(seed, 200).chunk(2)
    body, pose = advanced(states, model_targets(states, following))
    assert (body - body_state(following)).abs().max() < 1e-12
    expected = planar_pose(following)
    assert (pose[:, :2] - expected[:, :2]).abs().max() < 1e-12
    assert_same_angles(pose[:, 2], expected[:, 2])


@pytest.mark.parametrize("seed", range(5))
def test_targets_are_what_advance_was_given(random_states: RandomStates, seed: int) -> None:
    """The other way round: a prediction is found again from the states that it leads to."""
    states = random_states(seed, 100)
    prediction = torch.randn(100, OUTPUT_SIZE, generator=torch.Generator().manual_seed(seed)).double() * 0.3
    body, pose = advanced(states, prediction)
    cosine, sine = torch.cos(pose[:, 2]), torch.sin(pose[:, 2])
    velocity = rotate(body[:, 1:4], cosine, sine)
    yaw = torch.stack([cosine, sine], dim=1)
    following = torch.cat([pose[:, :2], body[:, :1], velocity, body[:, 4:8], yaw, body[:, 8:]], dim=1)
    assert (model_targets(states, following) - prediction).abs().max() < 1e-12


@pytest.mark.parametrize(("x", "y", "turn"), [(3.0, -7.0, 0.0), (0.0, 0.0, 2.5), (-1.5, 0.7, -1.0), (0.2, 4.0, 3.1)])
def test_world_may_be_shifted_and_turned(random_states: RandomStates, x: float, y: float, turn: float) -> None:
    states, following = random_states(7, 200).chunk(2)
    actions = torch.full((100, 2), 30.0).double()
    there, following_there = moved(states, x, y, turn), moved(following, x, y, turn)
    assert (there - states).abs().max() > 0.1
    assert (model_inputs(there, actions) - model_inputs(states, actions)).abs().max() < 1e-12
    assert (model_targets(there, following_there) - model_targets(states, following)).abs().max() < 1e-12


def test_walking_ahead_is_a_displacement_along_x(random_states: RandomStates) -> None:
    states = random_states(3, 20)
    heading = states[:, layout.YAW]
    following = states.clone()
    following[:, :2] += 0.02 * heading
    targets = model_targets(states, following)
    expected = torch.zeros(20, OUTPUT_SIZE).double()
    expected[:, 19] = 0.02
    assert (targets - expected).abs().max() < 1e-12
