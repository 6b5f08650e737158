"""Roll-outs of a learned model over many action sequences."""

from __future__ import annotations

import torch
from torch import Tensor

from mbmrl_control.dynamics.features import BODY_SIZE, INPUT_SIZE, advance_
from mbmrl_control.dynamics.network import Layers


def roll_out(layers: Layers, body: Tensor, pose: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Predict where action sequences lead.

    Within, a candidate is a column: what is computed of one state is a contiguous row, and nothing is
    allocated from step to step.

    Args:
        layers: Model from raw inputs to raw outputs (`Normalizer.fold`).
        body: Body state at the start, shape (20,).
        pose: Planar pose at the start, shape (3,).
        actions: Action sequences, shape (n, H, 2), rad/s.

    Returns:
        Poses at the start and after each step, shape (n, H + 1, 3), and the last body states, shape (n, 20).
    """
    count, horizon = actions.shape[:2]
    inputs = body.new_empty(INPUT_SIZE, count)
    bodies = inputs[:BODY_SIZE]
    bodies.copy_(body.unsqueeze(1))
    poses = body.new_empty(horizon + 1, 3, count)
    poses[0] = pose.unsqueeze(1)
    stages = [(weight, bias.unsqueeze(1), body.new_empty(len(bias), count)) for weight, bias in layers]
    for step, action in enumerate(actions.permute(1, 2, 0)):
        inputs[BODY_SIZE:] = action
        value = inputs
        for index, (weight, bias, output) in enumerate(stages):
            value = torch.addmm(bias, weight, value, out=output)
            if index < len(stages) - 1:
                value.relu_()
        poses[step + 1] = poses[step]
        advance_(bodies, poses[step + 1], value)
    return poses.permute(2, 0, 1), bodies.T
