"""Closed-loop runs without ROS: simulator, learner and planner in lock-step, seeded and deterministic."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import numpy as np
import torch

from mbmrl_base.robots.features import Features
from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.simulator import Simulator
from mbmrl_control.control.follower import PathFollower, PathTracker
from mbmrl_control.control.run_record import Tick
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.dynamics.rollout import roll_out
from mbmrl_control.learners.online import OnlineAdapter
from mbmrl_control.planning import RollOuts, SamplingSettings, make_planner
from mbmrl_control.tasks.path.cost import PathCost
from mbmrl_control.tasks.path.paths import make_path


class OpenLoop:
    """Compares where the robot is with where the model, as it was adapted K steps ago, expected it to be."""

    def __init__(self, features: Features, normalizer: Normalizer, steps: int) -> None:
        """Predict a number of steps ahead, K."""
        self._features, self._normalizer = features, normalizer
        self._past: deque[tuple[Observation, Model]] = deque(maxlen=steps)

    @torch.inference_mode()
    def observe(self, observation: Observation, model: Model) -> float:
        """Take in an observation and the model adapted to it.

        Returns:
            Distance of the place from that predicted with the actions since applied, m; NaN in the first K ticks.
        """
        error = float("nan")
        if self._past and len(self._past) == self._past.maxlen:
            start, earlier = self._past[0]
            applied = np.array([seen.action for seen, _ in [*self._past, (observation, model)]][1:])
            actions = torch.from_numpy(applied).unsqueeze(0)
            predicted = roll_out(self._features, self._normalizer, earlier, torch.from_numpy(start.state), actions)
            place = self._features.position
            error = float(np.linalg.norm(predicted.states[0, -1, place].numpy() - observation.state[place]))
        self._past.append((observation, model))
        return error


def walk(
    world: Simulator,
    prior: Prior,
    path: str,
    seed: int,
    sampling: SamplingSettings | None = None,
    cost: PathCost | None = None,
    planner: str = "mppi",
    precision: str = "float32",
    open_loop: int = 0,
) -> Iterator[Tick]:
    """Walk along a path for ever, tick by tick.

    As in the nodes, the action that is planned from a state comes into force one interval later. Whoever
    iterates may inject faults into the world between ticks. A tick's planning time is known after the next one.

    Args:
        world: The robot, in its state at the start.
        prior: Prior of the learner that adapts.
        path: Name of the path.
        seed: Seed of the planner's samples.
        sampling: Settings of the planner.
        cost: Cost that is planned for and reported.
        planner: Name of the planner.
        precision: Of its roll-outs, see `RollOuts`.
        open_loop: Steps that the adapted model predicts ahead, to be compared with what comes; 0: none.
    """
    cost = cost or PathCost()
    adapter = OnlineAdapter(prior)
    tracker = PathTracker(prior.robot, make_path(path), cost)
    search = make_planner(planner, prior.robot, sampling, 1.0 / world.rate, seed, RollOuts(precision))
    follower = PathFollower(tracker, search, prior.normalizer)
    prediction = OpenLoop(prior.features, prior.normalizer, open_loop)
    observation, pending, adapted = world.observe(), np.zeros(2), False
    while True:
        start = time.perf_counter()
        adaptation = adapter.observe(observation)
        model = adapter.learner.adapted_model(adaptation.update)
        tick = Tick(
            observation,
            commanded=True,
            faults=tuple(map(str, world.faults)),
            prior_error=adaptation.prior_error,
            adapted_error=adaptation.adapted_error,
            model_error=adaptation.adapted_error if adapted else adaptation.prior_error,
            adaptation_time=time.perf_counter() - start,
            open_loop_error=prediction.observe(observation, model),
        )
        yield tick
        adapted = bool(adaptation.update)
        start = time.perf_counter()
        tracker.observe(observation)
        plan = follower.plan(model, observation, [pending])
        tick.planning_time = time.perf_counter() - start
        planned = np.zeros(2) if plan is None else plan.actions[0].numpy().astype(np.float64)
        observation, pending = world.step(pending), planned
