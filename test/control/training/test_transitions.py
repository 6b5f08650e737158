"""Pieces without gaps, changes per control interval, and segments that are all as likely."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_testing import drive_cart
from mbmrl_control.training.episodes import Episode
from mbmrl_control.training.transitions import Transitions, pieces_of, spread_of

FEW = settings(derandomize=True, deadline=None, max_examples=100, database=None)
RATE = 20.0
ROBOT = {"states": [{"name": "s", "seen": False}], "actions": ["number"]}


def ramp(intervals: list[float]) -> Episode:
    """An episode whose only state grows by 3 a second, and whose action numbers the transitions."""
    time = np.concatenate([[7.0], 7.0 + np.cumsum(intervals)])
    numbers = np.arange(len(intervals), dtype=float)[:, np.newaxis]
    return Episode(3 * time[:, np.newaxis], numbers, time, metadata={"robot": ROBOT})


def without(episode: Episode, *rows: int) -> Episode:
    """The episode with missing samples; their actions are missing too."""
    state, action = episode.state.copy(), episode.action.copy()
    for row in rows:
        state[row] = np.nan
        action[max(0, row - 1) : row + 1] = np.nan
    return replace(episode, state=state, action=action)


def numbers_of(episode: Episode) -> list[list[int]]:
    """Which transitions each piece is made of."""
    return [piece.actions[:, 0].int().tolist() for piece in pieces_of(episode, RATE)]


def test_episode_without_gaps_is_one_piece() -> None:
    episode = drive_cart(0, 30)
    (piece,) = pieces_of(episode, RATE)
    assert torch.equal(piece.states, torch.from_numpy(episode.state))
    assert torch.equal(piece.actions, torch.from_numpy(episode.action))
    assert (piece.intervals == 1).all()  # to the last bit, whatever the rounding of times


def test_change_in_another_interval_is_scaled_to_the_nominal_one() -> None:
    data = Transitions.of([ramp([0.05, 0.03, 0.074, 0.05])], RATE)
    assert torch.allclose(data.targets, torch.full((4, 1), 0.15))
    assert data.counts == {"episodes": 1, "pieces": 1, "transitions": 4, "missing_samples": 0, "gaps": 0, "unequal": 2}


def test_interval_too_long_or_too_short_breaks_the_episode() -> None:
    episode = ramp([0.05, 0.05, 0.1, 0.05, 0.02, 0.07, 0.05, 0.05])
    assert numbers_of(episode) == [[0, 1], [3], [5, 6, 7]]
    data = Transitions.of([episode], RATE)
    assert data.lengths.tolist() == [2, 1, 3]
    assert data.inputs.flatten().tolist() == [0, 1, 3, 5, 6, 7]
    assert (data.counts["gaps"], data.counts["unequal"]) == (2, 1)


@pytest.mark.parametrize(
    ("rows", "pieces"),
    [
        ((3,), [[0, 1], [4, 5, 6, 7]]),
        ((0, 8), [[1, 2, 3, 4, 5, 6]]),
        ((2, 4), [[0], [5, 6, 7]]),
        (tuple(range(9)), []),
        (tuple(range(0, 9, 2)), []),
    ],
)
def test_missing_samples_break_the_episode(rows: tuple[int, ...], pieces: list[list[int]]) -> None:
    episode = without(ramp([0.05] * 8), *rows)
    assert numbers_of(episode) == pieces
    data = Transitions.of([episode, ramp([0.05] * 2)], RATE)
    assert data.counts["missing_samples"] == len(rows)
    assert data.counts["gaps"] == 0
    assert data.inputs.isfinite().all()
    assert data.targets.isfinite().all()


def test_pieces_that_are_too_short_are_counted() -> None:
    data = Transitions.of([ramp([0.05] * length) for length in (4, 2, 5, 1, 0)], RATE)
    assert data.counted(4) == data.counts | {"short_pieces": 2, "short_transitions": 3}
    assert data.counted(1)["short_pieces"] == 0
    with pytest.raises(ValueError, match="the longest piece without a gap has 5 transitions, 6 are needed"):
        data.segments(1, 6, torch.Generator())


@FEW
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 9))
def test_segments_stay_within_a_piece(lengths: list[int], length: int) -> None:
    data = Transitions.of([ramp([0.05] * each) for each in lengths], RATE)
    if max(lengths) >= length:
        segments = data.segments(20, length, torch.Generator().manual_seed(0))
        assert segments.shape == (20, length)
        assert data.inputs[segments].shape == data.targets[segments].shape == (20, length, 1)
        assert (data.inputs[segments].diff(dim=1) == 1).all()


def test_each_start_is_as_likely_as_any_other() -> None:
    """However long its piece is."""
    episodes = [ramp([0.05] * length) for length in (3, 40, 3)]
    data = Transitions.of([replace(e, action=e.action + 100 * i) for i, e in enumerate(episodes)], RATE)
    segments = data.segments(40_000, 3, torch.Generator().manual_seed(1))
    counts = Counter(data.inputs[segments[:, 0], 0].int().tolist())
    assert len(counts) == 40
    assert all(abs(count - 1000) < 150 for count in counts.values())


def test_spread_is_the_deviation_of_each_state() -> None:
    features = drive_cart(0, 10).features
    angles = torch.tensor([3.0, -3.0, 3.2, -3.2]).double()  # about pi
    states = torch.stack([torch.tensor([1.0, -1.0, 1.0, -1.0]).double(), 5.0 + 1e-15 * angles, angles, angles], dim=1)
    spread = spread_of(features, states)
    assert features.is_angle.tolist() == [False, False, True, False]
    assert spread.tolist() == pytest.approx([1.0, 1.0, 0.1083, 3.1016], abs=1e-3)
