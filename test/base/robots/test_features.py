"""What a model sees and predicts, for the millirobot and for any robot."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mbmrl_base.robots.description import describe
from mbmrl_base.robots.features import Features, rotate, wrap
from mbmrl_base.robots.millirobot import layout
from robot_testing import MILLIROBOT

RandomStates = Callable[..., Tensor]
FEW = settings(derandomize=True, deadline=None, max_examples=100, database=None)
CART = Features(
    describe(
        {"states": [{"name": "x", "seen": False}, "v", {"name": "angle", "angle": True}, "rate"], "actions": ["force"]}
    )
)


@st.composite
def robots(draw: st.DrawFn) -> Features:
    """Any robot of one to six states, a pair, and up to three actions that leaves something to see; or a planar one."""
    names = tuple(f"s{index}" for index in range(draw(st.integers(1, 6))))
    angles, unseen = (draw(st.sets(st.sampled_from(names))) for _ in range(2))
    actions = [f"a{index}" for index in range(draw(st.integers(0 if len(unseen) < len(names) else 1, 3)))]
    states: list[Any] = [{"name": name, "angle": name in angles, "seen": name not in unseen} for name in names]
    pairs = draw(st.sampled_from([[], [["cos", "sin"]]]))
    states += [name for pair in pairs for name in pair]
    description: dict[str, Any] = {"actions": actions, "pairs": pairs}
    if draw(st.booleans()):
        heading = draw(st.sampled_from(["yaw", ["cos_yaw", "sin_yaw"]]))
        velocity = draw(st.sampled_from([None, ["vx", "vy"]]))
        states = ["x", *states, "y", *(velocity or [])]
        states += [{"name": "yaw", "angle": True}] if heading == "yaw" else ["cos_yaw", "sin_yaw"]
        description["pairs"] = pairs + ([] if heading == "yaw" else [heading])
        description["planar"] = {"position": ["x", "y"], "heading": heading, "velocity": velocity}
    return Features(describe(description | {"states": states}))


def random_numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double() * 3


def random_states_of(features: Features, seed: int, *batch: int) -> Tensor:
    """States whose pairs are cosines and sines."""
    states = random_numbers(seed, *batch, len(features.description.states))
    angles = states[..., features.cosines].clone()
    states[..., features.cosines], states[..., features.sines] = angles.cos(), angles.sin()
    return states


@FEW
@given(robots(), st.integers(0, 100), st.sampled_from([(), (4,), (2, 3)]))
def test_contract_holds_for_any_robot(features: Features, seed: int, batch: tuple[int, ...]) -> None:
    m = len(features.description.actions)
    states, following = (random_states_of(features, seed + more, *batch) for more in (0, 1))
    inputs = features.inputs(states, random_numbers(seed + 2, *batch, m))
    targets = features.targets(states, following)
    assert inputs.shape == (*batch, features.input_size)
    assert targets.shape == (*batch, features.output_size)
    given = states.clone(), targets.clone()
    assert features.difference(features.advance(states, targets), following).abs().max() < 1e-12
    assert all(map(torch.equal, given, (states, targets)))
    # Training differentiates through it.
    for tensor in given:
        tensor.requires_grad_()
    features.targets(given[0], features.advance(*given)).sum().backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in given)


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


# The millirobot's, which the shipped priors were trained on


def test_millirobot_sees_and_predicts_what_its_priors_were_trained_on() -> None:
    """Numbers from a robot with roll 0.3, pitch 0.1, yaw 2 to one with -2.9, 0.4, -2.2; all else are sines."""
    states = torch.sin(torch.arange(48).double()).reshape(2, 24)
    angles = torch.tensor([[0.3, 0.1, 2.0], [-2.9, 0.4, -2.2]]).double()
    states[:, 6:12] = torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)
    inputs = MILLIROBOT.features.inputs(states[0], torch.tensor([20.0, 30.0]).double())
    seen = [
        *(0.909297, -0.746885, 0.186621, -0.958924, 0.955336, 0.29552, 0.995004, 0.099833, -0.536573, 0.420167),
        *(0.990607, 0.650288, -0.287903, -0.961397, -0.750987, 0.149877, 0.912945, 0.836656, -0.008851, -0.84622),
        *(20.0, 30.0),
    ]
    change = [
        *(-0.146739, 0.595226, -1.168988, 0.29529, 3.083185, 0.3, 2.083185, -0.455206, -1.063705, -0.694239),
        *(0.313508, 1.033016, 0.802775, -0.165534, -0.981652, -0.895243, 0.014248, 0.91064, 0.969794),
        *(-0.508641, 1.228693),
    ]
    assert inputs.tolist() == pytest.approx(seen, abs=1e-6)
    assert MILLIROBOT.features.targets(*states).tolist() == pytest.approx(change, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_millirobot_advances_by_its_targets(random_states: RandomStates, seed: int) -> None:
    features = MILLIROBOT.features
    states, following = random_states(seed, 60).reshape(2, 6, 5, 24)
    targets = features.targets(states, following)
    assert targets.shape == (6, 5, features.output_size)
    assert (features.advance(states, targets) - following).abs().max() < 1e-12
    assert features.inputs(states, torch.ones(6, 5, 2)).shape == (6, 5, features.input_size)
    assert (features.advance(states[0, 0], targets[0, 0]) - following[0, 0]).abs().max() < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_targets_are_what_advance_was_given(random_states: RandomStates, seed: int) -> None:
    """The other way round: a prediction is found again from the states that it leads to."""
    states = random_states(seed, 100)
    prediction = 0.1 * random_numbers(seed, 100, MILLIROBOT.features.output_size)
    following = MILLIROBOT.features.advance(states, prediction)
    assert (MILLIROBOT.features.targets(states, following) - prediction).abs().max() < 1e-12


@pytest.mark.parametrize(("x", "y", "turn"), [(3.0, -7.0, 0.0), (0.0, 0.0, 2.5), (-1.5, 0.7, -1.0), (0.2, 4.0, 3.1)])
def test_world_may_be_shifted_and_turned(random_states: RandomStates, x: float, y: float, turn: float) -> None:
    def moved(states: Tensor) -> Tensor:
        """The same robots in a world that was shifted and then turned about the origin."""
        cosine, sine = torch.tensor([math.cos(turn), math.sin(turn)], dtype=torch.float64)
        states = states + torch.tensor([x, y] + [0.0] * 22, dtype=torch.float64)
        for part in (slice(0, 2), slice(3, 5), layout.YAW):
            states[:, part] = rotate(states[:, part], cosine, sine)
        return states

    states, following = random_states(7, 200).chunk(2)
    actions = torch.full((100, 2), 30.0).double()
    there, following_there, features = moved(states), moved(following), MILLIROBOT.features
    assert (there - states).abs().max() > 0.1
    # The origin of the one world is where the other one was moved to.
    cosine, sine = math.cos(turn), math.sin(turn)
    origin = torch.tensor([cosine * x - sine * y, sine * x + cosine * y, turn], dtype=torch.float64)
    assert (features.seen_from(there, origin) - states).abs().max() < 1e-12
    assert (features.inputs(there, actions) - features.inputs(states, actions)).abs().max() < 1e-12
    assert (features.targets(there, following_there) - features.targets(states, following)).abs().max() < 1e-12
    assert (features.pose(there)[:, 2] - features.pose(states)[:, 2] - turn).div(2).sin().abs().max() < 1e-12


def test_walking_ahead_is_a_displacement_along_x(random_states: RandomStates) -> None:
    states = random_states(3, 20)
    following = states.clone()
    following[:, :2] += 0.02 * states[:, layout.YAW]
    expected = torch.zeros(20, MILLIROBOT.features.output_size).double()
    expected[:, -2] = 0.02
    assert (MILLIROBOT.features.targets(states, following) - expected).abs().max() < 1e-12
