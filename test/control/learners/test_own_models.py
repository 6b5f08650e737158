"""Learners whose model is no plain network: an ensemble, and a recurrent one; trained, saved, adapted, rolled out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from cart_testing import drive_cart, save_carts
from mbmrl_base.robots.observation import Observation
from mbmrl_control.dynamics.model import Model, Prediction
from mbmrl_control.dynamics.network import Layers, initial_layers, predict
from mbmrl_control.dynamics.prior import Prior, PriorError, load_prior
from mbmrl_control.dynamics.rollout import roll_out
from mbmrl_control.evaluation.model_error import model_error
from mbmrl_control.learners import LEARNER_TYPES, Learner, Update, make_learner
from mbmrl_control.learners.online import OnlineAdapter
from mbmrl_control.nodes.settings import ModelSettings
from mbmrl_control.priors import shipped_prior
from mbmrl_control.training.meta_training import MetaTrainer, TrainingSettings
from pages import example

MEMBERS = 3


@dataclass(frozen=True)
class Mean(Model):
    """An ensemble, shifted by what it was wrong by; members disagree by their variance."""

    members: list[Layers]
    shift: Tensor

    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        outputs = torch.stack([predict(member, inputs) for member in self.members])
        return Prediction(outputs.mean(0) + self.shift, outputs.var(0))

    def tensors(self) -> Iterable[Tensor]:
        return [self.shift, *(tensor for member in self.members for layer in member for tensor in layer)]


class Ensemble(Learner):
    """Several networks; what adapts is a shift of their mean by the mean error over the window."""

    name = "ensemble"

    @classmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        sizes = [layers[0][0].shape[1], *(len(bias) for _, bias in layers)]
        members = [initial_layers(sizes, generator) for _ in range(MEMBERS)]
        return {
            f"{member}.{index}.{name}": tensor
            for member, network in enumerate(members)
            for index, layer in enumerate(network)
            for name, tensor in zip(("weight", "bias"), layer, strict=True)
        }

    def _members(self) -> list[Layers]:
        count = len(self.extras) // MEMBERS // 2
        return [
            [(self.extras[f"{member}.{index}.weight"], self.extras[f"{member}.{index}.bias"]) for index in range(count)]
            for member in range(MEMBERS)
        ]

    def fitted_model(self, inputs: Tensor, targets: Tensor) -> Model:
        model = self.adapted_model({})
        return Mean(self._members(), (targets - model.predict(inputs).mean).mean(-2, keepdim=targets.dim() == 3))

    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        model = self.fitted_model(inputs, targets)
        assert isinstance(model, Mean)
        return {"shift": model.shift}

    def adapted_model(self, update: Update) -> Model:
        return Mean(self._members(), update.get("shift", torch.zeros(())))


@dataclass(frozen=True)
class Cell(Model):
    """A recurrent network that goes on remembering in a roll-out."""

    tensors_: dict[str, Tensor]
    hidden: Tensor

    def predict(self, inputs: Tensor, memory: Any = None) -> Prediction:
        hidden = self.hidden if memory is None else memory
        seen = linear(inputs, self.tensors_["in"]) + linear(hidden, self.tensors_["again"])
        hidden = seen.tanh()
        return Prediction(linear(hidden, self.tensors_["out"]), memory=hidden)

    def tensors(self) -> Iterable[Tensor]:
        return [self.hidden]


class Recurrent(Learner):
    """What the window leaves in the cell is what adapts."""

    name = "recurrent"

    @classmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        inputs, outputs, size = layers[0][0].shape[1], len(layers[-1][1]), 8
        shapes = {"in": (size, inputs), "again": (size, size), "out": (outputs, size)}
        return {name: 0.3 * torch.randn(*shape, generator=generator) for name, shape in shapes.items()}

    def __init__(self, layers: Layers, extras: Any) -> None:
        super().__init__(layers, extras)
        if {"in", "again", "out"} - set(self.extras):
            raise ValueError("a prior of recurrent needs in, again, out")

    def fitted_model(self, inputs: Tensor, targets: Tensor) -> Model:
        model = Cell(self.extras, inputs.new_zeros(()).expand(*inputs.shape[:-2], len(self.extras["again"])))
        memory = None
        for step in inputs.unbind(-2):
            memory = model.predict(step, memory).memory
        return Cell(self.extras, memory.unsqueeze(-2) if inputs.dim() == 3 else memory)

    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        model = self.fitted_model(inputs, targets)
        assert isinstance(model, Cell)
        return {"hidden": model.hidden}

    def adapted_model(self, update: Update) -> Model:
        return Cell(self.extras, update.get("hidden", torch.zeros(len(self.extras["again"]))))


SMALL = TrainingSettings(steps=60, hidden=(16,), window=8, future=4, tasks=8, learning_rate=1e-2, open_loop=0.5)


@pytest.fixture(params=[Ensemble, Recurrent], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Learner]:
    """A learner, known by its name."""
    monkeypatch.setitem(LEARNER_TYPES, request.param.name, request.param)
    return request.param


@pytest.fixture
def file(kind: type[Learner], tmp_path: Path) -> Path:
    """A prior of the learner, which a stopped training went on to."""
    episodes = [drive_cart(seed, 60) for seed in range(8)]
    state, settings = tmp_path / "state.safetensors", replace(SMALL, learner=kind.name)
    first, second = (MetaTrainer(settings, 20.0, episodes[:6], episodes[6:]) for _ in range(2))
    (progress,) = first.run(state)
    assert list(second.run(state)) == []
    prior = second.prior()
    assert prior.hash == first.prior().hash
    assert prior.settings.training["held_out_post_error"] == pytest.approx(progress.post_error, abs=1e-4)
    prior.save(tmp_path / "prior.safetensors")
    return tmp_path / "prior.safetensors"


def observations(seed: int) -> list[Observation]:
    episode = drive_cart(seed, 60)
    return [
        Observation(state, action, float(time), sequence, 1, 0.05 if sequence else 0.0)
        for sequence, (state, action, time) in enumerate(
            zip(episode.state, [np.zeros(1), *episode.action], episode.time, strict=True)
        )
    ]


def test_training_lowers_the_error(kind: type[Learner], file: Path) -> None:
    episodes = [drive_cart(seed, 60) for seed in range(8)]
    untrained = MetaTrainer(replace(SMALL, learner=kind.name), 20.0, episodes[:6], episodes[6:])
    assert load_prior(file).settings.training["held_out_post_error"] < 0.8 * untrained.check()[1]


def test_adapts_online_and_is_rolled_out(kind: type[Learner], file: Path) -> None:
    prior = load_prior(file)
    assert prior.layers == []
    adapter = OnlineAdapter(prior)
    adaptations = [adapter.observe(observation) for observation in observations(20)]
    assert (adaptations[-1].failure, adaptations[-1].window) == ("", SMALL.window)
    assert any(adaptation.update for adaptation in adaptations)
    model = adapter.learner.adapted_model(next(a.update for a in reversed(adaptations) if a.update))
    start, actions = torch.from_numpy(observations(20)[-1].state), torch.zeros(5, 6, 1)
    trajectories = roll_out(prior.features, prior.normalizer, model, start, actions)
    assert trajectories.states.shape == (5, 7, 4)
    assert trajectories.states.isfinite().all()
    if kind is Ensemble:
        assert trajectories.variance is not None
        assert trajectories.variance.shape == (5, 6, 4)
        assert (trajectories.variance > 0).all()
    else:  # what it remembers plays a part in the second step
        again = roll_out(prior.features, prior.normalizer, model, trajectories.states[:, 1], actions[:, 1:])
        assert torch.equal(trajectories.states[:, 1], again.states[:, 0])
        assert not torch.allclose(trajectories.states[:, 2], again.states[:, 1])


def test_error_before_and_after_adaptation_is_reported(kind: type[Learner], file: Path, tmp_path: Path) -> None:
    figures = model_error(file, save_carts(tmp_path / "data", 3, first=30, length=30))
    assert figures["before"]["overall"] is not None
    assert figures["after"]["overall"] != figures["before"]["overall"]


def test_update_that_is_not_finite_is_withheld(
    kind: type[Learner], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = OnlineAdapter(load_prior(file))
    name = {"ensemble": "shift", "recurrent": "hidden"}[kind.name]
    adapt = adapter.learner.adapt
    monkeypatch.setattr(adapter.learner, "adapt", lambda *window: {name: adapt(*window)[name] * torch.nan})
    adaptations = [adapter.observe(observation) for observation in observations(20)[:10]]
    assert not any(adaptation.update for adaptation in adaptations)
    assert adaptations[-1].rejected == 9


@pytest.mark.parametrize("change", [{"out": None}, {"out": torch.zeros(7, 8)}, {"in": torch.zeros(8, 3)}], ids=str)
def test_prior_that_does_not_fit_is_refused(
    change: dict[str, Tensor | None], make_prior: Callable[..., Prior], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEARNER_TYPES, Recurrent.name, Recurrent)
    plain = make_prior("grbal")
    prior = replace(plain, settings=replace(plain.settings, learner=Recurrent.name))
    with pytest.raises(PriorError, match=r"^a prior of recurrent needs no layers$"):
        make_learner(prior)
    extras = Recurrent.initial(plain.layers, None, torch.Generator())
    make_learner(replace(prior, layers=[], extras=extras))
    extras = {name: tensor for name, tensor in (extras | change).items() if tensor is not None}
    with pytest.raises(PriorError):
        make_learner(replace(prior, layers=[], extras=extras))


FILE = """
from mbmrl_control.learners.mb import ModelBased

class Mine(ModelBased):
    name = "mine"

def learner():
    return Mine
"""


def test_learner_of_a_file_is_trained_and_used_by_its_file(
    mbmrl: Callable[..., tuple[int, str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "other"):
        monkeypatch.setitem(LEARNER_TYPES, name, Recurrent)  # so that what is registered is undone
        monkeypatch.delitem(LEARNER_TYPES, name)
    (folder / "mine.py").write_text(FILE)
    save_carts(folder / "data", 3, length=20)
    sizes = ("--window", "6", "--future", "4", "--steps", "2")
    assert mbmrl("train", "--learner", "mine.py", "--data", "data", *sizes)[0] == 0
    assert load_prior(folder / "mine.safetensors").settings.learner == "mine"
    plain = load_prior(shipped_prior("mb"))
    replace(plain, settings=replace(plain.settings, learner="mine")).save(folder / "robot.safetensors")
    del LEARNER_TYPES["mine"]
    settings = ModelSettings(learner="mine.py", checkpoint="robot.safetensors")
    assert settings.load_prior().settings.learner == "mine"
    with pytest.raises(PriorError, match=r"^robot\.safetensors is a prior of mine, wanted is one of mb$"):
        ModelSettings(learner="mb", checkpoint="robot.safetensors").load_prior()


def test_example_of_the_documentation_learns_and_adapts(
    mbmrl: Callable[..., tuple[int, str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEARNER_TYPES, "ensemble", Ensemble)  # so that what is registered is undone
    example("learner", folder / "ensemble.py")
    save_carts(folder / "data", 8, length=40)
    sizes = ("--window", "6", "--future", "4", "--steps", "40", "--set", "members=2", "--out", "p.safetensors")
    del LEARNER_TYPES["ensemble"]
    assert mbmrl("train", "--learner", "ensemble.py", "--data", "data", *sizes)[0] == 0
    prior = load_prior(folder / "p.safetensors")
    assert prior.settings.training["options"] == {"members": 2}
    adapter = OnlineAdapter(prior)
    assert any(adapter.observe(observation).update for observation in observations(20))
    with pytest.raises(ValueError, match=r"^an update of ensemble needs a shift of each output$"):
        adapter.learner.adapted_model({"shift": torch.zeros(7)})
    del LEARNER_TYPES["ensemble"]
    judge = ("model-error", "--checkpoint", "p.safetensors", "--data", "data")
    assert mbmrl(*judge)[0] == 2
    assert mbmrl(*judge, "--learner", "ensemble.py")[0] == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "file.py gives no learner: it has no learner()"),
        ("def learner():\n    return 3", "file.py: learner() returns 3, wanted is a subclass of Learner"),
        (FILE.replace('"mine"', '"mb"'), "file.py: the name 'mb' is that of a learner that comes with the package"),
        (None, "there is no file file.py"),
    ],
)
def test_file_that_gives_no_learner_is_refused(
    mbmrl: Callable[..., tuple[int, str, str]], folder: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        (folder / "file.py").write_text(text)
    code, output, errors = mbmrl("train", "--learner", "file.py", "--data", "data")
    assert (code, output) == (2, "")
    assert sentence in " ".join(errors.split())
