"""GrBAL against how others take a gradient step: the adaptation of a window, and an outer step of meta-training."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, load_robot
from mbmrl_control.benchmarks.gradients import Data, adaptations, meta_gradients
from mbmrl_control.benchmarks.timing import OURS, compared, flops, gemm_rate, interleaved
from mbmrl_control.dynamics.network import Layers, initial_layers
from mbmrl_control.learners.grbal import Grbal

_FEATURES = load_robot(DEFAULT_ROBOT).features
INPUT_SIZE, OUTPUT_SIZE = _FEATURES.input_size, _FEATURES.output_size
PSI = 0.01


def task(width: int, *rows: int) -> tuple[Layers, Data]:
    """A network with two hidden layers, and random transitions of a shape."""
    generator = torch.Generator().manual_seed(0)
    layers = initial_layers((INPUT_SIZE, width, width, OUTPUT_SIZE), generator)
    inputs = torch.randn(*rows, INPUT_SIZE, generator=generator)
    return layers, (inputs, torch.randn(*rows, OUTPUT_SIZE, generator=generator))


def relative_error(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Distance of tensors from those that are expected, over the length of these."""
    squares = sum(float((a - b).double().square().sum()) for a, b in zip(ours, theirs, strict=True))
    return float((squares / sum(float(b.double().square().sum()) for b in theirs)) ** 0.5)


def _dense(learner: Grbal, support: Data) -> Layers:
    return learner.adapted_layers(learner.adapt(*support))


def measure(
    widths: tuple[int, ...] = (512,), windows: tuple[int, ...] = (16, 32), rounds: int = 400
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Adapt to windows of M transitions, with one step of one size.

    Yields:
        Name of the case, M x units, and its figures: `compared`; ``change_error``, how far the change of all
        weights is from that of autograd; ``gemm_fraction``, of the machine's rate at the products that an
        adaptation has, those ahead and those back to all layers but the first.
    """
    for width, window in product(widths, windows):
        layers, support = task(width, window)
        learner = Grbal(layers, {"psi": torch.full((1, 1), PSI)})
        ways = adaptations(layers, PSI, support)
        before = [tensor for layer in layers for tensor in layer]
        adapted = [tensor for layer in learner.adapted_layers(learner.adapt(*support)) for tensor in layer]
        changes = [
            [new - old for new, old in zip(after, before, strict=True)] for after in (adapted, ways["autograd"]())
        ]
        ours = partial(learner.adapt, *support)
        # With the weights formed, which a user of the update may want, as the planner does.
        dense = partial(_dense, learner, support)
        measured = compared(interleaved({OURS: ours, "mbmrl_dense": dense, **ways}, rounds, warm_up=20))
        work = flops(window, (INPUT_SIZE, width, width, OUTPUT_SIZE)) + flops(window, (OUTPUT_SIZE, width, width))
        rate = gemm_rate(window, (INPUT_SIZE, width, width, OUTPUT_SIZE), rounds=rounds)
        measured["gemm_fraction"] = work / (measured["ms"]["p50"] * 1e-3) / rate
        yield f"{window}x{width}", measured | {"change_error": relative_error(*changes)}


def measure_outer_step(
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
