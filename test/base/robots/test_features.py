"""What a model sees and predicts, for the millirobot and for any robot."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mbmrl_base.robots.features import MILLIROBOT, Features, NamedFeatures, features_of, wrap

FEW = settings(derandomize=True, deadline=None, max_examples=100, database=None)
CART = NamedFeatures(("x", "v", "angle", "rate"), ("force",), ("angle",), ("x",))


@st.composite
def robots(draw: st.DrawFn) -> NamedFeatures:
    """Any robot of one to six states and up to three actions that leaves something to see."""
    names = tuple(f"s{index}" for index in range(draw(st.integers(1, 6))))
    angles, unseen = (tuple(draw(st.lists(st.sampled_from(names), unique=True))) for _ in range(2))
    actions = tuple(f"a{index}" for index in range(draw(st.integers(0 if len(unseen) < len(names) else 1, 3))))
    return NamedFeatures(names, actions, angles, unseen)


def random_numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double() * 3


@FEW
@given(robots(), st.integers(0, 100), st.sampled_from([(), (4,), (2, 3)]))
def test_contract_holds_for_any_robot(features: NamedFeatures, seed: int, batch: tuple[int, ...]) -> None:
    n, m = len(features.state_names), len(features.action_names)
    states, following = random_numbers(seed, *batch, n), random_numbers(seed + 1, *batch, n)
    inputs = features.inputs(states, random_numbers(seed + 2, *batch, m))
    targets = features.targets(states, following)
    assert inputs.shape == (*batch, features.input_size)
    assert targets.shape == (*batch, features.output_size)
    assert features.difference(features.advance(states, targets), following).abs().max() < 1e-12
    assert features_of(json.loads(json.dumps(features.description()))) == features


def test_angles_are_seen_as_cosine_and_sine_and_unseen_states_not_at_all() -> None:
    states = torch.tensor([7.0, 0.5, math.pi / 2, -1.0])
    inputs = CART.inputs(states, torch.tensor([9.0]))
    assert torch.allclose(inputs, torch.tensor([0.5, -1.0, 0.0, 1.0, 9.0]), atol=1e-6)
    moved = states + torch.tensor([3.0, 0.0, 2 * math.pi, 0.0])
    assert torch.allclose(CART.inputs(moved, torch.tensor([9.0])), inputs, atol=1e-5)


def test_change_of_an_angle_is_the_shorter_way_round() -> None:
    states, following = torch.tensor([0.0, 0.0, 3.1, 0.0]), torch.tensor([2.0, 0.0, -3.1, 0.0])
    assert torch.allclose(CART.targets(states, following), torch.tensor([2.0, 0.0, 2 * math.pi - 6.2, 0.0]), atol=1e-6)
    assert wrap(torch.tensor(0.0)) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_millirobot_advances_by_its_targets(random_states: Callable[..., Tensor], seed: int) -> None:
    states, following = random_states(seed, 60).reshape(2, 6, 5, 24)
    targets = MILLIROBOT.targets(states, following)
    assert targets.shape == (6, 5, MILLIROBOT.output_size)
    assert (MILLIROBOT.advance(states, targets) - following).abs().max() < 1e-12
    assert MILLIROBOT.inputs(states, torch.ones(6, 5, 2)).shape == (6, 5, MILLIROBOT.input_size)
    assert (MILLIROBOT.advance(states[0, 0], targets[0, 0]) - following[0, 0]).abs().max() < 1e-12


def test_millirobot_is_another_robot_than_one_with_its_names() -> None:
    assert features_of(MILLIROBOT.description()) == MILLIROBOT
    same_names: Features = NamedFeatures(MILLIROBOT.state_names, MILLIROBOT.action_names)
    assert same_names != MILLIROBOT
    # Metadata of an episode may say what they like beside the names.
    assert features_of({"robot": "millirobot", "state_names": ["x"]}, 1) == NamedFeatures(("x",), ("action_0",))


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({}, "state_names is None: wanted is a list of names"),
        ({"state_names": "xy"}, "state_names is 'xy': wanted is a list of names"),
        ({"state_names": ["x", 3]}, "state_names is ['x', 3]: wanted is a list of names"),
        ({"state_names": ["x", ""]}, "state_names is ['x', '']: wanted is a list of names"),
        ({"state_names": []}, "state_names leaves the model nothing to see"),
        ({"state_names": ["x", "x"]}, "state_names has 'x' more than once"),
        ({"state_names": ["x"], "unseen": ["x"]}, "state_names leaves the model nothing to see"),
        ({"state_names": ["x"], "angles": ["phi"]}, "angles has 'phi': allowed are the state_names, x"),
        ({"state_names": ["x"], "unseen": [0]}, "unseen is [0]: wanted is a list of names"),
        ({"state_names": ["x"], "action_names": {"u": 1}}, "action_names is {'u': 1}: wanted is a list of names"),
    ],
)
def test_description_that_fits_nothing_is_refused(description: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        features_of(description)
    assert str(error.value).startswith(sentence)
