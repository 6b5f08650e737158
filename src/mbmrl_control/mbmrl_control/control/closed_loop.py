"""Closed-loop runs without ROS: simulator, learner and controller in lock-step, seeded and deterministic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from mbmrl_base.robots.simulator import World
from mbmrl_control.control.controller import Controller, Situation
from mbmrl_control.control.run_record import Tick
from mbmrl_control.dynamics.open_loop import OpenLoop
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.learners.online import OnlineAdapter
from mbmrl_control.planning import RollOuts, SamplingSettings, make_planner
from mbmrl_control.tasks import DEFAULT_TASK, Task, make_task


def walk(
    world: World,
    prior: Prior,
    task: Task[Any] | str = DEFAULT_TASK,
    seed: int = 0,
    sampling: SamplingSettings | None = None,
    planner: str = "mppi",
    precision: str = "float32",
    open_loop: int = 0,
) -> Iterator[Tick]:
    """Do a task for ever, tick by tick, by the controller that the node runs.

    As in the nodes, the action that is planned from a state comes into force one interval later. Whoever
    iterates may inject faults into the world between ticks. A tick's planning time is known after the next one.

    Args:
        world: The robot, in its state at the start.
        prior: Prior of the learner that adapts.
        task: What to do; by its name it has its defaults.
        seed: Seed of the planner's samples.
        sampling: Settings of the planner; its defaults if None.
        planner: Name of the planner.
        precision: Of its roll-outs, see `RollOuts`.
        open_loop: Steps that the adapted model predicts ahead, to be compared with what comes; 0: none.

    Raises:
        ValueError: If there is no such task or planner, or the robot cannot do it.
    """
    interval = 1.0 / world.rate
    if isinstance(task, str):
        task = make_task(task, prior.robot, interval=interval)
    search = make_planner(planner, prior.robot, sampling, interval, seed, RollOuts(precision))
    controller = Controller(task, search, prior.normalizer)
    adapter, features = OnlineAdapter(prior), prior.features
    prediction = OpenLoop(features, prior.normalizer, open_loop, interval) if open_loop and features.position else None
    observation, adapted = world.observe(), False
    in_force, pending = 0, prior.robot.safe_action(observation.state)
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
        )
        if prediction and (expected := prediction.observe(observation, [model])) is not None:
            places = features.pose(torch.stack([expected[0], torch.from_numpy(observation.state)]))[:, :2]
            tick.open_loop_error = float(torch.dist(*places))
        yield tick
        adapted = bool(adaptation.update)
        start = time.perf_counter()
        decision = controller.decide(Situation(observation, model, adaptation.sequence, command_sequence=in_force))
        tick.planning_time = time.perf_counter() - start
        observation, in_force, pending = world.step(pending), decision.sequence - 1, decision.action
