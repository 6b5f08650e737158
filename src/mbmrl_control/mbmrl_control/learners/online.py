"""Online adaptation (Algorithm 2 of the paper): the window of the last M transitions, tick by tick."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch

from mbmrl_base.robots.features import TOLERANCE
from mbmrl_base.robots.observation import Observation
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.dynamics.rollout import transition
from mbmrl_control.learners import Update, make_learner
from mbmrl_control.learners.committee import Choice
from mbmrl_control.learners.member import Member

SLOWEST: Final = 0.25
"""Share of a control interval that a member of a committee may compute."""
SLOW_TICKS: Final = 3
"""Ticks in a row in which one that takes longer is slow: the first ones of a process always are."""
REST: Final = 100
"""Ticks for which one is out that is slow, or fails."""


@dataclass(frozen=True)
class Adaptation:
    """Outcome of one tick.

    Attributes:
        sequence: Number of the adaptation.
        state_sequence: Number of the newest observation.
        update: What changed; empty where the prior itself is to be used.
        prior_error: One-step error of the prior on the newest transition; NaN where none ended.
        adapted_error: The same of the model that was adapted before that transition was seen.
        window: Transitions in the window.
        rejected: Updates withheld so far.
        skipped: Transitions so far that were not learned from, since a number in them was missing.
        failed: Adaptations so far in which the learner raised an error.
        failure: What the learner raised in this tick; empty where it did not.
        member: Number of the member of a committee whose update it is.
        member_errors: How far the members predicted wrong lately, see `Choice.errors`.
    """

    sequence: int
    state_sequence: int
    update: Update
    prior_error: float
    adapted_error: float
    window: int
    rejected: int
    skipped: int = 0
    failed: int = 0
    failure: str = ""
    member: int = 0
    member_errors: tuple[float, ...] = ()


class OnlineAdapter:
    """Makes transitions of observations, has the members adapt to them, and chooses among these.

    A transition with a number that is not finite is skipped. A member of a committee that fails, or computes for longer
    than SLOWEST in SLOW_TICKS, is out for REST ticks, and then starts anew.
    """

    def __init__(self, prior: Prior, clock: Callable[[], float] = time.thread_time) -> None:
        """Adapt a prior by the learner that it was made for.

        Args:
            prior: The prior.
            clock: Tells how long a member computes, s; by default without the time in which others have the processor.

        Raises:
            PriorError: If the prior is not for a known learner.
        """
        self.learner = make_learner(prior)
        self.members = [Member(learner, prior.settings.window) for learner in self.learner.members]
        self.capacity = max(member.capacity for member in self.members)
        self.frozen = False
        """Whether the last update is kept as it is."""
        self._features, self._normalizer, self._rate = prior.features, prior.normalizer, prior.settings.rate
        self._choice = Choice(prior.features, prior.normalizer, 1.0 / self._rate, len(self.members))
        self._clock = clock
        self._sequence = self._skipped = 0
        self._last: Observation | None = None

    def reset(self) -> None:
        """Forget all transitions."""
        for member in self.members:
            member.reset()
        self._choice.reset()
        self._last = None

    @torch.inference_mode()
    def observe(self, observation: Observation) -> Adaptation:
        """Take in an observation and adapt.

        Only successive observations make a transition, and only where one action was in force between
        them. A new episode starts with an empty window.
        """
        if self._last is not None and observation.begins(self._last):
            self.reset()
        last, self._last = self._last, observation
        length, chosen = observation.interval * self._rate, self._choice.chosen
        errors = [(math.nan, math.nan)] * len(self.members)
        if last is not None and observation.sequence == last.sequence + 1 and abs(length - 1) <= TOLERANCE:
            errors = self._learn(last, observation, length)
        if len(self.members) > 1 and not self.frozen:
            models = [member.learner.adapted_model(member.update) for member in self.members]
            self._choice.observe(observation, models, [bool(member.out) for member in self.members])
        self._sequence += 1
        now = self.members[self._choice.chosen]
        return Adaptation(
            self._sequence,
            observation.sequence,
            self.learner.update_of(self._choice.chosen, now.update),
            errors[0][0],
            errors[chosen][1],
            max(map(len, self.members)),
            sum(member.rejected for member in self.members),
            self._skipped,
            sum(member.failed for member in self.members),
            "; ".join(member.failure for member in self.members if member.failure),
            self._choice.chosen,
            tuple(self._choice.errors.tolist()),
        )

    @torch.inference_mode()
    def weights_moved(self) -> float:
        """Distance of the weights of the model in use from those of its prior, as a share of these."""
        member = self.members[self._choice.chosen]
        model = member.learner.adapted_model(member.update)
        pairs = list(zip(model.tensors(), member.prior.tensors(), strict=True))
        size = sum(float(prior.square().sum()) for _, prior in pairs)
        moved = sum(float((adapted - prior).square().sum()) for adapted, prior in pairs)
        return math.sqrt(moved / size) if size else 0.0

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Adapt to the window as it is, and drop what comes out."""
        for member in self.members:
            member.warm_up()

    def _learn(self, last: Observation, observation: Observation, length: float) -> list[tuple[float, float]]:
        """Errors of the prior and of the adapted model of each member on the newest transition."""
        state, following = torch.from_numpy(last.state), torch.from_numpy(observation.state)
        action, interval = torch.from_numpy(observation.action), torch.tensor(length, dtype=torch.float64)
        seen, change = transition(self._features, state, action, following, interval)
        inputs, targets = self._normalizer.inputs(seen), self._normalizer.targets(change)
        before = [float(member.prior.error(inputs, targets)) for member in self.members]
        # A prior is finite, so that its error is where all numbers are, and their squares.
        if not all(map(math.isfinite, before)):
            self._skipped += 1
            return [(math.nan, math.nan)] * len(before)
        errors = []
        for member, error in zip(self.members, before, strict=True):
            start = self._clock()
            errors.append((error, member.learn(inputs, targets, error, self.frozen)))
            if len(self.members) > 1:
                self._judge(member, self._clock() - start)
        return errors

    def _judge(self, member: Member, took: float) -> None:
        most = SLOWEST / self._rate
        member.slow = member.slow + 1 if took > most else 0
        if member.failure:
            member.out = REST
        elif member.slow >= SLOW_TICKS:
            member.leave(f"{member.learner.name} took {1e3 * took:.1f} ms of at most {1e3 * most:.1f}", REST)
