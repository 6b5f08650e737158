"""The dynamics network as plain tensors: layers, forward pass, backward pass, normalisation.

The layers are no modules, since learners apply updates to them in closed form and differentiate through
those updates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import linear

Layers = list[tuple[Tensor, Tensor]]
"""Weight, shape (outputs, inputs), and bias, shape (outputs,), of each layer; ReLU between them."""

DEVIATION_FLOOR: Final = 1e-3
"""Smallest deviation that is divided by, as a share of the largest magnitude of that dimension: a
dimension that hardly varies in the data must not explode when it does later."""


def initial_layers(sizes: Sequence[int], generator: torch.Generator) -> Layers:
    """Layers of given sizes with uniform weights (He et al., 2015); the last layer is small."""
    layers = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        last = index == len(sizes) - 2
        bound = (0.1 if last else 1.0) * math.sqrt(6.0 / inputs)
        weight = (torch.rand(outputs, inputs, generator=generator) * 2 - 1) * bound
        layers.append((weight, torch.zeros(outputs)))
    return layers


def predict(layers: Layers, inputs: Tensor) -> Tensor:
    """Output of the network, shape (..., n, inputs) -> (..., n, outputs).

    Weights and biases may have the tasks as leading dimension, as inputs of shape (tasks, n, inputs) have.
    """
    value = inputs
    for index, (weight, bias) in enumerate(layers):
        if weight.dim() == 3:
            value = torch.baddbmm(bias.unsqueeze(-2), value, weight.mT)
        else:
            value = linear(value, weight, bias) if bias.dim() == 1 else linear(value, weight) + bias.unsqueeze(-2)
        if index < len(layers) - 1:
            value = value.relu()
    return value


@dataclass(frozen=True)
class Normalizer:
    """Means and deviations of inputs, shape (inputs,), and outputs, shape (outputs,)."""

    input_mean: Tensor
    input_deviation: Tensor
    output_mean: Tensor
    output_deviation: Tensor

    @staticmethod
    def fit(inputs: Tensor, targets: Tensor) -> Normalizer:
        """Statistics of a whole data set, shapes (n, inputs) and (n, outputs)."""

        def statistics(values: Tensor) -> tuple[Tensor, Tensor]:
            floor = (DEVIATION_FLOOR * values.abs().amax(0)).clamp_min(1e-6)
            return values.mean(0), torch.maximum(values.std(0), floor)

        return Normalizer(*statistics(inputs), *statistics(targets))

    def inputs(self, inputs: Tensor) -> Tensor:
        """Normalise inputs, shape (..., inputs)."""
        return (inputs - self.input_mean) / self.input_deviation

    def targets(self, targets: Tensor) -> Tensor:
        """Normalise targets, shape (..., outputs)."""
        return (targets - self.output_mean) / self.output_deviation

    def fold(self, layers: Layers) -> Layers:
        """Layers that map raw inputs to raw outputs, by putting the normalisation into first and last."""
        weight, bias = layers[0]
        scaled = weight / self.input_deviation
        folded = [(scaled, bias - scaled @ self.input_mean), *layers[1:]]
        weight, bias = folded[-1]
        scale = self.output_deviation
        folded[-1] = (weight * scale.unsqueeze(1), bias * scale + self.output_mean)
        return folded
