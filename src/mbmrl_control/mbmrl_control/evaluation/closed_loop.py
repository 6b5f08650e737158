"""Closed-loop runs without ROS: simulator, learner and planner in lock-step, seeded and deterministic."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.evaluation.record import Tick
from mbmrl_control.learners.online import OnlineAdapter
from mbmrl_control.planning.follower import PathFollower, PathTracker
from mbmrl_control.planning.mppi import Mppi, MppiSettings
from mbmrl_control.tasks.cost import PathCost
from mbmrl_control.tasks.paths import make_path
from mbmrl_sim.world import World


def walk(
    world: World,
    prior: Prior,
    path: str,
    seed: int,
    mppi: MppiSettings | None = None,
    cost: PathCost | None = None,
) -> Iterator[Tick]:
    """Walk along a path for ever, tick by tick.

    As in the nodes, the action that is planned from a state comes into force one interval later. Whoever
    iterates may inject faults into the world between ticks.

    Args:
        world: The robot, in its state at the start.
        prior: Prior of the learner that adapts.
        path: Name of the path.
        seed: Seed of the planner's samples.
        mppi: Settings of the planner.
        cost: Cost that is planned for and reported.
    """
    cost = cost or PathCost()
    adapter = OnlineAdapter(prior)
    tracker = PathTracker(make_path(path), cost)
    planner = Mppi(mppi or MppiSettings(), cost, 1.0 / world.rate, seed)
    follower = PathFollower(tracker, planner, prior.normalizer)
    observation, pending = world.observe(), np.zeros(2)
    while True:
        adaptation = adapter.observe(observation)
        yield Tick(
            observation,
            commanded=True,
            lost_legs=world.lost_legs,
            prior_error=adaptation.prior_error,
            adapted_error=adaptation.adapted_error,
        )
        tracker.observe(observation)
        layers = adapter.learner.adapted_layers(adaptation.update)
        plan = follower.plan(layers, observation, [pending])
        planned = np.zeros(2) if plan is None else plan.actions[0].numpy().astype(np.float64)
        observation, pending = world.step(pending), planned
