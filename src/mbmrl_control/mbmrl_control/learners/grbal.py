"""GrBAL: gradient steps from the meta-learned prior on the last M transitions.

Nagabandi, Clavera et al., ICLR 2019, section 4.1:
``theta' = theta* - psi grad_theta mean_M ||(s_m - s_(m-1)) - f_theta(s_(m-1), a_(m-1))||^2``
with a learned step size psi for each inner step and layer.

The gradient of a layer's weight over M transitions has rank M: it is ``E^T H`` with the layer's inputs H,
shape (M, inputs), and the errors that were propagated back to its output, E, shape (M, outputs). An update
is these two factors, of all inner steps one below the other; the adapted layer can be applied without
forming its weight, as ``x W^T + b - (x H^T + 1) E`` with E scaled by psi, and the meta-gradient passes
through that form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers
from mbmrl_control.learners.base import Learner, Update

Factors = list[tuple[Tensor, Tensor]]
"""For each layer its inputs, shape (..., R, inputs), and scaled errors, shape (..., R, outputs)."""


def _activations(layers: Layers, factors: Factors | None, inputs: Tensor) -> list[Tensor]:
    """Input of each layer of the adapted models and, last, their output, shapes (..., n, size)."""
    values = [inputs]
    for index, (weight, bias) in enumerate(layers):
        value = values[-1] @ weight.T + bias
        if factors:
            support, errors = factors[index]
            value = value - (values[-1] @ support.transpose(-1, -2) + 1.0) @ errors
        values.append(torch.relu(value) if index < len(layers) - 1 else value)
    return values


def _backward(layers: Layers, factors: Factors | None, values: list[Tensor], gradient: Tensor) -> list[Tensor]:
    """Gradient at each layer's output before its ReLU, by operations that can be differentiated again."""
    gradients = [gradient]
    for index in range(len(layers) - 1, 0, -1):
        below = gradients[0] @ layers[index][0]
        if factors:
            support, errors = factors[index]
            below = below - (gradients[0] @ errors.transpose(-1, -2)) @ support
        gradients.insert(0, below * (values[index] > 0))
    return gradients


def update_factors(layers: Layers, psi: Tensor, inputs: Tensor, targets: Tensor) -> Factors:
    """Factors of the gradient steps on windows of transitions.

    Args:
        layers: The prior.
        psi: Step sizes, shape (steps, layers).
        inputs: Normalised inputs, shape (..., M, 22).
        targets: Normalised targets, shape (..., M, 21).
    """
    factors: Factors | None = None
    scale = 2.0 / inputs.shape[-2]
    for sizes in psi:
        values = _activations(layers, factors, inputs)
        gradients = _backward(layers, factors, values, scale * (values[-1] - targets))
        step = [(value, size * gradient) for value, size, gradient in zip(values, sizes, gradients, strict=False)]
        factors = (
            step
            if factors is None
            else [
                (torch.cat([h, h_], dim=-2), torch.cat([e, e_], dim=-2))
                for (h, e), (h_, e_) in zip(factors, step, strict=True)
            ]
        )
    return factors or []


def adapted_prediction(layers: Layers, factors: Factors, inputs: Tensor) -> Tensor:
    """Predictions of the adapted models, shape (..., n, 22) -> (..., n, 21), one model for each window."""
    return _activations(layers, factors, inputs)[-1]


def meta_loss(layers: Layers, psi: Tensor, support: tuple[Tensor, Tensor], query: tuple[Tensor, Tensor]) -> Tensor:
    """Loss of the adapted models on the K transitions after each window (equation 1 of the paper).

    Args:
        layers: The prior.
        psi: Step sizes, shape (steps, layers).
        support: Inputs and targets of windows, shapes (tasks, M, 22) and (tasks, M, 21).
        query: Inputs and targets that follow, shapes (tasks, K, 22) and (tasks, K, 21).

    Returns:
        Mean squared error over tasks, transitions and dimensions; its gradient is of second order.
    """
    factors = update_factors(layers, psi, *support)
    return (adapted_prediction(layers, factors, query[0]) - query[1]).square().mean()


class Grbal(Learner):
    """Gradient-based adaptive learner."""

    name = "grbal"

    def __init__(self, layers: Layers, psi: Tensor) -> None:
        """Start from a prior and its step sizes, shape (steps, layers)."""
        super().__init__(layers)
        self.psi = psi

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """Factors of the gradient steps, named by layer."""
        update: Update = {}
        for index, (support, errors) in enumerate(update_factors(self.layers, self.psi, inputs, targets)):
            update[f"layers.{index}.inputs"] = support
            update[f"layers.{index}.errors"] = errors
        return update

    @torch.inference_mode()
    def adapted_layers(self, update: Update) -> Layers:
        """The prior's layers minus the product of the factors."""
        if not update:
            return self.layers
        adapted = []
        for index, (weight, bias) in enumerate(self.layers):
            support, errors = update.get(f"layers.{index}.inputs"), update.get(f"layers.{index}.errors")
            if (
                support is None
                or errors is None
                or support.shape[1:] != weight.shape[1:]
                or errors.shape != (support.shape[0], weight.shape[0])
                or not support.dtype == errors.dtype == weight.dtype
            ):
                raise ValueError(f"an update of layer {index} does not fit a prior of shape {tuple(weight.shape)}")
            adapted.append((torch.addmm(weight, errors.T, support, alpha=-1.0), bias - errors.sum(0)))
        return adapted
