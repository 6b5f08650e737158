"""GrBAL's adaptation and its meta-gradient against plain higher-order autograd, for each form of psi."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from mbmrl_control.learners.grbal import Grbal, PsiForm, StepSettings

TASKS, M, K = 4, 7, 5
SIZES = (6, 13, 11, 4)
Parameters = list[Tensor]
"""Weight and bias of each layer in turn."""


# The reference: full weights, new ones in each inner step, one task after the other; nothing of the package.


def plain_forward(parameters: Parameters, inputs: Tensor) -> Tensor:
    value = inputs
    for index in range(0, len(parameters), 2):
        value = value @ parameters[index].T + parameters[index + 1]
        if index < len(parameters) - 2:
            value = torch.relu(value)
    return value


def plain_adaptation(
    parameters: Parameters, sizes: list[Parameters], inputs: Tensor, targets: Tensor, second_order: bool
) -> Parameters:
    """New parameters after inner steps; sizes are those of each step and parameter."""
    for of_step in sizes:
        error = plain_forward(parameters, inputs) - targets
        loss = error.square().sum(-1).mean()
        gradients = torch.autograd.grad(loss, parameters, create_graph=second_order)
        parameters = [p - size * g for p, size, g in zip(parameters, of_step, gradients, strict=True)]
        if not second_order:
            parameters = [p.detach().requires_grad_() for p in parameters]
    return parameters


def plain_sizes(form: str, extras: dict[str, Tensor]) -> list[Parameters]:
    """Step sizes of each step and parameter, from the tensors that a prior holds."""
    layers = len(SIZES) - 1
    if form == "per_parameter":
        tensors = [extras[f"psi.{layer}.{part}"] for layer in range(layers) for part in ("weight", "bias")]
        return [[tensor[step] for tensor in tensors] for step in range(len(tensors[0]))]
    columns = [0] * layers if form == "scalar" else range(layers)
    return [[row[column] for column in columns for _ in range(2)] for row in extras["psi"]]


def plain_loss(parameters: Parameters, sizes: list[Parameters], inputs: Tensor, targets: Tensor) -> Tensor:
    losses = []
    for task_inputs, task_targets in zip(inputs, targets, strict=True):
        adapted = plain_adaptation(parameters, sizes, task_inputs[:M], task_targets[:M], second_order=True)
        losses.append((plain_forward(adapted, task_inputs[M:]) - task_targets[M:]).square().mean())
    return torch.stack(losses).mean()


# What both are given.


def drawn(form: str, steps: int, dtype: torch.dtype, hidden: tuple[int, ...] = SIZES[1:-1]) -> tuple[Any, ...]:
    """Parameters, step sizes that all differ, and segments of a batch of tasks."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.double).to(dtype)

    sizes = (SIZES[0], *hidden, SIZES[-1])
    pairs = list(pairwise(sizes))
    layers = [(normal(outputs, inputs) * (2.0 / inputs) ** 0.5, 0.1 * normal(outputs)) for inputs, outputs in pairs]
    extras = {
        name: 0.005 + 0.02 * torch.rand(size.shape, generator=generator, dtype=torch.double).to(dtype)
        for name, size in Grbal.initial(layers, StepSettings(inner_steps=steps, psi=form), generator).items()
    }
    return layers, extras, normal(TASKS, M + K, SIZES[0]), normal(TASKS, M + K, SIZES[-1])


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("form", get_args(PsiForm))
def test_meta_gradient_is_that_of_higher_order_autograd(form: str, steps: int) -> None:
    layers, extras, inputs, targets = drawn(form, steps, torch.double)
    names = [*(f"layer {index} {part}" for index in range(len(layers)) for part in ("weight", "bias")), *extras]
    leaves = [tensor.requires_grad_() for tensor in (*(t for layer in layers for t in layer), *extras.values())]
    loss = Grbal(layers, extras).loss(inputs, targets, M, torch.Generator())
    expected_loss = plain_loss(leaves[: 2 * len(layers)], plain_sizes(form, extras), inputs, targets)
    assert loss.detach() == pytest.approx(expected_loss.detach(), rel=1e-12)
    gradients = torch.autograd.grad(loss, leaves)
    expected = torch.autograd.grad(expected_loss, leaves)
    for name, gradient, wanted in zip(names, gradients, expected, strict=True):
        error = float((gradient - wanted).norm() / wanted.norm())
        assert error < 1e-10, f"{name}: off by {error:.1e}"


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("form", get_args(PsiForm))
def test_adaptation_of_a_window_is_autograd_with_new_parameters(form: str, steps: int) -> None:
    layers, extras, inputs, targets = drawn(form, steps, torch.float32, hidden=(160, 128))
    learner = Grbal(layers, extras)
    adapted = learner.adapted_layers(learner.adapt(inputs[0, :M], targets[0, :M]))
    parameters = [tensor.clone().requires_grad_() for layer in layers for tensor in layer]
    expected = plain_adaptation(parameters, plain_sizes(form, extras), inputs[0, :M], targets[0, :M], False)
    changes = zip((t for layer in adapted for t in layer), expected, parameters, strict=True)
    for given, wanted, before in changes:
        assert (given - wanted).norm() < 1e-5 * (wanted - before).norm() + 1e-6 * before.norm()
        assert (wanted - before).norm() > 1e-3 * before.norm()
