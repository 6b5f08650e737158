"""The network as plain tensors, and the normaliser."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.network import Normalizer, initial_layers, predict
from robot_testing import INPUT_SIZE, OUTPUT_SIZE

SIZES = (INPUT_SIZE, 16, 12, OUTPUT_SIZE)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def data(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of very different sizes."""
    scale = torch.logspace(-2, 2, INPUT_SIZE)
    inputs = torch.randn(300, INPUT_SIZE, generator=generator) * scale + 3 * scale
    targets = torch.randn(300, OUTPUT_SIZE, generator=generator) * torch.logspace(-3, 1, OUTPUT_SIZE) - 0.1
    return inputs, targets


def test_forward_pass_is_that_of_torch(generator: torch.Generator) -> None:
    layers = initial_layers(SIZES, generator)
    modules: list[nn.Module] = []
    for weight, bias in layers:
        module = nn.Linear(weight.shape[1], weight.shape[0])
        module.load_state_dict({"weight": weight, "bias": bias})
        modules += [module, nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    inputs = torch.randn(40, INPUT_SIZE, generator=generator)
    torch.testing.assert_close(predict(layers, inputs), network(inputs), rtol=1e-6, atol=1e-6)


def test_initial_weights_follow_from_the_generator() -> None:
    first, second, other = (initial_layers(SIZES, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, second, strict=True))
    assert not torch.equal(first[0][0], other[0][0])


def test_folded_layers_do_what_normalise_predict_denormalise_does(generator: torch.Generator) -> None:
    inputs, targets = data(generator)
    normalizer = Normalizer.fit(inputs, targets)
    layers = initial_layers(SIZES, generator)
    normalised = predict(layers, normalizer.inputs(inputs))
    expected = normalised * normalizer.output_deviation + normalizer.output_mean
    folded = predict(normalizer.fold(layers), inputs)
    torch.testing.assert_close(folded / normalizer.output_deviation, expected / normalizer.output_deviation)


def test_single_layer_is_folded_on_both_sides(generator: torch.Generator) -> None:
    inputs, targets = data(generator)
    normalizer = Normalizer.fit(inputs, targets)
    layers = initial_layers((INPUT_SIZE, OUTPUT_SIZE), generator)
    predicted = predict(layers, normalizer.inputs(inputs))
    folded = predict(normalizer.fold(layers), inputs)
    torch.testing.assert_close(normalizer.targets(folded), predicted, rtol=1e-4, atol=1e-4)


def test_folding_leaves_the_layers_alone(generator: torch.Generator) -> None:
    normalizer = Normalizer.fit(*data(generator))
    layers = initial_layers(SIZES, generator)
    copies = [(weight.clone(), bias.clone()) for weight, bias in layers]
    normalizer.fold(layers)
    for (weight, bias), (weight_before, bias_before) in zip(layers, copies, strict=True):
        assert torch.equal(weight, weight_before)
        assert torch.equal(bias, bias_before)


def test_normalised_data_have_mean_0_and_deviation_1(generator: torch.Generator) -> None:
    inputs, targets = data(generator)
    normalizer = Normalizer.fit(inputs, targets)
    for values in (normalizer.inputs(inputs), normalizer.targets(targets)):
        assert values.mean(0).abs().max() < 1e-3
        assert (values.std(0) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("constant", [0.0, 4.1, -1e4])
def test_dimension_that_was_constant_does_not_explode(generator: torch.Generator, constant: float) -> None:
    inputs, targets = data(generator)
    inputs[:, 5] = constant
    normalizer = Normalizer.fit(inputs, targets)
    assert torch.isfinite(normalizer.inputs(inputs)).all()
    later = inputs[:1].clone()
    later[:, 5] += 0.01 * abs(constant)
    assert normalizer.inputs(later)[0, 5].abs() < 11.0


def test_one_step_error_is_a_mean_over_dimensions() -> None:
    layers = [(torch.zeros(OUTPUT_SIZE, INPUT_SIZE), torch.zeros(OUTPUT_SIZE))]
    model = ReluNetwork(layers)
    targets = torch.zeros(OUTPUT_SIZE)
    targets[3] = 2.0
    assert model.error(torch.ones(INPUT_SIZE), targets) == pytest.approx(4.0 / OUTPUT_SIZE)
    several = model.error(torch.ones(2, 3, INPUT_SIZE), targets.expand(2, 3, OUTPUT_SIZE))
    assert several == pytest.approx(4.0 / OUTPUT_SIZE)
