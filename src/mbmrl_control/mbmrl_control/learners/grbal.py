"""GrBAL: gradient steps from the meta-learned prior on the last M transitions.

Nagabandi, Clavera et al., ICLR 2019, section 4.1, with learned step sizes psi: of each inner step one for all
layers (``scalar``), one for each layer (``per_layer``), or one for each weight and bias (``per_parameter``, as
in Meta-SGD, Li et al., 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from mbmrl_control.dynamics.network import Layers
from mbmrl_control.learners.base import NetworkLearner, TrainingDefaults, Update, to_update
from mbmrl_control.learners.gradient_steps import LowRank, Psi, adapted_prediction, dense, dense_layer, gradient_steps

PsiForm = Literal["scalar", "per_layer", "per_parameter"]


@dataclass(frozen=True)
class StepSettings:
    """Gradient steps before anything is learned.

    Attributes:
        inner_steps: How many.
        psi: Form of their sizes.
        initial_psi: Size before it is learned.
    """

    inner_steps: int = Field(default=3, ge=1)
    psi: PsiForm = "per_layer"
    initial_psi: float = Field(default=0.01, gt=0.0)


def initial_psi(settings: StepSettings, layers: Layers) -> dict[str, Tensor]:
    """Equal step sizes, named as a prior stores them.

    ``psi`` has shape (steps, 1) or (steps, layers); ``psi.{layer}.weight`` and ``psi.{layer}.bias`` have shapes
    (steps, outputs, inputs) and (steps, outputs).
    """
    steps, size = settings.inner_steps, settings.initial_psi
    if settings.psi != "per_parameter":
        return {"psi": torch.full((steps, 1 if settings.psi == "scalar" else len(layers)), size)}
    return {
        name.replace("layers", "psi"): torch.full((steps, *tensor.shape), size)
        for name, tensor in to_update(layers).items()
    }


def psi_of(tensors: Mapping[str, Tensor], layers: Layers, learner: str) -> Psi:
    """Step sizes from the tensors that `initial_psi` names.

    Raises:
        ValueError: If they are missing or do not fit the layers.
    """
    psi = tensors.get("psi")
    if psi is not None and psi.ndim == 2 and len(psi) > 0 and psi.shape[1] in (1, len(layers)):
        return psi
    elementwise = [(tensors.get(f"psi.{i}.weight"), tensors.get(f"psi.{i}.bias")) for i in range(len(layers))]
    sizes = [(weight, bias) for weight, bias in elementwise if weight is not None and bias is not None]
    steps = len(sizes[0][0]) if sizes and sizes[0][0].ndim else 0
    wanted = [((steps, *weight.shape), (steps, *bias.shape)) for weight, bias in layers]
    if steps == 0 or [(weight.shape, bias.shape) for weight, bias in sizes] != wanted:
        raise ValueError(f"a prior of {learner} needs step sizes psi for {len(layers)} layers")
    return sizes


class Grbal(NetworkLearner):
    """Gradient-based adaptive learner."""

    name = "grbal"
    settings_type = StepSettings
    # Gradient steps that are to follow any affine map within a window are as large as to follow noise too.
    training = TrainingDefaults(augmented=0.0)
    positive = ("psi",)

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior and its step sizes."""
        super().__init__(layers, extras)
        self.psi = psi_of(extras, layers, self.name)

    @classmethod
    def initial(cls, layers: Layers, settings: StepSettings, generator: torch.Generator) -> dict[str, Tensor]:
        """The same step size for all layers."""
        return initial_psi(settings, layers)

    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Layers after the gradient steps."""
        return dense(gradient_steps(self.layers, self.psi, inputs, targets))

    def predict(self, support: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
        """Predictions after adaptation."""
        return adapted_prediction(gradient_steps(self.layers, self.psi, *support), inputs)

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """The adapted layers, by name: weight and bias, or their factors where these are fewer numbers.

        A layer's ``rows`` and ``columns``, shapes (r, inputs) and (r, outputs), are those of all steps.
        """
        adapted = gradient_steps(self.layers, self.psi, inputs, targets)
        if not isinstance(adapted, LowRank):
            return to_update(adapted)
        update: Update = {}
        for index, (layer, pairs) in enumerate(zip(self.layers, adapted.factors, strict=True)):
            rows, columns = pairs[0] if len(pairs) == 1 else map(torch.cat, zip(*pairs, strict=True))
            if rows.numel() + columns.numel() < layer[0].numel() + layer[1].numel():
                update |= {f"layers.{index}.rows": rows, f"layers.{index}.columns": columns}
            else:
                update |= to_update([dense_layer(layer, pairs)], index)
        return update
