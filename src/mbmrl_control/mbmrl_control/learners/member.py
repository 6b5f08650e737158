"""A learner with the last transitions: adapts, tick by tick, and checks what comes out."""

from __future__ import annotations

import copy
import math
from collections import deque
from contextlib import suppress
from typing import Final

import torch
from torch import Tensor

from mbmrl_control.learners.base import Learner, Update
from mbmrl_control.learners.change import RECENT, ChangeDetector

JUDGED: Final = 8
"""Predictions over which an adapted model must be no worse than the prior to be used."""


class Member:
    """Adapts a prior to the last M transitions.

    A learner that carries what it has learned from tick to tick returns to the prior where its own one-step
    error shows a change, and starts anew with the last few transitions.
    An update that is not finite, or whose predecessors predicted worse than the prior over the last
    JUDGED transitions, is withheld: the prior takes its place. So it does where the learner raises an error, which
    then starts anew without transitions.

    Attributes:
        update: What changed; empty where the prior itself is to be used.
        rejected: Updates withheld so far.
        failed: Adaptations so far in which the learner raised an error.
        failure: What it raised in the last one; empty where it did not.
        slow: Ticks in a row in which it took too long.
        out: Ticks for which it does not adapt yet, and is held at its prior.
    """

    def __init__(self, learner: Learner, window: int) -> None:
        """Take a learner and its M."""
        self.learner = learner
        self.prior = learner.adapted_model({})
        self.capacity = max(window, learner.memory)
        self.rejected = self.failed = self.slow = self.out = 0
        self.failure = ""
        self.reset()

    def reset(self) -> None:
        """Forget all transitions."""
        self.learner.reset()
        self._spare: Learner | None = None
        self._change = ChangeDetector()
        self._inputs = self._targets = torch.empty(0)
        self._errors: deque[tuple[float, float]] = deque(maxlen=JUDGED)
        self._candidate: Update = {}
        self.update: Update = {}

    def __len__(self) -> int:
        """Transitions in the window."""
        return len(self._inputs)

    def warm_up(self) -> None:
        """Adapt a copy to the window as it is, and drop what comes out."""
        if len(self):
            with suppress(Exception):  # the adaptation itself reports it
                # One for all times: a new one each time takes ever more memory.
                self._spare = self._spare or copy.deepcopy(self.learner)
                self._spare.adapt(self._inputs, self._targets)

    def learn(self, inputs: Tensor, targets: Tensor, prior_error: float, frozen: bool = False) -> float:
        """Take in a transition and adapt.

        Args:
            inputs: Normalised, shape (inputs,).
            targets: Normalised, shape (outputs,).
            prior_error: One-step error of the prior on it.
            frozen: Whether the last update is kept as it is.

        Returns:
            One-step error on the transition of the model that was adapted before.
        """
        self.failure = ""
        if self.out:
            self.out -= 1
            return prior_error
        try:
            error = float(self.learner.adapted_model(self._candidate).error(inputs, targets))
            self._errors.append((prior_error, error))
            self._inputs, self._targets = self._appended(self._inputs, inputs), self._appended(self._targets, targets)
            if not frozen:
                self._candidate = self._adapt(error)
                self.update = self._checked(self._candidate)
        except Exception as raised:  # a learner is code of others too: whatever it raises, the robot goes on
            self.leave(str(raised) or type(raised).__name__)
            return prior_error
        return error

    def leave(self, failure: str, out: int = 0) -> None:
        """Forget all transitions, and do not adapt for some ticks."""
        self.failed += 1
        self.failure, self.out = failure, out
        self.reset()

    def _adapt(self, error: float) -> Update:
        if self.learner.carries and self._change.update(error):
            self.learner.reset()
            for end in range(max(1, len(self) - RECENT + 1), len(self)):
                self.learner.adapt(self._inputs[:end][-RECENT:], self._targets[:end][-RECENT:])
        return self.learner.adapt(self._inputs, self._targets)

    def _appended(self, window: Tensor, newest: Tensor) -> Tensor:
        return torch.cat([window.view(-1, len(newest)), newest.unsqueeze(0)])[-self.capacity :]

    def _checked(self, update: Update) -> Update:
        # Of the model, since finite factors may have a product that is not. A sum is finite only if each number
        # is, and takes a tenth of the time.
        finite = all(math.isfinite(tensor.sum()) for tensor in self.learner.adapted_model(update).tensors())
        prior, adapted = (sum(column) for column in zip(*self._errors, strict=True))
        if finite and adapted <= prior:
            return update
        self.rejected += bool(update)
        if not finite:
            self.learner.reset()
            self._candidate = {}
        return {}
