"""Transitions of episodes: pieces without gaps, changes per control interval, and segments drawn of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.features import TOLERANCE, Features
from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import transition
from mbmrl_control.training.episodes import Episode, missing_samples

LEAST_SPREAD: Final = 1e-6
"""Deviation up to which a state counts as one that does not vary: else noise of rounding would be a unit of errors."""


@dataclass(frozen=True)
class Piece:
    """Part of an episode without a gap: L successive transitions.

    Attributes:
        states: Shape (L + 1, n), double precision.
        actions: Shape (L, m), double precision.
        intervals: Length of each interval, as a share of the nominal one, shape (L,).
        start: Row of the episode that it begins with.
    """

    states: Tensor
    actions: Tensor
    intervals: Tensor
    start: int = 0


def pieces_of(episode: Episode, rate: float, counts: Counter[str] | None = None) -> Iterator[Piece]:
    """The pieces of an episode.

    A transition is where two successive samples are there and lie one nominal interval apart, within TOLERANCE.

    Args:
        episode: The episode.
        rate: Control rate, Hz: its inverse is the nominal interval.
        counts: Where to add up ``missing_samples``, ``gaps`` (intervals too long or too short) and ``unequal``
            (intervals that differ from the nominal one, but within TOLERANCE).
    """
    missing = missing_samples(episode.state)
    # Times in double precision are no exact multiples of the interval: what differs by less than that is equal.
    intervals = np.round(np.diff(episode.time) * rate, 6)
    there = ~(missing[1:] | missing[:-1])
    usable = there & (np.abs(intervals - 1) <= TOLERANCE)
    if counts is not None:
        counts["missing_samples"] += int(missing.sum())
        counts["gaps"] += int((there & ~usable).sum())
        counts["unequal"] += int((usable & (intervals != 1)).sum())
    edges = np.flatnonzero(np.diff(np.concatenate([[False], usable, [False]])))
    for start, end in edges.reshape(-1, 2).tolist():
        yield Piece(
            torch.from_numpy(episode.state[start : end + 1]),
            torch.from_numpy(episode.action[start:end]),
            torch.from_numpy(intervals[start:end]),
            start,
        )


def _mirrored(robot: Robot, piece: Piece) -> Piece:
    states, actions = robot.mirror(piece.states.numpy(), piece.actions.numpy())
    return replace(piece, states=torch.from_numpy(states), actions=torch.from_numpy(actions))


@dataclass(frozen=True)
class Transitions:
    """Transitions of episodes, one piece after the other.

    Attributes:
        inputs: Inputs of the model, shape (n, input_size).
        targets: Changes per nominal interval, shape (n, output_size).
        states: States before each, shape (n, states), and ``next_states`` after it.
        actions: Shape (n, actions).
        intervals: Length of each, as a share of the nominal interval, shape (n,).
        lengths: Transitions of each piece, shape (pieces,).
        features: What inputs and targets are.
        spread: Standard deviation of each state, see `spread_of`, shape (states,).
        counts: ``episodes``, ``pieces``, ``transitions`` and what `pieces_of` counts, without the mirror images.
    """

    inputs: Tensor
    targets: Tensor
    states: Tensor
    next_states: Tensor
    actions: Tensor
    intervals: Tensor
    lengths: Tensor
    features: Features
    spread: Tensor
    counts: dict[str, int]

    @staticmethod
    def of(episodes: Sequence[Episode], rate: float, mirrored: bool = False) -> Transitions:
        """Transitions of episodes of one robot; differences are taken in double precision.

        Args:
            episodes: The episodes.
            rate: Control rate, Hz.
            mirrored: Whether the mirror image of each is to come after them.
        """
        counts: Counter[str] = Counter(episodes=len(episodes), missing_samples=0, gaps=0, unequal=0)
        robot = episodes[0].robot
        features = robot.features
        pieces = [piece for episode in episodes for piece in pieces_of(episode, rate, counts)]
        counts.update(pieces=len(pieces), transitions=sum(len(piece.actions) for piece in pieces))
        names, commands = len(robot.state_names), len(robot.action_names)

        def joined(parts: Iterable[Tensor], *size: int) -> Tensor:
            return torch.cat([torch.empty(0, *size, dtype=torch.float64), *parts])

        spread = spread_of(features, joined((piece.states for piece in pieces), names))
        if mirrored:
            pieces += [_mirrored(robot, piece) for piece in pieces]
        states = joined((piece.states[:-1] for piece in pieces), names)
        following = joined((piece.states[1:] for piece in pieces), names)
        actions = joined((piece.actions for piece in pieces), commands)
        intervals = joined(piece.intervals for piece in pieces)
        inputs, targets = transition(features, states, actions, following, intervals)
        return Transitions(
            inputs,
            targets,
            states.float(),
            following.float(),
            actions.float(),
            intervals.float(),
            torch.tensor([len(piece.actions) for piece in pieces], dtype=torch.int64),
            features,
            spread,
            dict(counts),
        )

    def normalised(self, normalizer: Normalizer) -> Transitions:
        """The same in the normaliser's units."""
        return replace(self, inputs=normalizer.inputs(self.inputs), targets=normalizer.targets(self.targets))

    def counted(self, length: int) -> dict[str, int]:
        """The counts, and how many ``short_pieces`` and transitions in them give no segments of a length."""
        own = self.lengths[: self.counts["pieces"]]
        short = own[own < length]
        return self.counts | {"short_pieces": len(short), "short_transitions": int(short.sum())}

    def segments(self, count: int, length: int, generator: torch.Generator) -> Tensor:
        """Numbers of the transitions of random segments, shape (count, length); each start is as likely as any other.

        Raises:
            ValueError: If no piece is as long as that.
        """
        starts = (self.lengths - length + 1).clamp_min(0)
        ends = starts.cumsum(0)
        if not starts.any():
            longest = max(self.lengths.tolist(), default=0)
            raise ValueError(f"the longest piece without a gap has {longest} transitions, {length} are needed")
        drawn = torch.randint(int(ends[-1]), (count, 1), generator=generator)
        piece = torch.searchsorted(ends, drawn, right=True)
        first = (self.lengths.cumsum(0) - self.lengths)[piece] + drawn - (ends - starts)[piece]
        return first + torch.arange(length)


def spread_of(features: Features, states: Tensor) -> Tensor:
    """Standard deviation of states, of angles about their mean direction; 1 of a state that does not vary.

    Shapes (n, states) -> (states,).
    """
    mean = torch.where(features.is_angle, torch.atan2(states.sin().mean(0), states.cos().mean(0)), states.mean(0))
    spread = features.difference(states, mean).square().mean(0).sqrt()
    return torch.where(spread > LEAST_SPREAD, spread, 1.0)
