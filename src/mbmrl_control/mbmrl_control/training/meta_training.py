"""Meta-training of a prior on collected episodes (Algorithm 1 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from torch import Tensor

from mbmrl_base.robots.features import wrap
from mbmrl_base.system.files import whole
from mbmrl_base.system.provenance import provenance
from mbmrl_control.dynamics.model import Model, Prediction
from mbmrl_control.dynamics.network import Layers, Normalizer, initial_layers
from mbmrl_control.dynamics.prior import Prior, PriorSettings
from mbmrl_control.dynamics.rollout import steps
from mbmrl_control.learners import LEARNER_TYPES, Learner
from mbmrl_control.learners.base import NetworkLearner, TrainingDefaults
from mbmrl_control.learners.grbal import Grbal
from mbmrl_control.training.episodes import Episode
from mbmrl_control.training.transitions import Transitions

CHECK_EVERY: Final = 250
"""Steps between two checks on held-out data, each of which saves the state of the training."""
CHECKED_TASKS: Final = 1000
"""Segments of held-out data that a check looks at."""

LARGEST: Final = 100.0
"""Most that a prediction counts for in open loop, in deviations."""
LARGEST_ERROR: Final = 10.0
"""Most that an error in open loop counts for: of what has run away there is nothing to be learned."""
SCALED_BY: Final = 2000
"""Segments of the data that say how much so many steps change."""
WALKS: Final = 32
"""Walks by which a learner is tuned in the end."""
LONGEST: Final = 300
"""Transitions of the longest of these."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training.

    Attributes:
        learner: Name of the learner.
        seed: Seed of weights and samples.
        steps: Steps of Adam.
        plain_steps: Steps of the plain model whose weights a learner that adapts starts from, where there is one.
        hidden: Sizes of the hidden layers.
        window: M, transitions to adapt on.
        future: K, transitions after them that are to be predicted.
        patience: Checks without a lower error in open loop after adaptation, after which the training ends early.
        options: Settings of the learner, of its `settings_type`; its defaults if None.
        tasks: Segments in each step.
        learning_rate: Rate of Adam at the start; it falls to 0 along a cosine.
        augmented: Share of the tasks whose targets get a random affine map of the inputs added: what no
            state shows, so that it must be adapted to (Rajendran et al., NeurIPS 2020).
        augmentation: Deviation of that map, in normalised units.
        open_loop: Weight of the error in open loop over the K transitions, see `MetaTrainer.open_loop_error`; 0: none.
    """

    learner: str = Grbal.name
    seed: int = 0
    steps: int = 4000
    plain_steps: int = 20_000
    hidden: tuple[int, ...] = (192, 192)
    window: int = TrainingDefaults.window
    future: int = 16
    patience: int = 20
    options: Any = None
    tasks: int = 32
    learning_rate: float = 1e-3
    augmented: float = TrainingDefaults.augmented
    augmentation: float = 0.3
    open_loop: float = 0.0


@dataclass(frozen=True)
class Progress:
    """Where the training is; errors are on held-out faults, dimensionless.

    Attributes:
        step: Steps so far.
        loss: What the last one minimised.
        pre_error: Error of one step before adaptation.
        post_error: And after it.
        open_loop_error: Error in open loop after adaptation, see `MetaTrainer.open_loop_error`: by which the best
            prior is kept.
    """

    step: int
    loss: float
    pre_error: float
    post_error: float
    open_loop_error: float


@dataclass(frozen=True)
class _Bounded(Model):
    """A model that runs away is to be recognised as worse than others, and not to make what is not finite."""

    model: Model

    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        """Outputs of the model, within bounds."""
        prediction = self.model.predict(inputs, memory)
        return replace(prediction, mean=prediction.mean.clamp(-LARGEST, LARGEST))


class MetaTrainer:
    """Trains a prior; resumable, and the same however often it was interrupted."""

    def __init__(
        self,
        settings: TrainingSettings,
        rate: float,
        training: Sequence[Episode],
        held_out: Sequence[Episode],
        start: Layers | None = None,
        known: Prior | None = None,
    ) -> None:
        """Take the data: episodes to train on and episodes with faults that are not among them.

        Weights are random at first, or those of layers that were trained on the same data, or of a prior that is
        known, of the same learner, which is tuned further; then its normaliser stays.
        If the robot is as good as its mirror image, that of each episode is trained on too.
        """
        wanted = LEARNER_TYPES[settings.learner]
        self._kind = wanted.trained_as or wanted
        self.settings = replace(settings, options=settings.options or wanted.settings_type())
        self._rate = rate
        self._robot = training[0].robot
        self._features = self._robot.features
        raw = Transitions.of(training, rate, mirrored=self._robot.description.mirror is not None)
        # Over the whole data set: statistics of the newest batch only would change under the weights.
        self._normalizer = known.normalizer if known else Normalizer.fit(raw.inputs, raw.targets)
        self._data = raw.normalised(self._normalizer)
        self._scales = self._changes()
        self.data_held_out = Transitions.of(held_out, rate).normalised(self._normalizer)
        sizes = (self._features.input_size, *settings.hidden, self._features.output_size)
        layers = (known.layers if known else start) or initial_layers(
            sizes, torch.Generator().manual_seed(settings.seed)
        )
        drawn = self._kind.initial(layers, self.settings.options, torch.Generator().manual_seed(settings.seed + 1))
        if known is not None:
            drawn = {name: known.extras[name].clone() for name in drawn}
        self._layers: Layers = [
            (weight.clone().requires_grad_(), bias.clone().requires_grad_())
            for weight, bias in (layers if issubclass(self._kind, NetworkLearner) else [])
        ]
        self._extras = {
            name: (tensor.log() if self._is_positive(name) else tensor).requires_grad_()
            for name, tensor in drawn.items()
        }
        weights = [tensor for layer in self._layers for tensor in layer]
        self._parameters = [*weights, *self._extras.values()]
        scales = [1.0] * len(weights) + [3.0 if self._is_positive(name) else 1.0 for name in self._extras]
        groups = [{"params": [each], "scale": scale} for each, scale in zip(self._parameters, scales, strict=True)]
        self._optimizer = torch.optim.Adam(groups, lr=settings.learning_rate)
        self._step = 0
        self._best: list[Tensor] = []
        self._best_error, self._worse = math.inf, 0

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What is in the data trained on and held out, see `Transitions.counted`."""
        length = self.settings.window + self.settings.future
        return {
            name: data.counted(length) for name, data in (("trained", self._data), ("held_out", self.data_held_out))
        }

    def _is_positive(self, name: str) -> bool:
        """Whether the logarithm of a tensor is what is learned."""
        return name.startswith(self._kind.positive) if self._kind.positive else False

    def learner(self) -> Learner:
        """The learner with the tensors as they are now."""
        extras = {name: tensor.exp() if self._is_positive(name) else tensor for name, tensor in self._extras.items()}
        return self._kind(self._layers, extras)

    def run(self, state_file: Path | None = None) -> Iterator[Progress]:
        """Train to the end.

        Args:
            state_file: Where the state is saved at each check; if it exists, the training goes on from it.

        Yields:
            Progress at each check.
        """
        if state_file is not None and state_file.exists():
            self._load(state_file)
        settings = self.settings
        while self._step < settings.steps and self._worse < settings.patience:
            loss = self._train_step()
            if self._step % CHECK_EVERY == 0 or self._step == settings.steps:
                before, after = self.check()
                ahead = self._open_loop_check(self.learner())
                self._keep_best(ahead)
                if state_file is not None:
                    self._save(state_file)
                yield Progress(self._step, loss, before, after, ahead)

    def _keep_best(self, error: float) -> None:
        self._worse += 1
        if error < self._best_error:
            self._best_error, self._worse = error, 0
            self._best = [parameter.detach().clone() for parameter in self._parameters]

    def _train_step(self) -> float:
        settings = self.settings
        # A generator for each step: an interrupted training draws the same samples when it goes on.
        generator = torch.Generator().manual_seed(settings.seed * 10_000_019 + self._step)
        segments = self._data.segments(settings.tasks, settings.window + settings.future, generator)
        inputs, targets = self._data.inputs[segments], self._data.targets[segments]
        if self._kind.adapts:
            targets = targets + self._augmentation(inputs, generator)
        learner = self.learner()
        loss = learner.loss(inputs, targets, settings.window, generator)
        if settings.open_loop:
            loss = loss + settings.open_loop * self.open_loop_error(learner, self._data, segments)
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
        seen, predicted = self._features.input_size, self._features.output_size
        offset = size * torch.randn(tasks, 1, predicted, generator=generator)
        slope = size / math.sqrt(seen) * torch.randn(tasks, seen, predicted, generator=generator)
        chosen = torch.rand(tasks, 1, 1, generator=generator) < self.settings.augmented
        return chosen * (offset + inputs @ slope)

    def open_loop_error(self, learner: Learner, data: Transitions, segments: Tensor) -> Tensor:
        """Error of the states that the adapted model predicts in open loop, after each of the K transitions.

        A planner picks what a model is wrong about in its favour, and errors of one step add up there. What counts is
        the change since the first state, seen as the model's outputs are, in units of what so many steps change in the
        data: an error of 1 is as good as no model.
        """
        past, ahead = segments[:, : self.settings.window], segments[:, self.settings.window :]
        model = learner.adapted_model({})
        if learner.adapts:
            model = learner.fitted_model(data.inputs[past], data.targets[past])
        features, start = data.features, data.states[ahead[:, :1]]
        actions, intervals = data.actions[ahead].unsqueeze(1), data.intervals[ahead].unsqueeze(1)
        errors, real = [], data.next_states[ahead].unsqueeze(2).unbind(1)
        predicted = steps(features, self._normalizer, _Bounded(model), start, actions, intervals)
        for (states, _), wanted, scale in zip(predicted, real, self._scales, strict=True):
            error = features.targets(start, states) - features.targets(start, wanted)
            error = torch.where(features.turns, wrap(error), error)
            errors.append((error / scale).clamp(-LARGEST_ERROR, LARGEST_ERROR))
        return torch.cat(errors, dim=1).square().mean()

    def _changes(self) -> Tensor:
        """Deviation of what changes in 1 to K steps in the data, at least that of one step, shape (K, outputs)."""
        data, future = self._data, self.settings.future
        segments = data.segments(SCALED_BY, future, torch.Generator().manual_seed(3))
        start = data.states[segments[:, :1]].expand(-1, future, -1)
        changes = data.features.targets(start, data.next_states[segments])
        return torch.maximum(changes.std(0), self._normalizer.output_deviation)

    def _checked_segments(self) -> Tensor:
        length = self.settings.window + self.settings.future
        return self.data_held_out.segments(CHECKED_TASKS, length, torch.Generator().manual_seed(1))

    @torch.no_grad()
    def _open_loop_check(self, learner: Learner) -> float:
        """Error in open loop after adaptation on held-out faults: plans suffer from that, not from that of one step."""
        return float(self.open_loop_error(learner, self.data_held_out, self._checked_segments()))

    @torch.no_grad()
    def check(self, learner: Learner | None = None) -> tuple[float, float]:
        """One-step error on held-out faults, before and after adaptation, over the K next transitions.

        It is that of the learner as it is now where none is given.
        """
        learner = learner or self.learner()
        window, segments = self.settings.window, self._checked_segments()
        inputs, targets = self.data_held_out.inputs[segments], self.data_held_out.targets[segments]
        support, query = (inputs[:, :window], targets[:, :window]), inputs[:, window:]
        before = float(learner.adapted_model({}).error(query, targets[:, window:]))
        if not learner.adapts:
            return before, before
        return before, float((learner.predict(support, query) - targets[:, window:]).square().mean())

    def prior(self) -> Prior:
        """The prior that was best at a check."""
        with torch.no_grad():
            for parameter, best in zip(self._parameters, self._best, strict=False):
                parameter.copy_(best)
        learner, kind = self.learner(), LEARNER_TYPES[self.settings.learner]
        layers = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in self._layers]
        extras = {name: tensor.detach().clone() for name, tensor in learner.extras.items()}
        extras = kind.tuned(layers, extras, self._walks)
        trained = kind(layers, extras)
        pre, post = self.check(trained)
        training = asdict(self.settings) | {
            "episodes": self._data.counts["episodes"],
            "counts": self.counts,
            "spread": self._data.spread.tolist(),
            "held_out_pre_error": round(pre, 4),
            "held_out_post_error": round(post, 4),
            "held_out_open_loop_error": round(self._open_loop_check(trained), 4),
            **provenance(),
        }
        settings = PriorSettings(self.settings.learner, self.settings.window, self._rate, training)
        return Prior(layers, self._normalizer, settings, extras, robot=self._robot)

    def _walks(self) -> tuple[Tensor, Tensor]:
        """Walks as long as the median of the data's pieces."""
        length = min(LONGEST, int(self._data.lengths[self._data.lengths > 1].median()))
        segments = self._data.segments(WALKS, length, torch.Generator().manual_seed(2))
        return self._data.inputs[segments], self._data.targets[segments]

    def _save(self, file: Path) -> None:
        tensors = {
            "step": torch.tensor(self._step),
            "worse": torch.tensor(self._worse),
            "best_error": torch.tensor(self._best_error, dtype=torch.float64),
        }
        for index, parameter in enumerate(self._parameters):
            tensors[f"{index}"] = parameter.detach().clone()
            tensors[f"best.{index}"] = self._best[index]
            for name, value in self._optimizer.state[parameter].items():
                tensors[f"{index}.{name}"] = value.clone()
        with whole(file) as part:
            part.write_bytes(safetensors.torch.save(tensors))

    def _load(self, file: Path) -> None:
        tensors = safetensors.torch.load_file(file)
        self._step, self._worse = int(tensors.pop("step")), int(tensors.pop("worse"))
        self._best_error = float(tensors.pop("best_error"))
        self._best = [tensors.pop(f"best.{index}") for index in range(len(self._parameters))]
        with torch.no_grad():
            for index, parameter in enumerate(self._parameters):
                parameter.copy_(tensors.pop(f"{index}"))
                for name in [name for name in tensors if name.startswith(f"{index}.")]:
                    self._optimizer.state[parameter][name.removeprefix(f"{index}.")] = tensors.pop(name)
