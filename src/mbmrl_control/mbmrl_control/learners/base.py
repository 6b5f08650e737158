"""The contract of a learner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeGuard

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from mbmrl_control.dynamics.model import Model, ReluNetwork
from mbmrl_control.dynamics.network import Layers
from mbmrl_control.learners.gradient_steps import dense_layer

Update = dict[str, Tensor]
"""What an adaptation changed, as named tensors; empty where the prior itself is meant."""
Walks = Callable[[], tuple[Tensor, Tensor]]
"""Returns transitions of long walks that were trained on: inputs (tasks, T, inputs) and targets (tasks, T, outputs)."""


@dataclass(frozen=True)
class NoSettings:
    """Settings of a learner that has none."""


@dataclass(frozen=True)
class TrainingDefaults:
    """How a learner is best trained, unless asked for otherwise.

    Attributes:
        window: M, transitions to adapt on.
        augmented: Share of the tasks whose targets get a random affine map of the inputs added.
        open_loop: Weight of the error in open loop.
    """

    window: int = 48
    augmented: float = 0.5
    open_loop: float = 0.0


class Learner(ABC):
    """A rule that adapts a prior to the last transitions.

    A learner keeps no transitions: whoever calls it does. Inputs, shape (..., inputs), and targets,
    shape (..., outputs), are normalised. One whose model is a plain ReLU network is a `NetworkLearner`.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[Any]] = NoSettings
    """A frozen dataclass, whose defaults are the learner's."""
    training: ClassVar[TrainingDefaults] = TrainingDefaults()
    trained_as: ClassVar[type[Learner] | None] = None
    """The learner that its prior is trained as; None: itself."""
    carries: ClassVar[bool] = False
    """Whether `adapt` builds on what earlier calls have learned."""
    memory: ClassVar[int] = 0
    """Transitions that `adapt` wants to see where they are more than the prior's window."""
    positive: ClassVar[tuple[str, ...]] = ()
    """Names, or their beginnings, of the tensors that only make sense above 0: their logarithm is learned."""
    adapts: ClassVar[bool] = True
    baseline: ClassVar[bool] = False
    """Whether an evaluation compares the others to it."""

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior.

        Args:
            layers: Those of a plain network; empty if the model is another one.
            extras: The other tensors that were learned, by the names that `initial` gives them.

        Raises:
            ValueError: If the tensors do not fit together.
        """
        self.layers = layers
        self.extras = dict(extras)
        self.members: Sequence[Learner] = (self,)
        """Those that adapt; itself, unless it is a committee."""

    @classmethod
    @abstractmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """The tensors beside the layers before anything is learned.

        Args:
            layers: Those of a plain network; a learner whose model is another one takes its sizes from them.
            settings: Of `settings_type`.
            generator: For what is random in them.
        """

    @classmethod
    def settings_of(cls, options: Iterable[str]) -> Any:
        """Settings with some values given as ``NAME=VALUE``; the others are the defaults.

        Raises:
            ValueError: If there is no such setting, or a value is none for it.
        """
        names = [field.name for field in fields(cls.settings_type)]
        given: dict[str, str] = {}
        for name, equals, value in (option.partition("=") for option in options):
            if name not in names:
                raise ValueError(f"{cls.name} has no setting {name!r}: allowed is {', '.join(names) or 'none'}")
            if not equals:
                raise ValueError(f"the setting {name} of {cls.name} has no value: wanted is {name}=VALUE")
            given[name] = value
        try:
            return TypeAdapter(cls.settings_type).validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            name, text = str(first["loc"][0]), first["msg"]
            raise ValueError(f"{cls.name}: {name} is {given[name]!r}: {text[:1].lower()}{text[1:]}") from None

    @classmethod
    def tuned(cls, layers: Layers, extras: dict[str, Tensor], walks: Walks) -> dict[str, Tensor]:
        """The tensors beside the layers at the end of the training, with what is not learned by gradients."""
        return extras

    def reset(self) -> None:  # noqa: B027  (most learners carry nothing from tick to tick)
        """Forget what was carried over from earlier ticks."""

    @abstractmethod
    def fitted_model(self, inputs: Tensor, targets: Tensor) -> Model:
        """The model that is adapted from the prior to windows, differentiably; what is carried plays no part.

        Args:
            inputs: One window, shape (M, inputs), or one for each task, (tasks, M, inputs).
            targets: Shape ([tasks,] M, outputs).
        """

    @abstractmethod
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """Adapt to the last m transitions, shapes (m, inputs) and (m, outputs), the newest one last."""

    def update_of(self, member: int, update: Update) -> Update:
        """The update, if it is that of one of the members."""
        del member
        return update

    @abstractmethod
    def adapted_model(self, update: Update) -> Model:
        """The model after an update; the prior's after an empty one.

        Raises:
            ValueError: If the update's tensors do not fit this prior.
        """

    def predict(self, support: tuple[Tensor, Tensor], inputs: Tensor) -> Tensor:
        """Predictions after adaptation to windows, shapes (tasks, M, ..) and (tasks, K, inputs)."""
        return self.fitted_model(*support).predict(inputs).mean

    def loss(self, inputs: Tensor, targets: Tensor, window: int, generator: torch.Generator) -> Tensor:
        """What the training minimises on segments: the error after adaptation (equation 1 of the paper).

        Args:
            inputs: Segments of M + K transitions, shape (tasks, M + K, inputs).
            targets: Shape (tasks, M + K, outputs).
            window: M.
            generator: For what is random in it.
        """
        predicted = self.predict((inputs[:, :window], targets[:, :window]), inputs[:, window:])
        return (predicted - targets[:, window:]).square().mean()


class NetworkLearner(Learner):
    """A learner whose model is a plain ReLU network, before and after adaptation."""

    @abstractmethod
    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Layers of `fitted_model`; where they differ between tasks, with the tasks as leading dimension."""

    def adapted_layers(self, update: Update) -> Layers:
        """Layers of `adapted_model`."""
        return replaced_layers(self.layers, update)

    def fitted_model(self, inputs: Tensor, targets: Tensor) -> Model:
        """The network that is adapted to windows."""
        return ReluNetwork(self.adapted(inputs, targets))

    def adapted_model(self, update: Update) -> Model:
        """The network after an update."""
        return ReluNetwork(self.adapted_layers(update))


def to_update(layers: Layers, first: int = 0) -> Update:
    """Update that replaces whole layers, from the given one on."""
    return {
        f"layers.{index}.{name}": tensor
        for index, layer in enumerate(layers, first)
        for name, tensor in zip(("weight", "bias"), layer, strict=True)
    }


def replaced_layers(prior: Layers, update: Update, first: int = 0) -> Layers:
    """Layers of an update as `to_update` makes it, or that has ``rows`` and ``columns`` of a layer as `Grbal.adapt`.

    Raises:
        ValueError: If it does not fit the prior, whose first layer has a number.
    """
    if not update:
        return prior
    layers = []
    for index, (weight, bias) in enumerate(prior, first):
        place = f"layers.{index}."
        new_weight, new_bias = update.get(place + "weight"), update.get(place + "bias")
        if _alike(new_weight, weight) and _alike(new_bias, bias):
            layers.append((new_weight, new_bias))
            continue
        rows, columns = update.get(place + "rows"), update.get(place + "columns")
        count = len(rows) if rows is not None and rows.ndim else 0
        if not (_alike(rows, weight[:1].expand(count, -1)) and _alike(columns, bias.expand(count, -1))):
            raise ValueError(f"an update of layer {index} does not fit a prior of shape {tuple(weight.shape)}")
        layers.append(dense_layer((weight, bias), [(rows, columns)]))
    return layers


def _alike(given: Tensor | None, wanted: Tensor) -> TypeGuard[Tensor]:
    """Whether a tensor is there, and has the shape and type of another one."""
    return given is not None and given.shape == wanted.shape and given.dtype == wanted.dtype
