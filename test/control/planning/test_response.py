"""What commands are expected to put in force, from what those before did."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED, MIN_LEG_SPEED, pack_state
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_control.control.controller import Controller, Situation
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.dynamics.rollout import roll_out
from mbmrl_control.planning import make_planner
from mbmrl_control.planning.mppi import MppiSettings
from mbmrl_control.planning.response import CommandResponse
from mbmrl_sim.effects import LINK
from mbmrl_sim.millirobot.world import World
from robot_testing import path_task

STILL = (0.0, 0.0, 0.0)
ROBOT = load_robot("millirobot")


def observation(sequence: int, action: Array, episode: int = 1) -> Observation:
    """A robot that stands at the start of its path while an action is in force."""
    state = pack_state((0.0, 0.0, 0.02), STILL, (0.02, -0.01, 0.0), STILL, (0.3, -1.0), (20.0, 25.0), (1.0, 1.2), 3.9)
    return Observation(state, action, 0.05 * sequence, sequence, episode, 0.05)


def random_commands(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(MIN_LEG_SPEED, MAX_LEG_SPEED, (count, 2))


def taught(commands: Sequence[Array], in_force: Sequence[Array], robot: Robot = ROBOT) -> CommandResponse:
    """After intervals with these actions in force, and a first one before the first command."""
    response, safe = CommandResponse(robot), robot.safe_action()
    for sequence, (action, command) in enumerate(zip([safe, *in_force], [*commands, safe], strict=True)):
        response.observe(observation(sequence, action), command)
    return response


def walked(fault: Fault | None, ticks: int = 80) -> CommandResponse:
    """After random commands to the simulated robot."""
    world, response = World(0, 20.0), CommandResponse(ROBOT)
    if fault is not None:
        world.inject(fault)
    seen = world.observe()
    for command in random_commands(ticks):
        response.observe(seen, command)
        seen = world.step(command)
    world.close()
    return response


def test_commands_that_come_at_once_are_expected_as_they_are() -> None:
    commands = torch.rand(5, 4, 2)
    assert walked(None).in_force(commands) is commands
    assert CommandResponse(ROBOT).in_force(commands) is commands


def test_commands_that_come_an_interval_late_are_expected_late() -> None:
    commands = random_commands(60)
    response = taught(commands[1:], commands[:-1])
    assert response.shares == pytest.approx([0.0, 1.0], abs=0.02)
    next_ones = torch.tensor([[[20.0, 30.0], [40.0, 50.0]]])
    expected = torch.tensor([[commands[-1].tolist(), [20.0, 30.0]]])
    torch.testing.assert_close(response.in_force(next_ones), expected, rtol=0, atol=1.0)


@pytest.mark.parametrize(("delay", "loss"), [(0.0, 40.0), (25.0, 0.0), (45.0, 35.0)])
def test_shares_are_those_of_the_simulated_link(delay: float, loss: float) -> None:
    late, comes = delay / 50.0, 1.0 - loss / 100.0
    shares = walked(Fault(LINK, magnitude=delay, loss=loss), 400).shares
    assert shares == pytest.approx([comes * (1.0 - late), comes * late], abs=0.15)


def test_nothing_is_learned_from_intervals_apart_or_from_what_is_not_finite() -> None:
    response = CommandResponse(ROBOT)
    for index, command in enumerate(random_commands(20)):
        response.observe(observation(2 * index, np.zeros(2)), command)
    response.observe(observation(39, np.full(2, np.nan)), np.zeros(2))
    response.observe(observation(40, np.zeros(2)), np.zeros(2))
    response.observe(observation(41, np.full(2, 1e200)), np.zeros(2))  # its square is not finite
    response.observe(observation(42, np.zeros(2)), np.zeros(2))
    response.observe(observation(43, np.full(2, 20.0), episode=2), np.zeros(2))
    assert response.shares.tolist() == [1.0, 0.0]


@given(st.lists(st.tuples(*[st.floats(0.0, MAX_LEG_SPEED)] * 4), min_size=2, max_size=60))
def test_what_is_expected_is_within_the_bounds_of_what_was_and_is_commanded(rows: list[tuple[float, ...]]) -> None:
    response = taught([np.array(row[:2]) for row in rows], [np.array(row[2:]) for row in rows])
    actions = response.in_force(torch.full((3, 4, 2), 30.0))
    assert ((actions >= -1e-4) & (actions <= MAX_LEG_SPEED + 1e-4)).all()


def test_some_commands_are_expected_to_come_where_none_does() -> None:
    commands = random_commands(60)
    response = taught(commands, [np.zeros(2)] * len(commands))
    assert response.shares == pytest.approx([0.3, 0.0], abs=0.02)


def test_plan_allows_for_commands_that_come_late(make_prior: Callable[..., Prior]) -> None:
    prior = make_prior()
    search = make_planner("mppi", ROBOT, MppiSettings(candidates=60, horizon=6), 0.05)
    controller = Controller(path_task(), search, prior.normalizer)
    commands, model = random_commands(60), ReluNetwork(prior.layers)
    controller.decide(Situation(observation(1, commands[0]), model))
    for sequence in range(2, len(commands) - 1):
        controller.response.observe(observation(sequence, commands[sequence - 2]), commands[sequence])
    # None of the controller's own is on its way: what is in force goes on.
    seen = observation(len(commands) - 1, commands[-3])
    plan = controller.decide(Situation(seen, model, command_sequence=1)).plan
    assert plan is not None
    # What is in force until a step after the planned action is sent is known by then.
    known = torch.as_tensor(commands[[-2, -3]], dtype=torch.float32).unsqueeze(0)
    start = torch.from_numpy(seen.state)
    poses = roll_out(ROBOT.features, prior.normalizer, model, start, known).poses
    assert plan.poses is not None
    assert poses is not None
    torch.testing.assert_close(plan.poses[:2], poses[0, 1:].float(), rtol=0, atol=1e-3)


def test_shares_do_not_depend_on_the_units_of_actions() -> None:
    """A robot whose actions are thousandths, or on a shifted scale, learns the same shares of the same link."""
    scales = [
        ({"low": 0.0, "high": 56.0, "planned_low": 12.5}, 1.0, 0.0),
        ({"low": 0.0, "high": 0.056, "planned_low": 0.0125}, 1e-3, 0.0),
        ({"low": 20.0, "high": 76.0, "planned_low": 32.5, "safe": 20.0}, 1.0, 20.0),
    ]
    commands, shares = random_commands(12), []
    for action, scale, offset in scales:
        robot = Robot(describe({"name": "r", "states": ["x"], "actions": [{"name": n, **action} for n in "ab"]}))
        sent = commands * scale + offset
        shares.append(taught(sent[1:], (sent[:-1] + sent[1:]) / 2, robot).shares)
    assert 0.3 < shares[0][0] < 0.7
    np.testing.assert_allclose(shares[1:], [shares[0]] * 2, rtol=1e-6)
