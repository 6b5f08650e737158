"""Nodes that have died and are started again."""

from __future__ import annotations

import pytest

from mbmrl_control.bringup.graph import HARDWARE, SIM, TOPICS
from mbmrl_control.bringup.respawn import SHORT, TRIES, Respawn

PLANNER, RECORDER = SIM[3], SIM[0]
KILLED = -9


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def respawn(clock: Clock) -> Respawn:
    return Respawn(True, clock)


def test_node_that_dies_is_started_again_as_it_was(respawn: Respawn) -> None:
    assert respawn.again(PLANNER, {"seed": 3}, KILLED) == {"seed": 3}
    assert respawn.again(SIM[1], {"seed": 3}, 0) == {"seed": 3}


def test_node_that_refuses_is_not(respawn: Respawn) -> None:
    assert respawn.again(PLANNER, {}, 2) is None


def test_none_is_unless_that_is_wanted() -> None:
    assert Respawn(False).again(PLANNER, {}, KILLED) is None


def test_node_that_does_not_get_going_is_given_up(respawn: Respawn, clock: Clock) -> None:
    for _ in range(TRIES):
        assert respawn.again(PLANNER, {}, 1) is not None
        clock.time += SHORT / 2
    assert respawn.again(PLANNER, {}, 1) is None


def test_node_that_worked_meanwhile_is_started_again_however_often(respawn: Respawn, clock: Clock) -> None:
    for _ in range(3 * TRIES):
        assert respawn.again(PLANNER, {}, KILLED) is not None
        assert respawn.again(SIM[2], {}, KILLED) is not None  # each counts for itself
        clock.time += 1.01 * SHORT


@pytest.mark.parametrize("bridge", [HARDWARE[1], TOPICS[1]], ids=lambda spec: spec.executable)
def test_bridge_does_not_let_a_real_robot_move_by_itself(bridge: object, respawn: Respawn) -> None:
    given = {"port": "/dev/ttyUSB0"}
    assert respawn.again(bridge, given, KILLED) == {**given, "autostart": False}  # type: ignore[arg-type]


def test_recording_goes_on_in_another_folder(respawn: Respawn, clock: Clock) -> None:
    assert respawn.again(RECORDER, {"record": True}, KILLED) == {"record": True}
    clock.time += SHORT
    assert respawn.again(RECORDER, {"bag": "walk"}, KILLED) == {"bag": "walk_3"}
