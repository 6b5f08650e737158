"""Roll-outs of a learned model over many action sequences."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import torch
from torch import Tensor

from mbmrl_control.dynamics.features import BODY_SIZE, INPUT_SIZE, advance_
from mbmrl_control.dynamics.network import Layers

PRECISIONS: Final = ("auto", "float32", "bfloat16")
BLOCK: Final = 400
"""Candidates that are rolled out to the end before the next ones start, so that their activations stay in cache."""
_TRIALS: Final = 20


def roll_out(
    layers: Layers, body: Tensor, pose: Tensor, actions: Tensor, precision: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Predict where action sequences lead.

    Within, a candidate is a column: what is computed of one state is a contiguous row, and nothing is
    allocated from step to step.

    Args:
        layers: Model from raw inputs to raw outputs (`Normalizer.fold`).
        body: Body state at the start, shape (20,).
        pose: Planar pose at the start, shape (3,).
        actions: Action sequences, shape (n, H, 2), rad/s.
        precision: Of the hidden layers. First and last layer and the states are in single precision always:
            what the normaliser scales, and what the last layer adapts, would be rounded away.

    Returns:
        Poses at the start and after each step, shape (n, H + 1, 3), and the last body states, shape (n, 20).
    """
    count, horizon = actions.shape[:2]
    inputs = body.new_empty(INPUT_SIZE, count)
    bodies = inputs[:BODY_SIZE]
    bodies.copy_(body.unsqueeze(1))
    poses = body.new_empty(horizon + 1, 3, count)
    poses[0] = pose.unsqueeze(1)
    kinds = [torch.float32, *[precision] * (len(layers) - 2), torch.float32]
    stages = [
        (weight.to(kind), bias.to(kind).unsqueeze(1), torch.empty(len(bias), count, dtype=kind))
        for (weight, bias), kind in zip(layers, kinds, strict=False)
    ]
    for step, action in enumerate(actions.permute(1, 2, 0)):
        inputs[BODY_SIZE:] = action
        value = inputs
        for index, (weight, bias, output) in enumerate(stages):
            value = torch.addmm(bias, weight, value.to(weight.dtype), out=output)
            if index < len(stages) - 1:
                value.relu_()
        poses[step + 1] = poses[step]
        advance_(bodies, poses[step + 1], value)
    return poses.permute(2, 0, 1), bodies.T


class RollOuts:
    """Roll-outs of many candidates, in blocks that threads claim as they come.

    The threads are its own and sleep while they wait: OpenMP's spin for each other, and where another process has
    one of the cores a plan takes several times as long. Results do not depend on the number of threads.
    """

    def __init__(self, precision: str = "float32", threads: int = 1) -> None:
        """Take the precision of the hidden layers, one of PRECISIONS, and the number of threads.

        Raises:
            ValueError: If there is no such precision.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}: allowed is {', '.join(PRECISIONS)}")
        self.precision = faster_precision() if precision == "auto" else getattr(torch, precision)
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "roll-out", torch.set_num_threads, (1,)) if threads > 1 else None

    def poses(self, layers: Layers, body: Tensor, pose: Tensor, actions: Tensor) -> Tensor:
        """Poses of candidates, as of `roll_out`, shape (n, H + 1, 3)."""

        def block(part: Tensor) -> Tensor:
            with torch.inference_mode():
                return roll_out(layers, body, pose, part, self.precision)[0]

        parts = actions.split(BLOCK)  # type: ignore[no-untyped-call]
        return torch.cat(list(self._pool.map(block, parts) if self._pool else map(block, parts)))


@torch.inference_mode()
def faster_precision(units: int = 256) -> torch.dtype:
    """The precision whose products are faster on this processor, by a short measurement."""

    def duration(kind: torch.dtype) -> float:
        weight, value = torch.ones(units, units, dtype=kind), torch.ones(units, BLOCK, dtype=kind)
        durations = []
        for _ in range(_TRIALS):
            start = time.perf_counter()
            torch.mm(weight, value)
            durations.append(time.perf_counter() - start)
        return min(durations)

    return min((torch.float32, torch.bfloat16), key=duration)
