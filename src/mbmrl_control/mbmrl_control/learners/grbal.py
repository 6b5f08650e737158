"""GrBAL: gradient steps from the meta-learned prior on the last M transitions.

Nagabandi, Clavera et al., ICLR 2019, section 4.1:
``theta' = theta* - psi grad_theta mean_M ||(s_m - s_(m-1)) - f_theta(s_(m-1), a_(m-1))||^2``
with a learned step size psi for each inner step and layer.

The same steps serve one window (control) and a batch of tasks (training): the weights of adapted models
have the tasks as leading dimensions. They are written out, forward and back, rather than left to autograd:
cheap in control, and the meta-gradient passes through them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear

from mbmrl_control.dynamics.network import Layers
from mbmrl_control.learners.base import Learner, LearnerSettings, Update, replaced_layers, to_update


def _activations(layers: Layers, inputs: Tensor) -> list[Tensor]:
    """Input of each layer and, last, the output of the network, shapes ([tasks,] n, size)."""
    values = [inputs]
    for index, (weight, bias) in enumerate(layers):
        if weight.dim() == 2:
            value = linear(values[-1], weight) + (bias if bias.dim() == 1 else bias.unsqueeze(-2))
        else:
            value = torch.baddbmm(bias.unsqueeze(-2), values[-1], weight.mT)
        values.append(torch.relu_(value) if index < len(layers) - 1 else value)
    return values


def gradient_steps(layers: Layers, psi: Tensor, inputs: Tensor, targets: Tensor) -> Layers:
    """Layers after gradient steps on windows of transitions.

    Args:
        layers: The prior.
        psi: Step sizes, shape (steps, layers).
        inputs: Normalised inputs, shape ([tasks,] M, 22).
        targets: Normalised targets, shape ([tasks,] M, 21).

    Returns:
        One set of layers for each window: weights of shape ([tasks,] outputs, inputs), biases ([tasks,] outputs).
    """
    add_product = torch.addmm if inputs.dim() == 2 else torch.baddbmm
    for sizes in psi:
        values = _activations(layers, inputs)
        gradient = 2.0 / inputs.shape[-2] * (values[-1] - targets)
        stepped = []
        for (weight, bias), value, size in reversed(list(zip(layers, values, sizes, strict=False))):
            scaled = size * gradient
            stepped.append((add_product(weight, scaled.mT, value, alpha=-1.0), bias - scaled.sum(-2)))
            gradient = (gradient @ weight).mul_(value > 0)
        layers = stepped[::-1]
    return layers


def adapted_prediction(layers: Layers, inputs: Tensor) -> Tensor:
    """Predictions of adapted models, shape ([tasks,] n, 22) -> ([tasks,] n, 21)."""
    return _activations(layers, inputs)[-1]


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
    adapted = gradient_steps(layers, psi, *support)
    return (adapted_prediction(adapted, query[0]) - query[1]).square().mean()


class Grbal(Learner):
    """Gradient-based adaptive learner."""

    name = "grbal"
    positive = ("psi",)

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior and its step sizes ``psi``, shape (steps, layers)."""
        super().__init__(layers, extras)
        psi = extras.get("psi")
        if psi is None or psi.ndim != 2 or psi.shape[1] != len(layers):
            raise ValueError(f"a prior of grbal needs step sizes psi for {len(layers)} layers")
        self.psi = psi

    @classmethod
    def initial(cls, layers: Layers, settings: LearnerSettings, generator: torch.Generator) -> dict[str, Tensor]:
        """The same step size for all layers."""
        return {"psi": torch.full((settings.inner_steps, len(layers)), settings.initial_psi)}

    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Layers after the gradient steps."""
        return gradient_steps(self.layers, self.psi, inputs, targets)

    def predict(self, support: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
        """Predictions after adaptation."""
        return adapted_prediction(self.adapted(*support), inputs)

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """The adapted weights and biases, named by layer."""
        return to_update(self.adapted(inputs, targets))

    def adapted_layers(self, update: Update) -> Layers:
        """The layers of an update."""
        return replaced_layers(self.layers, update)
