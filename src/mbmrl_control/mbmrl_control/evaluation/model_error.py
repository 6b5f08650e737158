"""Error of a model over K steps in open loop, before and after adaptation, on recorded episodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.prior import Prior, PriorError, load_prior
from mbmrl_control.dynamics.rollout import roll_out, transition
from mbmrl_control.learners import Learner, make_learner
from mbmrl_control.learners.committee import likeliest
from mbmrl_control.training.data_checks import warnings_of
from mbmrl_control.training.episodes import EpisodeError, read_folder
from mbmrl_control.training.transitions import Piece, pieces_of

MOST_WINDOWS: Final = 1000
"""Windows that are looked at; of more, as many as that at equal distances."""
AT_ONCE: Final = 50
"""Windows in which the members of a committee are judged at a time: their models take memory."""


def _part(piece: Piece, start: int, end: int) -> Piece:
    return Piece(piece.states[start : end + 1], piece.actions[start:end], piece.intervals[start:end])


def windows_of(pieces: Sequence[Piece], window: int, future: int) -> list[tuple[Piece, Piece]]:
    """Windows of M transitions to adapt on and the K that follow, K transitions apart, at most MOST_WINDOWS."""
    found = [
        (_part(piece, start - window, start), _part(piece, start, start + future))
        for piece in pieces
        for start in range(window, len(piece.actions) - future + 1, future)
    ]
    every = max(1.0, len(found) / MOST_WINDOWS)
    return [found[int(index * every)] for index in range(min(len(found), MOST_WINDOWS))]


def _members(learner: Learner, prior: Prior, windows: Sequence[Piece]) -> list[int]:
    """Numbers of the members that are planned with after windows; a committee has several."""
    if len(learner.members) == 1:
        return [0] * len(windows)
    found: list[int] = []
    for first in range(0, len(windows), AT_ONCE):
        some = windows[first : first + AT_ONCE]
        parts = [torch.stack([getattr(piece, name) for piece in some]) for name in ("states", "actions", "intervals")]
        found += likeliest(learner.members, prior.features, prior.normalizer, *parts).tolist()
    return found


@torch.no_grad()
def fitted_models(prior: Prior, learner: Learner, windows: Sequence[Piece]) -> Iterator[Model | None]:
    """Models adapted to windows, of a committee's member that is planned with; None: its update is not finite."""
    features, normalizer = prior.features, prior.normalizer
    for past, number in zip(windows, _members(learner, prior, windows), strict=True):
        inputs, targets = transition(features, past.states[:-1], past.actions, past.states[1:], past.intervals)
        model = learner.members[number].fitted_model(normalizer.inputs(inputs), normalizer.targets(targets))
        # As on the robot, an update that is not finite is withheld.
        yield model if all(tensor.isfinite().all() for tensor in model.tensors()) else None


@torch.no_grad()
def errors(prior: Prior, windows: Sequence[tuple[Piece, Piece]]) -> tuple[Tensor, Tensor]:
    """Errors of the prior and of the adapted models at each step, states less real ones, shapes (w, K, n)."""
    learner, features, normalizer = make_learner(prior), prior.features, prior.normalizer
    future = [ahead for _, ahead in windows]
    start = torch.stack([piece.states[0] for piece in future])
    actions = torch.stack([piece.actions for piece in future])
    intervals = torch.stack([piece.intervals for piece in future])
    real = torch.stack([piece.states[1:] for piece in future])

    def predicted(model: Model, part: slice) -> Tensor:
        return roll_out(features, normalizer, model, start[part], actions[part], intervals[part]).states[:, 1:]

    before = predicted(learner.adapted_model({}), slice(None))
    after = before.clone()
    for index, model in enumerate(fitted_models(prior, learner, [past for past, _ in windows])):
        if model is not None:
            one = slice(index, index + 1)
            after[one] = predicted(model, one)
    return features.difference(before, real), features.difference(after, real)


def _figures(error: Tensor, spread: Tensor, names: Sequence[str]) -> dict[str, Any]:
    relative = error.square().mean((0, 1)).sqrt() / spread
    # A model that runs away has no error that JSON could hold.
    overall, *per_state = (
        value if math.isfinite(value) else None
        for value in [float(relative.square().mean().sqrt()), *relative.tolist()]
    )
    return {"overall": overall, "per_state": dict(zip(names, per_state, strict=True))}


def model_error(
    checkpoint: Path, data: Path, warn: Callable[[str], object] = lambda _: None, robot: Robot | None = None
) -> dict[str, Any]:
    """Error over K steps from real states with real actions, before and after adaptation on the M transitions before.

    It is the root mean square over windows and steps of each state's error, relative to the spread of that state in
    the training data; ``overall`` is the root mean square over the states.

    Args:
        checkpoint: File of the prior.
        data: Folder of episodes.
        warn: Is given each sentence on what looks wrong in them.
        robot: The robot; None: the one that the checkpoint describes.

    Returns:
        ``before`` and ``after`` with ``overall`` and ``per_state``, and the number of ``windows``; None where the
        predictions are not finite.

    Raises:
        PriorError: If the checkpoint cannot be used, or not on these data.
        EpisodeError: If the data cannot be used.
    """
    prior = load_prior(checkpoint, robot)
    settings = prior.settings
    future, spread = settings.training.get("future"), settings.training.get("spread")
    if not isinstance(future, int) or future < 1:
        raise PriorError(f"{checkpoint}: future, the number of steps K to predict, is missing in its training settings")
    try:
        deviations = torch.tensor(spread, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        deviations = torch.empty(0)
    if deviations.shape != (len(prior.robot.state_names),) or not ((deviations > 0) & deviations.isfinite()).all():
        raise PriorError(f"{checkpoint}: spread, the deviation of each state, is missing in its training settings")
    folder = read_folder(data, prior.robot)
    # One thread: quicker for layers of this size.
    torch.set_num_threads(1)
    pieces = [piece for episode in folder.episodes for piece in pieces_of(episode, settings.rate)]
    windows = windows_of(pieces, settings.window, future)
    if not windows:
        longest = max((len(piece.actions) for piece in pieces), default=0)
        raise EpisodeError(
            f"{data}: state and action have at most {longest} transitions at {settings.rate:g} Hz without a gap:"
            f" M + K = {settings.window} + {future} = {settings.window + future} are needed"
        )
    for line in warnings_of(folder):
        warn(line)
    before, after = (_figures(error, deviations, prior.robot.state_names) for error in errors(prior, windows))
    return {"before": before, "after": after, "windows": len(windows)}


def table(figures: Mapping[str, Any]) -> str:
    """The figures of `model_error` as lines of text."""
    sides = [{"overall": figures[side]["overall"]} | figures[side]["per_state"] for side in ("before", "after")]
    width = max(map(len, sides[0]))
    lines = [f"{'':{width}}  {'before':>9}  {'after':>9}   over {figures['windows']} windows"]
    for name in sides[0]:
        cells = ["not finite" if side[name] is None else f"{side[name]:9.4f}" for side in sides]
        lines.append(f"{name:{width}}  {'  '.join(cells)}")
    return "\n".join(lines)
