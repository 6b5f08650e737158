"""Roll-outs of a learned model over many action sequences."""

from __future__ import annotations

import torch
from torch import Tensor

from mbmrl_control.dynamics.features import BODY_SIZE, advance
from mbmrl_control.dynamics.network import Layers, predict


def roll_out(layers: Layers, body: Tensor, pose: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Predict where action sequences lead.

    Args:
        layers: Model from raw inputs to raw outputs (`Normalizer.fold`).
        body: Body state at the start, shape (20,).
        pose: Planar pose at the start, shape (3,).
        actions: Action sequences, shape (n, H, 2), rad/s.

    Returns:
        Poses at the start and after each step, shape (n, H + 1, 3), and the last body states, shape (n, 20).
    """
    count = actions.shape[0]
    bodies, current = body.expand(count, BODY_SIZE), pose.expand(count, 3)
    poses = [current]
    for action in actions.unbind(1):
        prediction = predict(layers, torch.cat([bodies, action], dim=1))
        bodies, current = advance(bodies, current, prediction)
        poses.append(current)
    return torch.stack(poses, dim=1), bodies
