"""Collecting episodes: all follows from the seed, whoever collects them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mbmrl_base.robots.millirobot.layout import LEG_NAMES, MAX_LEG_SPEED, MIN_LEG_SPEED
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.training.collect import CollectSettings, collect, collect_episode
from mbmrl_control.training.episodes import Episode
from mbmrl_sim.millirobot.faults import FAULT_KINDS

SHORT = CollectSettings(duration=1.0)
SEEDS = range(3, 7)


def content(folder: Path) -> dict[str, bytes]:
    """The arrays of all episodes of a folder, as bytes."""
    episodes = {path.name: Episode.load(path) for path in sorted(folder.glob("*.npz"))}
    return {
        f"{name}/{part}": getattr(episode, part).tobytes()
        for name, episode in episodes.items()
        for part in ("state", "action", "time")
    }


def lost_legs(episode: Episode) -> dict[str, int]:
    """The legs that were lost, and the steps in which they were."""
    return {fault["part"]: fault["step"] for fault in episode.metadata["faults"] if fault["kind"] == "leg_loss"}


def test_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    assert list(collect(SHORT, SEEDS, tmp_path / "one", workers=1)) == [1, 2, 3, 4]
    assert list(collect(SHORT, SEEDS, tmp_path / "two", workers=2)) == [1, 2, 3, 4]
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [f"{seed:08d}.npz" for seed in SEEDS]


def test_episodes_that_are_there_are_kept(tmp_path: Path) -> None:
    kept = tmp_path / f"{SEEDS[1]:08d}.npz"
    kept.write_bytes(b"of an earlier run")
    assert list(collect(SHORT, SEEDS[:2], tmp_path, workers=1)) == [1, 2]
    assert kept.read_bytes() == b"of an earlier run"
    assert (tmp_path / f"{SEEDS[0]:08d}.npz").exists()


def test_episode_is_what_the_settings_say(episodes: list[Episode]) -> None:
    for seed, episode in enumerate(episodes):
        assert episode.action.shape == (60, 2)
        assert np.diff(episode.time) == pytest.approx(0.05)
        told = {name: episode.metadata[name] for name in ("seed", "rate", "policy", "terrain", "sensors")}
        assert told == {"seed": seed, "rate": 20.0, "policy": "random", "terrain": "carpet", "sensors": "ideal"}
        assert {"robot", "slope", "versions"} <= set(episode.metadata)
        walking = episode.action.any(1)
        assert walking.sum() > 30
        assert (episode.action[walking] >= MIN_LEG_SPEED).all()
        assert (episode.action <= MAX_LEG_SPEED).all()
        assert np.isfinite(episode.state).all()


def test_episodes_of_other_seeds_differ(episodes: list[Episode]) -> None:
    assert len({episode.state.tobytes() for episode in episodes}) == len(episodes)


def test_legs_are_lost_on_the_way(episodes: list[Episode]) -> None:
    for episode in episodes:
        assert len(lost_legs(episode)) == len(episode.metadata["faults"]) <= 2
        assert all(0 <= step < len(episode.action) / 2 for step in lost_legs(episode).values())
    assert {len(lost_legs(episode)) for episode in episodes} >= {0, 1}


def test_held_out_legs_are_not_lost(episodes: list[Episode]) -> None:
    lost = {leg for episode in episodes for leg in lost_legs(episode)}
    assert lost
    assert lost <= set(LEG_NAMES) - {"left_middle", "right_middle"}


def test_only_legs_that_may_be_lost_are() -> None:
    settings = replace(SHORT, parts=("right_middle",), faults=(0.0, 0.5, 0.5))
    for seed in range(3):
        assert list(lost_legs(collect_episode(settings, seed))) == ["right_middle"]


def test_any_faults_come_at_any_time_and_are_told() -> None:
    settings = replace(
        SHORT, kinds=tuple(FAULT_KINDS), faults=(0.0, 0.0, 1.0), terrains=("turf", "gravel"), sensors="real"
    )
    episodes = [collect_episode(settings, seed) for seed in range(12)]
    told = [fault for episode in episodes for fault in episode.metadata["faults"]]
    assert len({fault["kind"] for fault in told}) > 4
    assert len({fault["step"] for fault in told}) > 4
    assert {episode.metadata["terrain"] for episode in episodes} == {"turf", "gravel"}


def test_controller_collects_too(make_prior: Callable[..., Prior], tmp_path: Path) -> None:
    file = tmp_path / "prior.safetensors"
    make_prior().save(file)
    settings = replace(SHORT, duration=0.5, prior=file)
    first, again = collect_episode(settings, 5), collect_episode(settings, 5)
    assert first.metadata["policy"] == "mpc"
    assert first.state.tobytes() == again.state.tobytes()
    assert first.action.tobytes() == again.action.tobytes()
    # The first action that is planned comes into force one interval later.
    assert not first.action[0].any()
    assert (first.action[1:] >= MIN_LEG_SPEED).all()
    other = collect_episode(replace(settings, task="move_forward"), 5)
    assert first.action.tobytes() != other.action.tobytes()
