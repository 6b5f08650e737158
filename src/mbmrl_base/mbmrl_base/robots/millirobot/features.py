"""What the dynamics model sees and predicts: heading-relative inputs and outputs.

The body state (20 numbers) is the state without x, y and yaw, with the velocity turned into the robot's
heading; with the action it makes the 22 inputs. The 21 outputs are changes over one control interval, seen
in the heading at its start: of height and velocity, of roll, pitch and yaw, of the rest of the body state,
and the displacement. So what the model predicts does not depend on where the robot is or where it looks.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from mbmrl_base.robots.millirobot import layout

BODY_SIZE: Final = 20
INPUT_SIZE: Final = BODY_SIZE + layout.ACTION_SIZE
OUTPUT_SIZE: Final = 21

# Layout of the body state: height 0, velocity 1 to 3, roll 4 and 5, pitch 6 and 7, and the rest: angular velocity, leg
# phases and speeds, back-EMF, battery.
# Layout of the outputs: change of height and velocity 0 to 3, turns in roll, pitch and yaw 4 to 6, change of the rest
# of the body state 7 to 18, displacement ahead and to the left 19 and 20.


def rotate(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn the x and y of vectors, shape (..., 2 or more), by an angle of shape (...)."""
    x, y = vectors[..., 0], vectors[..., 1]
    turned = torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)
    return torch.cat([turned, vectors[..., 2:]], dim=-1)


def body_state(states: Tensor) -> Tensor:
    """Body states of states, shape (..., 24) -> (..., 20)."""
    cosine, sine = states[..., layout.YAW].unbind(-1)
    return torch.cat(
        [
            states[..., 2:3],
            rotate(states[..., layout.LINEAR_VELOCITY], cosine, -sine),
            states[..., layout.ROLL],
            states[..., layout.PITCH],
            states[..., layout.ANGULAR_VELOCITY.start :],
        ],
        dim=-1,
    )


def planar_pose(states: Tensor) -> Tensor:
    """x (m), y (m) and yaw (rad) of states, shape (..., 24) -> (..., 3)."""
    cosine, sine = states[..., layout.YAW].unbind(-1)
    return torch.cat([states[..., :2], torch.atan2(sine, cosine).unsqueeze(-1)], dim=-1)


def model_inputs(states: Tensor, actions: Tensor) -> Tensor:
    """Inputs of the model, shapes (..., 24) and (..., 2) -> (..., 22)."""
    return torch.cat([body_state(states), actions], dim=-1)


def _angle_between(start: Tensor, end: Tensor) -> Tensor:
    """Angle from one cosine-sine pair to another, shapes (..., 2) -> (...), rad."""
    cosine, sine = rotate(end, start[..., 0], -start[..., 1]).unbind(-1)
    return torch.atan2(sine, cosine)


def model_targets(states: Tensor, next_states: Tensor) -> Tensor:
    """What the model should predict for transitions, shapes (..., 24) twice -> (..., 21).

    The next velocity is seen in the heading at the start.
    """
    cosine, sine = states[..., layout.YAW].unbind(-1)
    change = next_states - states
    angles = slice(layout.ROLL.start, layout.YAW.stop)
    start, end = (values[..., angles].reshape(*values.shape[:-1], 3, 2) for values in (states, next_states))
    return torch.cat(
        [
            change[..., 2:3],
            rotate(change[..., layout.LINEAR_VELOCITY], cosine, -sine),
            _angle_between(start, end),
            change[..., layout.ANGULAR_VELOCITY.start :],
            rotate(change[..., :2], cosine, -sine),
        ],
        dim=-1,
    )


def advanced(states: Tensor, outputs: Tensor) -> Tensor:
    """States to which predictions lead, the inverse of `model_targets`: shapes (..., 24) and (..., 21) -> (..., 24)."""
    cosine, sine = states[..., layout.YAW].unbind(-1)
    turns = outputs[..., 4:7]
    angles = states[..., layout.ROLL.start : layout.YAW.stop].reshape(*states.shape[:-1], 3, 2)
    return torch.cat(
        [
            states[..., :2] + rotate(outputs[..., 19:21], cosine, sine),
            states[..., 2:3] + outputs[..., :1],
            states[..., layout.LINEAR_VELOCITY] + rotate(outputs[..., 1:4], cosine, sine),
            rotate(angles, torch.cos(turns), torch.sin(turns)).flatten(-2),
            states[..., layout.ANGULAR_VELOCITY.start :] + outputs[..., 7:19],
        ],
        dim=-1,
    )


def _rotate_(x: Tensor, y: Tensor, cosine: Tensor, sine: Tensor) -> None:
    """Turn vectors in place."""
    turned = cosine * x
    turned.addcmul_(sine, y, value=-1.0)
    y.mul_(cosine).addcmul_(sine, x)
    x.copy_(turned)


def advance_(body: Tensor, pose: Tensor, prediction: Tensor) -> None:
    """Apply predictions in place, as `advanced` does, one robot a column.

    TorchScript compiles it, which knows no constants of a module: the layouts stand here as numbers.

    Args:
        body: Body states, shape (20, n).
        pose: Planar poses, shape (3, n).
        prediction: Outputs of the model, shape (21, n).
    """
    turns, ahead, left = prediction[4:7], prediction[19], prediction[20]
    cosines, sines = torch.cos(turns), torch.sin(turns)
    cosine, sine = torch.cos(pose[2]), torch.sin(pose[2])
    pose[0].addcmul_(cosine, ahead).addcmul_(sine, left, value=-1.0)
    pose[1].addcmul_(sine, ahead).addcmul_(cosine, left)
    pose[2].add_(turns[2])
    body[:4].add_(prediction[:4])
    body[8:].add_(prediction[7:19])
    _rotate_(body[1], body[2], cosines[2], -sines[2])
    # Roll and pitch at once: their cosines, and their sines.
    _rotate_(body[4:8:2], body[5:8:2], cosines[:2], sines[:2])
