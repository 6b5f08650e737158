"""How others plan: the contenders of the benchmark of planning.

All have the same network, with the normalisation folded into it, the same integration of what it predicts, and the
same cost of a step; each tries as many action sequences, once. What their states carry beside the robot's is the
progress along the path, which the cost of the next step needs, and the cost of the step that led there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final

import torch
from torch import Tensor

from mbmrl_base.robots.millirobot.features import BODY_SIZE, advance_
from mbmrl_base.robots.millirobot.layout import ACTION_SIZE, MAX_LEG_SPEED, MIN_LEG_SPEED
from mbmrl_control.benchmarks.gradients import module_of
from mbmrl_control.benchmarks.peers import found
from mbmrl_control.dynamics.network import Layers
from mbmrl_control.planning import SamplingSettings
from mbmrl_control.tasks.path.cost import PathCost
from mbmrl_control.tasks.path.paths import PathWindow

PEERS: Final = ("pytorch_mppi", "torchrl", "mbrl")
INFORMED: Final = "pytorch_mppi_bfloat16"
"""pytorch_mppi as whoever knows that products may be faster in bfloat16 calls it."""
_STATE_SIZE: Final = BODY_SIZE + 5
"""Body state, planar pose, progress, cost."""


@dataclass(frozen=True)
class Task:
    """What is planned: the model, raw inputs to raw outputs, the way, the cost, and the control interval, s."""

    layers: Layers
    window: PathWindow
    cost: PathCost
    interval: float
    body: Tensor
    pose: Tensor

    def start(self) -> Tensor:
        """The state at the start, shape (25,)."""
        progress = self.window.project(self.pose[None, :2]).progress
        return torch.cat([self.body, self.pose, progress, torch.zeros(1)])

    def dynamics(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Next states of states and actions, shapes (n, 25) and (n, 2) -> (n, 25), as most users write it.

        The network is frozen, as in pytorch_mppi's example of a learned model (tests/pendulum_approximate.py): no plan
        takes gradients, which would cost time, and memory for as long as something of the plan is kept.
        """
        network = module_of(self.layers).requires_grad_(False)

        def step(state: Tensor, action: Tensor) -> Tensor:
            body, pose = state[:, :BODY_SIZE].T.clone(), state[:, BODY_SIZE : BODY_SIZE + 3].T.clone()
            advance_(body, pose, network(torch.cat([state[:, :BODY_SIZE], action], 1)).T)
            projection = self.window.project(pose[:2].T)
            advance = projection.progress - state[:, -2]
            cost = self.cost.of_step(projection, advance, pose[2], self.interval)
            return torch.cat([body, pose, projection.progress[None], cost[None]]).T

        return step


def contenders(task: Task, settings: SamplingSettings) -> dict[str, Callable[[], object]]:
    """One plan of each package that is installed, by name; of pytorch_mppi also under autocast, as INFORMED."""
    makers = {"pytorch_mppi": _pytorch_mppi, "torchrl": _torchrl, "mbrl": _mbrl}
    packages = {name: found(name) for name in PEERS}
    ways = {name: makers[name](package, task, settings) for name, package in packages.items() if package is not None}
    if "pytorch_mppi" in ways:
        ways[INFORMED] = torch.autocast("cpu", torch.bfloat16)(ways["pytorch_mppi"])
    return ways


def _pytorch_mppi(package: Any, task: Task, settings: SamplingSettings) -> Callable[[], object]:
    """As its README says."""
    controller = package.MPPI(
        task.dynamics(),
        lambda state, action: state[:, -1],
        _STATE_SIZE,
        torch.eye(ACTION_SIZE) * settings.deviation**2,
        num_samples=settings.candidates,
        horizon=settings.horizon,
        lambda_=settings.temperature,
        u_min=torch.full((ACTION_SIZE,), MIN_LEG_SPEED),
        u_max=torch.full((ACTION_SIZE,), MAX_LEG_SPEED),
    )
    start = task.start()
    return lambda: controller.command(start)


def _mbrl(package: Any, task: Task, settings: SamplingSettings) -> Callable[[], object]:
    """Its MPPI, on its environment around a model."""
    dynamics = task.dynamics()

    class Model:
        device = torch.device("cpu")

        def reset(self, states: Any, rng: object) -> dict[str, Tensor]:
            return {"state": torch.from_numpy(states)}

        def sample(self, actions: Tensor, model_state: dict[str, Tensor], **_: object) -> tuple[Any, ...]:
            state = dynamics(model_state["state"], actions)
            return state, -state[:, -1:], None, {"state": state}

    def never(actions: Tensor, states: Tensor) -> Tensor:
        return torch.zeros(len(states), 1, dtype=torch.bool)

    environment = import_module("mbrl.models").ModelEnv(
        SimpleNamespace(observation_space=None, action_space=None), Model(), never
    )
    low, high = ([[bound] * ACTION_SIZE] * settings.horizon for bound in (MIN_LEG_SPEED, MAX_LEG_SPEED))
    optimizer = package.MPPIOptimizer(
        num_iterations=1,
        population_size=settings.candidates,
        gamma=1.0 / settings.temperature,
        sigma=settings.deviation,
        beta=1.0 - settings.correlation,
        lower_bound=low,
        upper_bound=high,
        device=torch.device("cpu"),
    )
    start = task.start().numpy()
    return lambda: optimizer.optimize(lambda actions: environment.evaluate_action_sequences(actions, start, 1))


def _torchrl(package: Any, task: Task, settings: SamplingSettings) -> Callable[[], object]:
    """Its CEM, the faster one of its planners, with one iteration."""
    data, tensordict = import_module("torchrl.data"), import_module("tensordict")

    class Environment(import_module("torchrl.envs.model_based").ModelBasedEnvBase):  # type: ignore[misc]
        def __init__(self, world_model: Any) -> None:
            super().__init__(world_model)
            state = data.Unbounded((_STATE_SIZE,))
            self.observation_spec, self.state_spec = data.Composite(state=state), data.Composite(state=state.clone())
            self.action_spec = data.Bounded(MIN_LEG_SPEED, MAX_LEG_SPEED, (ACTION_SIZE,))
            self.reward_spec = data.Unbounded((1,))

        def _reset(self, _: Any) -> Any:
            raise NotImplementedError

    dynamics = task.dynamics()

    def world(state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        following = dynamics(state, action)
        return following, -following[:, -1:]

    model = import_module("tensordict.nn").TensorDictModule(
        world, in_keys=["state", "action"], out_keys=["state", "reward"]
    )
    elites = max(2, round(settings.elites * settings.candidates))
    planner = package.CEMPlanner(Environment(model), settings.horizon, 1, settings.candidates, elites)
    start = tensordict.TensorDict({"state": task.start()}, [])

    def plan() -> object:
        with torch.no_grad():
            return planner(start.clone())

    return plan
