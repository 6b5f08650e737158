"""GrBAL against plain autograd and differences, in double precision; see test_meta_gradient too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers, initial_layers, predict
from mbmrl_control.dynamics.prior import Prior, PriorError
from mbmrl_control.learners import LEARNERS, make_learner
from mbmrl_control.learners.gradient_steps import Psi, adapted_prediction, dense, gradient_steps
from mbmrl_control.learners.grbal import Grbal
from robot_testing import INPUT_SIZE, OUTPUT_SIZE

SIZES = (INPUT_SIZE, 14, 10, OUTPUT_SIZE)
TASKS, M, K = 5, 8, 6
Data = tuple[Tensor, Tensor]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def draw_layers(generator: torch.Generator) -> Layers:
    """Weights in double precision; biases that are not zero and a last layer that is not small."""
    layers = initial_layers(SIZES, generator)
    return [
        (weight.double() * (5.0 if index == 2 else 1.0), torch.randn(len(bias), generator=generator).double() * 0.1)
        for index, (weight, bias) in enumerate(layers)
    ]


def draw_psi(generator: torch.Generator, steps: int) -> Tensor:
    """Step sizes that all differ."""
    return 0.005 + 0.01 * torch.rand(steps, len(SIZES) - 1, generator=generator).double()


def draw_data(generator: torch.Generator, *shape: int) -> Data:
    return (
        torch.randn(*shape, INPUT_SIZE, generator=generator).double(),
        torch.randn(*shape, OUTPUT_SIZE, generator=generator).double(),
    )


def window_loss(layers: Layers, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over transitions of the squared length of the error: what an inner step goes down on."""
    return (predict(layers, inputs) - targets).square().sum(-1).mean()


def meta_loss(layers: Layers, psi: Psi, support: Data, query: Data) -> Tensor:
    """Error of the adapted models on the transitions after their windows."""
    adapted = gradient_steps(layers, psi, *support)
    return (adapted_prediction(adapted, query[0]) - query[1]).square().mean()


def plainly_adapted(layers: Layers, psi: Tensor, inputs: Tensor, targets: Tensor) -> Layers:
    """Inner steps on full weights, by autograd, that can be differentiated again."""
    for sizes in psi:
        flat = [tensor for layer in layers for tensor in layer]
        leaves = [tensor if tensor.requires_grad else tensor.clone().requires_grad_() for tensor in flat]
        current = list(zip(leaves[::2], leaves[1::2], strict=True))
        gradients = torch.autograd.grad(window_loss(current, inputs, targets), leaves, create_graph=True)
        layers = [
            (weight - size * gradients[2 * index], bias - size * gradients[2 * index + 1])
            for index, ((weight, bias), size) in enumerate(zip(current, sizes, strict=True))
        ]
    return layers


def relative_error(left: Tensor, right: Tensor) -> float:
    return float((left - right).norm() / right.norm())


# The update


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_update_is_the_gradient_step_of_autograd(generator: torch.Generator, steps: int) -> None:
    layers, psi = draw_layers(generator), draw_psi(generator, steps)
    inputs, targets = draw_data(generator, M)
    learner = Grbal(layers, {"psi": psi})
    adapted = learner.adapted_layers(learner.adapt(inputs, targets))
    for (weight, bias), (expected_weight, expected_bias), (prior_weight, _) in zip(
        adapted, plainly_adapted(layers, psi, inputs, targets), layers, strict=True
    ):
        assert (weight - expected_weight).abs().max() < 1e-10
        assert (bias - expected_bias).abs().max() < 1e-10
        assert (weight - prior_weight).abs().max() > 1e-4


@pytest.mark.parametrize("steps", [1, 3])
def test_batch_of_tasks_is_adapted_as_each_of_them(generator: torch.Generator, steps: int) -> None:
    layers, psi = draw_layers(generator), draw_psi(generator, steps)
    support, query = draw_data(generator, TASKS, M), draw_data(generator, TASKS, K)
    predicted = adapted_prediction(gradient_steps(layers, psi, *support), query[0])
    learner = Grbal(layers, {"psi": psi})
    for task in range(TASKS):
        adapted = learner.adapted_layers(learner.adapt(support[0][task], support[1][task]))
        assert (predicted[task] - predict(adapted, query[0][task])).abs().max() < 1e-10


@pytest.mark.parametrize("steps", [1, 3])
def test_small_steps_go_down_on_the_window(generator: torch.Generator, steps: int) -> None:
    layers = draw_layers(generator)
    for _ in range(10):
        inputs, targets = draw_data(generator, M)
        before = window_loss(layers, inputs, targets)
        previous = before
        for size in (1e-4, 1e-3):  # the larger of two small steps leads further down
            learner = Grbal(layers, {"psi": torch.full((steps, len(layers)), size).double()})
            after = window_loss(learner.adapted_layers(learner.adapt(inputs, targets)), inputs, targets)
            assert after < previous
            previous = after


def test_fall_is_the_one_that_the_gradient_foretells(generator: torch.Generator) -> None:
    """To first order the loss changes by minus psi times the squared gradient: a plus would go up."""
    layers, (inputs, targets) = draw_layers(generator), draw_data(generator, M)
    leaves = [(weight.clone().requires_grad_(), bias.clone().requires_grad_()) for weight, bias in layers]
    loss = window_loss(leaves, inputs, targets)
    gradients = torch.autograd.grad(loss, [tensor for layer in leaves for tensor in layer])
    size = 1e-7
    learner = Grbal(layers, {"psi": torch.full((1, len(layers)), size).double()})
    change = window_loss(learner.adapted_layers(learner.adapt(inputs, targets)), inputs, targets) - loss.detach()
    foretold = -size * sum(gradient.square().sum() for gradient in gradients)
    assert float(change / foretold) == pytest.approx(1.0, abs=1e-3)


def test_psi_0_changes_nothing(generator: torch.Generator) -> None:
    layers = draw_layers(generator)
    learner = Grbal(layers, {"psi": torch.zeros(2, len(layers)).double()})
    adapted = learner.adapted_layers(learner.adapt(*draw_data(generator, M)))
    for (weight, bias), (prior_weight, prior_bias) in zip(adapted, layers, strict=True):
        assert torch.equal(weight, prior_weight)
        assert torch.equal(bias, prior_bias)


def test_prior_is_not_modified(generator: torch.Generator) -> None:
    layers, psi = draw_layers(generator), draw_psi(generator, 3)
    copies = [tensor.clone() for layer in layers for tensor in layer]
    learner = Grbal(layers, {"psi": psi})
    learner.adapted_layers(learner.adapt(*draw_data(generator, M)))
    assert all(torch.equal(a, b) for a, b in zip(copies, [t for layer in layers for t in layer], strict=True))


def test_empty_update_means_the_prior(generator: torch.Generator) -> None:
    layers = draw_layers(generator)
    assert Grbal(layers, {"psi": draw_psi(generator, 1)}).adapted_layers({}) is layers


# The meta-gradient


def meta_gradients(
    loss: Callable[..., Tensor], layers: Layers, psi: Tensor, support: Data, query: Data
) -> tuple[Tensor, Tensor]:
    """Gradients by the weights and biases, as one vector, and by psi."""
    leaves = [tensor.clone().requires_grad_() for layer in layers for tensor in layer]
    sizes = psi.clone().requires_grad_()
    value = loss(list(zip(leaves[::2], leaves[1::2], strict=True)), sizes, support, query)
    *weights, by_psi = torch.autograd.grad(value, [*leaves, sizes])
    return torch.cat([gradient.flatten() for gradient in weights]), by_psi.flatten()


@pytest.mark.parametrize("steps", [1, 3])
def test_meta_gradient_is_that_of_finite_differences(generator: torch.Generator, steps: int) -> None:
    layers, psi = draw_layers(generator), draw_psi(generator, steps)
    support, query = draw_data(generator, TASKS, M), draw_data(generator, TASKS, K)
    of_weights, of_psi = meta_gradients(meta_loss, layers, psi, support, query)
    shapes = [tensor.shape for layer in layers for tensor in layer]
    flat = torch.cat([tensor.flatten() for layer in layers for tensor in layer])

    def value(weights: Tensor, sizes: Tensor) -> Tensor:
        parts = weights.split([shape.numel() for shape in shapes])
        tensors = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        return meta_loss(list(zip(tensors[::2], tensors[1::2], strict=True)), sizes, support, query)

    step = 1e-6
    directions = torch.randn(20, len(flat), generator=generator).double()
    directions /= directions.norm(dim=1, keepdim=True)
    slopes = torch.stack([(value(flat + step * d, psi) - value(flat - step * d, psi)) / (2 * step) for d in directions])
    units = torch.eye(psi.numel()).double().reshape(-1, *psi.shape)
    psi_slopes = torch.stack([(value(flat, psi + step * u) - value(flat, psi - step * u)) / (2 * step) for u in units])
    errors = relative_error(directions @ of_weights, slopes), relative_error(of_psi, psi_slopes)
    print(f"{steps} inner steps, meta-gradient against differences: weights {errors[0]:.1e}, psi {errors[1]:.1e}")
    assert max(errors) < 1e-5


def test_meta_gradient_is_of_second_order(generator: torch.Generator) -> None:
    """Steps taken as constants would give another gradient."""
    layers, psi = draw_layers(generator), draw_psi(generator, 1)
    support, query = draw_data(generator, TASKS, M), draw_data(generator, TASKS, K)

    def first_order(layers: Layers, psi: Tensor, support: Data, query: Data) -> Tensor:
        fixed = [(weight.detach(), bias.detach()) for weight, bias in layers]
        steps = dense(gradient_steps(fixed, psi, *support))
        change = [(w - w_fixed, b - b_fixed) for (w, b), (w_fixed, b_fixed) in zip(steps, fixed, strict=True)]
        adapted = [(w + dw, b + db) for (w, b), (dw, db) in zip(layers, change, strict=True)]
        return (adapted_prediction(adapted, query[0]) - query[1]).square().mean()

    exact, _ = meta_gradients(meta_loss, layers, psi, support, query)
    approximate, _ = meta_gradients(first_order, layers, psi, support, query)
    assert relative_error(approximate, exact) > 0.01


# Updates and priors that do not fit


FOREIGN: dict[str, Callable[[Tensor], Tensor]] = {
    "too narrow": lambda tensor: tensor[..., :-1],
    "too short": lambda tensor: tensor[:-1],
    "another dimension": lambda tensor: tensor.unsqueeze(0),
    "number": lambda tensor: tensor.sum(),
    "other precision": lambda tensor: tensor.float(),
    "integers": lambda tensor: tensor.long(),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("name", ["layers.1.weight", "layers.1.bias"])
def test_foreign_update_is_refused(generator: torch.Generator, name: str, change: Callable[[Tensor], Tensor]) -> None:
    learner = Grbal(draw_layers(generator), {"psi": draw_psi(generator, 1)})
    update = learner.adapt(*draw_data(generator, M))
    with pytest.raises(ValueError, match="update of layer 1 does not fit"):
        learner.adapted_layers(update | {name: change(update[name])})


@pytest.mark.parametrize("missing", ["layers.2.weight", "layers.2.bias"])
def test_incomplete_update_is_refused(generator: torch.Generator, missing: str) -> None:
    learner = Grbal(draw_layers(generator), {"psi": draw_psi(generator, 1)})
    update = learner.adapt(*draw_data(generator, M))
    del update[missing]
    with pytest.raises(ValueError, match="update of layer 2 does not fit"):
        learner.adapted_layers(update)


def test_update_of_another_learner_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(ValueError, match="update of layer 0 does not fit"):
        Grbal(draw_layers(generator), {"psi": draw_psi(generator, 1)}).adapted_layers(
            {"precision": torch.eye(3).double()}
        )


def test_mb_adapts_nothing(make_prior: Callable[..., Prior]) -> None:
    prior = make_prior("mb")
    learner = make_learner(prior)
    update = learner.adapt(torch.ones(4, INPUT_SIZE), torch.ones(4, OUTPUT_SIZE))
    assert update == {}
    assert learner.adapted_layers(update) is prior.layers
    with pytest.raises(ValueError, match="mb takes no update"):
        learner.adapted_layers({"layers.0.weight": torch.ones(4, INPUT_SIZE)})


@pytest.mark.parametrize("psi", [None, torch.ones(3), torch.ones(2, 2)], ids=["none", "vector", "wrong count"])
def test_prior_without_fitting_step_sizes_is_refused(make_prior: Callable[..., Prior], psi: Tensor | None) -> None:
    prior = make_prior()
    prior.extras.clear()
    if psi is not None:
        prior.extras["psi"] = psi
    with pytest.raises(PriorError, match="needs step sizes psi for 3 layers"):
        make_learner(prior)


def test_unknown_learner_is_refused(make_prior: Callable[..., Prior]) -> None:
    with pytest.raises(PriorError, match=f"'maml': allowed is {', '.join(LEARNERS)}"):
        make_learner(make_prior("maml"))
