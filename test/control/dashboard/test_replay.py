"""What is shown of a recorded run, moment by moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_control.control.run_record import Record, Tick, choice
from mbmrl_control.dashboard.compared import compared
from mbmrl_control.dashboard.replay import Beside, replay_of
from mbmrl_control.dashboard.robot_view import parse_urdf
from mbmrl_control.dashboard.snapshot import NO_PATH, UNKNOWN_BODY, Foresight
from mbmrl_control.tasks.forward import MoveForward
from robot_testing import MILLIROBOT, PLANNER, walked


def foresight() -> Foresight:
    return Foresight(NO_PATH, NO_PATH, NO_PATH[None], {}, np.zeros(0))


def test_moments_of_a_run_follow_from_its_record() -> None:
    replay = replay_of(walked(adapted_error=0.1))
    assert (len(replay.moments), replay.end, replay.figure) == (121, 6.0, "cross_track_m")
    moment = replay.at(2.03)
    assert moment.time == 2.0 and moment.faults == ()
    assert moment.position == pytest.approx([0.4, 0.002, 0.025])
    assert moment.turn == pytest.approx([1, 0, 0, 0])
    assert moment.numbers["cross_track_m"] == pytest.approx(0.002)
    assert (moment.numbers["prior_error"], moment.numbers["adapted_error"]) == (0.4, 0.1)
    assert moment.path[-1, :2] == pytest.approx([moment.path[:, 0].max(), 0.0])
    # The legs of a side stand as its crank does.
    assert moment.joints["left_rear_hip"] == moment.joints["left_crank_joint"] == pytest.approx(12 - 4 * np.pi)
    assert replay.at(99.0).faults == ("leg_loss:right_middle",)
    assert replay.at(-1.0).time == 0.0


def test_joints_of_a_run_follow_from_its_states() -> None:
    ant = load_robot("ant")
    ticks = []
    for index in range(3):
        state = np.zeros(len(ant.state_names))
        state[ant.state("ankle_1")] = 0.1 * index
        ticks.append(Tick(Observation(state, np.zeros(8), index / 20, index, 1, 0.05), commanded=True))
    task = choice("move_forward", MoveForward.settings_type())
    record = Record(ant, "mb", task, PLANNER, 0, 20.0, None, None, ticks)
    assert [moment.joints["ankle_1"] for moment in replay_of(record).moments] == pytest.approx([0.0, 0.1, 0.2])


def test_way_ends_at_the_moment_and_is_thinned() -> None:
    replay = replay_of(walked())
    assert [place[0] for place in replay.way(0.1)] == pytest.approx([0.02, 0.01, 0.0])
    many = replace(replay, moments=[replay.moments[min(index, 120)] for index in range(5000)])
    assert 600 <= len(many.way(9.0)) <= 1200
    assert many.way(9.0)[0] is replay.moments[-1].position


def test_what_was_published_goes_before_what_follows_from_the_record() -> None:
    first, second = foresight(), foresight()
    paths = [np.full((2, 3), value) for value in (0.0, 1.0, 1.0)]
    beside = Beside(
        "<robot/>", {0.1: {"hip": 0.5}}, {3: first, 5: second}, paths=list(zip((-9.0, 0.2, 0.25), paths, strict=True))
    )
    beside.note(3, {"cost": 7.0})
    beside.note(3, {"surprise": 2.0})
    moments = replay_of(walked(), beside).moments
    assert moments[2].joints == {"hip": 0.5}
    # What is not known is as it was.
    assert [moment.foresight for moment in moments[:7]] == [None] * 3 + [first] * 2 + [second] * 2
    assert [moment.path is paths[0] for moment in moments[:5]] == [True] * 4 + [False]
    assert all(moment.path is paths[1] for moment in moments[4:])  # and no other one that is the same
    assert (moments[3].numbers["cost"], moments[3].numbers["surprise"]) == (7.0, 2.0)


def test_moments_without_a_pose_are_left_out() -> None:
    record = walked()
    record.ticks[3].observation.state[:3] = np.nan
    assert [moment.time for moment in replay_of(record).moments[:4]] == pytest.approx([0.0, 0.05, 0.1, 0.2])
    for tick in record.ticks:
        tick.observation.state[0] = np.nan
    with pytest.raises(ValueError, match="millirobot does not move on a plane, or its pose is not known"):
        replay_of(record)


def test_robot_without_a_urdf_is_shown_as_a_body_that_looks_ahead() -> None:
    record = replace(walked(), robot=Robot(MILLIROBOT.description))
    assert replay_of(record).urdf == UNKNOWN_BODY
    assert parse_urdf(UNKNOWN_BODY).get_root() == "base_link"
    assert replay_of(record, Beside("<robot/>")).urdf == "<robot/>"


def test_difference_of_two_runs_is_that_of_the_distances() -> None:
    first, second = replay_of(walked(aside=0.002)), replay_of(walked("mb", aside=-0.006, adapted_error=0.3))
    short = replace(second, moments=second.moments[:61])
    charts, rows = compared(first, short, ("grbal", "mb"), ((1, 2, 3), (4, 5, 6)))
    assert [curve.label for curve in charts[0][1]] == ["grbal", "mb"]
    assert charts[1][0] == "cross track (mm): mb less grbal"
    time, numbers = rows[-1]
    assert time == 3.0  # the other one ends there
    ((difference,),) = (charts[1][1],)
    assert difference.drawn(np.array([numbers[difference.number]])) == pytest.approx([4.0])
    errors = charts[2][1]
    assert [numbers[curve.number] for curve in errors] == pytest.approx([0.1, 0.3])
