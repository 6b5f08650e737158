"""Following a path: progress and distance, wherever the robot is, and paths of points."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_control.tasks.path import FollowPath, PathCost
from robot_testing import path_task

POSES = [(0.0, 0.0, 0.0), (3.0, -2.0, 1.0), (-1.0, 0.5, 3.0), (0.2, 5.0, -2.0)]


def observation(x: float, y: float, yaw: float, time: float = 0.0, episode: int = 1) -> Observation:
    """A robot that stands at a pose."""
    still = (0.0, 0.0, 0.0)
    state = pack_state((x, y, 0.02), still, (0.02, -0.01, yaw), still, (0.3, -1.0), (20.0, 25.0), (1.0, 1.2), 3.9)
    return Observation(state, np.array([20.0, 25.0]), time, round(time / 0.05), episode, 0.05)


def seen(task: FollowPath, newest: Observation) -> dict[str, float]:
    """Figures of an observation that the task believes."""
    figures = task.observe(newest)
    assert figures is not None
    return figures


def turned(x: float, y: float, origin: tuple[float, float, float]) -> tuple[float, float]:
    """A point in front of and beside an origin, in odom."""
    cosine, sine = math.cos(origin[2]), math.sin(origin[2])
    return origin[0] + cosine * x - sine * y, origin[1] + sine * x + cosine * y


@pytest.mark.parametrize("origin", POSES)
@pytest.mark.parametrize("path", ["straight", "figure_eight"])
def test_path_starts_at_the_first_pose(path: str, origin: tuple[float, float, float]) -> None:
    tracking = seen(path_task(path), observation(*origin))
    assert tracking["cross_track_m"] == pytest.approx(0.0, abs=1e-6)
    assert tracking["progress_m"] == pytest.approx(0.0, abs=1e-6)
    assert tracking["heading_error_rad"] == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(tracking["cost"])


@pytest.mark.parametrize("origin", POSES)
def test_progress_and_distance_are_along_and_left_of_the_path(origin: tuple[float, float, float]) -> None:
    follow = path_task()
    seen(follow, observation(*origin))
    for step in range(1, 20):
        x, y = turned(0.05 * step, -0.03, origin)
        tracking = seen(follow, observation(x, y, origin[2] + 0.2, time=0.05 * step))
        assert tracking["progress_m"] == pytest.approx(0.05 * step, abs=1e-5)
        assert tracking["cross_track_m"] == pytest.approx(-0.03, abs=1e-5)
        assert tracking["heading_error_rad"] == pytest.approx(0.2, abs=1e-5)


def test_heading_error_is_the_shorter_way_round() -> None:
    follow = path_task()
    seen(follow, observation(0.0, 0.0, 3.0))
    assert seen(follow, observation(0.0, 0.0, -3.0, time=0.05))["heading_error_rad"] == pytest.approx(2 * math.pi - 6.0)


def test_cost_is_that_of_the_step_as_executed() -> None:
    follow = path_task(distance_weight=2.0, progress_weight=10.0, heading_weight=1.0)
    seen(follow, observation(0.0, 0.0, 0.0))
    tracking = seen(follow, observation(0.004, 0.03, 0.1, time=0.05))
    beside = 2.0 * PathCost.reach * math.tanh(0.03 / PathCost.reach) + 0.1 + math.atan(0.03 / PathCost.lookahead)
    assert tracking["cost"] == pytest.approx(beside + 10.0 * (0.2 * 0.05 - 0.004), abs=1e-4)
    # Twice the time: twice the way is wanted.
    tracking = seen(follow, observation(0.004, 0.03, 0.1, time=0.15))
    assert tracking["cost"] == pytest.approx(beside + 10.0 * 0.2 * 0.1, abs=1e-4)


def test_new_episode_starts_the_path_anew() -> None:
    follow = path_task()
    seen(follow, observation(0.0, 0.0, 0.0))
    seen(follow, observation(0.1, 0.0, 0.0, time=0.05))
    tracking = seen(follow, observation(4.0, 4.0, 2.0, time=0.1, episode=2))
    assert (tracking["cross_track_m"], tracking["progress_m"]) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert math.isnan(tracking["cost"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_measurement_that_is_not_finite_passes(value: float) -> None:
    """One bad state is no end of the run: the robot is found again from the next one on."""
    follow = path_task("figure_eight")
    seen(follow, observation(0.0, 0.0, 0.0))
    before = seen(follow, observation(0.1, 0.0, 0.0, time=0.05))
    bad = observation(0.0, 0.0, 0.0, time=0.1)
    assert follow.observe(replace(bad, state=np.full(24, value))) is None
    after = seen(follow, observation(0.1, 0.0, 0.0, time=0.15))
    assert after["progress_m"] == pytest.approx(before["progress_m"], abs=1e-4)
    assert math.isfinite(after["cross_track_m"])


@pytest.mark.parametrize("path", ["figure_eight", "left", "straight"])
def test_single_state_far_away_is_not_believed(path: str) -> None:
    follow = path_task(path)
    seen(follow, observation(0.0, 0.0, 0.0))
    for step in range(1, 40):
        x = 0.005 * step
        before = seen(follow, observation(x, 0.0, 0.0, time=0.1 * step))
        assert follow.observe(observation(100.0, 0.0, 0.0, time=0.1 * step + 0.05)) is None
        assert follow.progress == before["progress_m"]
    assert follow.progress == pytest.approx(x, abs=0.02)


@pytest.mark.parametrize("path", ["figure_eight", "left", "straight"])
def test_robot_that_is_elsewhere_is_found_there_and_back(path: str) -> None:
    """Progress follows from where it is, however far that is."""
    follow = path_task(path)
    points, headings = follow.path.points, follow.path.headings
    seen(follow, observation(0.0, 0.0, 0.0))
    time = 0.0
    for row in (100, len(points) // 2 - 70, 10, len(points) // 3):
        for place in ((1e3, 1e3), points[row]):
            for _ in range(2):
                time += 0.05
                tracking = follow.observe(observation(*place, headings[row], time=time))
        assert tracking is not None
        assert tracking["cross_track_m"] == pytest.approx(0.0, abs=1e-3)
        assert tracking["progress_m"] % follow.path.length == pytest.approx(row * 0.01, abs=1e-3)
        assert abs(tracking["progress_m"]) <= follow.path.length
        assert abs(tracking["heading_error_rad"]) < 0.02
        assert math.isnan(tracking["cost"])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_path_does_not_start_at_a_measurement_that_is_not_finite(value: float) -> None:
    follow = path_task()
    assert follow.observe(replace(observation(0.0, 0.0, 0.0), state=np.full(24, value))) is None
    tracking = seen(follow, observation(3.0, -2.0, 1.0, time=0.05))
    assert (tracking["cross_track_m"], tracking["progress_m"]) == pytest.approx((0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("origin", POSES)
def test_path_in_odom_starts_at_the_robot(origin: tuple[float, float, float]) -> None:
    follow = path_task("left")
    seen(follow, observation(*origin))
    poses = follow.reference()
    assert poses[0] == pytest.approx(origin)
    assert poses[100, :2] == pytest.approx(turned(*follow.path.points[100], origin))
    assert poses[100, 2] == pytest.approx(follow.path.headings[100] + origin[2])


# Paths of points

SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.csv", "x,y\n0,0\n1,0\n1,1\n0,1\n0,0\n"), ("p.csv", "0,0\n1,0\n1,1\n0,1\n0,0"), ("p.yaml", str(SQUARE))],
)
def test_path_of_a_file_starts_at_the_robot(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    follow = path_task(str(tmp_path / name))
    assert follow.path.closed
    assert follow.path.length == pytest.approx(4.0)
    origin = POSES[1]
    seen(follow, observation(*origin))
    tracking = seen(follow, observation(*turned(0.1, 0.02, origin), origin[2], time=0.05))
    assert tracking["progress_m"] == pytest.approx(0.1, abs=1e-4)
    assert tracking["cross_track_m"] == pytest.approx(0.02, abs=1e-4)
    assert follow.reference()[150, 2] == pytest.approx(origin[2] + math.pi / 2)


def test_path_of_points_lies_where_they_are() -> None:
    follow = path_task("[[2, 1], [2, 3]]")
    for episode in (1, 2):
        tracking = seen(follow, observation(2.1, 2.5, math.pi / 2, episode=episode))
        assert tracking["progress_m"] == pytest.approx(1.5, abs=1e-4)
        assert tracking["cross_track_m"] == pytest.approx(-0.1, abs=1e-4)
        assert tracking["heading_error_rad"] == pytest.approx(0.0, abs=1e-4)


def test_robot_stands_at_the_end_of_an_open_path() -> None:
    follow = path_task("[[2, 1], [2, 3]]")
    for y, stands in ((1.0, False), (2.9, False), (3.0, True), (3.1, True), (2.8, False)):
        follow.observe(observation(2.0, y, math.pi / 2))
        seen(follow, observation(2.0, y, math.pi / 2))
        assert follow.stands == stands


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ("[]", "holds no path: wanted are 2 points or more, each a finite x and y in m"),
        ("[[1, 2]]", "holds no path: wanted are 2 points or more"),
        ("[[1, 2], [NaN, 2]]", "holds no path: wanted are 2 points or more"),
        ("[[1, 2], [1, 2], [1, 2]]", "is a path of 0 m"),
        ("[[1, 2], [3, 4]", "holds no path"),
        ("[[1, 2], [3, [4]]]", "holds no path"),
    ],
)
def test_points_that_make_no_path_are_refused(points: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"the list of points {words}"):
        path_task(points)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.csv", "x,y\n0,0\n1,one\n", "holds no path"),
        ("p.csv", "0,0\n1,0,2\n", "holds no path"),
        ("p.csv", "", "holds no path"),
        ("p.csv", "0,0\n0,0\n", "a path of 0 m"),
        ("p.csv", "0,0\nnan,1\n", "holds no path"),
        ("p.csv", "0,0\n1e9,1\n", "a path of 1e+09 m"),
        ("p.yaml", "{a: b", "holds no path"),
        ("p.yaml", "points", "holds no path"),
        ("p.txt", "0,0", "or a file, *.csv or *.yaml"),
        ("none.csv", None, "no such file"),
    ],
)
def test_file_that_holds_no_path_is_refused(name: str, text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(words)):
        path_task(str(tmp_path / name))


@pytest.mark.parametrize("path", ["straight", "left"])
def test_position_beyond_all_measure_is_a_distance_as_any_other(path: str) -> None:
    follow = path_task(path)
    seen(follow, observation(0.0, 0.0, 0.0))
    figures = [follow.observe(observation(9e14, 2.0, 0.0, time=0.05 * tick)) for tick in range(1, 60)]
    assert any(figures)
    assert all(math.isfinite(each["progress_m"]) for each in figures if each)
