"""Descriptions of robots: what is taken, and one sentence for what contradicts itself."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.robots.description import Action, RobotDescription, State, describe
from mbmrl_base.robots.robot import Robot
from robot_testing import MILLIROBOT

ARM: dict[str, Any] = {
    "name": "arm",
    "states": ["x", "y", {"name": "angle", "angle": True}, "cos", "sin", "speed"],
    "actions": [{"name": "torque", "low": -2.0, "high": 2.0}],
    "pairs": [["cos", "sin"]],
}
PLANE: dict[str, Any] = {"position": ["x", "y"], "heading": "angle"}


def test_names_alone_will_do() -> None:
    description = describe({"states": ["x", {"name": "v", "unit": "m/s"}], "actions": ["u"]})
    assert description.states == (State(name="x"), State(name="v", unit="m/s"))
    assert description.actions == (Action(name="u"),)
    assert (description.rate, description.planar, description.battery) == (20.0, None, None)


@pytest.mark.parametrize("given", [ARM, ARM | {"planar": PLANE}, MILLIROBOT.description.as_json()])
def test_what_is_written_as_json_is_read_again(given: dict[str, Any]) -> None:
    description = describe(given)
    assert describe(json.loads(json.dumps(description.as_json()))) == description


def with_action(**values: Any) -> dict[str, Any]:
    return {"actions": [{"name": "torque", "low": -2.0, "high": 2.0} | values]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (with_action(low=3.0), "actions.0: the action 'torque' has low 3 and high 2: low must be less"),
        (with_action(high=-2.0), "actions.0: the action 'torque' has low -2 and high -2: low must be less"),
        (
            with_action(low=None),
            "actions.0: the action 'torque' has not both bounds: allowed are low and high, or none",
        ),
        (
            with_action(low=None, high=None, planned_low=1.0),
            "actions.0: the action 'torque' has not both bounds: allowed are low and high, or none",
        ),
        (
            with_action(safe=2.5),
            "actions.0: the action 'torque' has the safe value 2.5: allowed is within its bounds, -2 to 2",
        ),
        (
            with_action(low=1.0),
            "actions.0: the action 'torque' has the safe value 0: allowed is within its bounds, 1 to 2",
        ),
        (
            with_action(planned_low=-3.0),
            "actions.0: the action 'torque' is planned from -3 to 2: allowed is within its bounds, -2 to 2",
        ),
        (
            with_action(planned_low=1.0, planned_high=0.5),
            "actions.0: the action 'torque' is planned from 1 to 0.5: allowed is within its bounds, -2 to 2",
        ),
        (with_action(safe="phase"), "safe names 'phase': allowed is x, y, angle, cos, sin, speed"),
        (with_action(noise_std=0.0), "actions.0.noise_std: input should be greater than 0"),
        (with_action(high=float("inf")), "actions.0.high: input should be a finite number"),
        (with_action(low="0"), "actions.0.low: input should be a valid number"),
        ({"states": []}, "states: it has 0 values, allowed are at least 1"),
        ({"states": [""], "pairs": []}, "states.0.name: string should have at least 1 character"),
        (
            {"states": [3], "pairs": []},
            "states.0: wanted are values by their names: allowed is name, unit",
        ),
        ({"states": [*ARM["states"], "x"]}, "the name 'x' stands for several states or actions: each needs its own"),
        ({"actions": ["speed"]}, "the name 'speed' stands for several states or actions: each needs its own"),
        ({"pairs": [["cos", "tan"]]}, "pairs names 'tan': allowed is x, y, angle, cos, sin, speed"),
        ({"pairs": [["cos", "cos"]]}, "'cos' is more than one of an angle, of a pair, of a position and of a velocity"),
        ({"pairs": [["angle", "x"]]}, "'angle' is more than one of an angle, of a pair, of a position and of a"),
        ({"planar": PLANE | {"heading": "speed"}}, "planar: heading is 'speed', which is no angle: allowed is angle"),
        ({"planar": PLANE | {"heading": ["x", "y"]}}, "planar: heading is ['x', 'y'], which is none of the pairs"),
        ({"planar": PLANE | {"position": ["x", "z"]}}, "planar names 'z': allowed is x, y, angle, cos, sin, speed"),
        ({"planar": PLANE | {"position": ["x", "x"]}}, "'x' is more than one of an angle, of a pair, of a position"),
        ({"pose": {"roll": "speed"}}, "pose: roll is 'speed', which is no angle: allowed is angle"),
        ({"battery": "volt"}, "battery names 'volt': allowed is x, y, angle, cos, sin, speed"),
        ({"mirror": {"negated": ["z"]}}, "mirror names 'z': allowed is x, y, angle, cos, sin, speed, torque"),
        ({"mirror": {"swapped": [["x", "torque"]]}}, "mirror swaps 'x' and 'torque': one is a state, one is an action"),
        ({"mirror": {"swapped": [["x", "y"], ["y", "cos"]]}}, "mirror swaps 'x' or 'y' twice"),
        ({"mirror": {"swapped": [["x", "x"]]}}, "mirror swaps 'x' with itself: wanted are two names"),
        ({"mirror": {"negated": ["x", "x"]}}, "mirror negates 'x' twice"),
        ({"rate": 0}, "rate: input should be greater than 0"),
        ({"wheels": 3}, "there is no 'wheels': allowed is name, states, actions"),
        (
            {"states": [{"name": "x", "seen": False}], "actions": [], "pairs": []},
            "states leaves the model nothing to see: at least one state or action must be seen",
        ),
    ],
    ids=str,
)
def test_description_that_contradicts_itself_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as error:
        describe(ARM | change)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", [None, 3, [], ["x"]])
def test_what_is_no_mapping_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"^wanted are values by their names: allowed is name, states"):
        describe(given)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"states": [f"s{index}" for index in range(1001)]}, "states"),
        ({"actions": [f"a{index}" for index in range(1001)]}, "actions"),
        ({"pairs": [["x", "y"]] * 100_000}, "pairs"),
        ({"mirror": {"negated": ["x"] * 100_000}}, "mirror.negated"),
        ({"mirror": {"swapped": [["x", "y"]] * 100_000}}, "mirror.swapped"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lists_are_bounded(change: dict[str, Any], place: str) -> None:
    """What is checked by pairs of names would take the square of their number."""
    with pytest.raises(ValueError, match=rf"^{place}: it has \d+ values, allowed are at most \d+$"):
        describe({"states": ["x", "y"]} | change)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from(["x", "y", "yaw", ""]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(["name", "low", "high", "safe"]), each),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*RobotDescription.model_fields, "more"]), JSON, max_size=4))
def test_any_values_are_a_robot_or_refused(given: dict[str, Any]) -> None:
    try:
        robot = Robot(describe({"states": ["x", "y", {"name": "yaw", "angle": True}]} | given))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(robot.safe_action(None)).all()
