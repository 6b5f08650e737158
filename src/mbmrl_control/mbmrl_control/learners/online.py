"""Online adaptation (Algorithm 2 of the paper): the window of the last M transitions, tick by tick."""

from __future__ import annotations

import copy
import math
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mbmrl_base.robots.features import TOLERANCE
from mbmrl_base.robots.observation import Observation
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.dynamics.rollout import transition
from mbmrl_control.learners import Update, make_learner
from mbmrl_control.learners.change import RECENT, ChangeDetector

JUDGED: Final = 8
"""Predictions over which an adapted model must be no worse than the prior to be used."""


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


class OnlineAdapter:
    """Keeps the last M transitions, adapts the prior to them, and checks what comes out.

    A learner that carries what it has learned from tick to tick returns to the prior where its own one-step
    error shows a change, and starts anew with the last few transitions.
    An update that is not finite, or whose predecessors predicted worse than the prior over the last
    JUDGED transitions, is withheld: the prior takes its place. So it does where the learner raises an error, which
    then starts anew without transitions. A transition with a number that is not finite is skipped.
    """

    def __init__(self, prior: Prior) -> None:
        """Adapt a prior by the learner that it was made for.

        Raises:
            PriorError: If the prior is not for a known learner.
        """
        self.learner = make_learner(prior)
        self._prior_model = self.learner.adapted_model({})
        self.capacity = max(prior.settings.window, self.learner.memory)
        self.frozen = False
        """Whether the last update is kept as it is."""
        self._features, self._normalizer, self._rate = prior.features, prior.normalizer, prior.settings.rate
        self._sequence = self._rejected = self._skipped = self._failed = 0
        self._failure = ""
        self.reset()

    def reset(self) -> None:
        """Forget all transitions."""
        self._start_anew()
        self._last: Observation | None = None

    def _start_anew(self) -> None:
        self.learner.reset()
        self._change = ChangeDetector()
        self._inputs = torch.empty(0, self._features.input_size)
        self._targets = torch.empty(0, self._features.output_size)
        self._errors: deque[tuple[float, float]] = deque(maxlen=JUDGED)
        self._candidate: Update = {}
        self._update: Update = {}

    @torch.inference_mode()
    def observe(self, observation: Observation) -> Adaptation:
        """Take in an observation and adapt.

        Only successive observations make a transition, and only where one action was in force between
        them. A new episode starts with an empty window.
        """
        if self._last is not None and observation.episode != self._last.episode:
            self.reset()
        last, self._last = self._last, observation
        errors = (math.nan, math.nan)
        self._failure = ""
        length = observation.interval * self._rate
        if last is not None and observation.sequence == last.sequence + 1 and abs(length - 1) <= TOLERANCE:
            errors = self._learn(last, observation, length)
        self._sequence += 1
        counts = (len(self._inputs), self._rejected, self._skipped, self._failed)
        return Adaptation(self._sequence, observation.sequence, self._update, *errors, *counts, self._failure)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Adapt to the window as it is, and drop what comes out."""
        if len(self._inputs):
            with suppress(Exception):  # the adaptation itself reports it
                copy.deepcopy(self.learner).adapt(self._inputs, self._targets)

    def _learn(self, last: Observation, observation: Observation, length: float) -> tuple[float, float]:
        state = torch.from_numpy(last.state)
        following = torch.from_numpy(observation.state)
        action, interval = torch.from_numpy(observation.action), torch.tensor(length, dtype=torch.float64)
        seen, change = transition(self._features, state, action, following, interval)
        inputs, targets = self._normalizer.inputs(seen), self._normalizer.targets(change)
        prior_error = float(self._prior_model.error(inputs, targets))
        # A prior is finite, so that its error is where all numbers are, and their squares.
        if not math.isfinite(prior_error):
            self._skipped += 1
            return math.nan, math.nan
        try:
            adapted_error = float(self.learner.adapted_model(self._candidate).error(inputs, targets))
            self._errors.append((prior_error, adapted_error))
            self._inputs = self._appended(self._inputs, inputs)
            self._targets = self._appended(self._targets, targets)
            if not self.frozen:
                self._candidate = self._adapt(adapted_error)
                self._update = self._checked(self._candidate)
        except Exception as error:  # a learner is code of others too: whatever it raises, the robot goes on
            self._failed += 1
            self._failure = str(error) or type(error).__name__
            self._start_anew()
            return prior_error, prior_error
        return prior_error, adapted_error

    def _adapt(self, error: float) -> Update:
        if self.learner.carries and self._change.update(error):
            self.learner.reset()
            for end in range(max(1, len(self._inputs) - RECENT + 1), len(self._inputs)):
                self.learner.adapt(self._inputs[:end][-RECENT:], self._targets[:end][-RECENT:])
        return self.learner.adapt(self._inputs, self._targets)

    def _appended(self, window: Tensor, newest: Tensor) -> Tensor:
        return torch.cat([window, newest.unsqueeze(0)])[-self.capacity :]

    def _checked(self, update: Update) -> Update:
        # Of the model, since finite factors may have a product that is not. A sum is finite only if each number
        # is, and takes a tenth of the time.
        finite = all(math.isfinite(tensor.sum()) for tensor in self.learner.adapted_model(update).tensors())
        prior, adapted = (sum(column) for column in zip(*self._errors, strict=True))
        if finite and adapted <= prior:
            return update
        self._rejected += bool(update)
        if not finite:
            self.learner.reset()
            self._candidate = {}
        return {}
