"""Where models expected a robot to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mbmrl_base.robots.observation import Observation
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.open_loop import OpenLoop
from robot_testing import INPUT_SIZE, MILLIROBOT, OUTPUT_SIZE

STEPS = 4


def walking(count: int) -> list[Observation]:
    """A robot that goes 30 mm ahead in each interval."""
    states = np.zeros((count, 24))
    states[:, [6, 8, 10, 15, 17]] = 1.0
    states[:, 0] = np.arange(count) * 0.03
    action = np.array([20.0, 0.0])
    return [Observation(state, action, 0.05 * step, step, 1, 0.05) for step, state in enumerate(states)]


@pytest.fixture
def open_loop() -> OpenLoop:
    """Of a normaliser that changes nothing."""
    numbers = [function(size) for size in (INPUT_SIZE, OUTPUT_SIZE) for function in (torch.zeros, torch.ones)]
    return OpenLoop(MILLIROBOT.features, Normalizer(*numbers), STEPS, 0.05)


def models() -> list[ReluNetwork]:
    """One that stands still, and one that goes ahead by 1 mm for each rad/s on the left."""
    still, ahead = ([(torch.zeros(OUTPUT_SIZE, INPUT_SIZE), torch.zeros(OUTPUT_SIZE))] for _ in range(2))
    ahead[0][0][OUTPUT_SIZE - 2, INPUT_SIZE - 2] = 0.001
    return [ReluNetwork(still), ReluNetwork(ahead)]


def test_models_of_k_ticks_ago_expect_what_follows_from_the_actions_since(open_loop: OpenLoop) -> None:
    expected = [open_loop.observe(seen, models()) for seen in walking(6)]
    assert expected[:STEPS] == [None] * STEPS
    for now, states in enumerate(expected[STEPS:], STEPS):
        assert states is not None
        assert states[:, 0].tolist() == pytest.approx([(now - STEPS) * 0.03, (now - STEPS) * 0.03 + 0.08])


def test_after_a_gap_nothing_is_expected(open_loop: OpenLoop) -> None:
    seen = [each for each in walking(18) if each.sequence not in (5, 12)]
    assert [each.sequence for each in seen if open_loop.observe(each, models()) is not None] == [4, 10, 11, 17]
