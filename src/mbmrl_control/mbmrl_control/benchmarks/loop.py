"""The whole stack in its own processes, at a fixed rate: ticks missed, jitter, delay from state to command, memory."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from rclpy.node import Node

from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.spin import beside
from mbmrl_control.benchmarks.adaptation import INPUT_SIZE, OUTPUT_SIZE
from mbmrl_control.bringup.graph import SIM
from mbmrl_control.bringup.node_processes import NodeEndedError, Processes
from mbmrl_control.dynamics.network import initial_layers
from mbmrl_control.dynamics.prior import Prior, PriorSettings, load_prior
from mbmrl_control.learners import LEARNER_TYPES
from mbmrl_control.learners.grbal import Grbal
from mbmrl_control.learners.mb import ModelBased
from mbmrl_control.priors import shipped_prior
from mbmrl_msgs.msg import MotorCommand, PlannerStatus, RobotState

START_TIME: Final = 90.0
"""Time that the nodes have to get the robot walking, s."""
SETTLE_TIME: Final = 3.0
"""Time after the first plan from which on is measured, s."""
_SAMPLE: Final = 1.0
"""Time between two looks at the nodes' memory, s."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class LoopCase:
    """Rate, Hz, candidates, horizon, units of each hidden layer, and M of the adaptation."""

    rate: float
    candidates: int
    horizon: int
    width: int
    window: int = 32

    def __str__(self) -> str:
        """Its name in the results."""
        return f"{self.rate:g}Hz_{self.candidates}x{self.horizon}x{self.width}"


CASES: Final = (LoopCase(50.0, 1000, 20, 512), LoopCase(100.0, 500, 10, 256))


def random_prior(case: LoopCase, learner: str = Grbal.name) -> Prior:
    """A prior of the wanted size, rate and window with random weights, normalised as the shipped one."""
    generator = torch.Generator().manual_seed(0)
    layers = initial_layers((INPUT_SIZE, case.width, case.width, OUTPUT_SIZE), generator)
    kind = LEARNER_TYPES[learner]
    options = kind.settings_type()
    if hasattr(options, "inner_steps"):
        options = replace(options, inner_steps=1)
    extras = kind.initial(layers, options, generator)
    settings = PriorSettings(learner, case.window, case.rate, {"note": "random weights, to measure times with"})
    shipped = load_prior(shipped_prior(ModelBased.name))
    return Prior(layers, shipped.normalizer, settings, extras, robot=shipped.robot)


class Listener(Node):
    """Keeps when states and commands arrive, and what the planner reports of its ticks."""

    def __init__(self) -> None:
        """Subscribe."""
        super().__init__("loop_listener")
        self.states: dict[int, float] = {}
        """Arrival of each state, s of the monotonic clock, by its number."""
        self.delays: list[float] = []
        """From each state that a command was planned from to that command, s."""
        self.statuses: list[PlannerStatus] = []
        self.walking = threading.Event()
        """Set by the first plan."""
        self._answered = 0
        self.create_subscription(RobotState, "robot_state", self._take_state, qos.STATE)
        self.create_subscription(MotorCommand, "motor_command", self._take_command, qos.STATE)
        self.create_subscription(PlannerStatus, "planner_status", self._take_status, qos.STATE)

    def restart(self) -> None:
        """Forget what has come so far."""
        self.states, self.delays, self.statuses = {}, [], []

    def _take_state(self, message: RobotState) -> None:
        self.states[message.sequence] = time.monotonic()

    def _take_command(self, message: MotorCommand) -> None:
        arrival = self.states.get(message.state_sequence)
        if arrival is not None and message.state_sequence > self._answered:
            self._answered = message.state_sequence
            self.delays.append(time.monotonic() - arrival)

    def _take_status(self, message: PlannerStatus) -> None:
        self.statuses.append(message)
        if message.outcome == PlannerStatus.PLANNED:
            self.walking.set()


@dataclass
class _Process:
    """A node's process: its memory, bytes, open files, threads, and processor time, s, at each look."""

    folder: Path
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def look(self) -> None:
        for count, name in ((self.files, "fd"), (self.threads, "task")):
            count.append(len(os.listdir(self.folder / name)))
        self.memory.append(int((self.folder / "statm").read_text().split()[1]) * _PAGE)
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        self.processor.append(sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK"))


_MORE_PARAMETERS: Final = {
    "mpc_node": ("candidates", "horizon", "threads", "realtime_priority", "plan_share"),
    "adaptation_node": ("realtime_priority",),
}


def run_loop(
    case: LoopCase,
    duration: float,
    threads: int,
    priority: int = 0,
    prior: Prior | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
    watched: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> dict[str, Any]:
    """Run the stack for a time, s, and measure; planner and adaptation with a realtime priority, if above 0.

    Args:
        case: What is run.
        duration: s.
        threads: Of the planner.
        priority: Of planner and adaptation.
        prior: Adapted; a random one of the case's size, if none is given.
        more: Parameters and switches of the nodes beside those of the case.
        watched: Is entered when the robot walks, for the rest of the run.

    Returns:
        ``ticks``, those ``missed``, skipped or with a command only after the next one was due, and their share;
        ``jitter_ms``, start of the work after its tick; ``state_to_command_ms``, at a listener over DDS;
        ``planning_ms``; ``candidates`` that plans tried, ``outcomes``; and for each node ``memory_mb``, its
        ``memory_growth`` from the first to the last tenth of the time, ``files`` and ``threads`` in both, and
        ``cores``, the processors' time it took.

    Raises:
        NodeEndedError: If a node ended by itself, or nothing was planned.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (prior or random_prior(case)).save(folder / "prior.safetensors")
        values = {
            "seed": 0,
            "rate": case.rate,
            "path": "figure_eight",
            "checkpoint": str(folder / "prior.safetensors"),
            "candidates": case.candidates,
            "horizon": case.horizon,
            "threads": threads,
            "realtime_priority": priority,
            "plan_share": 0.65,
            **more,
        }
        nodes = [
            replace(node, parameters=(*node.parameters, *_MORE_PARAMETERS.get(node.executable, ()))) for node in SIM
        ]
        with beside(Listener) as listener, Processes(nodes, values, True, folder) as running:
            end = time.monotonic() + START_TIME
            while not listener.walking.wait(0.1):
                running.check()
                if time.monotonic() > end:
                    raise NodeEndedError(f"nothing was planned within {START_TIME:g} s")
            with watched():
                time.sleep(SETTLE_TIME)
                processes = {name: _Process(Path(f"/proc/{pid}")) for name, pid in running.pids.items()}
                listener.restart()
                start = time.monotonic()
                while (now := time.monotonic()) - start < duration:
                    for process in processes.values():
                        process.look()
                    running.check()
                    time.sleep(min(_SAMPLE, start + duration - now))
                elapsed = time.monotonic() - start
                statuses, delays = list(listener.statuses), list(listener.delays)
    return _figures(statuses, delays, processes, elapsed)


def _figures(
    statuses: list[PlannerStatus], delays: list[float], processes: dict[str, _Process], elapsed: float
) -> dict[str, Any]:
    first, last = statuses[0], statuses[-1]
    ticks = last.ticks - first.ticks
    missed = last.missed_ticks + last.late_ticks - first.missed_ticks - first.late_ticks
    planned = [status.candidates for status in statuses if status.outcome == PlannerStatus.PLANNED]
    names = ("PLANNED", "NO_STATE", "STOPPED", "NO_FINITE_PLAN", "LAST_PLAN")
    outcomes = {name: sum(s.outcome == getattr(PlannerStatus, name) for s in statuses) for name in names}

    def in_ms(values: list[float]) -> dict[str, float]:
        shares = {"p50": 50, "p99": 99, "p99.9": 99.9, "most": 100}
        return {name: float(np.percentile(values, share)) * 1e3 for name, share in shares.items()}

    figures: dict[str, Any] = {
        "seconds": elapsed,
        "ticks": ticks,
        "missed": missed,
        "missed_share": missed / max(ticks, 1),
        "jitter_ms": in_ms([status.start_delay for status in statuses]),
        "state_to_command_ms": in_ms(delays),
        "planning_ms": in_ms([status.planning_time for status in statuses]),
        "candidates": {"mean": float(np.mean(planned)), "fewest": int(min(planned))},
        "outcomes": {name: count for name, count in outcomes.items() if count},
        "nodes": {},
    }
    for name, process in processes.items():
        begin, end = _ends(process.memory)
        figures["nodes"][name] = {
            "memory_mb": end / 1e6,
            "memory_growth": end / begin - 1.0,
            "files": _ends(process.files),
            "threads": _ends(process.threads),
            "cores": (process.processor[-1] - process.processor[0]) / elapsed,
        }
    return figures


def _ends(values: list[int]) -> tuple[float, float]:
    """Medians of the first and the last tenth."""
    tenth = max(1, len(values) // 10)
    return float(np.median(values[:tenth])), float(np.median(values[-tenth:]))
