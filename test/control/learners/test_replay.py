"""The learner whose features go on learning by replay."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mbmrl_base.robots.observation import Observation
from mbmrl_control.dynamics.network import Layers, initial_layers, predict
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.learners import make_learner
from mbmrl_control.learners.base import Learner, Update
from mbmrl_control.learners.bayes import BayesLastLayer
from mbmrl_control.learners.online import OnlineAdapter
from mbmrl_control.learners.replay import BayesReplay
from mbmrl_control.training.episodes import Episode
from robot_testing import INPUT_SIZE, OUTPUT_SIZE

MakePrior = Callable[..., Prior]


def world(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Transitions whose targets no last layer on a prior's features explains: those of another network."""
    generator = torch.Generator().manual_seed(seed)
    layers = initial_layers((INPUT_SIZE, 16, OUTPUT_SIZE), torch.Generator().manual_seed(99))
    inputs = torch.randn(count, INPUT_SIZE, generator=generator)
    return inputs, predict(layers, inputs)


def prior_that_expects(noise: float, layers: Layers) -> dict[str, Tensor]:
    """Tensors of a prior for layers, with this deviation of the noise in each output."""
    extras = BayesLastLayer.initial(layers, None, torch.Generator())
    return extras | {"noise": torch.full_like(extras["noise"], noise)}


def live(learner: Learner, inputs: Tensor, targets: Tensor) -> list[float]:
    """One-step error at each tick of a life."""
    errors, model = [], learner.adapted_model({})
    window = max(learner.memory, 48)
    for end in range(len(inputs)):
        errors.append(float(model.error(inputs[end], targets[end])))
        seen = slice(max(0, end + 1 - window), end + 1)
        model = learner.adapted_model(learner.adapt(inputs[seen], targets[seen]))
    return errors


@pytest.mark.parametrize("width", [64, 192])
def test_learns_what_the_features_of_the_prior_cannot_tell(width: int) -> None:
    layers = initial_layers((INPUT_SIZE, width, width, OUTPUT_SIZE), torch.Generator().manual_seed(0))
    extras = prior_that_expects(0.02, layers)
    with_replay, without = (live(kind(layers, extras), *world(1, 600)) for kind in (BayesReplay, BayesLastLayer))
    late = slice(300, None)
    assert sum(with_replay[late]) < 0.8 * sum(without[late])


def features_of(learner: Learner, update: Update) -> list[Tensor]:
    """All weights below the last layer."""
    return [tensor for layer in learner.adapted_layers(update)[:-1] for tensor in layer]


def test_replay_begins_where_the_prior_is_surprised() -> None:
    layers = initial_layers((INPUT_SIZE, 16, OUTPUT_SIZE), torch.Generator().manual_seed(99))
    inputs, targets = world(1, 300)
    learner = BayesReplay(layers, prior_that_expects(0.1, layers))
    noise = 0.1 * torch.randn(targets.shape, generator=torch.Generator().manual_seed(2))
    for end in range(1, 101):
        update = learner.adapt(inputs[:end], targets[:end] + noise[:end])
    prior = features_of(learner, {})
    assert all(torch.equal(*pair) for pair in zip(features_of(learner, update), prior, strict=True))
    for end in range(101, 201):
        update = learner.adapt(inputs[:end], targets[:end] + 5.0 * noise[:end])
    learned = features_of(learner, update)
    assert not any(torch.equal(*pair) for pair in zip(learned, prior, strict=True))


def test_a_life_is_the_same_each_time(make_prior: MakePrior) -> None:
    learner = make_learner(make_prior(learner="bayes_replay"))
    first = live(learner, *world(1, 60))
    learner.reset()
    assert live(learner, *world(1, 60)) == first


def test_an_update_is_not_changed_by_those_that_follow(make_prior: MakePrior) -> None:
    """The weights that are carried change in place."""
    learner = make_learner(make_prior(learner="bayes_replay"))
    inputs, targets = world(1, 40)
    update = learner.adapt(inputs[:20], targets[:20])
    before = {name: tensor.clone() for name, tensor in update.items()}
    for end in range(21, 41):
        learner.adapt(inputs[:end], targets[:end])
    assert all(torch.equal(update[name], before[name]) for name in update)


def test_the_prior_is_not_changed(make_prior: MakePrior) -> None:
    prior = make_prior(learner="bayes_replay")
    before = prior.to_bytes()
    live(make_learner(prior), *world(1, 60))
    assert prior.to_bytes() == before


def test_online_it_sees_what_it_remembers(
    make_prior: MakePrior, episodes: list[Episode], observations_of: Callable[..., list[Observation]]
) -> None:
    adapter = OnlineAdapter(make_prior(learner="bayes_replay", window=8))
    assert adapter.capacity == BayesReplay.memory
    last = [adapter.observe(observation) for observation in observations_of(episodes[0])][-1]
    assert last.window == 60
