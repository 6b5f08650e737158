"""The shipped prior drives the simulated robot, in lock-step."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import numpy as np
import pytest

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.layout import MIN_LEG_SPEED
from mbmrl_control.control.closed_loop import walk
from mbmrl_control.control.run_record import Record, Tick
from mbmrl_control.dynamics.prior import load_prior
from mbmrl_control.priors import shipped_prior
from mbmrl_sim.millirobot.world import World
from robot_testing import FOLLOW, PLANNER, path_task

RATE = 20.0


def run(seconds: float, seed: int, learner: str = "grbal", fault_at: float | None = None) -> list[Tick]:
    """Walk straight; a leg may be lost on the way."""
    world = World(seed, RATE)
    ticks = []
    for step, tick in enumerate(
        islice(walk(world, load_prior(shipped_prior(learner)), path_task("straight"), seed), round(seconds * RATE))
    ):
        if fault_at is not None and step == round(fault_at * RATE):
            world.inject(Fault(part="4"))
        ticks.append(tick)
    world.close()
    return ticks


def test_robot_walks_along_a_straight_path() -> None:
    ticks = run(6.0, seed=3)
    record = Record(load_robot("millirobot"), "grbal", FOLLOW, PLANNER, 3, RATE, None, None, ticks)
    tracking = record.track(path_task("straight"))
    walking = record.time > 1.0
    assert np.abs(tracking["cross_track_m"][walking]).max() < 0.05
    assert tracking["progress_m"][-1] > 0.5
    actions = np.array([tick.observation.action for tick in ticks])
    # It stands until the first plan, which is made of the first state, is in force.
    assert not actions[:2].any()
    assert (actions[2:] >= MIN_LEG_SPEED - 1e-4).all()


LIGHT = """
import itertools, sys
from mbmrl_base.robots.catalogue import load_robot
from mbmrl_control.control.closed_loop import walk
from mbmrl_control.priors import DEFAULT_LEARNER, load_shipped
from mbmrl_sim.millirobot.world import World
prior = load_shipped(DEFAULT_LEARNER, load_robot("millirobot"))
list(itertools.islice(walk(World(0, 20.0), prior, "move_forward", precision="bfloat16"), 60))
print({"torch._dynamo", "sympy", "matplotlib", "scipy", "viser", "rclpy"} & set(sys.modules))
"""


def test_default_learner_walks_without_what_takes_long_to_import() -> None:
    """Torch's compiler, which an optimiser imports, takes a second, before the walk or in the midst of it."""
    result = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "set()\n"), result.stderr


def test_wanted_speed_of_zero_stands() -> None:
    world = World(3, RATE)
    ticks = list(
        islice(walk(world, load_prior(shipped_prior("grbal")), path_task("straight", speed=0.0), 3), int(2 * RATE))
    )
    world.close()
    assert not np.array([tick.observation.action for tick in ticks]).any()
    places = np.array([tick.observation.state[:2] for tick in ticks])
    assert np.abs(places - places[0]).max() < 1e-3


@pytest.mark.parametrize("learner", ["grbal", "mb"])
def test_same_seed_same_walk_bit_for_bit(learner: str) -> None:
    first, again, other = (run(1.5, seed, learner, fault_at=0.5) for seed in (4, 4, 5))

    def states(ticks: list[Tick]) -> bytes:
        return np.array([tick.observation.state for tick in ticks]).tobytes()

    assert states(first) == states(again)
    assert states(first) != states(other)
    assert first[-1].adapted_error == again[-1].adapted_error
    assert (first[10].faults, first[11].faults) == ((), ("leg_loss:right_middle",))


def test_only_the_adaptive_learner_adapts() -> None:
    adaptive, plain = run(1.0, 4), run(1.0, 4, "mb")
    assert any(tick.adapted_error != tick.prior_error for tick in adaptive[5:])
    assert all(tick.adapted_error == tick.prior_error for tick in plain[1:])
