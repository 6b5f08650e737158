"""What all learners have in common, and what is special to each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from learner_testing import TRAINED
from mbmrl_control.dynamics.network import Layers, initial_layers, predict
from mbmrl_control.dynamics.prior import Prior, PriorError
from mbmrl_control.learners import LEARNER_TYPES, make_learner
from mbmrl_control.learners.base import Learner
from mbmrl_control.learners.bayes import BayesLastLayer
from mbmrl_control.learners.context import Attention, ContextSettings, Rebal, RecurrentSettings
from mbmrl_control.learners.hybrid import HybridSettings
from mbmrl_control.learners.member import Member
from robot_testing import INPUT_SIZE, OUTPUT_SIZE

MakePrior = Callable[..., Prior]
ADAPTING = [name for name in TRAINED if LEARNER_TYPES[name].adapts]
TASKS, M, K = 4, 10, 6


def draw(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(*shape, INPUT_SIZE, generator=generator),
        torch.randn(*shape, OUTPUT_SIZE, generator=generator),
    )


def make(make_prior: MakePrior, name: str) -> Learner:
    return make_learner(make_prior(learner=name, psi=0.003))


def walk(learner: Learner, inputs: Tensor, targets: Tensor) -> Layers:
    """Adapted layers after a window that was seen tick by tick, as in control."""
    learner.reset()
    update = {}
    for end in range(1, len(inputs) + 1):
        update = learner.adapt(inputs[:end], targets[:end])
    return learner.adapted_layers(update)


# All


@pytest.mark.parametrize("name", TRAINED)
def test_adapts_in_control_as_it_does_in_training(make_prior: MakePrior, name: str) -> None:
    if name == "bayes_replay":
        pytest.skip("it goes on training in control, see test_replay.py")
    learner = make(make_prior, name)
    inputs, targets = draw(1, TASKS, M)
    query = draw(2, TASKS, K)[0]
    batch = learner.predict((inputs, targets), query)
    for task in range(TASKS):
        layers = walk(learner, inputs[task], targets[task])
        torch.testing.assert_close(predict(layers, query[task]), batch[task], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ADAPTING)
def test_what_one_window_shows_is_not_carried_to_another_task(make_prior: MakePrior, name: str) -> None:
    learner = make(make_prior, name)
    first = walk(learner, *draw(1, M))
    walk(learner, *draw(2, M))
    again = walk(learner, *draw(1, M))
    assert all(
        torch.equal(a, b) for left, right in zip(first, again, strict=True) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("name", TRAINED)
def test_no_update_means_the_prior(make_prior: MakePrior, name: str) -> None:
    learner = make(make_prior, name)
    inputs, _ = draw(3, K)
    assert torch.equal(predict(learner.adapted_layers({}), inputs), predict(learner.layers, inputs))


@pytest.mark.parametrize("name", TRAINED)
def test_the_gradient_of_the_loss_reaches_all_tensors(make_prior: MakePrior, name: str) -> None:
    if name == "mb_de":
        pytest.skip("it is trained as mb, and its rate is tuned")
    prior = make_prior(learner=name, psi=0.003)
    # Tensors that start at 0 may hide others from the gradient.
    layers = [(weight.clone().requires_grad_(), bias.clone().requires_grad_()) for weight, bias in prior.layers]
    extras = {key: tensor.clone().requires_grad_() for key, tensor in prior.extras.items()}
    loss = LEARNER_TYPES[name](layers, extras).loss(*draw(4, TASKS, M + K), M, torch.Generator().manual_seed(0))
    loss.backward()  # type: ignore[no-untyped-call]
    still = {"decay"}  # a window of two transitions may hardly show it
    for key, tensor in extras.items():
        assert tensor.grad is not None and (tensor.grad.abs().max() > 0 or key in still), key
    assert all(tensor.grad is not None and tensor.grad.abs().max() > 0 for layer in layers for tensor in layer)


@pytest.mark.parametrize("name", ADAPTING)
def test_a_prior_without_a_tensor_is_refused(make_prior: MakePrior, name: str) -> None:
    prior = make_prior(learner=name)
    for missing in prior.extras:
        left = {key: tensor for key, tensor in prior.extras.items() if key != missing}
        with pytest.raises(PriorError, match=f"a prior of {name} needs"):
            make_learner(replace(prior, extras=left))


@pytest.mark.parametrize("name", ADAPTING)
def test_an_update_of_another_size_is_refused(make_prior: MakePrior, name: str) -> None:
    learner, other = make(make_prior, name), make_learner(make_prior(learner=name, hidden=(12, 12)))
    update = other.adapt(*draw(5, M))
    if "context" in update:
        update = {"context": torch.zeros(5)}
    with pytest.raises(ValueError, match="an update of"):
        learner.adapted_layers(update)


# Settings


@pytest.mark.parametrize("name", TRAINED)
def test_settings_are_those_that_the_learner_declares(name: str) -> None:
    kind = LEARNER_TYPES[name]
    assert kind.settings_of([]) == kind.settings_type()
    with pytest.raises(ValueError, match=rf"^{name} has no setting 'speed': allowed is "):
        kind.settings_of(["speed=3"])


def test_settings_are_read_from_text_and_checked() -> None:
    assert LEARNER_TYPES["hybrid"].settings_of(["inner_steps=1", "psi=scalar", "context=8"]) == HybridSettings(
        context=8, inner_steps=1, psi="scalar"
    )
    for option, sentence in (
        ("inner_steps=0", "grbal: inner_steps is '0': input should be greater than or equal to 1"),
        ("inner_steps", "the setting inner_steps of grbal has no value: wanted is inner_steps=VALUE"),
        ("psi=each", "grbal: psi is 'each': input should be 'scalar', 'per_layer' or 'per_parameter'"),
        ("initial_psi=nan", "grbal: initial_psi is 'nan': input should be greater than 0"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
            LEARNER_TYPES["grbal"].settings_of([option])


# Contexts


def test_attention_looks_at_no_later_transition() -> None:
    layers = initial_layers((INPUT_SIZE, 12, OUTPUT_SIZE), torch.Generator().manual_seed(0))
    learner = Attention(
        layers, Attention.initial(layers, ContextSettings(context=16), torch.Generator().manual_seed(1))
    )
    tokens = torch.randn(2, M, INPUT_SIZE + OUTPUT_SIZE, generator=torch.Generator().manual_seed(2))
    changed = tokens.clone()
    changed[:, 6:] += 1.0
    before, after = learner.encode(tokens), learner.encode(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert (before[:, 6:] - after[:, 6:]).abs().amax((0, 2)).min() > 1e-3


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_hidden_state_is_carried_beyond_the_window(cell: str) -> None:
    layers = initial_layers((INPUT_SIZE, 12, OUTPUT_SIZE), torch.Generator().manual_seed(0))
    extras = Rebal.initial(layers, RecurrentSettings(context=16, cell=cell), torch.Generator().manual_seed(1))
    learner = Rebal(layers, extras)
    inputs, targets = draw(6, 2 * M)
    expected = learner.context(inputs, targets)
    for end in range(1, 2 * M + 1):
        update = learner.adapt(inputs[max(0, end - 3) : end], targets[max(0, end - 3) : end])
    torch.testing.assert_close(update["context"], expected)


# Closed form


def bayes(seed: int = 0) -> BayesLastLayer:
    """A learner whose last layer's prior has a covariance with all entries different."""
    generator = torch.Generator().manual_seed(seed)
    layers = [
        (weight.double(), bias.double()) for weight, bias in initial_layers((INPUT_SIZE, 6, OUTPUT_SIZE), generator)
    ]
    extras = {
        "root": 0.3 * torch.randn(7, 7, generator=generator).double(),
        "noise": 0.2 + torch.rand(OUTPUT_SIZE, generator=generator).double(),
        "decay": torch.tensor([0.05]).double(),
    }
    return BayesLastLayer(layers, extras)


def test_the_last_layer_is_the_posterior_mean() -> None:
    """Against weighted ridge regression, written out with the prior's full covariance."""
    learner = bayes()
    inputs, targets = (tensor.double() for tensor in draw(7, M))
    features = torch.cat([predict(learner.layers[:-1], inputs).relu(), torch.ones(M, 1)], dim=1)
    covariance = learner.extras["root"] @ learner.extras["root"].T
    age = torch.diag(torch.exp(-0.05 * torch.arange(M - 1, -1, -1).double()))
    residuals = targets - predict(learner.layers, inputs)
    change = torch.linalg.solve(
        features.T @ age @ features + torch.linalg.inv(covariance), features.T @ age @ residuals
    )
    weight, bias = learner.adapted(inputs, targets)[-1]
    torch.testing.assert_close(weight - learner.layers[-1][0], change[:-1].T)
    torch.testing.assert_close(bias - learner.layers[-1][1], change[-1])


def test_errors_are_as_large_as_the_predictive_variance_tells() -> None:
    """Data drawn from the learner's own prior: normalised squared errors have mean 1."""
    learner = bayes()
    learner.extras["decay"].zero_()
    generator = torch.Generator().manual_seed(3)
    tasks = 3000
    inputs = torch.randn(tasks, M + 1, INPUT_SIZE, generator=generator).double()
    noise = learner.extras["noise"]
    weights = noise * torch.randn(tasks, 7, OUTPUT_SIZE, generator=generator).double()
    targets = predict(learner.layers, inputs) + learner.features(inputs) @ weights
    targets += noise * torch.randn(targets.shape, generator=generator).double()
    support, query = (inputs[:, :M], targets[:, :M]), inputs[:, M:]
    squares = (learner.predict(support, query) - targets[:, M:]).square()
    assert float((squares / learner.variance(support, query)).mean()) == pytest.approx(1.0, abs=0.02)
    few = inputs[:, :2], targets[:, :2]
    assert (learner.variance(few, query) >= learner.variance(support, query)).all()
    assert math.isfinite(float(squares.sum()))


NUMBER = st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e6, -1e15, 3e38, math.inf, math.nan])


@pytest.mark.parametrize("name", ADAPTING)
@settings(derandomize=True, deadline=None, max_examples=25, database=None)
@given(data=st.data())
def test_any_window_is_a_finite_update_or_withheld(make_prior: MakePrior, name: str, data: st.DataObject) -> None:
    """The learner may fail, or lose itself in what is not finite: what is used is finite, and it recovers."""
    member = Member(make(make_prior, name), M)
    for seed in range(data.draw(st.integers(1, 6))):
        inputs, targets = draw(seed)
        for tensor in (inputs, targets):
            for place in data.draw(st.sets(st.integers(0, len(tensor) - 1), max_size=3)):
                tensor[place] = data.draw(NUMBER)
        member.learn(inputs, targets, data.draw(NUMBER))
        model = member.learner.adapted_model(member.update)
        assert all(torch.isfinite(tensor).all() for tensor in model.tensors())
    member.reset()
    (inputs, targets), fresh = draw(9), Member(make(make_prior, name), M)
    for each in (member, fresh):
        each.learn(inputs, targets, math.inf)
    assert member.update.keys() == fresh.update.keys()
    assert all(torch.equal(member.update[key], fresh.update[key]) for key in fresh.update)
