"""What the benchmarks compare is the same: model, cost and sizes; and what they tell of a loop."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from mbmrl_control.benchmarks import page, planning
from mbmrl_control.benchmarks.dashboard import viewer
from mbmrl_control.benchmarks.handover import LEARNERS, WHOLE, updates
from mbmrl_control.benchmarks.loop import LoopCase, random_prior
from mbmrl_control.benchmarks.timing import interleaved
from mbmrl_control.dashboard.server import PageServer
from mbmrl_control.dynamics.prior import PriorError
from mbmrl_control.planning.rollout import RollOuts
from robot_testing import MILLIROBOT


def test_peers_plan_with_the_same_model_and_cost() -> None:
    """Candidates cost the same, rolled out step by step as the peers do it, and as the planner does it."""
    task = planning.task(width=32, horizon=6)
    actions = 12.0 + 40.0 * torch.rand(50, 6, 2, generator=torch.Generator().manual_seed(0))
    step, state, total = task.dynamics(), task.start().expand(50, -1), torch.zeros(50)
    with torch.no_grad():
        for action in actions.unbind(1):
            state = step(state, action)
            total += state[:, -1]

    roll_outs = RollOuts()
    ready = roll_outs.ready(task.robot.features, task.normalizer, task.model, task.state, actions[0, :0], False)
    ours = roll_outs.evaluate(ready, actions, lambda found: task.costs(found).sum(1))
    torch.testing.assert_close(total, ours.costs, rtol=1e-4, atol=1e-4)
    assert total.std() > 0


def test_peers_take_no_gradients() -> None:
    """Else a plan is slower than its author has it, and keeps what gradients need."""
    task = planning.task(width=32, horizon=6)
    assert not task.dynamics()(task.start().expand(5, -1), torch.full((5, 2), 20.0)).requires_grad


class Cycle:
    """Garbage that counting references does not free."""

    def __init__(self) -> None:
        self.itself = self


def test_garbage_is_collected_between_the_calls_and_as_python_does_it_within() -> None:
    alive: list[weakref.ref[Cycle]] = []
    most = 0

    def call() -> None:
        nonlocal most
        assert gc.isenabled()
        most = max(most, sum(cycle() is not None for cycle in alive))
        alive.append(weakref.ref(Cycle()))

    times = interleaved({"one": call, "other": call}, rounds=20)
    assert [len(taken) for taken in times.values()] == [20, 20]
    assert (most, gc.get_freeze_count()) == (0, 0)


def test_prior_of_the_loop_is_taken_at_its_rate_only() -> None:
    prior = random_prior(LoopCase(50.0, 1000, 20, 24, window=7))
    prior.check_rate(50.0)
    assert prior.robot == MILLIROBOT
    assert [len(bias) for _, bias in prior.layers[:-1]] == [24, 24]
    assert prior.settings.window == 7
    with pytest.raises(PriorError, match="the prior predicts at 50 Hz, not at 20 Hz"):
        prior.check_rate(20.0)


def test_updates_that_are_handed_over_fit_and_are_no_larger_than_the_network() -> None:
    given = updates(width=48, window=4)
    assert set(given) == {*LEARNERS, WHOLE}
    sizes = {name: sum(tensor.numel() for tensor in update.values()) for name, (_, update) in given.items()}
    assert sizes["rebal"] < sizes["bayes_last_layer"] < sizes[WHOLE]
    assert sizes["grbal"] < sizes[WHOLE]
    for learner, update in given.values():
        assert np.isfinite(
            [float(tensor.abs().sum()) for layer in learner.adapted_layers(update) for tensor in layer]
        ).all()


def test_page_keeps_what_was_measured_before(tmp_path: Path) -> None:
    conditions = page.machine(threads=2) | {"load": 0.5}
    handover = {"rebal": {"bytes": 328, "delay_ms": {"p50": 0.7, "p99": 0.9}, "lost": 0, "apply_ms": {"p50": 0.03}}}
    contenders = {"mbmrl": {"alone": {"p50": 20.0}, "busy": {"p50": 28.0, "p99": 31.0}, "slowdown": 1.4}}
    growth = {name: [(1, 2.0), (2, 3.0)] for name in ("candidates", "horizon", "width", "threads")}
    growth |= {"base": "1000x20x512", "calculated": {"4 cores": 9.0}}
    page.write({"neighbour": {"1000x20x512": contenders}, "growth": growth}, tmp_path, conditions)
    written = page.write({"handover": handover}, tmp_path, conditions | {"load": 7.5})
    assert all(file.is_file() for file in written)
    text = (tmp_path / "performance.md").read_text()
    assert "| mbmrl | 20.0 | 28.0 | 31.0 | 1.40 |" in text
    assert "| rebal | 0.3 | 0.70 | 0.90 | 0 | 0.030 |" in text
    assert "**Calculated, not measured**" in text
    assert text.count("threads: 2, load 7.5") == 1


def test_viewer_of_a_page_counts_as_one_and_goes() -> None:
    server = PageServer("127.0.0.1", 0)
    came, went = threading.Event(), threading.Event()
    server.viser.on_client_connect(lambda _: came.set())
    server.viser.on_client_disconnect(lambda _: went.set())
    with viewer(server.address):
        assert came.wait(60)
        assert len(server.viser.get_clients()) == 1
    assert went.wait(60)
    server.close()
