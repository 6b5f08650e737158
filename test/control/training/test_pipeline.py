"""From nothing to a prior, in miniature."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from mbmrl_control.dynamics.network import Layers
from mbmrl_control.dynamics.prior import Prior, load_prior
from mbmrl_control.learners.grbal import StepSettings
from mbmrl_control.training import meta_training, pipeline
from mbmrl_control.training.episodes import Episode
from mbmrl_control.training.meta_training import MetaTrainer, TrainingSettings
from mbmrl_control.training.pipeline import PipelineSettings, make_prior, preset

SETTINGS = PipelineSettings(
    TrainingSettings(
        seed=1,
        steps=8,
        plain_steps=6,
        hidden=(16,),
        window=6,
        future=4,
        options=StepSettings(inner_steps=1),
        tasks=4,
    ),
    random_episodes=3,
    iterations=2,
    controlled_episodes=1,
    held_out_episodes=2,
    first_steps=4,
    duration=1.0,
)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check more often, on less."""
    monkeypatch.setattr(meta_training, "CHECK_EVERY", 2)
    monkeypatch.setattr(meta_training, "CHECKED_TASKS", 20)


def make(work: Path, settings: PipelineSettings = SETTINGS) -> tuple[Prior, str]:
    """The prior, and what was shown meanwhile."""
    work.mkdir(exist_ok=True)
    shown = io.StringIO()
    prior = make_prior(settings, work, 1, Console(file=shown, width=300))
    return prior, shown.getvalue()


def test_prior_follows_from_the_seed(tmp_path: Path) -> None:
    prior, shown = make(tmp_path / "first")
    assert make(tmp_path / "second")[0].to_bytes() == prior.to_bytes()
    assert prior.settings.training["episodes"] == 5
    assert "over K steps" in shown


def test_held_out_faults_are_not_trained_on(tmp_path: Path) -> None:
    make(tmp_path)
    episodes = [Episode.load(file) for file in sorted((tmp_path / "episodes").glob("*.npz"))]
    lost = [any("middle" in fault["part"] for fault in episode.metadata["faults"]) for episode in episodes]
    assert len(lost) == 9
    held_out = (0, 1, 6, 7)
    assert any(lost[index] for index in held_out)
    assert not any(lost[index] for index in range(9) if index not in held_out)
    assert [episode.metadata["policy"] for episode in episodes] == ["random"] * 5 + ["mpc"] * 4


@pytest.mark.parametrize("stage", ["random actions", "prior 1", "controller 2", "plain model", "final grbal"])
def test_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """Ctrl-C in any stage, and the same command again: the same prior."""
    expected, _ = make(tmp_path / "whole")

    class Stopped(pipeline.Progress):
        """A bar that is interrupted when it shows the first progress of a stage."""

        def update(self, task_id: object, **fields: object) -> None:
            if self.tasks[0].description == stage:
                raise KeyboardInterrupt
            super().update(task_id, **fields)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline, "Progress", Stopped)
        make(tmp_path / "work")
    assert make(tmp_path / "work")[0].to_bytes() == expected.to_bytes()


def test_learner_starts_from_the_plain_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its first step it is the plain model that was trained last."""
    trained: list[tuple[Layers, Layers]] = []
    train_with_bar = pipeline.train_with_bar

    def noted(trainer: MetaTrainer, *others: Any) -> Prior:
        before = [(weight.detach().clone(), bias.detach().clone()) for weight, bias in trainer.learner().layers]
        prior = train_with_bar(trainer, *others)
        trained.append((before, prior.layers))
        return prior

    monkeypatch.setattr(pipeline, "train_with_bar", noted)
    make(tmp_path)
    (start, _), (_, plain) = trained[-1], trained[-2]
    for left, right in zip(start, plain, strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_other_settings_of_the_learner_are_trained_anew(tmp_path: Path) -> None:
    """In the same work folder, on the same episodes and from the same plain model."""
    shapes = []
    for psi in ("per_layer", "scalar"):
        training = replace(SETTINGS.training, options=StepSettings(inner_steps=1, psi=psi))
        prior, _ = make(tmp_path, replace(SETTINGS, training=training))
        assert prior.settings.training["options"]["psi"] == psi
        shapes.append(tuple(prior.extras["psi"].shape))
    assert shapes == [(1, 2), (1, 1)]


def test_plain_model_shares_the_episodes(tmp_path: Path) -> None:
    adaptive, _ = make(tmp_path)
    files = sorted(path.stat().st_mtime_ns for path in (tmp_path / "episodes").iterdir())
    plain, _ = make(tmp_path, replace(SETTINGS, training=replace(SETTINGS.training, learner="mb", options=None)))
    assert plain.settings.learner == "mb"
    assert plain.settings.training["episodes"] == adaptive.settings.training["episodes"]
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "episodes").iterdir()) == files


def test_priors_of_rounds_with_other_steps_are_not_gone_on_from(tmp_path: Path) -> None:
    make(tmp_path)
    steps = SETTINGS.first_steps
    sentence = rf"iteration-1\.safetensors has {steps} steps, wanted are {steps + 1}"
    assert_not_gone_on_from(tmp_path, replace(SETTINGS, first_steps=steps + 1), sentence)


def assert_not_gone_on_from(work: Path, settings: PipelineSettings, sentence: str) -> None:
    """It is refused before anything is shown or made."""
    shown, files = io.StringIO(), sorted(work.rglob("*"))
    with pytest.raises(ValueError, match=sentence):
        make_prior(settings, work, 1, Console(file=shown, width=300))
    assert shown.getvalue() == ""
    assert sorted(work.rglob("*")) == files


@pytest.mark.parametrize("iterations", [1, 0])
def test_training_with_another_seed_is_not_gone_on_from(tmp_path: Path, iterations: int) -> None:
    settings = replace(SETTINGS, iterations=iterations)
    make(tmp_path, settings)
    sentence = r"100000000\.npz is of a training with seed 1, wanted is 2: give another folder"
    assert_not_gone_on_from(tmp_path, replace(settings, training=replace(settings.training, seed=2)), sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"duration": 2.0}, r"100000000\.npz was collected with duration 1\.0, wanted is 2\.0: give another folder"),
        ({"simulator": "husky"}, 'was collected with simulator "millirobot", wanted is "husky"'),
    ],
)
def test_episodes_with_other_settings_are_not_gone_on_from(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    make(tmp_path, replace(SETTINGS, iterations=0))
    assert_not_gone_on_from(tmp_path, replace(SETTINGS, iterations=0, **change), sentence)


def test_progress_is_told_in_full_where_there_is_no_terminal(tmp_path: Path) -> None:
    """In as many columns as a file has room for; of what stages do one can tell them apart."""
    shown = io.StringIO()
    make_prior(SETTINGS, tmp_path, 1, Console(file=shown, width=80))
    lines = shown.getvalue().splitlines()
    assert re.search(r"over K steps \d\.\d{3}$", lines[-1].rstrip())
    titles = [line.partition("━")[0].strip() for line in lines]
    assert titles == [
        *("held-out faults, random actions", "random actions", "prior 1", "controller 1"),
        *("held-out faults, controller 1", "prior 2", "controller 2", "plain model", "final grbal"),
    ]


@pytest.mark.parametrize(("learner", "steps"), [("bayes_replay", 12_000), ("grbal", 12_000), ("mb", 32_000)])
def test_steps_are_those_of_the_preset_or_what_is_asked_for(learner: str, steps: int) -> None:
    asked = TrainingSettings(learner=learner)
    assert preset("full", asked).training.steps == steps
    assert preset("full", asked, steps=7).training.steps == 7


@pytest.mark.parametrize(
    ("learner", "window", "augmented", "open_loop"),
    [("bayes_replay", 48, 0.5, 20.0), ("grbal", 48, 0.0, 0.0), ("rebal", 112, 0.5, 0.0), ("mb_de", 48, 0.5, 0.0)],
)
def test_learner_is_trained_as_suits_it_unless_asked_for_otherwise(
    learner: str, window: int, augmented: float, open_loop: float
) -> None:
    asked = TrainingSettings(learner=learner)
    training = preset("full", asked).training
    assert (training.window, training.augmented, training.open_loop) == (window, augmented, open_loop)
    training = preset("quick", asked, window=9, open_loop=0.25).training
    assert (training.window, training.open_loop) == (9, 0.25)
    alone = preset("quick", asked, alone=True).training
    assert (alone.window, alone.steps, alone.plain_steps, alone.augmented) == (window, 3000, 1500, 0.0)
    assert alone.open_loop == 20.0
    assert preset("quick", TrainingSettings(learner="mb"), alone=True).training == TrainingSettings(
        learner="mb", plain_steps=1500, steps=1500, augmented=0.0
    )
    with pytest.raises(ValueError, match=r"^unknown preset 'slow': allowed is full, quick$"):
        preset("slow", asked)


def test_half_cheetah_is_trained_on_short_episodes_of_its_own_task(
    mbmrl: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("--preset", "quick", "--duration", "1", "--rounds", "0", "--steps", "4", "--window", "4", "--future", "4")
    few += ("--first-steps", "2")
    task = ("--task", "move_forward", "--task-set", "effort_weight=0.01")
    command = ("train", "--robot", "half_cheetah", *task, "--learner", "mb", *few)
    code, _, errors = mbmrl(*command, "--work", "work", "--out", "prior.safetensors", "--workers", "1")
    assert code == 0, errors
    episodes = [Episode.load(file) for file in (tmp_path / "work" / "episodes").glob("*.npz")]
    assert {(len(each.action), each.metadata["policy"]) for each in episodes} == {(20, "random")}
    prior = load_prior(tmp_path / "prior.safetensors")
    assert prior.robot.name == "half_cheetah"
    assert (
        "--task move_forward --duration 1.0 --rounds 0 --first-steps 2 --task-set effort_weight=0.01"
        in prior.settings.training["command"]
    )
