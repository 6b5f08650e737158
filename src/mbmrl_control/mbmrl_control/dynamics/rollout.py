"""The open loop: where a model expects action sequences to lead, for any robot, differentiably."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mbmrl_base.robots.features import Features
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.network import Normalizer


@dataclass(frozen=True)
class Trajectories:
    """What follows from n action sequences of H steps.

    Attributes:
        states: States at the start and after each step, shape (n, H + 1, states).
        actions: Actions in force, shape (n, H, actions).
        poses: Planar poses in the same steps, shape (n, H + 1, 3): x, y in m, yaw in rad; None if not planar.
        variance: Variance of the change in each step, in the units of the outputs, shape (n, H, outputs); None if the
            model has none.
    """

    states: Tensor
    actions: Tensor
    poses: Tensor | None = None
    variance: Tensor | None = None


def roll_out(
    features: Features,
    normalizer: Normalizer,
    model: Model,
    start: Tensor,
    actions: Tensor,
    intervals: Tensor | None = None,
) -> Trajectories:
    """Predict where action sequences lead.

    Args:
        features: What the model of the robot sees and predicts.
        normalizer: Its normaliser.
        model: The model.
        start: States at the start, shape (n, states), or one for all, shape (states,); in double precision, positions
            far from the origin keep theirs.
        actions: Actions, shape (n, H, actions).
        intervals: Lengths of the steps as shares of the control interval, shape (n, H); all 1 if None.
    """
    states = [start.expand(len(actions), -1)]
    variances: list[Tensor] = []
    memory = None
    for step, action in enumerate(actions.unbind(1)):
        seen = features.inputs(states[-1], action.to(start.dtype)).float()
        prediction = model.predict(normalizer.inputs(seen), memory)
        memory = prediction.memory
        change = prediction.mean * normalizer.output_deviation + normalizer.output_mean
        if intervals is not None:
            change = change.to(start.dtype) * intervals[:, step, None]
        states.append(features.advance(states[-1], change))
        if prediction.variance is not None:
            variances.append(prediction.variance * normalizer.output_deviation.square())
    joined = torch.stack(states, dim=1)
    poses = features.pose(joined) if features.position else None
    return Trajectories(joined, actions, poses, torch.stack(variances, dim=1) if variances else None)
