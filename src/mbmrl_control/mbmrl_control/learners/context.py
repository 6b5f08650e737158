"""Learners that adapt by a context, encoded from transitions, which shifts the biases of all layers.

ReBAL (Nagabandi, Clavera et al., ICLR 2019, section 4.2): a recurrent network whose hidden state is what
adapts and whose weights are the update rule; and the same with a small causal transformer in its place.
In a plan the context stays as it is, so that an adapted model is as quick as the prior.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from mbmrl_control.dynamics.network import Layers, predict
from mbmrl_control.learners.base import NetworkLearner, TrainingDefaults, Update

LONGEST: Final = 256
"""Transitions of the longest window in which a transformer knows the places."""
_HEADS: Final = 4
_BLOCKS: Final = 2


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return (torch.rand(*shape, generator=generator) * 2 - 1) / math.sqrt(shape[-1])


@dataclass(frozen=True)
class ContextSettings:
    """Numbers in the context."""

    context: int = Field(default=64, ge=1)


@dataclass(frozen=True)
class RecurrentSettings(ContextSettings):
    """And the recurrent cell that encodes it."""

    cell: Literal["gru", "lstm"] = "gru"


class ContextLearner(NetworkLearner):
    """Encodes transitions into a context; context 0 is the prior."""

    settings_type: ClassVar[type[ContextSettings]] = ContextSettings

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior and the tensors of the encoder."""
        super().__init__(layers, extras)
        names = [f"context.{index}" for index in range(len(layers))]
        if any(name not in extras for name in names):
            raise ValueError(f"a prior of {self.name} needs the tensors {', '.join(names)}")
        self._shifts = [self.extras[name] for name in names]
        self.size = self._shifts[0].shape[1]
        fitting = zip(self._shifts, layers, strict=True)
        if any(shift.shape != (len(bias), self.size) for shift, (_, bias) in fitting):
            raise ValueError(f"the context of a prior of {self.name} does not fit its layers")

    @classmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """An encoder with uniform weights, whose context moves the biases a little."""
        size = settings.context
        shifts = {
            f"context.{index}": 0.1 * _uniform(generator, len(bias), size) for index, (_, bias) in enumerate(layers)
        }
        tokens = layers[0][0].shape[1] + len(layers[-1][1])
        return shifts | cls.initial_encoder(tokens, settings, generator)

    @classmethod
    @abstractmethod
    def initial_encoder(cls, tokens: int, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Tensors of an encoder of tokens of a size."""

    @abstractmethod
    def encode(self, tokens: Tensor) -> Tensor:
        """Contexts after each token, shape (tasks, n, token size) -> (tasks, n, context)."""

    def tokens(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """What the encoder sees of transitions: the inputs, and what the prior did not foresee."""
        surprise = targets - predict(self.layers, inputs).detach()
        return torch.cat([inputs, surprise], dim=-1)

    def shifted(self, context: Tensor) -> Layers:
        """Layers in a context, shape ([tasks,] context)."""
        return [
            (weight, bias + linear(context, shift))
            for (weight, bias), shift in zip(self.layers, self._shifts, strict=True)
        ]

    def context(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Context of windows, shape ([tasks,] context)."""
        tokens = self.tokens(inputs, targets)
        encoded = self.encode(tokens if tokens.dim() == 3 else tokens.unsqueeze(0))[:, -1]
        return encoded if tokens.dim() == 3 else encoded[0]

    def adapted(self, inputs: Tensor, targets: Tensor) -> Layers:
        """Layers in the context of the window."""
        return self.shifted(self.context(inputs, targets))

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """The context of the window."""
        return {"context": self.context(inputs, targets)}

    def adapted_layers(self, update: Update) -> Layers:
        """The layers in the context of an update."""
        if not update:
            return self.layers
        context = update.get("context")
        if context is None or context.shape != (self.size,) or context.dtype != torch.float32:
            raise ValueError(f"an update of {self.name} needs a context of {self.size} numbers")
        return self.shifted(context)

    def loss(self, inputs: Tensor, targets: Tensor, window: int, generator: torch.Generator) -> Tensor:
        """Error of predictions up to K transitions ahead of what is encoded, at each place of the segment.

        Within a window the contexts of all its beginnings come for free; that of the whole window predicts
        all K transitions after it.
        """
        tasks, length = inputs.shape[:2]
        future = length - window
        seen = length if self.carries else window
        contexts = self.encode(self.tokens(inputs[:, :seen], targets[:, :seen]))
        contexts = torch.cat([torch.zeros_like(contexts[:, :1]), contexts], dim=1)
        ahead = torch.randint(future, (tasks, 1), generator=generator)
        place = (torch.arange(length) - ahead).clamp(0, seen)
        # The context of the whole window predicts all that follows.
        place = torch.where(torch.arange(length) >= window, place.clamp_max(window), place)
        used = contexts.gather(1, place.unsqueeze(-1).expand(-1, -1, contexts.shape[-1]))
        value = inputs
        for index, ((weight, bias), shift) in enumerate(zip(self.layers, self._shifts, strict=True)):
            value = linear(value, weight, bias) + linear(used, shift)
            value = value.relu() if index < len(self.layers) - 1 else value
        return (value - targets).square().mean()


class Rebal(ContextLearner):
    """Recurrence-based adaptive learner: the hidden state is carried from tick to tick."""

    name = "rebal"
    settings_type = RecurrentSettings
    training = TrainingDefaults(window=112)  # what it carries runs on for long
    carries = True

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior and the weights of a GRU or LSTM."""
        super().__init__(layers, extras)
        names = [f"cell.{name}" for name in ("input", "hidden", "input_bias", "hidden_bias")]
        tokens = layers[0][0].shape[1] + len(layers[-1][1])
        cell = extras.get(names[0])
        gates = 0 if cell is None else len(cell) // self.size
        shapes = [(gates * self.size, tokens), (gates * self.size, self.size), *[(gates * self.size,)] * 2]
        if gates not in (3, 4) or any(
            name not in extras or extras[name].shape != shape for name, shape in zip(names, shapes, strict=True)
        ):
            raise ValueError(f"a prior of rebal needs the weights of a GRU or LSTM cell with {self.size} units")
        self._cell = [self.extras[name] for name in names]
        self._states = 1 if gates == 3 else 2
        self.reset()

    @classmethod
    def initial_encoder(cls, tokens: int, settings: RecurrentSettings, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights of a GRU or an LSTM."""
        gates, size = {"gru": 3, "lstm": 4}[settings.cell], settings.context
        return {
            "cell.input": _uniform(generator, gates * size, tokens),
            "cell.hidden": _uniform(generator, gates * size, size),
            "cell.input_bias": torch.zeros(gates * size),
            "cell.hidden_bias": torch.zeros(gates * size),
        }

    def reset(self) -> None:
        """Return to hidden state 0."""
        self._hidden: list[Tensor] = [self._cell[1].new_zeros(1, 1, self.size) for _ in range(self._states)]

    def _run(self, tokens: Tensor, hidden: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        flags = (True, 1, 0.0, False, False, True)
        if self._states == 2:
            output, *hidden = torch.lstm(tokens, hidden, self._cell, *flags)
            return output, hidden
        output, last = torch.gru(tokens, hidden[0], self._cell, *flags)
        return output, [last]

    def encode(self, tokens: Tensor) -> Tensor:
        """Hidden states, from 0 on."""
        start = tokens.new_zeros(1, len(tokens), self.size)
        return self._run(tokens, [start] * self._states)[0]

    @torch.inference_mode()
    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """The hidden state after the newest transition."""
        tokens = self.tokens(inputs[-1:], targets[-1:])
        output, self._hidden = self._run(tokens.unsqueeze(0), self._hidden)
        return {"context": output[0, -1]}


class Attention(ContextLearner):
    """The window as the context of a small causal transformer (pre-norm blocks, learned places)."""

    name = "attention"

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Start from a prior and the weights of the transformer."""
        super().__init__(layers, extras)
        tokens = layers[0][0].shape[1] + len(layers[-1][1])
        wanted = Attention.initial_encoder(tokens, ContextSettings(self.size), torch.Generator())
        if any(name not in extras or extras[name].shape != tensor.shape for name, tensor in wanted.items()):
            raise ValueError(f"a prior of {self.name} needs the weights of a transformer of size {self.size}")

    @classmethod
    def initial_encoder(cls, tokens: int, settings: ContextSettings, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights of the transformer."""
        size = settings.context
        tensors = {
            "embedding": _uniform(generator, size, tokens),
            "places": 0.02 * torch.randn(LONGEST, size, generator=generator),
        }
        for block in range(_BLOCKS):
            tensors |= {
                f"block.{block}.attend": _uniform(generator, 3 * size, size),
                f"block.{block}.join": _uniform(generator, size, size),
                f"block.{block}.up": _uniform(generator, 2 * size, size),
                f"block.{block}.down": _uniform(generator, size, 2 * size),
                f"block.{block}.up_bias": torch.zeros(2 * size),
            }
        return tensors

    def encode(self, tokens: Tensor) -> Tensor:
        """Outputs of the last block."""
        tensors, size = self.extras, self.size
        tasks, length = tokens.shape[:2]
        value = linear(tokens, tensors["embedding"]) + tensors["places"][:length]
        for block in range(_BLOCKS):
            attend, join, up, down, bias = (
                tensors[f"block.{block}.{name}"] for name in ("attend", "join", "up", "down", "up_bias")
            )
            heads = linear(layer_norm(value, (size,)), attend).view(tasks, length, 3, _HEADS, size // _HEADS)
            query, key, content = heads.permute(2, 0, 3, 1, 4)
            mixed = scaled_dot_product_attention(query, key, content, is_causal=True)
            value = value + linear(mixed.transpose(1, 2).reshape(tasks, length, size), join)
            value = value + linear(gelu(linear(layer_norm(value, (size,)), up, bias)), down)
        return layer_norm(value, (size,))
