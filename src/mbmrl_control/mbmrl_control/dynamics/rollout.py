"""Transitions as a model takes them in, and the open loop: where it expects action sequences to lead; for any robot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mbmrl_base.robots.features import Features
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.network import Normalizer


def transition(
    features: Features, states: Tensor, actions: Tensor, next_states: Tensor, intervals: Tensor
) -> tuple[Tensor, Tensor]:
    """What a model sees of transitions, and what it should predict of each per nominal interval; single precision.

    Differences of positions are taken in double precision, if the states are.

    Args:
        features: What the model of the robot sees and predicts.
        states: States before, shape (..., n).
        actions: Actions in force, shape (..., m).
        next_states: States after, shape (..., n).
        intervals: Length of each as a share of the nominal interval, shape (...).

    Returns:
        Inputs, shape (..., input_size), and targets, shape (..., output_size).
    """
    targets = features.targets(states, next_states) / intervals.unsqueeze(-1)
    return features.inputs(states, actions).float(), targets.float()


@dataclass(frozen=True)
class Trajectories:
    """What follows from n action sequences of H steps.

    Attributes:
        states: States at the start and after each step, shape (..., n, H + 1, states).
        actions: Actions in force, shape (..., n, H, actions).
        poses: Planar poses in the same steps, shape (..., n, H + 1, 3): x, y in m, yaw in rad; None if not planar.
        variance: Variance of the change in each step, in the units of the outputs, shape (..., n, H, outputs); None if
            the model has none.
    """

    states: Tensor
    actions: Tensor
    poses: Tensor | None = None
    variance: Tensor | None = None


def steps(
    features: Features,
    normalizer: Normalizer,
    model: Model,
    start: Tensor,
    actions: Tensor,
    intervals: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Predict where action sequences lead, step by step; arguments as those of `roll_out`.

    Yields:
        States after each step, shape (..., n, states), and the variance of the change in it, if the model has one.
    """
    states, memory = start, None
    for step, action in enumerate(actions.unbind(-2)):
        seen = features.inputs(states, action.to(start.dtype)).float()
        prediction = model.predict(normalizer.inputs(seen), memory)
        memory = prediction.memory
        change = prediction.mean * normalizer.output_deviation + normalizer.output_mean
        if intervals is not None:
            change = change.to(start.dtype) * intervals[..., step, None]
        states = features.advance(states, change)
        variance = prediction.variance
        yield states, None if variance is None else variance * normalizer.output_deviation.square()


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
        start: States at the start, shape (..., n, states), or one for all, shape (states,); in double precision,
            positions far from the origin keep theirs.
        actions: Actions, shape (..., n, H, actions), with the tasks in front for a model of several.
        intervals: Lengths of the steps as shares of the control interval, shape (..., n, H); all 1 if None.
    """
    start = start.expand(*actions.shape[:-2], -1)
    states, variances = [start], []
    for state, variance in steps(features, normalizer, model, start, actions, intervals):
        states.append(state)
        if variance is not None:
            variances.append(variance)
    joined = torch.stack(states, dim=-2)
    poses = features.pose(joined) if features.position else None
    return Trajectories(joined, actions, poses, torch.stack(variances, dim=-2) if variances else None)
