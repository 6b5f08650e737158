"""Gradient steps on windows of transitions, exact, and differentiable for the meta-gradient.

Nagabandi, Clavera et al., ICLR 2019, section 4.1:
``theta' = theta* - psi grad_theta mean_M ||(s_m - s_(m-1)) - f_theta(s_(m-1), a_(m-1))||^2``

The gradient by a layer over M transitions is a product of two factors of M rows: the layer's inputs and the
gradient by its outputs. Where psi is one number for a layer, such factors are all that a step changes: the
adapted layer maps ``x -> x W^T + b - sum_steps (x rows^T + 1) columns``. W is shared by all tasks, and no
task's weights are formed, nor in the meta-gradient, which is written out so that each product is computed once.
Where psi is elementwise the change has full rank, and the weights of each task are formed.

One window has shape (M, size), a batch of tasks (tasks, M, size); the code is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from mbmrl_control.dynamics.network import Layers

Psi = Tensor | Layers
"""Step sizes: shape (steps, 1) or (steps, layers); elementwise, of each layer's weight and bias, shapes
(steps, outputs, inputs) and (steps, outputs)."""

Factors = list[tuple[Tensor, Tensor]]
"""Of each step: rows, shape ([tasks,] M, inputs), and columns, shape ([tasks,] M, outputs)."""


@dataclass(frozen=True)
class LowRank:
    """The prior's layers and, for each layer, the factors of what the steps subtract from it."""

    layers: Layers
    factors: list[Factors]


Adapted = LowRank | Layers
"""Layers after gradient steps. As plain layers, weights and biases have the tasks as leading dimension."""


def gradient_steps(layers: Layers, psi: Psi, inputs: Tensor, targets: Tensor) -> Adapted:
    """Layers after gradient steps on windows of transitions.

    Args:
        layers: The prior; weights are shared by all tasks, biases have shape ([tasks,] outputs).
        psi: Step sizes.
        inputs: Normalised inputs, shape ([tasks,] M, inputs).
        targets: Normalised targets, shape ([tasks,] M, outputs).

    Returns:
        One adapted model for each window.
    """
    if not isinstance(psi, Tensor):
        return _elementwise_steps(layers, psi, inputs, targets)
    sizes = psi.expand(-1, len(layers))
    if not torch.is_grad_enabled():
        return LowRank(layers, _steps(layers, sizes, inputs, targets)[0])
    weights, biases = zip(*layers, strict=True)
    flat = _Steps.apply(sizes, inputs, targets, *weights, *biases)  # type: ignore[no-untyped-call]
    return LowRank(layers, _of_steps(inputs, flat, len(layers)))


def adapted_prediction(adapted: Adapted, inputs: Tensor) -> Tensor:
    """Predictions of adapted models, shape ([tasks,] n, inputs) -> ([tasks,] n, outputs)."""
    if not isinstance(adapted, LowRank):
        return _forward(adapted, [[] for _ in adapted], inputs)[0][-1]
    if not torch.is_grad_enabled():
        return _forward(adapted.layers, adapted.factors, inputs)[0][-1]
    weights, biases = zip(*adapted.layers, strict=True)
    flat = [tensor for pairs in adapted.factors for pair in pairs for tensor in pair]
    predicted: Tensor = _Prediction.apply(inputs, len(weights), *weights, *biases, *flat)  # type: ignore[no-untyped-call]
    return predicted


def dense(adapted: Adapted) -> Layers:
    """The layers themselves: weights of shape ([tasks,] outputs, inputs), biases ([tasks,] outputs)."""
    if not isinstance(adapted, LowRank):
        return adapted
    return [dense_layer(layer, pairs) for layer, pairs in zip(adapted.layers, adapted.factors, strict=True)]


def dense_layer(layer: tuple[Tensor, Tensor], factors: Factors) -> tuple[Tensor, Tensor]:
    """Weight and bias of an adapted layer."""
    weight, bias = layer
    for rows, columns in factors:
        weight, bias = _minus_product(weight, columns.mT, rows), bias - columns.sum(-2)
    return weight, bias


# Shared by both forms. "Taps" are products with one factor, shape ([tasks,] n, M): from them the other
# factor makes what is subtracted.

Taps = list[Tensor]
_relu_backward: Final = torch.ops.aten.threshold_backward
"""Several times faster than a product with a mask, and differentiable."""


def _through_relu(gradient: Tensor, value: Tensor) -> Tensor:
    """Gradient by what enters a ReLU; where it need not be differentiated again, in the place of that given."""
    if torch.is_grad_enabled():
        passed: Tensor = _relu_backward(gradient, value, 0)
    else:
        passed = _relu_backward.grad_input(gradient, value, 0, grad_input=gradient)
    return passed


def _minus_product(value: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """``value - left right``; None stands for 0."""
    product = torch.addmm if left.dim() == 2 else torch.baddbmm
    if value is None:
        return product(left.new_empty(1), left, right, beta=0.0, alpha=-1.0)
    return product(value, left, right, alpha=-1.0)


def _product(
    values: Tensor, matrix: Tensor, factors: Factors, offset: float = 0.0, bias: Tensor | None = None
) -> tuple[Tensor, Taps]:
    """``values matrix^T + bias - (values rows^T + offset) columns``, and the taps."""
    if matrix.dim() == 3:
        made = values @ matrix.mT if bias is None else torch.baddbmm(bias.unsqueeze(-2), values, matrix.mT)
    elif bias is None or bias.dim() == 1:
        made = linear(values, matrix, bias)
    else:
        made = linear(values, matrix) + bias.unsqueeze(-2)
    taps = []
    for rows, columns in factors:
        taps.append((values @ rows.mT).add_(offset))
        (made.addmm_ if made.dim() == 2 else made.baddbmm_)(taps[-1], columns, alpha=-1.0)
    return made, taps


def _back(gradient: Tensor, weight: Tensor, factors: Factors) -> tuple[Tensor, Taps]:
    """Gradient by what enters an adapted layer, from that by what comes out."""
    return _product(gradient, weight.mT, [(columns, rows) for rows, columns in factors])


def _forward(layers: Layers, factors: Sequence[Factors], inputs: Tensor) -> tuple[list[Tensor], list[Taps]]:
    """What enters each layer and, last, what the network puts out; taps of each layer."""
    values, ahead = [inputs], []
    for index, ((weight, bias), pairs) in enumerate(zip(layers, factors, strict=True)):
        made, taps = _product(values[-1], weight, pairs, 1.0, bias)
        values.append(made.relu_() if index < len(layers) - 1 else made)
        ahead.append(taps)
    return values, ahead


@dataclass(frozen=True)
class _Step:
    """What enters each layer, the gradients by what comes out, and the taps of the ways ahead and back."""

    values: list[Tensor]
    gradients: list[Tensor]
    ahead: list[Taps]
    back: list[Taps]


def _step(layers: Layers, factors: Sequence[Factors], inputs: Tensor, targets: Tensor) -> _Step:
    """Gradients of the loss on a window, layer by layer, of models that earlier steps have adapted."""
    values, ahead = _forward(layers, factors, inputs)
    gradients = [(values.pop() - targets) * (2.0 / inputs.shape[-2])]
    back: list[Taps] = []
    for index in range(len(layers) - 1, 0, -1):
        gradient, taps = _back(gradients[-1], layers[index][0], factors[index])
        gradients.append(_through_relu(gradient, values[index]))
        back.append(taps)
    return _Step(values, gradients[::-1], ahead, [[], *back[::-1]])


def _elementwise_steps(layers: Layers, psi: Layers, inputs: Tensor, targets: Tensor) -> Layers:
    none: list[Factors] = [[] for _ in layers]
    for index in range(len(psi[0][0])):
        step = _step(layers, none, inputs, targets)
        layers = [
            (weight - weight_sizes[index] * (gradient.mT @ value), bias - bias_sizes[index] * gradient.sum(-2))
            for (weight, bias), (weight_sizes, bias_sizes), value, gradient in zip(
                layers, psi, step.values, step.gradients, strict=True
            )
        ]
    return layers


def _steps(layers: Layers, psi: Tensor, inputs: Tensor, targets: Tensor) -> tuple[list[Factors], list[_Step]]:
    """Factors of all steps; psi has shape (steps, layers)."""
    factors: list[Factors] = [[] for _ in layers]
    steps = []
    for sizes in psi.unbind():
        steps.append(_step(layers, factors, inputs, targets))
        for pairs, value, gradient, size in zip(
            factors, steps[-1].values, steps[-1].gradients, sizes.unbind(), strict=True
        ):
            pairs.append((value, size * gradient))
    return factors, steps


# The meta-gradient of the low-rank form.


class _Adjoint:
    """Gradients by the layers and by their factors, summed over the places where they are used; None is 0."""

    def __init__(self, layers: Layers, factors: list[Factors], by_factors: Sequence[Sequence[Sequence[Any]]]) -> None:
        self._given, self._factors = layers, factors
        self.weights: list[Tensor | None] = [None] * len(layers)
        self.biases = [torch.zeros_like(bias) for _, bias in layers]
        self.factors = [[list(pair) for pair in pairs] for pairs in by_factors]

    def _add(self, index: int, gradient: Tensor, values: Tensor, columns_taps: Taps, rows_taps: Taps) -> None:
        by_weight, left, right = self.weights[index], gradient.flatten(0, -2).T, values.flatten(0, -2)
        self.weights[index] = left @ right if by_weight is None else by_weight.addmm_(left, right)
        for pair, tap in zip(self.factors[index], columns_taps, strict=False):
            pair[1] = _minus_product(pair[1], tap.mT, gradient)
        for pair, tap in zip(self.factors[index], rows_taps, strict=False):
            pair[0] = _minus_product(pair[0], tap.mT, values)

    def ahead(
        self, values: list[Tensor], ahead: list[Taps], by_values: Sequence[Tensor], gradient: Tensor, to_inputs: bool
    ) -> Tensor | None:
        """Through predictions, given the gradients by what they were and by what entered each layer.

        Returns:
            The gradient by the inputs; None where it is not asked for, nor are then those by the first rows.
        """
        for index in range(len(values) - 1, -1, -1):
            weight, by_bias = self._given[index][0], self.biases[index]
            by_bias += gradient.flatten(0, -2).sum(0) if by_bias.dim() == 1 else gradient.sum(-2)
            if index == 0 and not to_inputs:
                self._add(index, gradient, values[index], ahead[index], [])
                return None
            onward, taps = _back(gradient, weight, self._factors[index][: len(ahead[index])])
            self._add(index, gradient, values[index], ahead[index], taps)
            if by_values:
                onward += by_values[index]
            gradient = _through_relu(onward, values[index]) if index else onward
        return gradient

    def back(self, step: _Step, sizes: Sequence[float], by_columns: Sequence[Tensor]) -> Tensor:
        """Through the gradients of a step; returns the gradient by those of the network's output."""
        gradient = sizes[0] * by_columns[0]
        for index in range(1, len(by_columns)):
            entering = _through_relu(gradient, step.values[index])
            gradient, taps = _product(entering, self._given[index][0], self._factors[index][: len(step.ahead[index])])
            self._add(index, step.gradients[index], entering, taps, step.back[index])
            gradient.add_(by_columns[index], alpha=sizes[index])
        return gradient


def _of_steps(first: Tensor, flat: Sequence[Tensor], count: int) -> list[Factors]:
    """Factors of each layer from the outputs of _Steps, which do not hold what enters the first layer."""
    size = 2 * count - 1
    steps = [(first, *flat[start : start + size]) for start in range(0, len(flat), size)]
    return [[(step[2 * index], step[2 * index + 1]) for step in steps] for index in range(count)]


class _Steps(Function):
    """Factors of all steps: columns of the first layer, rows and columns of the next, and so on."""

    @staticmethod
    def forward(ctx: Any, psi: Tensor, inputs: Tensor, targets: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        count = len(parameters) // 2
        layers = list(zip(parameters[:count], parameters[count:], strict=True))
        factors, steps = _steps(layers, psi, inputs, targets)
        flat = [tensor for pairs in zip(*factors, strict=True) for pair in pairs for tensor in pair]
        outputs = [tensor for index, tensor in enumerate(flat) if index % (2 * count)]
        ctx.save_for_backward(psi, inputs, *parameters, *outputs)
        # Without the values: they are outputs, and an output kept here would keep itself alive.
        ctx.steps = [_Step([], step.gradients, step.ahead, step.back) for step in steps]
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by_outputs: Tensor) -> tuple[Tensor | None, ...]:
        psi, inputs, *saved = ctx.saved_tensors
        count = psi.shape[1]
        layers = list(zip(saved[:count], saved[count : 2 * count], strict=True))
        factors = _of_steps(inputs, saved[2 * count :], count)
        to_inputs = ctx.needs_input_grad[1]
        adjoint = _Adjoint(layers, factors, _of_steps(torch.zeros_like(inputs), by_outputs, count))
        by_psi, by_inputs = torch.zeros_like(psi), torch.zeros_like(inputs)
        by_targets = torch.zeros_like(by_outputs[-1])
        for index in range(len(psi) - 1, -1, -1):
            values = [pairs[index][0] for pairs in factors]
            by_values, by_columns = zip(*(pairs[index] for pairs in adjoint.factors), strict=True)
            step = _Step(values, ctx.steps[index].gradients, ctx.steps[index].ahead, ctx.steps[index].back)
            products = zip(by_columns, step.gradients, strict=True)
            by_psi[index] = torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in products])
            by_error = adjoint.back(step, psi[index].tolist(), by_columns) * (2.0 / inputs.shape[-2])
            onward = adjoint.ahead(values, step.ahead, by_values, by_error, to_inputs)
            if onward is not None:
                by_inputs += onward
            by_targets -= by_error
        return by_psi, by_inputs if to_inputs else None, by_targets, *adjoint.weights, *adjoint.biases


class _Prediction(Function):
    """Predictions of adapted models; takes inputs, number of layers, weights, biases, and the factors in turn."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, count: int, *tensors: Tensor) -> Tensor:
        ctx.count = count
        ctx.save_for_backward(inputs, *tensors)
        layers, factors = _unpacked(tensors, count)
        values, ctx.ahead = _forward(layers, factors, inputs)
        ctx.hidden = values[1:-1]
        return values[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_output: Tensor) -> tuple[Tensor | None, ...]:
        inputs, *tensors = ctx.saved_tensors
        layers, factors = _unpacked(tensors, ctx.count)
        adjoint = _Adjoint(layers, factors, [[(None, None)] * len(pairs) for pairs in factors])
        # The first rows are the inputs of the window.
        to_inputs = ctx.needs_input_grad[0] or any(ctx.needs_input_grad[2 + 2 * ctx.count :][:1])
        by_inputs = adjoint.ahead([inputs, *ctx.hidden], ctx.ahead, [], by_output, to_inputs)
        flat = [tensor for pairs in adjoint.factors for pair in pairs for tensor in pair]
        return by_inputs, None, *adjoint.weights, *adjoint.biases, *flat


def _unpacked(tensors: Sequence[Tensor], count: int) -> tuple[Layers, list[Factors]]:
    layers = list(zip(tensors[:count], tensors[count : 2 * count], strict=True))
    pairs = list(zip(tensors[2 * count :: 2], tensors[2 * count + 1 :: 2], strict=True))
    steps = len(pairs) // count
    return layers, [pairs[start : start + steps] for start in range(0, len(pairs), steps)]
