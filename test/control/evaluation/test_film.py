"""Films of recorded runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_control.control.run_record import Record, Tick
from mbmrl_control.evaluation import film as films
from mbmrl_control.evaluation.film import film, frames
from robot_testing import FOLLOW, PLANNER, path_task

REFERENCE = np.stack([np.linspace(0.0, 1.0, 50), np.zeros(50)], axis=1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures."""
    monkeypatch.setattr(films, "WIDTH", 160)
    monkeypatch.setattr(films, "HEIGHT", 112)


@pytest.fixture
def run() -> Record:
    """A robot that walks ahead for 1 s, and loses a leg half-way."""
    ticks = []
    for index in range(21):
        state = pack_state((0.01 * index, 0, 0.025), (0.2, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0), (20, 20), (1, 1), 3.9)
        observation = Observation(state, np.full(2, 20.0), index / 20, index, 1, 0.05)
        ticks.append(Tick(observation, commanded=True, faults=("leg_loss:4",) if index > 10 else ()))
    return Record(load_robot("millirobot"), "grbal", FOLLOW, PLANNER, 0, 20.0, "leg_loss:4@0.5", 0.5, ticks)


def red(picture: Image.Image) -> int:
    """Number of red pixels: of the caption and of the mark on the ground."""
    r, g, b = np.asarray(picture).astype(int).transpose(2, 0, 1)
    return int(((r > 150) & (g < 90) & (b < 90)).sum())


def test_fault_is_marked_from_its_time_on(run: Record) -> None:
    shown = list(frames((run, REFERENCE)))
    assert len(shown) == 11
    assert [red(picture) > 5 for picture in shown] == [False] * 5 + [True] * 6


def test_runs_are_shown_side_by_side(run: Record) -> None:
    shorter = replace(run, learner="mb", ticks=run.ticks[:9], fault_time=None)
    both = list(frames((run, REFERENCE), (shorter, None)))
    alone, other = list(frames((run, REFERENCE))), list(frames((shorter, None)))
    assert (len(both), len(other), both[0].size) == (11, 5, (320, 112))
    below = 60  # the learner's name is in the caption of several
    for index in (0, 10):
        left, right = (both[index].crop((160 * place, below, 160 * (place + 1), 112)) for place in (0, 1))
        assert np.array_equal(left, alone[index].crop((0, below, 160, 112)))
        assert np.array_equal(right, other[min(index, 4)].crop((0, below, 160, 112)))


def test_suffix_tells_the_kind_of_film(run: Record, tmp_path: Path) -> None:
    console = Console(quiet=True)
    film([(run, REFERENCE)], tmp_path / "robot.mp4", console)
    film([(run, REFERENCE)], tmp_path / "robot.gif", console)
    assert (tmp_path / "robot.mp4").read_bytes()[4:8] == b"ftyp"
    with Image.open(tmp_path / "robot.gif") as image:
        assert (image.format, image.size, image.n_frames) == ("GIF", (160, 112), 11)


def test_recorded_run_is_rendered(mbmrl: Callable[..., tuple[int, str, str]], run: Record, tmp_path: Path) -> None:
    run.write(tmp_path, run.track(path_task("straight")))
    code, _, errors = mbmrl("render", str(tmp_path), "--out", str(tmp_path / "walk.gif"))
    assert (code, (tmp_path / "walk.gif").read_bytes()[:3]) == (0, b"GIF"), errors
    for arguments, sentence in (
        (("--out", "walk.avi"), "a film ends in .mp4 or .gif, not 'walk.avi'"),
        (("--out", "none/walk.gif"), "none/walk.gif cannot be written: there is no folder none"),
    ):
        code, _, errors = mbmrl("render", str(tmp_path), *arguments)
        assert (code, errors) == (2, f"error: {sentence}\n")
    code, _, errors = mbmrl("render", str(tmp_path / "none"))
    assert (code, errors) == (2, f"error: {tmp_path / 'none'} holds no run: there is no run.json\n")
