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

from mbmrl_base.robots.robot import Robot
from mbmrl_control.benchmarks.gradients import module_of
from mbmrl_control.benchmarks.peers import PLANNERS, found
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.planning import Planner
from mbmrl_control.planning.cem import CrossEntropySettings
from mbmrl_control.planning.compiled import advance_, views
from mbmrl_control.planning.mppi import MppiSettings
from mbmrl_control.planning.quick import Layout
from mbmrl_control.tasks.path import PathCost, PathWindow

_TEMPERATURE: Final = MppiSettings().temperature
_ELITES: Final = CrossEntropySettings().elites
INFORMED: Final = "pytorch_mppi_bfloat16"
"""pytorch_mppi as whoever knows that products may be faster in bfloat16 calls it."""


@dataclass(frozen=True)
class Task:
    """What is planned: a planar robot all of whose states are seen, its model, the way, the cost, the control
    interval, s, and the state."""

    robot: Robot
    model: ReluNetwork
    normalizer: Normalizer
    window: PathWindow
    cost: PathCost
    interval: float
    state: Tensor

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of inputs, of units, and of outputs."""
        return (self.robot.features.input_size, *(len(bias) for _, bias in self.model.layers))

    def costs(self, trajectories: Trajectories) -> Tensor:
        """Cost of each step."""
        assert trajectories.poses is not None
        return self.cost.steps(self.window, trajectories.poses, self.interval)

    def start(self) -> Tensor:
        """The state at the start: what the model sees of it, planar pose, progress, cost."""
        rows, pose = Layout(self.robot.features).start(self.state)
        progress = self.window.project(pose[None, :2]).progress
        return torch.cat([rows[: len(rows) - len(self.robot.action_names)], pose, progress, torch.zeros(1)])

    def dynamics(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Next states of states and actions, shapes (n, states) and (n, m) -> (n, states), as most users write it.

        The network is frozen, as in pytorch_mppi's example of a learned model (tests/pendulum_approximate.py): no plan
        takes gradients, which would cost time, and memory for as long as something of the plan is kept.
        """
        network = module_of(self.normalizer.fold(self.model.layers)).requires_grad_(False)
        layout = Layout(self.robot.features)
        size = layout.size - len(self.robot.action_names)

        def step(state: Tensor, action: Tensor) -> Tensor:
            inputs = torch.cat([state[:, :size], action], 1)
            rows, pose = inputs.T.clone(), state[:, size : size + 3].T.clone()
            advance_(views(rows, layout.runs), pose, network(inputs).T, layout.runs)
            projection = self.window.project(pose[:2].T)
            advance = projection.progress - state[:, -2]
            cost = self.cost.of_step(projection, advance, pose[2], self.interval)
            return torch.cat([rows[:size], pose, projection.progress[None], cost[None]]).T

        return step


def contenders(task: Task, planner: Planner) -> dict[str, Callable[[], object]]:
    """One plan of each package that is installed, by name; of pytorch_mppi also under autocast, as INFORMED."""
    makers = {"pytorch_mppi": _pytorch_mppi, "torchrl": _torchrl, "mbrl": _mbrl}
    packages = {name: found(name) for name in PLANNERS}
    ways = {name: makers[name](package, task, planner) for name, package in packages.items() if package is not None}
    if "pytorch_mppi" in ways:
        ways[INFORMED] = torch.autocast("cpu", torch.bfloat16)(ways["pytorch_mppi"])
    return ways


def _pytorch_mppi(package: Any, task: Task, planner: Planner) -> Callable[[], object]:
    """As its README says."""
    start, (low, high) = task.start(), torch.from_numpy(task.robot.planned).float()
    controller = package.MPPI(
        task.dynamics(),
        lambda state, action: state[:, -1],
        len(start),
        torch.diag(planner.noise_std**2),
        num_samples=planner.settings.candidates,
        horizon=planner.settings.horizon,
        lambda_=_TEMPERATURE,
        u_min=low,
        u_max=high,
    )
    return lambda: controller.command(start)


def _mbrl(package: Any, task: Task, planner: Planner) -> Callable[[], object]:
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
    low, high = ([bound.tolist()] * planner.settings.horizon for bound in task.robot.planned)
    optimizer = package.MPPIOptimizer(
        num_iterations=1,
        population_size=planner.settings.candidates,
        gamma=1.0 / _TEMPERATURE,
        sigma=float(planner.noise_std[0]),
        beta=1.0 - planner.settings.correlation[0],
        lower_bound=low,
        upper_bound=high,
        device=torch.device("cpu"),
    )
    start = task.start().numpy()
    return lambda: optimizer.optimize(lambda actions: environment.evaluate_action_sequences(actions, start, 1))


def _torchrl(package: Any, task: Task, planner: Planner) -> Callable[[], object]:
    """Its CEM, the faster one of its planners, with one iteration."""
    data, tensordict = import_module("torchrl.data"), import_module("tensordict")

    class Environment(import_module("torchrl.envs.model_based").ModelBasedEnvBase):  # type: ignore[misc]
        def __init__(self, world_model: Any) -> None:
            super().__init__(world_model)
            state = data.Unbounded(task.start().shape)
            self.observation_spec, self.state_spec = data.Composite(state=state), data.Composite(state=state.clone())
            self.action_spec = data.Bounded(*torch.from_numpy(task.robot.planned).float())
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
    elites = max(2, round(_ELITES * planner.settings.candidates))
    search = package.CEMPlanner(Environment(model), planner.settings.horizon, 1, planner.settings.candidates, elites)
    start = tensordict.TensorDict({"state": task.start()}, [])

    def plan() -> object:
        with torch.no_grad():
            return search(start.clone())

    return plan
