"""How fast the simulator is, against PyBullet alone on the same walking robot."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from typing import Any, Final

import numpy as np

from mbmrl_sim.bullet import pybullet
from mbmrl_sim.millirobot.physics import CRANKS, PHYSICS_STEP
from mbmrl_sim.millirobot.world import World

_SPEED: Final = 35.0
"""Leg speed at which the robot walks, rad/s."""
_BLOCK: Final = 1000
"""Physics steps between two looks at the clock."""


def _walk(world: World, steps: int) -> None:
    """Walk for a number of physics steps, in control intervals, as whoever uses the simulator does."""
    for _ in range(steps // world.substeps):
        world.step(np.full(2, _SPEED))


def _walking_world() -> World:
    world = World()
    _walk(world, _BLOCK)
    return world


def _bare_world() -> World:
    """A robot whose cranks PyBullet turns by itself, so that stepping needs nothing else."""
    world = _walking_world()
    world.physics.client.setJointMotorControlArray(
        world.physics.robot, CRANKS, pybullet.VELOCITY_CONTROL, targetVelocities=[_SPEED] * 2, forces=[0.03] * 2
    )
    return world


def _race(blocks: int) -> tuple[float, float]:
    """Steps per second of processor time: of the simulator, and of bare stepSimulation; taken in turns."""
    ours, bare = _walking_world(), _bare_world()
    step = bare.physics.client.stepSimulation
    times = []
    for _ in range(blocks):
        start = time.process_time()
        _walk(ours, _BLOCK)
        middle = time.process_time()
        for _ in range(_BLOCK):
            step()
        times.append((middle - start, time.process_time() - middle))
    ours_time, bare_time = np.median(times, axis=0)
    return _BLOCK / ours_time, _BLOCK / bare_time


def _work(barrier: Barrier, blocks: int) -> None:
    world = _walking_world()
    barrier.wait()
    _walk(world, blocks * _BLOCK)
    barrier.wait()


def _throughput(workers: int, blocks: int) -> float:
    """Steps per second of several processes together, by the clock on the wall."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers + 1)
    processes = [context.Process(target=_work, args=(barrier, blocks)) for _ in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    start = time.perf_counter()
    barrier.wait()
    duration = time.perf_counter() - start
    for process in processes:
        process.join()
    return workers * blocks * _BLOCK / duration


def measure_simulator(blocks: int = 20) -> dict[str, Any]:
    """Rates on flat ground.

    Args:
        blocks: How often 1000 physics steps are taken in each measurement.

    Returns:
        Steps per second of processor time (``steps_per_s``; ``bare_steps_per_s``: of stepSimulation alone),
        their ratio, the multiple of real time per core, and what two workers do of one's work.
    """
    ours, bare = _race(blocks)
    one, two = _throughput(1, blocks), _throughput(2, blocks)
    return {
        "steps_per_s": ours,
        "bare_steps_per_s": bare,
        "ratio": ours / bare,
        "real_time_factor": ours * PHYSICS_STEP,
        "two_workers": two / one,
    }
