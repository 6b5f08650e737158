"""A transition as its model takes it in: made here for training, evaluation and adaptation alike."""

from __future__ import annotations

from torch import Tensor

from mbmrl_base.robots.features import Features


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
