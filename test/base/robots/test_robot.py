"""A robot's description at work: safe action, bounds, mirror image, body, and what makes it another robot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.millirobot import layout
from mbmrl_base.robots.robot import Robot
from robot_testing import MILLIROBOT

RandomStates = Callable[..., Tensor]
ARM = {
    "name": "arm",
    "states": [{"name": "joint", "unit": "rad", "angle": True}, {"name": "speed", "unit": "rad/s"}],
    "actions": [
        {"name": "set_point", "unit": "rad", "low": -1.0, "high": 3.0, "safe": "joint"},
        {"name": "grip", "low": 0.0, "high": 1.0, "planned_high": 0.8, "safe": 0.5, "noise_std": 0.1},
    ],
}


def robot(**changes: Any) -> Robot:
    return Robot(describe(ARM | changes))


def test_safe_action_is_a_constant_or_holds_a_state_within_the_bounds() -> None:
    arm = robot()
    assert arm.safe_action(np.array([0.25, 7.0])).tolist() == [0.25, 0.5]
    assert arm.safe_action(np.array([9.0, 7.0])).tolist() == [3.0, 0.5]
    assert MILLIROBOT.safe_action().tolist() == [0.0, 0.0]


@pytest.mark.parametrize("state", [None, np.array([np.nan, 0.0]), np.array([np.inf, 0.0])])
def test_safe_action_of_an_unknown_state_is_the_middle_of_the_bounds(state: Any) -> None:
    assert robot().safe_action(state).tolist() == [1.0, 0.5]
    assert robot(actions=[{"name": "u", "safe": "joint"}]).safe_action(state).tolist() == [0.0]


def test_what_is_planned_is_within_the_bounds_and_noise_is_a_quarter_of_it() -> None:
    assert robot().planned.tolist() == [[-1.0, 0.0], [3.0, 0.8]]
    assert robot().noise_std.tolist() == [1.0, 0.1]
    assert MILLIROBOT.planned.T.tolist() == [[layout.MIN_LEG_SPEED, layout.MAX_LEG_SPEED]] * 2
    assert (MILLIROBOT.low.tolist(), MILLIROBOT.high.tolist()) == ([0.0] * 2, [layout.MAX_LEG_SPEED] * 2)
    with pytest.raises(ValueError, match=r"^the action 'u' has no bounds: to be planned with it needs low and high$"):
        _ = robot(actions=["u"]).planned


def test_action_is_clipped_to_what_the_robot_accepts() -> None:
    assert robot().clip([-7, 0.4]).tolist() == [-1.0, 0.4]
    assert robot(actions=["u"]).clip([1e9]).tolist() == [1e9]


@pytest.mark.parametrize("action", [[1.0], [1.0, 2.0, 3.0], 4.0, [[1.0, 2.0]], [np.nan, 1.0], [1.0, -np.inf]])
def test_impossible_action_is_refused_with_a_sentence(action: Any) -> None:
    for refuse in (robot().clip, robot().check_command):
        with pytest.raises(ValueError, match=r"^an action of arm is 2 finite numbers, set_point, grip, not "):
            refuse(np.array(action))


def test_command_far_beyond_a_bound_is_refused_and_one_just_beyond_is_not() -> None:
    mixed = robot(actions=["free", *ARM["actions"]])
    just_beyond = np.array([1e9, -4.9, 1.9])
    assert mixed.check_command(just_beyond) is just_beyond
    for action, sentence in (
        ([0.0, 7.0, 0.0], "set_point of 7 rad is far from what arm accepts, -1 to 3"),
        ([0.0, -5.0, 0.0], "set_point of -5 rad is far from what arm accepts, -1 to 3"),
        ([0.0, 0.0, 2.0], "grip of 2 is far from what arm accepts, 0 to 1"),
    ):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            mixed.check_command(np.array(action))
    assert robot(actions=[]).check_command(np.zeros(0)).shape == (0,)


def test_mirror_image_of_the_mirror_image_is_the_robot(random_states: RandomStates) -> None:
    states = random_states(0, 12).numpy().reshape(3, 4, 24)
    actions = np.random.default_rng(0).uniform(0, 50, (3, 4, 2))
    mirrored = MILLIROBOT.mirror(states, actions)
    expected, left, right = states.copy(), [15, 16, 19, 21], [17, 18, 20, 22]
    expected[..., [1, 4, 7, 11, 12, 14]] *= -1.0  # y and its velocity, sines of roll and yaw, rates of roll and yaw
    expected[..., left + right] = expected[..., right + left]
    assert (mirrored[0] == expected).all()
    assert (mirrored[1] == actions[..., ::-1]).all()
    for image, original in zip(MILLIROBOT.mirror(*mirrored), (states, actions), strict=True):
        assert (image == original).all()
    with pytest.raises(ValueError, match=r"^arm has no mirror image$"):
        robot().mirror(np.zeros(2), np.zeros(2))


def test_body_is_where_the_description_says(random_states: RandomStates) -> None:
    state = random_states(1, 1)[0].numpy()
    body = MILLIROBOT.body(state)
    assert body is not None
    assert body.position.tolist() == state[layout.POSITION].tolist()
    assert body.linear_velocity.tolist() == state[layout.LINEAR_VELOCITY].tolist()
    assert body.angular_velocity.tolist() == state[layout.ANGULAR_VELOCITY].tolist()
    assert body.angles.tolist() == [layout.angle(state, part) for part in (layout.ROLL, layout.PITCH, layout.YAW)]
    cart = robot(
        states=["x", "y", {"name": "yaw", "angle": True}], planar={"position": ["x", "y"], "heading": "yaw"}, actions=[]
    )
    body = cart.body(np.array([1.0, 2.0, 0.5]))
    assert body is not None
    assert (body.position.tolist(), body.angles.tolist()) == ([1.0, 2.0, 0.0], [0.0, 0.0, 0.5])
    assert (body.linear_velocity.tolist(), body.angular_velocity.tolist()) == ([0.0] * 3, [0.0] * 3)
    assert robot().body(np.zeros(2)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"rate": 50.0}, ""),
        ({"name": "leg"}, "it is leg, this one is arm"),
        ({"name": ""}, "it is one without a name, this one is arm"),
        ({"states": ["joint", "speed"]}, "its states are joint, speed, those of arm are joint (rad), speed (rad/s)"),
        ({"actions": ["u"]}, "its actions are u, those of arm are set_point (rad), grip"),
        (
            {"states": [{"name": "joint", "unit": "rad"}, ARM["states"][1]]},
            "its description differs from that of arm in states",
        ),
    ],
    ids=str,
)
def test_difference_names_what_makes_another_robot(change: dict[str, Any], words: str) -> None:
    assert robot().difference(robot(**change)) == words


def test_robots_are_equal_if_their_descriptions_are() -> None:
    assert robot() == robot() != robot(rate=50.0)
    assert len({robot(), robot()}) == 1


def test_joints_are_states_of_their_names() -> None:
    """A state that is the speed of a joint may have its name too."""
    states = [{"name": "x", "unit": "m"}, {"name": "hip", "unit": "rad"}, {"name": "wheel", "unit": "rad/s"}]
    urdf = '<robot name="arm"><joint name="hip"/><joint name="wheel"/><joint name="fixed"/></robot>'
    description = describe({"name": "arm", "states": states})
    state = np.array([1.0, 0.5, 3.0])
    assert Robot(description, urdf).joints(state) == {"hip": 0.5}
    assert Robot(description).joints(state) == Robot(description, "<robot").joints(state) == {}


@pytest.mark.parametrize(("name", "count"), [("ant", 8), ("half_cheetah", 6), ("husky", 0)])
def test_joints_of_robots_that_come_with_the_package_follow_from_their_states(name: str, count: int) -> None:
    robot = load_robot(name)
    assert len(robot.joints(np.zeros(len(robot.state_names)))) == count
