"""One outer step of the meta-training: GrBAL's meta-gradient against how others get the same one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mbmrl_control.benchmarks.adaptation import INPUT_SIZE, OUTPUT_SIZE, PSI, relative_error, task
from mbmrl_control.benchmarks.gradients import meta_gradients
from mbmrl_control.benchmarks.timing import OURS, compared, flops, gemm_rate, interleaved
from mbmrl_control.learners.grbal import Grbal


def measure(
    widths: tuple[int, ...] = (512, 256), tasks: int = 40, window: int = 16, rounds: int = 40
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The gradient of the loss after one adaptation step, of second order, with K = M.

    Ours is that by the step size too. The step of the optimiser that follows is the same for all and left out.

    Yields:
        Name of the case, tasks x M x units, and its figures: `compared`; ``gradient_error``, how far the
        gradient by the weights is from that of each peer; ``gemm_fraction``, of the machine's rate at the
        products that all tasks share.
    """
    for width in widths:
        layers, (inputs, targets) = task(width, tasks, 2 * window)
        leaves = [tensor.requires_grad_() for layer in layers for tensor in layer]
        psi = torch.full((1, 1), PSI, requires_grad=True)
        learner, generator = Grbal(layers, {"psi": psi}), torch.Generator()

        def ours() -> list[Tensor]:
            loss = learner.loss(inputs, targets, window, generator)  # noqa: B023  (used up in this round)
            return list(torch.autograd.grad(loss, [*leaves, psi])[:-1])  # noqa: B023

        support, query = (inputs[:, :window], targets[:, :window]), (inputs[:, window:], targets[:, window:])
        ways = meta_gradients([(w.detach(), b.detach()) for w, b in layers], PSI, support, query)
        errors = {name: relative_error(ours(), way()) for name, way in ways.items()}
        measured = compared(interleaved({OURS: ours} | ways, rounds))
        # Ahead and back on the window, ahead on what follows; then back through each of these, twice the work.
        sizes = (INPUT_SIZE, width, width, OUTPUT_SIZE)
        work = 3 * (2 * flops(tasks * window, sizes) + flops(tasks * window, sizes[1:]))
        rate = gemm_rate(tasks * window, sizes)
        measured["gemm_fraction"] = work / (measured["ms"]["p50"] * 1e-3) / rate
        yield f"{tasks}x{window}x{width}", measured | {"gradient_error": errors}
