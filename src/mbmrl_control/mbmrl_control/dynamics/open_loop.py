"""Where models, as they were K steps ago, expected a robot to be now."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.features import TOLERANCE, Features
from mbmrl_base.robots.observation import Observation
from mbmrl_control.dynamics.model import Model, Prediction
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import roll_out


class _SideBySide(Model):
    """Several models, each of which predicts a row of its own: what is of all of them is computed once."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models

    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        remembered = memory or [None] * len(self._models)
        rows = [
            model.predict(row, known)
            for model, row, known in zip(self._models, inputs.unsqueeze(1), remembered, strict=True)
        ]
        return Prediction(torch.cat([row.mean for row in rows]), memory=[row.memory for row in rows])


class OpenLoop:
    """Predicts K steps ahead with the actions that were applied since, tick by tick."""

    def __init__(self, features: Features, normalizer: Normalizer, steps: int, interval: float) -> None:
        """Predict a number of steps, K, of an interval, s."""
        self._features, self._normalizer, self._interval = features, normalizer, interval
        self._past: deque[tuple[Observation, Sequence[Model]]] = deque(maxlen=steps + 1)

    def reset(self) -> None:
        """Forget what was observed."""
        self._past.clear()

    @torch.inference_mode()
    def observe(self, observation: Observation, models: Sequence[Model]) -> Tensor | None:
        """Take in an observation and the models adapted to it.

        Returns:
            The states that the models of K ticks ago expected by now, shape (models, states); None if there were fewer
            than K successive observations before, each an interval after the other.
        """
        last = self._past[-1][0] if self._past else observation
        follows = (observation.episode, observation.sequence) == (last.episode, last.sequence + 1)
        if not follows or abs(observation.interval / self._interval - 1) > TOLERANCE:
            self.reset()
        self._past.append((observation, models))
        if len(self._past) < (self._past.maxlen or 0):
            return None
        start, past = self._past[0]
        applied = torch.from_numpy(np.array([seen.action for seen, _ in self._past][1:]))
        applied = applied.expand(len(past), -1, -1)
        found = roll_out(self._features, self._normalizer, _SideBySide(past), torch.from_numpy(start.state), applied)
        return found.states[:, -1]
