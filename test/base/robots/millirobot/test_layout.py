"""The layout of the state vector, and the limits of an action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot import layout
from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED, angle, pack_state

MILLIROBOT = load_robot("millirobot")
STATE_SIZE = len(MILLIROBOT.state_names)
numbers = st.floats(-1e3, 1e3)
angles = st.floats(-np.pi, np.pi)


def of(strategy: st.SearchStrategy[float], size: int) -> st.SearchStrategy[list[float]]:
    """Lists of one size."""
    return st.lists(strategy, min_size=size, max_size=size)


def test_parts_cover_the_state_once() -> None:
    parts = [
        layout.POSITION,
        layout.LINEAR_VELOCITY,
        layout.ROLL,
        layout.PITCH,
        layout.YAW,
        layout.ANGULAR_VELOCITY,
        layout.LEFT_PHASE,
        layout.RIGHT_PHASE,
        layout.LEG_SPEED,
        layout.BACK_EMF,
        layout.BATTERY,
    ]
    covered = np.concatenate([np.arange(STATE_SIZE)[part] for part in parts])
    assert covered.tolist() == list(range(STATE_SIZE))


@given(of(numbers, 3), of(numbers, 3), of(angles, 3), of(numbers, 3), of(angles, 2), of(numbers, 5))
def test_packed_measurements_are_found_again(
    position: list[float],
    velocity: list[float],
    attitude: list[float],
    rotation_rate: list[float],
    phases: list[float],
    drive: list[float],
) -> None:
    state = pack_state(position, velocity, attitude, rotation_rate, phases, drive[:2], drive[2:4], drive[4])
    assert state.shape == (STATE_SIZE,)
    assert state[layout.POSITION].tolist() == position
    assert state[layout.LINEAR_VELOCITY].tolist() == velocity
    assert state[layout.ANGULAR_VELOCITY].tolist() == rotation_rate
    assert state[layout.LEG_SPEED].tolist() == drive[:2]
    assert state[layout.BACK_EMF].tolist() == drive[2:4]
    assert state[layout.BATTERY].tolist() == drive[4:]
    pairs = (layout.ROLL, layout.PITCH, layout.YAW, layout.LEFT_PHASE, layout.RIGHT_PHASE)
    for pair, expected in zip(pairs, attitude + phases, strict=True):
        turn = angle(state, pair) - expected
        assert np.cos(turn) == pytest.approx(1.0)
        assert np.sin(turn) == pytest.approx(0.0, abs=1e-12)


def test_angle_of_many_states_at_once() -> None:
    yaws = np.linspace(-3.0, 3.0, 7)
    states = np.array(
        [pack_state([0] * 3, [0] * 3, [0, 0, yaw], [0] * 3, [0] * 2, [0] * 2, [0] * 2, 4.0) for yaw in yaws]
    )
    np.testing.assert_allclose(angle(states, layout.YAW), yaws)


def test_layout_is_that_of_the_description() -> None:
    first = {
        **{"x": layout.POSITION, "vx": layout.LINEAR_VELOCITY, "wx": layout.ANGULAR_VELOCITY},
        **{"cos_roll": layout.ROLL, "cos_pitch": layout.PITCH, "cos_yaw": layout.YAW},
        **{"cos_left_phase": layout.LEFT_PHASE, "cos_right_phase": layout.RIGHT_PHASE},
        **{"left_speed": layout.LEG_SPEED, "left_back_emf": layout.BACK_EMF, "battery": layout.BATTERY},
    }
    assert {name: MILLIROBOT.state(name) for name in first} == {name: part.start for name, part in first.items()}


def test_action_is_clipped_to_what_the_robot_accepts() -> None:
    assert MILLIROBOT.clip(np.array([-1.0, 1e9])).tolist() == [0.0, MAX_LEG_SPEED]
    assert MILLIROBOT.clip(np.array([0.0, 20.0])).tolist() == [0.0, 20.0]


@pytest.mark.parametrize(
    "action", [[1.0], [1.0, 2.0, 3.0], 4.0, [[1.0, 2.0]], [np.nan, 1.0], [1.0, np.inf], [-np.inf, 1.0]]
)
def test_impossible_action_is_refused_with_a_sentence(action: Any) -> None:
    with pytest.raises(ValueError, match="an action of millirobot is 2 finite numbers, left_leg_speed, "):
        MILLIROBOT.clip(action)
