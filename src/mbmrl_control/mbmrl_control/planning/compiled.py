"""The inner loop of roll-outs, with all that is private to torch or deprecated in it, and what does without.

Python's interpreter runs one thread at a time, and threads that hand it to each other between any two products are
slower than one: TorchScript's does without it. Private operators multiply in bfloat16 with bias and ReLU in the
product. If torch lacks the one or the other, the same functions run in Python, and products are plain ones: slower, and
equal within rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers


def _in_columns(weights: list[Tensor], biases: list[Tensor], outputs: list[Tensor], inputs: Tensor) -> Tensor:
    """Outputs of inputs, shapes (inputs, n) -> (outputs, n): a state's number of all candidates is contiguous."""
    value = inputs
    for index in range(len(weights)):
        weight = weights[index]
        value = torch.addmm(biases[index], weight, value.to(weight.dtype), out=outputs[index])
        if index < len(weights) - 1:
            value.relu_()
    return value


def _in_rows(weights: list[Tensor], biases: list[Tensor], outputs: list[Tensor], inputs: Tensor) -> Tensor:
    """The same by products with bias and ReLU in them, for which a candidate is a row."""
    value = inputs.t().contiguous()
    for index in range(len(weights)):
        activation = "relu" if index < len(weights) - 1 else "none"
        value = torch.ops.mkldnn._linear_pointwise(
            value.to(weights[index].dtype), weights[index], biases[index], activation, [], ""
        )
    return value.t().contiguous()


def _can_fuse() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and all(
            hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
        )
    except AttributeError:
        return False


FUSES: Final = _can_fuse()
"""Whether torch has such products, which its compiler uses, and the processor those in bfloat16."""
if not FUSES:
    _in_rows = _in_columns


Packed = tuple[list[Tensor], list[Tensor], bool]
"""Weights and biases in the types that they are computed in, and whether bias and ReLU are part of the products."""


def pack(layers: Layers, precision: torch.dtype, block: int) -> Packed:
    """Make layers ready for `roll_out`.

    Args:
        layers: From raw inputs to raw outputs (`Normalizer.fold`).
        precision: Of the hidden layers. First and last layer and the states are in single precision always:
            what the normaliser scales, and what the last layer adapts, would be rounded away.
        block: Candidates that are multiplied at once.
    """
    kinds = [torch.float32, *[precision] * (len(layers) - 2), torch.float32]
    cast = [(weight.to(kind), bias.to(kind)) for (weight, bias), kind in zip(layers, kinds, strict=False)]
    if precision == torch.bfloat16 and len(layers) > 2 and layers[0][0].device.type == "cpu" and FUSES:
        reorder = torch.ops.mkldnn._reorder_linear_weight
        return [reorder(weight, block) for weight, _ in cast], [bias for _, bias in cast], True
    return [weight for weight, _ in cast], [bias.unsqueeze(1) for _, bias in cast], False


def _rotate_(x: Tensor, y: Tensor, cosine: Tensor, sine: Tensor) -> None:
    """Turn vectors in place."""
    turned = cosine * x
    turned.addcmul_(sine, y, value=-1.0)
    y.mul_(cosine).addcmul_(sine, x)
    x.copy_(turned)


def _rows(values: Tensor, start: int, step: int, count: int) -> Tensor:
    return values[start : start + (count - 1) * step + 1 : step]


def views(rows: Tensor, layout: list[list[list[int]]]) -> list[list[Tensor]]:
    """The rows that `advance_` changes, by the layout's parts: they are the same in each step."""
    adds, pairs, angles, _planar, velocity, _turning = layout
    return [
        [_rows(rows, run[0], run[2], run[4]) for run in adds],
        [_rows(rows, run[0], run[3], run[6]) for run in pairs],
        [_rows(rows, run[1], run[4], run[6]) for run in pairs],
        [rows[run[0] : run[0] + run[2]] for run in angles],
        [rows[run[1] : run[1] + run[2]] for run in angles],
        [rows[run[1] + run[2] : run[1] + 2 * run[2]] for run in angles],
        [rows[run[0]] for run in velocity],
        [rows[run[1]] for run in velocity],
    ]


def advance_(rows: list[list[Tensor]], pose: Tensor, prediction: Tensor, layout: list[list[list[int]]]) -> None:
    """Apply predictions in place, as `Features.advance` does, a candidate a column.

    Args:
        rows: `views` of what the model sees and what else there is of the states.
        pose: Planar poses, shape (3, n).
        prediction: Outputs of the model, shape (outputs, n).
        layout: As of `quick.Layout.runs`.
    """
    adds, pairs, angles, planar, velocity, turning = layout
    for heading in planar:
        x, y, yaw = pose[0], pose[1], pose[2]
        ahead, left = prediction[heading[1]], prediction[heading[2]]
        cosine, sine = torch.cos(yaw), torch.sin(yaw)
        x.addcmul_(cosine, ahead).addcmul_(sine, left, value=-1.0)
        y.addcmul_(sine, ahead).addcmul_(cosine, left)
        yaw.add_(prediction[heading[0]])
    for index, run in enumerate(adds):
        rows[0][index].add_(_rows(prediction, run[1], run[3], run[4]))
    for turn in turning:
        turns = prediction[turn[0] : turn[1]]
        cosines, sines = torch.cos(turns), torch.sin(turns)
        for index, run in enumerate(velocity):
            place = run[2] - turn[0]
            _rotate_(rows[6][index], rows[7][index], cosines[place], -sines[place])
        for index, run in enumerate(pairs):
            place = run[2] - turn[0]
            cosine, sine = _rows(cosines, place, run[5], run[6]), _rows(sines, place, run[5], run[6])
            _rotate_(rows[1][index], rows[2][index], cosine, sine)
    for index in range(len(angles)):
        rows[4][index].copy_(torch.cos(rows[3][index]))
        rows[5][index].copy_(torch.sin(rows[3][index]))


def roll_out(
    weights: list[Tensor],
    biases: list[Tensor],
    fused: bool,
    start: Tensor,
    pose: Tensor,
    actions: Tensor,
    inputs: int,
    layout: list[list[list[int]]],
    kept: bool,
) -> tuple[Tensor, Tensor]:
    """Predict where action sequences lead.

    Args:
        weights, biases, fused: A packed network, see `Packed`.
        start: Rows at the start, shape (rows,): the inputs with the actions last, and what the model does not see.
        pose: Planar pose at the start, shape (3,).
        actions: Shape (n, H, m).
        inputs: Number of the inputs.
        layout: As of `quick.Layout.runs`.
        kept: Whether the rows of all steps are returned.

    Returns:
        Poses at the start and after each step, shape (n, H + 1, 3), and the rows, in the same steps or the last one
        alone, shape (H + 1 or 1, rows, n).
    """
    count, horizon, size = actions.shape[0], actions.shape[1], actions.shape[2]
    outputs = [
        torch.empty(weights[index].shape[0] if not fused else 0, count, dtype=bias.dtype, device=bias.device)
        for index, bias in enumerate(biases)
    ]
    rows = torch.empty(start.shape[0], count, dtype=start.dtype, device=start.device)
    rows.copy_(start.unsqueeze(1))
    history = torch.empty(horizon + 1 if kept else 0, start.shape[0], count, dtype=start.dtype, device=start.device)
    poses = torch.empty(horizon + 1, 3, count, dtype=start.dtype, device=start.device)
    poses[0].copy_(pose.unsqueeze(1))
    by_step = actions.permute(1, 2, 0)
    seen, commanded, changed = rows[:inputs], rows[inputs - size : inputs], views(rows, layout)
    for step in range(horizon):
        if kept:
            history[step].copy_(rows)
        commanded.copy_(by_step[step])
        poses[step + 1].copy_(poses[step])
        prediction = _in_rows(weights, biases, outputs, seen) if fused else _in_columns(weights, biases, outputs, seen)
        advance_(changed, poses[step + 1], prediction, layout)
    if kept:
        history[horizon].copy_(rows)
    return poses.permute(2, 0, 1), history if kept else rows.unsqueeze(0)


def _compile(function: Callable[..., tuple[Tensor, Tensor]]) -> Callable[..., tuple[Tensor, Tensor]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            compiled: Callable[..., tuple[Tensor, Tensor]] = torch.jit.script(function)
        except (AttributeError, RuntimeError):
            return function
    return compiled


plain_roll_out: Final = roll_out
"""The same in Python's interpreter."""
roll_out = _compile(roll_out)
