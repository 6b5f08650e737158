"""Meta-training on a few short episodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from learner_testing import TRAINED, options_of
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.prior import Prior, load_prior
from mbmrl_control.dynamics.rollout import roll_out
from mbmrl_control.learners import make_learner
from mbmrl_control.learners.grbal import StepSettings
from mbmrl_control.training import meta_training
from mbmrl_control.training.episodes import Episode
from mbmrl_control.training.meta_training import MetaTrainer, Progress, TrainingSettings
from mbmrl_control.training.transitions import Transitions
from robot_testing import MILLIROBOT

SMALL = TrainingSettings(
    seed=2,
    steps=40,
    hidden=(16,),
    window=8,
    future=4,
    tasks=8,
    learning_rate=3e-3,
    options=StepSettings(inner_steps=2),
)


def small(learner: str, **changes: Any) -> TrainingSettings:
    """The same of another learner."""
    return replace(SMALL, learner=learner, options=options_of(learner, inner_steps=2, context=8), **changes)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check more often, on less."""
    monkeypatch.setattr(meta_training, "CHECK_EVERY", 10)
    monkeypatch.setattr(meta_training, "CHECKED_TASKS", 50)
    yield


def trainer(episodes: list[Episode], settings: TrainingSettings = SMALL) -> MetaTrainer:
    return MetaTrainer(settings, 20.0, episodes[:4], episodes[4:])


@pytest.fixture
def trained(episodes: list[Episode]) -> tuple[MetaTrainer, list[Progress]]:
    """A trainer that has run to the end, and what it reported."""
    whole = trainer(episodes)
    return whole, list(whole.run())


def prior_of(run: MetaTrainer) -> Prior:
    list(run.run())
    return run.prior()


def psi_of(prior: Prior) -> torch.Tensor:
    return prior.extras["psi"]


@pytest.mark.parametrize("learner", TRAINED)
def test_errors_on_held_out_faults_fall(episodes: list[Episode], learner: str) -> None:
    run = trainer(episodes, small(learner, steps=100))
    _, before = run.check()
    reported = list(run.run())
    assert reported[-1].post_error < 0.85 * before
    assert reported[-1].loss < reported[0].loss


def test_progress_is_reported_at_each_check(trained: tuple[MetaTrainer, list[Progress]]) -> None:
    run, reported = trained
    assert [progress.step for progress in reported] == [10, 20, 30, 40]
    assert (reported[-1].pre_error, reported[-1].post_error) == run.check()


def test_errors_are_those_before_and_after_adaptation(episodes: list[Episode]) -> None:
    """A held-out episode of just one segment, so that the errors can be told from outside."""
    length = SMALL.window + SMALL.future
    whole = episodes[4]
    one = replace(whole, state=whole.state[: length + 1], action=whole.action[:length], time=whole.time[: length + 1])
    run = MetaTrainer(replace(SMALL, steps=10), 20.0, episodes[:4], [one])
    (progress,) = run.run()
    prior = run.prior()
    states = torch.from_numpy(one.state)
    inputs = prior.normalizer.inputs(MILLIROBOT.features.inputs(states[:-1], torch.from_numpy(one.action)).float())
    targets = prior.normalizer.targets(MILLIROBOT.features.targets(states[:-1], states[1:]).float())
    learner = make_learner(prior)
    update = learner.adapt(inputs[: SMALL.window], targets[: SMALL.window])
    after = [
        float(learner.adapted_model(given).error(inputs[SMALL.window :], targets[SMALL.window :]))
        for given in ({}, update)
    ]
    assert (progress.pre_error, progress.post_error) == pytest.approx(after, rel=1e-4)
    assert prior.settings.training["held_out_pre_error"] == pytest.approx(progress.pre_error, abs=1e-4)
    assert prior.settings.training["held_out_post_error"] == pytest.approx(progress.post_error, abs=1e-4)


def changes_of(episodes: list[Episode], future: int) -> torch.Tensor:
    """Deviation of what changes in 1 to K steps, over each segment of episodes and mirror images."""
    data = Transitions.of(episodes, 20.0, mirrored=True)
    starts = [
        first + place
        for first, length in zip(data.lengths.cumsum(0) - data.lengths, data.lengths, strict=True)
        for place in range(int(length) - future + 1)
    ]
    start = data.states[torch.stack(starts)]
    changes = [data.features.targets(start, data.next_states[torch.stack(starts) + step]) for step in range(future)]
    one_step = Normalizer.fit(data.inputs, data.targets).output_deviation
    return torch.stack([torch.maximum(change.std(0), one_step) for change in changes])


@pytest.mark.parametrize("learner", ["mb", "grbal", "rebal", "bayes_last_layer"])
def test_error_in_open_loop_is_that_of_the_predicted_states(episodes: list[Episode], learner: str) -> None:
    run = trainer(episodes, small(learner, steps=10))
    list(run.run())
    prior, data = run.prior(), run.data_held_out
    (segment,) = segments = data.segments(1, SMALL.window + SMALL.future, torch.Generator().manual_seed(3))
    past, future = segment[: SMALL.window], segment[SMALL.window :]
    adapting, start = make_learner(prior), data.states[future[:1]].double()
    model = adapting.fitted_model(data.inputs[past], data.targets[past])
    actions = data.actions[future].unsqueeze(0)
    predicted = roll_out(prior.features, prior.normalizer, model, start, actions).states[0, 1:]
    features = MILLIROBOT.features
    wrong = features.targets(start, predicted) - features.targets(start, data.next_states[future].double())
    wrong = torch.where(features.turns, torch.atan2(wrong.sin(), wrong.cos()), wrong)
    wanted = (wrong / changes_of(episodes[:4], SMALL.future)).square().mean()
    with torch.no_grad():
        assert float(run.open_loop_error(adapting, data, segments)) == pytest.approx(float(wanted), rel=0.1)


@pytest.mark.parametrize("learner", ["mb", "grbal"])
def test_error_in_open_loop_falls_along_its_gradient(episodes: list[Episode], learner: str) -> None:
    run = trainer(episodes, small(learner))
    segments = run.data_held_out.segments(30, SMALL.window + SMALL.future, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam([tensor for layer in run.learner().layers for tensor in layer], lr=0.01)
    errors = []
    for _ in range(40):
        error = run.open_loop_error(run.learner(), run.data_held_out, segments)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.5 * errors[0]


def test_no_model_errs_by_one_in_open_loop(episodes: list[Episode]) -> None:
    """A model that predicts the mean change of one step is about as wrong as what changes is large."""
    run = trainer(episodes, small("mb"))
    still = make_learner(replace(prior_of(run), layers=[(torch.zeros(21, 22), torch.zeros(21))]))
    segments = run.data_held_out.segments(50, SMALL.window + SMALL.future, torch.Generator().manual_seed(0))
    assert 0.5 < float(run.open_loop_error(still, run.data_held_out, segments)) < 2.0


def test_best_prior_is_that_of_the_least_error_in_open_loop(episodes: list[Episode]) -> None:
    run = trainer(episodes, small("grbal"))
    least = min(progress.open_loop_error for progress in run.run())
    assert run.prior().settings.training["held_out_open_loop_error"] == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("learner", ["mb", "grbal"])
def test_weight_of_the_error_in_open_loop_counts(episodes: list[Episode], learner: str) -> None:
    losses = []
    for weight in (0.0, 1.0):
        (progress,) = trainer(episodes, small(learner, steps=1, open_loop=weight)).run()
        losses.append(progress.loss)
    assert losses[1] > 1.1 * losses[0]


def test_step_sizes_are_learned_and_stay_positive(trained: tuple[MetaTrainer, list[Progress]]) -> None:
    psi = psi_of(trained[0].prior())
    assert psi.shape == (2, 2)
    assert (psi > 0).all()
    assert (psi - SMALL.options.initial_psi).abs().min() > 1e-5


def test_prior_says_what_it_was_made_with(trained: tuple[MetaTrainer, list[Progress]], tmp_path: Path) -> None:
    prior = trained[0].prior()
    assert (prior.settings.learner, prior.settings.window, prior.settings.rate) == ("grbal", 8, 20.0)
    assert prior.settings.training["seed"] == 2
    assert prior.settings.training["episodes"] == 4
    prior.save(tmp_path / "prior.safetensors")
    assert load_prior(tmp_path / "prior.safetensors").hash == prior.hash


def test_mb_adapts_nothing(episodes: list[Episode]) -> None:
    run = trainer(episodes, replace(SMALL, learner="mb"))
    assert all(progress.pre_error == progress.post_error for progress in run.run())
    assert run.prior().extras == {}


@pytest.mark.parametrize("learner", ["grbal", "mb"])
@pytest.mark.parametrize("checks", [1, 3])
def test_interrupted_training_ends_as_an_uninterrupted_one(
    episodes: list[Episode], tmp_path: Path, learner: str, checks: int
) -> None:
    settings, state = small(learner), tmp_path / "state.safetensors"
    whole = trainer(episodes, settings)
    expected = list(whole.run())
    assert len(list(islice(trainer(episodes, settings).run(state), checks))) == checks
    resumed = trainer(episodes, settings)
    assert list(resumed.run(state)) == expected[checks:]
    assert resumed.prior().to_bytes() == whole.prior().to_bytes()


def test_training_that_is_over_is_not_done_again(episodes: list[Episode], tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    first, second = trainer(episodes), trainer(episodes)
    list(first.run(state))
    assert list(second.run(state)) == []
    assert second.prior().hash == first.prior().hash


def test_steps_whose_adaptation_runs_away_leave_the_weights_alone(episodes: list[Episode]) -> None:
    run = trainer(episodes, replace(SMALL, options=StepSettings(initial_psi=1e12), steps=10))
    before = run.prior()
    (progress,) = run.run()
    assert not np.isfinite(progress.loss)
    assert run.prior().layers[0][0].equal(before.layers[0][0])


def test_all_follows_from_the_seed(episodes: list[Episode], trained: tuple[MetaTrainer, list[Progress]]) -> None:
    again, other = trainer(episodes), trainer(episodes, replace(SMALL, seed=3))
    assert list(again.run()) == trained[1]
    assert again.prior().hash == trained[0].prior().hash
    assert list(other.run()) != trained[1]


def test_statistics_are_those_of_the_training_episodes(episodes: list[Episode]) -> None:
    """Of all of them, and not of those that are held out."""
    normalizer = trainer(episodes).prior().normalizer
    battery = np.concatenate([episode.state[:-1, 23] for episode in episodes[:4]])
    assert float(normalizer.input_mean[19]) == pytest.approx(battery.mean(), rel=1e-4)
    assert float(normalizer.input_deviation[19]) == pytest.approx(battery.std(), rel=1e-2)


def test_mirror_image_is_what_the_mirrored_robot_would_have_done(episodes: list[Episode]) -> None:
    """Twice mirrored is the same; a turn to the left becomes one to the right at the same speed."""
    both = Transitions.of(episodes[:2], 20.0, mirrored=True)
    count = len(both.inputs) // 2
    assert torch.equal(both.inputs[:count], Transitions.of(episodes[:2], 20.0).inputs)
    image = []
    for episode in episodes[:2]:
        state, action = episode.robot.mirror(episode.state, episode.action)
        image.append(replace(episode, state=state, action=action))
    assert torch.equal(both.inputs[count:], Transitions.of(image, 20.0).inputs)
    assert torch.equal(Transitions.of(image, 20.0, mirrored=True).targets[count:], both.targets[:count])
    yaw, ahead, aside = 6, 19, 20
    for output, sign in ((yaw, -1), (ahead, 1), (aside, -1)):
        assert torch.allclose(both.targets[count:, output], sign * both.targets[:count, output], atol=1e-6)
