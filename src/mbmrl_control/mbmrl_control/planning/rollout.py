"""Roll-outs of a learned model over many action sequences."""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mbmrl_base.robots.millirobot.features import advance_
from mbmrl_control.dynamics.network import Layers

PRECISIONS: Final = ("auto", "float32", "bfloat16")
BLOCK: Final = 400
"""Candidates that one thread rolls out to the end before the next ones, so that their activations stay in cache."""
_FIRST: Final = 0.65
"""Share of a thread's last candidates that one block has, and the next one the rest: where another process has half of
a core, the thread on it comes to the end of the first one when the others have taken all that is left."""
_SMALLEST: Final = 96
"""Fewer candidates take hardly less time."""
_ALIGNED: Final = 16
"""Blocks are multiples of it, but for the last one, so that all candidates are computed alike."""
_TRIALS: Final = 20
_SYSTEM: Final = ctypes.CDLL(None)
_MARGIN: Final = 1.2
"""A block is begun where this multiple of what the last one took is left."""
_FORGETTING: Final = 0.7
"""Share that is kept of what the last block took, where none is begun: one that was held up must not end all plans."""


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


FUSES: Final = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.ops.mkldnn._is_mkldnn_bf16_supported()
"""Whether torch has such products, which its compiler uses, and the processor those in bfloat16."""
if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    _in_rows = _in_columns


def _roll_out(
    weights: list[Tensor], biases: list[Tensor], fused: bool, body: Tensor, pose: Tensor, actions: Tensor
) -> tuple[Tensor, Tensor]:
    count, horizon = actions.shape[0], actions.shape[1]
    outputs = [
        torch.empty(weights[index].shape[0] if not fused else 0, count, dtype=bias.dtype, device=bias.device)
        for index, bias in enumerate(biases)
    ]
    inputs = torch.empty(22, count, dtype=body.dtype, device=body.device)
    bodies = inputs[:20]
    bodies.copy_(body.unsqueeze(1))
    poses = torch.empty(horizon + 1, 3, count, dtype=body.dtype, device=body.device)
    poses[0].copy_(pose.unsqueeze(1))
    by_step = actions.permute(1, 2, 0)
    for step in range(horizon):
        inputs[20:].copy_(by_step[step])
        poses[step + 1].copy_(poses[step])
        prediction = (
            _in_rows(weights, biases, outputs, inputs) if fused else _in_columns(weights, biases, outputs, inputs)
        )
        advance_(bodies, poses[step + 1], prediction)
    return poses.permute(2, 0, 1), bodies.t()


# Python's interpreter runs one thread at a time, and threads that hand it to each other between any two products
# are slower than one: TorchScript's does without it. Nothing of the arithmetic changes.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    _compiled = torch.jit.script(_roll_out)


@dataclass(frozen=True)
class Packed:
    """A model made ready for roll-outs, once per plan.

    Attributes:
        layers: Layers in the types that they are computed in.
        fused: Whether bias and ReLU are part of the products.
    """

    layers: Layers
    fused: bool


def pack(layers: Layers, precision: torch.dtype = torch.float32) -> Packed:
    """Make a model, raw inputs to raw outputs (`Normalizer.fold`), ready.

    Args:
        layers: The model.
        precision: Of the hidden layers. First and last layer and the states are in single precision always:
            what the normaliser scales, and what the last layer adapts, would be rounded away.
    """
    kinds = [torch.float32, *[precision] * (len(layers) - 2), torch.float32]
    cast = [(weight.to(kind), bias.to(kind)) for (weight, bias), kind in zip(layers, kinds, strict=False)]
    if precision == torch.bfloat16 and len(layers) > 2 and layers[0][0].device.type == "cpu" and FUSES:
        reorder = torch.ops.mkldnn._reorder_linear_weight
        return Packed([(reorder(weight, BLOCK), bias) for weight, bias in cast], True)
    return Packed([(weight, bias.unsqueeze(1)) for weight, bias in cast], False)


def roll_out(model: Layers | Packed, body: Tensor, pose: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Predict where action sequences lead.

    Args:
        model: Model from raw inputs to raw outputs, in single precision where it is not packed.
        body: Body state at the start, shape (20,).
        pose: Planar pose at the start, shape (3,).
        actions: Action sequences, shape (n, H, 2), rad/s.

    Returns:
        Poses at the start and after each step, shape (n, H + 1, 3), and the last body states, shape (n, 20).
    """
    packed = model if isinstance(model, Packed) else pack(model)
    weights, biases = ([layer[index] for layer in packed.layers] for index in (0, 1))
    result: tuple[Tensor, Tensor] = _compiled(weights, biases, packed.fused, body, pose, actions)
    return result


@dataclass(frozen=True)
class Outcome:
    """Poses, shape (n, H + 1, 3), and costs, shape (n,), infinite of candidates that were not tried; how many were."""

    poses: Tensor
    costs: Tensor
    tried: int


class RollOuts:
    """Roll-outs of many candidates, in blocks that threads claim as they come.

    The threads are its own and sleep while they wait: OpenMP's spin for each other, and where another process has
    one of the cores a plan takes several times as long. Results depend on the number of threads by rounding at most.
    """

    def __init__(self, precision: str = "float32", threads: int = 1, device: str = "cpu") -> None:
        """Take the precision of the hidden layers, one of PRECISIONS, the number of threads, and torch's device.

        Raises:
            ValueError: If there is no such precision or device.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}: allowed is {', '.join(PRECISIONS)}")
        self.device = _device(device)
        self.precision = faster_precision(self.device) if precision == "auto" else getattr(torch, precision)
        self.threads = threads
        helpers = threads - 1 if self.device.type == "cpu" else 0
        self._pool = ThreadPoolExecutor(helpers, "roll-out", torch.set_num_threads, (1,)) if helpers else None
        self._cpus = os.sched_getaffinity(0)
        self._pace = 0.0
        """Time that a candidate took of late, s."""

    def evaluate(
        self,
        layers: Layers,
        body: Tensor,
        pose: Tensor,
        actions: Tensor,
        cost: Callable[[Tensor], Tensor],
        deadline: float = math.inf,
    ) -> Outcome:
        """Roll out candidates, as `roll_out`, and judge them by the costs, shape (n,), of their poses.

        No block is begun that would hardly end by the deadline, s of the monotonic clock; the first ones come first.
        """
        poses = actions.new_empty(len(actions), actions.shape[1] + 1, 3)
        costs = actions.new_full((len(actions),), math.inf)
        model = pack([(weight.to(self.device), bias.to(self.device)) for weight, bias in layers], self.precision)
        body, pose = body.to(self.device), pose.to(self.device)
        ends = list(itertools.accumulate(self._blocks(len(actions))))
        spans = iter([slice(start, end) for start, end in zip([0, *ends], ends, strict=False)])

        def work() -> int:
            tried = 0
            with torch.inference_mode():
                for span in spans:
                    start, size = time.monotonic(), span.stop - span.start
                    if start + _MARGIN * self._pace * size > deadline:
                        self._pace *= _FORGETTING
                        break
                    poses[span] = roll_out(model, body, pose, actions[span].to(self.device))[0]
                    costs[span] = cost(poses[span])
                    pace = (time.monotonic() - start) / size
                    self._pace = min(pace, 2.0 * self._pace) if self._pace else pace
                    tried += size
            return tried

        others = self._cpus - {_processor()}

        def help_out() -> int:
            # The system would often let it run where the thread that woke it does, and both take turns.
            if others:
                os.sched_setaffinity(0, others)
            return work()

        helpers = [self._pool.submit(help_out) for _ in range(min(self.threads, len(ends)) - 1)] if self._pool else []
        tried = work()
        return Outcome(poses, costs, tried + sum(helper.result() for helper in helpers))

    def _blocks(self, count: int) -> list[int]:
        """Sizes of the blocks."""
        if self.device.type != "cpu":
            return [count]
        if self.threads == 1:
            return [len(part) for part in torch.empty(count).split(BLOCK)]  # type: ignore[no-untyped-call]
        left, parts = count / self.threads, []
        while left > 1.5 * BLOCK:
            parts.append(float(BLOCK))
            left -= BLOCK
        parts += [_FIRST * left, (1.0 - _FIRST) * left] if left > 2 * _SMALLEST else [left]
        units = [max(1, round(part / _ALIGNED)) for part in parts for _ in range(self.threads)]
        ends = [min(count, end * _ALIGNED) for end in itertools.accumulate(units)]
        ends[-1] = count
        return [end - start for start, end in itertools.pairwise([0, *ends]) if end > start]


def _processor() -> int:
    """Number of the processor that this thread runs on."""
    return int(_SYSTEM.sched_getcpu())


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"the device {name!r} is not there: {str(error).splitlines()[0]}") from None
    return device


@torch.inference_mode()
def faster_precision(device: torch.device | None = None, units: int = 256) -> torch.dtype:
    """The precision whose products are faster on a device, where not given the processor, by a short measurement."""

    def duration(kind: torch.dtype) -> float:
        weight = torch.ones(units, units, dtype=kind, device=device)
        value = torch.ones(units, BLOCK, dtype=kind, device=device)
        durations = []
        for _ in range(_TRIALS):
            start = time.perf_counter()
            float(torch.mm(weight, value)[0, 0])  # a device is waited for
            durations.append(time.perf_counter() - start)
        return min(durations)

    return min((torch.float32, torch.bfloat16), key=duration)
