"""A robot that behaves as a model that was learned says: to try a controller where there is no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.dynamics.rollout import steps
from mbmrl_control.evaluation.model_error import fitted_models, windows_of
from mbmrl_control.learners import make_learner
from mbmrl_control.training.episodes import EpisodeError, Folder
from mbmrl_control.training.transitions import Piece, pieces_of


class LearnedWorld:
    """Goes on from a state of the data, by the model that was adapted to what came before; as of `World`."""

    faults: tuple[Fault, ...] = ()

    def __init__(self, prior: Prior, model: Model, start: Array) -> None:
        """Take the prior, a model of it, and the state at the start, shape (n,)."""
        self.robot, self.rate = prior.robot, prior.settings.rate
        self._prior, self._model = prior, model
        self._observation = Observation(start, self.robot.safe_action(start), 0.0, 1, 1, 0.0)

    def observe(self) -> Observation:
        """The newest observation."""
        return self._observation

    @torch.no_grad()
    def step(self, action: Array) -> Observation:
        """Hold an action, shape (m,), for one control interval; returns what is observed at its end."""
        last, action = self._observation, self.robot.clip(action)
        start, acted = torch.from_numpy(last.state), torch.from_numpy(action)[None]
        ((state, _),) = steps(self._prior.features, self._prior.normalizer, self._model, start, acted)
        self._observation = replace(
            last,
            state=np.asarray(state.numpy(), dtype=np.float64),
            action=action,
            time=last.time + 1.0 / self.rate,
            sequence=last.sequence + 1,
            interval=1.0 / self.rate,
        )
        return self._observation

    def close(self) -> None:
        """Nothing to do."""


def windows(prior: Prior, folder: Folder) -> list[Piece]:
    """Windows of M transitions in the data, from which `learned_world` goes on.

    Raises:
        EpisodeError: If there is none.
    """
    length = prior.settings.window
    pieces = [piece for episode in folder.episodes for piece in pieces_of(episode, folder.rate)]
    found = [past for past, _ in windows_of(pieces, length, 1)]
    if not found:
        raise EpisodeError(
            f"{folder.path}: no piece of the data has the {length} transitions that models are adapted to"
        )
    return found


def learned_world(prior: Prior, past: Sequence[Piece], seed: int) -> LearnedWorld:
    """A world of the window that a seed draws."""
    for number in np.random.default_rng(seed).permutation(len(past)).tolist():
        (model,) = fitted_models(prior, make_learner(prior), [past[number]])
        if model is not None:
            return LearnedWorld(prior, model, past[number].states[-1].numpy())
    raise EpisodeError("of no window of the data an update follows that is finite")
