"""Meta-training of a prior on collected episodes (Algorithm 1 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
from torch import Tensor

from mbmrl_control.dynamics.features import INPUT_SIZE, OUTPUT_SIZE, model_inputs, model_targets
from mbmrl_control.dynamics.network import Layers, Normalizer, initial_layers, one_step_error
from mbmrl_control.dynamics.prior import Prior, PriorSettings
from mbmrl_control.learners.gradient_steps import Psi
from mbmrl_control.learners.grbal import Grbal, adapted_prediction, gradient_steps, initial_psi, meta_loss, psi_of
from mbmrl_control.learners.mb import ModelBased
from mbmrl_control.training.episodes import Episode
from mbmrl_sim.state import mirror

CHECK_EVERY: Final = 250
"""Steps between two checks on held-out data, each of which saves the state of the training."""
CHECKED_TASKS: Final = 1000
"""Segments of held-out data that a check looks at."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training.

    Attributes:
        learner: ``grbal``, or ``mb`` for a plain model of the same network on the same data.
        seed: Seed of weights and samples.
        steps: Steps of Adam.
        hidden: Sizes of the hidden layers.
        window: M, transitions to adapt on.
        future: K, transitions after them that are to be predicted.
        inner_steps: Gradient steps of the adaptation.
        psi: Form of the step sizes: ``scalar``, ``per_layer`` or ``per_parameter``.
        initial_psi: Step size of the adaptation before it is learned.
        tasks: Segments in each step.
        learning_rate: Rate of Adam at the start; it falls to 0 along a cosine.
        augmented: Share of the tasks whose targets get a random affine map of the inputs added: what no
            state tells, so that it must be adapted to (Rajendran et al., NeurIPS 2020).
        augmentation: Deviation of that map, in normalised units.
    """

    learner: str = Grbal.name
    seed: int = 0
    steps: int = 6000
    hidden: tuple[int, ...] = (192, 192)
    window: int = 48
    future: int = 16
    inner_steps: int = 3
    psi: str = "per_layer"
    initial_psi: float = 0.01
    tasks: int = 32
    learning_rate: float = 1e-3
    augmented: float = 0.5
    augmentation: float = 0.3


@dataclass(frozen=True)
class Transitions:
    """Transitions of episodes of equal length: inputs (episodes, T, 22), targets (episodes, T, 21)."""

    inputs: Tensor
    targets: Tensor

    @staticmethod
    def of(episodes: Sequence[Episode], mirrored: bool = False) -> Transitions:
        """Transitions of episodes, and of their mirror images; differences are taken in double precision."""
        pairs = [(episode.state, episode.action) for episode in episodes]
        if mirrored:
            pairs += [(mirror(state), action[:, ::-1].copy()) for state, action in pairs]
        states, actions = (torch.stack(list(map(torch.from_numpy, arrays))) for arrays in zip(*pairs, strict=True))
        inputs = model_inputs(states[:, :-1], actions)
        return Transitions(inputs.float(), model_targets(states[:, :-1], states[:, 1:]).float())

    def normalised(self, normalizer: Normalizer) -> Transitions:
        """The same in the normaliser's units."""
        return Transitions(normalizer.inputs(self.inputs), normalizer.targets(self.targets))

    def segments(self, count: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Random segments: inputs (count, length, 22) and targets (count, length, 21)."""
        episodes, duration = self.inputs.shape[:2]
        episode = torch.randint(episodes, (count, 1), generator=generator)
        start = torch.randint(duration - length + 1, (count, 1), generator=generator)
        index = start + torch.arange(length)
        return self.inputs[episode, index], self.targets[episode, index]


@dataclass(frozen=True)
class Progress:
    """Where the training is; errors are on held-out faults, dimensionless, before and after adaptation."""

    step: int
    loss: float
    pre_error: float
    post_error: float


class MetaTrainer:
    """Trains a prior; resumable, and the same however often it was interrupted."""

    def __init__(
        self, settings: TrainingSettings, rate: float, training: Sequence[Episode], held_out: Sequence[Episode]
    ) -> None:
        """Take the data: episodes to train on and episodes with faults that are not among them.

        The robot is as good as symmetric, so the mirror image of each episode is trained on too.
        """
        self.settings = settings
        self._rate = rate
        raw = Transitions.of(training, mirrored=True)
        # Over the whole data set: statistics of the newest batch only would change under the weights.
        self._normalizer = Normalizer.fit(raw.inputs.flatten(0, 1), raw.targets.flatten(0, 1))
        self._data = raw.normalised(self._normalizer)
        self._held_out = Transitions.of(held_out).normalised(self._normalizer)
        sizes = (INPUT_SIZE, *settings.hidden, OUTPUT_SIZE)
        layers = initial_layers(sizes, torch.Generator().manual_seed(settings.seed))
        self._layers: Layers = [(weight.requires_grad_(), bias.requires_grad_()) for weight, bias in layers]
        # Its logarithm is what is learned: a step size is positive.
        psi = initial_psi(settings.psi, layers, settings.inner_steps, settings.initial_psi)
        self._log_psi = {name: sizes.log().requires_grad_() for name, sizes in psi.items()}
        weights = [tensor for layer in self._layers for tensor in layer]
        self._parameters = [*weights, *self._log_psi.values()]
        groups = [{"params": weights, "scale": 1.0}, {"params": list(self._log_psi.values()), "scale": 3.0}]
        self._optimizer = torch.optim.Adam(groups, lr=settings.learning_rate)
        self._step = 0

    @property
    def _adapts(self) -> bool:
        return self.settings.learner != ModelBased.name

    def _psi(self) -> Psi:
        return psi_of({name: log.exp() for name, log in self._log_psi.items()}, self._layers)

    def run(self, state_file: Path | None = None) -> Iterator[Progress]:
        """Train to the end.

        Args:
            state_file: Where the state is saved at each check; if it exists, the training goes on from it.

        Yields:
            Progress at each check.
        """
        if state_file is not None and state_file.exists():
            self._load(state_file)
        while self._step < self.settings.steps:
            loss = self._train_step()
            if self._step % CHECK_EVERY == 0 or self._step == self.settings.steps:
                if state_file is not None:
                    self._save(state_file)
                yield Progress(self._step, loss, *self.check())

    def _train_step(self) -> float:
        settings = self.settings
        # A generator for each step: an interrupted training draws the same samples when it goes on.
        generator = torch.Generator().manual_seed(settings.seed * 10_000_019 + self._step)
        inputs, targets = self._data.segments(settings.tasks, settings.window + settings.future, generator)
        if self._adapts:
            targets = targets + self._augmentation(inputs, generator)
            support = inputs[:, : settings.window], targets[:, : settings.window]
            query = inputs[:, settings.window :], targets[:, settings.window :]
            loss = meta_loss(self._layers, self._psi(), support, query)
        else:
            loss = one_step_error(self._layers, inputs, targets)
        for group in self._optimizer.param_groups:
            annealed = 0.5 * (1 + math.cos(math.pi * self._step / settings.steps))
            group["lr"] = settings.learning_rate * group["scale"] * annealed
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        used = [parameter for parameter in self._parameters if parameter.grad is not None]
        norm = torch.nn.utils.clip_grad_norm_(used, 10.0)
        # A wild sample may let the inner steps run away: it must not spoil the weights for good.
        if norm.isfinite():
            self._optimizer.step()
        self._step += 1
        return float(loss.detach())

    def _augmentation(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        tasks, size = len(inputs), self.settings.augmentation
        offset = size * torch.randn(tasks, 1, OUTPUT_SIZE, generator=generator)
        slope = size / math.sqrt(INPUT_SIZE) * torch.randn(tasks, INPUT_SIZE, OUTPUT_SIZE, generator=generator)
        chosen = torch.rand(tasks, 1, 1, generator=generator) < self.settings.augmented
        return chosen * (offset + inputs @ slope)

    @torch.no_grad()
    def check(self) -> tuple[float, float]:
        """One-step error on held-out faults, before and after adaptation, over the K next transitions."""
        window = self.settings.window
        generator = torch.Generator().manual_seed(1)
        inputs, targets = self._held_out.segments(CHECKED_TASKS, window + self.settings.future, generator)
        before = float(one_step_error(self._layers, inputs[:, window:], targets[:, window:]))
        if not self._adapts:
            return before, before
        adapted = gradient_steps(self._layers, self._psi(), inputs[:, :window], targets[:, :window])
        predicted = adapted_prediction(adapted, inputs[:, window:])
        return before, float((predicted - targets[:, window:]).square().mean())

    def prior(self) -> Prior:
        """The prior as it is now."""
        layers = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in self._layers]
        extras = {name: log.detach().exp() for name, log in self._log_psi.items()} if self._adapts else {}
        pre, post = self.check()
        training = asdict(self.settings) | {
            "episodes": len(self._data.inputs) // 2,
            "held_out_pre_error": round(pre, 4),
            "held_out_post_error": round(post, 4),
        }
        return Prior(
            layers,
            self._normalizer,
            PriorSettings(self.settings.learner, self.settings.window, self._rate, training),
            extras,
        )

    def _save(self, file: Path) -> None:
        tensors = {"step": torch.tensor(self._step)}
        for index, parameter in enumerate(self._parameters):
            tensors[f"{index}"] = parameter.detach().clone()
            for name, value in self._optimizer.state[parameter].items():
                tensors[f"{index}.{name}"] = value.clone()
        partial = file.with_suffix(".partial")
        safetensors.torch.save_file(tensors, partial)
        partial.rename(file)

    def _load(self, file: Path) -> None:
        tensors = safetensors.torch.load_file(file)
        self._step = int(tensors.pop("step"))
        with torch.no_grad():
            for index, parameter in enumerate(self._parameters):
                parameter.copy_(tensors.pop(f"{index}"))
                for name in [name for name in tensors if name.startswith(f"{index}.")]:
                    self._optimizer.state[parameter][name.removeprefix(f"{index}.")] = tensors.pop(name)
