"""Paths on the ground, and where a robot is relative to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mbmrl_control.tasks.path import LONGEST, PATH_NAMES, SPACING, ZIGZAG_ANGLE, ReferencePath, make_path

CLOSED = ("left", "right", "figure_eight")


@pytest.fixture(params=PATH_NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(name: str) -> ReferencePath:
    return make_path(name)


def offset_to_the_left(path: ReferencePath, row: int, distance: float) -> np.ndarray:
    """A position beside a point of a path."""
    heading = path.headings[row]
    return path.points[row] + distance * np.array([-np.sin(heading), np.cos(heading)])


# The paths


def test_names_of_the_issue() -> None:
    assert set(PATH_NAMES) == {"straight", "left", "right", "zigzag", "figure_eight"}


def test_unknown_name_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"^unknown path 'spiral': allowed is straight, left, right, zigzag, figure_"):
        make_path("spiral")


def test_path_starts_at_the_origin_along_x(name: str, path: ReferencePath) -> None:
    assert path.points[0].tolist() == [0.0, 0.0]
    assert abs(path.headings[0]) == pytest.approx(ZIGZAG_ANGLE if name == "zigzag" else 0.0)


def test_points_are_equally_spaced(path: ReferencePath) -> None:
    points = np.vstack([path.points, path.points[:1]]) if path.closed else path.points
    distances = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert distances == pytest.approx(SPACING, rel=2e-3)
    assert path.length == pytest.approx(distances.sum(), rel=2e-3)


def test_headings_are_tangents_and_unwrapped(name: str, path: ReferencePath) -> None:
    steps = np.diff(path.points, axis=0)
    directions = np.arctan2(steps[:, 1], steps[:, 0])
    low, high = np.minimum(path.headings[:-1], path.headings[1:]), np.maximum(path.headings[:-1], path.headings[1:])
    # The direction to the next point lies between the headings at both, but for whole turns.
    turns = 2 * np.pi * np.round(((low + high) / 2 - directions) / (2 * np.pi))
    assert (directions + turns >= low - 1e-6).all()
    assert (directions + turns <= high + 1e-6).all()
    if name != "zigzag":
        assert np.abs(np.diff(path.headings)).max() < 0.02


def test_zigzag_turns_left_and_right(path: ReferencePath) -> None:
    turns = np.diff(make_path("zigzag").headings)
    corners = turns[np.abs(turns) > 1e-9]
    assert np.abs(corners) == pytest.approx(2 * ZIGZAG_ANGLE)
    assert (np.sign(corners[1:]) == -np.sign(corners[:-1])).all()


def test_left_goes_left_and_right_right() -> None:
    assert make_path("left").points[:, 1].min() >= 0 > make_path("right").points[:, 1].min()


def test_figure_eight_crosses_itself() -> None:
    path = make_path("figure_eight")
    distance = np.linalg.norm(path.points[1:] - path.points[0], axis=1)
    again = 1 + int(distance[: len(distance) * 3 // 4].argsort()[:3].max())
    assert again == pytest.approx(len(path.points) / 2, abs=3)
    assert path.points[:, 1].min() == pytest.approx(-path.points[:, 1].max(), rel=1e-2)


# Windows


@pytest.mark.parametrize("name", CLOSED)
def test_closed_path_is_followed_lap_after_lap(name: str) -> None:
    path = make_path(name)
    first, third = (path.window(0.301 + lap, 1.102 + lap) for lap in (0.0, 2 * path.length))
    torch.testing.assert_close(third.points, first.points)
    torch.testing.assert_close(third.progress, first.progress + 2 * path.length, rtol=0, atol=1e-4)
    turn = (third.headings - first.headings) / (2 * np.pi)
    torch.testing.assert_close(turn, turn.round(), rtol=0, atol=1e-4)
    assert turn[0] == {"left": 2, "right": -2, "figure_eight": 0}[name]


@pytest.mark.parametrize("name", CLOSED)
def test_window_across_the_end_of_a_lap_has_no_seam(name: str) -> None:
    path = make_path(name)
    window = path.window(path.length - 0.2, path.length + 0.2)
    assert np.linalg.norm(np.diff(window.points, axis=0), axis=1) == pytest.approx(SPACING, rel=2e-3)
    assert np.diff(window.progress) == pytest.approx(SPACING, abs=1e-5)
    assert np.abs(np.diff(window.headings)).max() < 0.02


@pytest.mark.parametrize("name", ["straight", "zigzag"])
@pytest.mark.parametrize(("start", "stop"), [(-1.0, 0.5), (59.5, 70.0), (-3.0, -2.0), (70.0, 80.0)])
def test_open_path_ends_at_its_ends(name: str, start: float, stop: float) -> None:
    path = make_path(name)
    window = path.window(start, stop)
    assert len(window.points) >= 1
    assert window.progress[0] == pytest.approx(np.clip(start, 0, path.length), abs=SPACING)
    assert window.progress[-1] == pytest.approx(np.clip(stop, 0, path.length), abs=SPACING)


# Projections


@pytest.mark.parametrize("distance", [-0.03, -0.001, 0.001, 0.03])
def test_cross_track_is_positive_to_the_left(path: ReferencePath, distance: float) -> None:
    for row in (17, 50, 90):
        projection = path.locate(offset_to_the_left(path, row, distance), row * SPACING)
        assert float(projection.cross_track) == pytest.approx(distance, abs=2e-5)
        assert float(projection.progress) == pytest.approx(row * SPACING, abs=1e-3)
        assert float(projection.heading) == pytest.approx(path.headings[row], abs=1e-2)


def test_projection_lies_between_the_points() -> None:
    path = make_path("straight")
    projection = path.window(0.0, 1.0).project(torch.tensor([[[0.5012, 0.01], [0.5037, -0.02]]]))
    torch.testing.assert_close(projection.progress, torch.tensor([[0.5012, 0.5037]]))
    torch.testing.assert_close(projection.cross_track, torch.tensor([[0.01, -0.02]]))


@pytest.mark.parametrize("side", [-0.03, 0.03])
def test_robot_that_walks_the_figure_eight_stays_on_its_branch(side: float) -> None:
    """Both loops meet at the origin: the progress must not leap from one to the other, in two laps."""
    path = make_path("figure_eight")
    rng = np.random.default_rng(2)
    progress = 0.0
    for step in range(0, 2 * len(path.points), 2):
        position = offset_to_the_left(path, step % len(path.points), side + rng.normal(0, 0.003))
        projection = path.locate(position, progress)
        progress = float(projection.progress)
        assert progress == pytest.approx(step * SPACING, abs=0.02)
        assert float(projection.cross_track) == pytest.approx(side, abs=0.02)


NUMBERS = st.none() | st.integers() | st.floats() | st.just(10**400) | st.text(max_size=2)


@settings(derandomize=True, deadline=None, max_examples=150, database=None)
@given(st.lists(st.lists(NUMBERS | st.lists(NUMBERS, max_size=2), max_size=3), max_size=5))
def test_any_list_of_points_is_a_path_or_refused(points: list[list[Any]]) -> None:
    try:
        path = make_path(json.dumps(points))
    except ValueError as error:
        assert str(error).startswith("the list of points")
    else:
        assert np.isfinite(path.points).all()
        assert path.length <= LONGEST + SPACING


@pytest.mark.parametrize("text", ["[" * 100_000, f"[[{10**400}, 0], [1, 1]]"], ids=["deep", "huge"])
def test_list_that_json_or_numpy_fails_at_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the list of points holds no path"):
        make_path(text)


def test_table_with_a_field_that_is_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "path.csv").write_text(f"x,y\n0,0\n{'1' * 200_000},1\n")
    with pytest.raises(ValueError, match="holds no path"):
        make_path(str(tmp_path / "path.csv"))
