"""Roll-outs of a learned model over many action sequences, in blocks on threads: quick ones, or any model's."""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from mbmrl_base.robots.features import Features
from mbmrl_control.dynamics.model import Model, ReluNetwork
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import Trajectories, roll_out
from mbmrl_control.planning import quick

RollOut = Callable[[Tensor], Trajectories]
"""Where action sequences, shape (n, H, m), lead from a state."""

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


@dataclass(frozen=True)
class Outcome:
    """Poses, shape (n, H + 1, 3), of a planar robot, and costs, shape (n,), infinite of what was not tried; how many
    candidates were."""

    poses: Tensor | None
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
        self._packed: quick.Packed | None = None
        self._pace = 0.0
        """Time that a candidate took in the last blocks, s."""

    def prepare(self, normalizer: Normalizer, model: ReluNetwork) -> quick.Packed:
        """Pack a network, which a plan does unless it was the last one that was: so the plan begins earlier."""
        last = self._packed
        if last is None or last.model is not model or last.normalizer is not normalizer:
            last = self._packed = quick.pack(normalizer, model, self.precision, self.device, BLOCK)
        return last

    def ready(
        self,
        features: Features,
        normalizer: Normalizer,
        model: Model,
        state: Tensor,
        pending: Tensor,
        sees_states: bool = True,
    ) -> RollOut:
        """Make a model ready for a plan: the quick roll-out if it applies, else that of `dynamics.rollout`.

        Args:
            features: What the model sees and predicts.
            normalizer: Its normaliser.
            model: The model.
            state: State at the start, shape (states,).
            pending: Actions that come before any others, shape (p, m): trajectories start where they lead.
            sees_states: Whether states of trajectories are wanted.
        """
        if type(features) is Features and isinstance(model, ReluNetwork):
            return quick.ready(features, self.prepare(normalizer, model), state, pending, sees_states)
        count = len(pending)

        def reference(actions: Tensor) -> Trajectories:
            before = pending.to(actions.dtype).expand(len(actions), -1, -1)
            found = roll_out(features, normalizer, model, state, torch.cat([before, actions], dim=1))
            poses, variance = (None if part is None else part[:, count:] for part in (found.poses, found.variance))
            return Trajectories(found.states[:, count:], actions, poses, variance)

        return reference

    def evaluate(
        self, roll_out: RollOut, actions: Tensor, cost: Callable[[Trajectories], Tensor], deadline: float = math.inf
    ) -> Outcome:
        """Roll out candidates, shape (n, H, m), and judge them by the costs, shape (n,), of their trajectories.

        No block is begun that would hardly end by the deadline, s of the monotonic clock; the first ones come first.
        """
        poses, planar = actions.new_empty(len(actions), actions.shape[1] + 1, 3), True
        costs = actions.new_full((len(actions),), math.inf)
        ends = list(itertools.accumulate(self._blocks(len(actions))))
        spans = iter([slice(start, end) for start, end in zip([0, *ends], ends, strict=False)])

        def work() -> int:
            nonlocal planar
            tried = 0
            with torch.inference_mode():
                for span in spans:
                    start, size = time.monotonic(), span.stop - span.start
                    if start + _MARGIN * self._pace * size > deadline:
                        self._pace *= _FORGETTING
                        break
                    found = roll_out(actions[span])
                    planar = found.poses is not None
                    if found.poses is not None:
                        poses[span] = found.poses
                        found = replace(found, poses=poses[span])
                    costs[span] = cost(found)
                    pace = (time.monotonic() - start) / size
                    self._pace = min(pace, 2.0 * self._pace) if self._pace else pace
                    tried += size
            return tried

        others = self._cpus - {_SYSTEM.sched_getcpu()}

        def help_out() -> int:
            # The system would often let it run where the thread that woke it does, and both take turns.
            if others:
                os.sched_setaffinity(0, others)
            return work()

        helpers = [self._pool.submit(help_out) for _ in range(min(self.threads, len(ends)) - 1)] if self._pool else []
        tried = work()
        return Outcome(poses if planar else None, costs, tried + sum(helper.result() for helper in helpers))

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
