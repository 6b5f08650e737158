"""MB: the model without adaptation, the baseline of the paper."""

from __future__ import annotations

from torch import Tensor

from mbmrl_control.dynamics.network import Layers
from mbmrl_control.learners.base import Learner, Update


class ModelBased(Learner):
    """Plans with the prior as it is."""

    name = "mb"

    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """No update."""
        return {}

    def adapted_layers(self, update: Update) -> Layers:
        """The prior's layers."""
        if update:
            raise ValueError("the learner mb takes no update")
        return self.layers
