"""How others take a gradient step, and differentiate through it: the contenders of two of the benchmarks.

All have the same network, one inner step with one step size, and the loss of the paper: the mean over
transitions of the squared length of the error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from mbmrl_control.benchmarks.peers import found
from mbmrl_control.dynamics.network import Layers, predict

Data = tuple[Tensor, Tensor]


def module_of(layers: Layers) -> nn.Sequential:
    """The network as most users have it."""
    stages: list[nn.Module] = []
    for weight, bias in layers:
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight, linear.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        stages += [linear, nn.ReLU()]
    return nn.Sequential(*stages[:-1])


def inner_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    """Mean over transitions of the squared length of the error."""
    return (predicted - targets).square().sum(-1).mean()


def outer_loss(predicted: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error."""
    return (predicted - targets).square().mean()


def adaptations(layers: Layers, psi: float, support: Data) -> dict[str, Callable[[], list[Tensor]]]:
    """Ways to adapt to one window; each returns weights and biases in turn."""
    module = module_of(layers)
    inputs, targets = support

    def deepcopy_sgd() -> list[Tensor]:
        adapted = copy.deepcopy(module)
        optimizer = torch.optim.SGD(adapted.parameters(), lr=psi)
        optimizer.zero_grad()
        inner_loss(adapted(inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return [parameter.detach() for parameter in adapted.parameters()]

    detached = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def loss(given: dict[str, Tensor]) -> Tensor:
        return inner_loss(functional_call(module, given, (inputs,)), targets)

    def func_grad() -> list[Tensor]:
        gradients = grad(loss)(detached)
        return [parameter - psi * gradients[name] for name, parameter in detached.items()]

    own = [parameter.detach().requires_grad_() for parameter in module.parameters()]

    def autograd() -> list[Tensor]:
        predicted = predict(list(zip(own[::2], own[1::2], strict=True)), inputs)
        gradients = torch.autograd.grad(inner_loss(predicted, targets), own)
        with torch.no_grad():
            return [parameter - psi * gradient for parameter, gradient in zip(own, gradients, strict=True)]

    return {"deepcopy_sgd": deepcopy_sgd, "func_grad": func_grad, "autograd": autograd}


def meta_gradients(layers: Layers, psi: float, support: Data, query: Data) -> dict[str, Callable[[], list[Tensor]]]:
    """Ways to the gradient of the loss after adaptation, of second order, over a batch of tasks.

    Each returns the gradients by weights and biases in turn; those of packages that are not installed are
    left out.
    """
    tasks = len(support[0])
    module = module_of(layers)
    parameters = list(module.parameters())

    def task_by_task(query_loss: Callable[[int], Tensor]) -> list[Tensor]:
        losses = torch.stack([query_loss(task) for task in range(tasks)])
        return list(torch.autograd.grad(losses.mean(), parameters))

    detached = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def task_loss(given: dict[str, Tensor], data: tuple[Tensor, ...]) -> Tensor:
        inputs, targets, query_inputs, query_targets = data

        def loss(current: dict[str, Tensor]) -> Tensor:
            return inner_loss(functional_call(module, current, (inputs,)), targets)

        gradients = grad(loss)(given)
        adapted = {name: parameter - psi * gradients[name] for name, parameter in given.items()}
        return outer_loss(functional_call(module, adapted, (query_inputs,)), query_targets)

    def vmap_grad() -> list[Tensor]:
        def mean(given: dict[str, Tensor]) -> Tensor:
            return vmap(task_loss, in_dims=(None, 0))(given, (*support, *query)).mean()

        return list(grad(mean)(detached).values())

    names = [name for name, _ in module.named_parameters()]

    def autograd_of(task: int) -> Tensor:
        loss = inner_loss(module(support[0][task]), support[1][task])
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        adapted = [parameter - psi * gradient for parameter, gradient in zip(parameters, gradients, strict=True)]
        predicted = functional_call(module, dict(zip(names, adapted, strict=True)), (query[0][task],))
        return outer_loss(predicted, query[1][task])

    ways = {"vmap_grad": vmap_grad, "autograd": lambda: task_by_task(autograd_of)}
    for package, make in (("learn2learn", _learn2learn), ("higher", _higher), ("torchopt", _torchopt)):
        if (package_module := found(package)) is not None:
            query_loss = make(package_module, module, psi, support, query)
            ways[package] = lambda query_loss=query_loss: task_by_task(query_loss)  # type: ignore[misc]
    return ways


def _learn2learn(package: Any, module: nn.Module, psi: float, support: Data, query: Data) -> Callable[[int], Tensor]:
    maml = package.MAML(module, lr=psi, first_order=False)

    def query_loss(task: int) -> Tensor:
        learner = maml.clone()
        learner.adapt(inner_loss(learner(support[0][task]), support[1][task]))
        return outer_loss(learner(query[0][task]), query[1][task])

    return query_loss


def _higher(package: Any, module: nn.Module, psi: float, support: Data, query: Data) -> Callable[[int], Tensor]:
    optimizer = torch.optim.SGD(module.parameters(), lr=psi)

    def query_loss(task: int) -> Tensor:
        with package.innerloop_ctx(module, optimizer, copy_initial_weights=False) as (functional, differentiable):
            differentiable.step(inner_loss(functional(support[0][task]), support[1][task]))
            return outer_loss(functional(query[0][task]), query[1][task])

    return query_loss


def _torchopt(package: Any, module: nn.Module, psi: float, support: Data, query: Data) -> Callable[[int], Tensor]:
    optimizer = package.MetaSGD(module, lr=psi)
    start, start_of_optimizer = package.extract_state_dict(module), package.extract_state_dict(optimizer)

    def query_loss(task: int) -> Tensor:
        optimizer.step(inner_loss(module(support[0][task]), support[1][task]))
        loss = outer_loss(module(query[0][task]), query[1][task])
        package.recover_state_dict(module, start)
        package.recover_state_dict(optimizer, start_of_optimizer)
        return loss

    return query_loss
