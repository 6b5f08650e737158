"""Figures of a run: the task before and after the fault, recovery, model error, times."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mbmrl_base.robots.observation import Array
from mbmrl_control.control.run_record import Record
from mbmrl_control.evaluation.units import is_error

START_UP: Final = 2.0
"""Time at the start of a run, in which the robot gets going, that counts for nothing, s."""
RECOVERY_WINDOW: Final = 2.0
"""Time over which the distance from the path is averaged to see whether the robot has recovered, s."""
RECOVERY_LEVEL: Final = 1.5
"""Share of the distance before the fault that counts as recovered."""
COST_RECOVERY_LEVEL: Final = 1.1
"""The same of the cost."""
WALKS: Final = 0.02
"""Speed ahead before the fault below which a robot does not walk, m/s: then it has nothing to recover."""
STRAYED: Final = 0.05
"""Distance from the path from which on a robot has left it, m."""
STANDS: Final = 0.1
"""Share of the speed before the fault below which the robot has stopped."""
OPEN_LOOP_STEPS: Final = 16
"""Steps, K, that the model predicts ahead where its open-loop error is measured."""


def _mean(values: Array) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _sizes(tracking: dict[str, Array]) -> dict[str, Array]:
    """Figures of a task but the cost; of errors the sizes."""
    return {name: np.abs(values) if is_error(name) else values for name, values in tracking.items() if name != "cost"}


def _percentiles(seconds: Array) -> dict[str, float | None]:
    finite = seconds[np.isfinite(seconds)] * 1e3
    return {
        name: float(np.percentile(finite, percent)) if len(finite) else None
        for name, percent in (("p50", 50), ("p99", 99))
    }


def recovery_time(time: Array, values: Array, fault_time: float, level: float = RECOVERY_LEVEL) -> float | None:
    """Time from the fault until the robot does as well as before, s.

    It is the first time from which on the mean, both over the next RECOVERY_WINDOW and over the rest of the
    run, exceeds the mean before the fault by at most a share of its size: a reward is a cost below 0.

    Args:
        time: Time of each tick, shape (n,), s.
        values: What is to be small, such as the distance from the path, shape (n,).
        fault_time: Time of the fault, s.
        level: 1 and the share.

    Returns:
        The time, or None where the robot does not recover.
    """
    before = values[(time >= START_UP) & (time < fault_time)]
    if not len(before):
        return None
    highest = before.mean() + (level - 1.0) * abs(before.mean())
    for start in np.flatnonzero(time >= fault_time):
        if time[-1] - time[start] < RECOVERY_WINDOW:
            break
        window = values[start:][time[start:] < time[start] + RECOVERY_WINDOW]
        if window.mean() <= highest and values[start:].mean() <= highest:
            return float(time[start] - fault_time)
    return None


def _speed(time: Array, progress: Array, ticks: NDArray[np.bool_]) -> float | None:
    """Progress along the path in some ticks, m/s; None if it is not known."""
    elapsed = float(np.ptp(time[ticks])) if ticks.any() else 0.0
    speed = float(np.diff(progress[ticks][[0, -1]])[0]) / elapsed if elapsed else np.nan
    return speed if np.isfinite(speed) else None


def _walks(time: Array, tracking: dict[str, Array], ticks: NDArray[np.bool_]) -> bool:
    """Whether the robot goes ahead in some ticks; of a task that does not tell it is taken to."""
    speed = None
    if "forward_speed_m_s" in tracking:
        speed = _mean(tracking["forward_speed_m_s"][ticks])
    elif "progress_m" in tracking:
        speed = _speed(time, tracking["progress_m"], ticks)
    return speed is None or speed >= WALKS


def summarise(record: Record, tracking: dict[str, Array], duration: float) -> dict[str, Any]:
    """The object of summary.json; None stands for what was not measured.

    Whether the robot has recovered is judged by its distance from the path, without one by the cost; one that did
    not walk before the fault has not. ``figures`` are those of the task: means, of errors of their sizes, and what
    they are at the end.

    Args:
        record: The run.
        tracking: What `Record.track` returns.
        duration: Time for which the run was planned, s.
    """
    time, fault_time = record.time, record.fault_time
    sizes = _sizes(tracking)
    distance = sizes.get("cross_track_m")
    judged = (tracking["cost"], COST_RECOVERY_LEVEL) if distance is None else (distance, RECOVERY_LEVEL)
    before = (time >= START_UP) & (time < (duration if fault_time is None else fault_time))
    after = time >= fault_time if fault_time is not None else np.zeros(len(time), dtype=bool)
    stood = not _walks(time, tracking, before)
    commanded = record.array("commanded")
    # Ticks count from the first one in which a command was in force.
    started = int(commanded.argmax()) if commanded.any() else len(commanded)
    active = commanded[started:]
    elapsed = float(time[-1] - time[started]) if len(active) > 1 else 0.0
    return {
        "robot": record.robot.name,
        "learner": record.learner,
        "task": record.task,
        "planner": record.planner,
        "seed": record.seed,
        "rate_hz": record.rate,
        "duration_s": duration,
        "ticks": len(active),
        "missed_ticks": int((active == 0).sum()),
        "command_rate_hz": float((active[1:].sum()) / elapsed) if elapsed else None,
        "fault": record.fault,
        "planning_ms": _percentiles(record.array("planning_time")),
        "adaptation_ms": _percentiles(record.array("adaptation_time")),
        "tracking_cost": {"before": _mean(tracking["cost"][before]), "after": _mean(tracking["cost"][after])},
        "figures": {
            name: {"before": _mean(values[before]), "after": _mean(values[after]), "end": _mean(values[-1:])}
            for name, values in sizes.items()
        },
        "recovery_s": None if fault_time is None or stood else recovery_time(time, judged[0], fault_time, judged[1]),
        "model_error": {
            "prior_after": _mean(record.array("prior_error")[after]),
            "adapted_after": _mean(record.array("adapted_error")[after]),
        },
    }


def before_and_after(record: Record, tracking: dict[str, Array], split: float) -> dict[str, float | None]:
    """Means of a run on both sides of a moment; None stands for what was not measured.

    Costs are per step, one-step errors of the model in use, dimensionless; open-loop errors over
    OPEN_LOOP_STEPS that lie on one side; ``on_back`` is the share of the time that the robot lies so; recovery is that
    of the cost; computing times are medians. ``lost`` is 1 if the robot left the path after the fault, stopped on it,
    or lies on its back at the end, else 0. One that did not walk before the fault is lost, and does not recover. What
    else a task reports has its own name.

    Args:
        record: The run.
        tracking: What `Record.track` returns.
        split: Time of the fault, or of where it would be, s.
    """
    time, sizes = record.time, _sizes(tracking)
    unknown = np.full(len(time), np.nan)
    progress, distance = (sizes.pop(name, unknown) for name in ("progress_m", "cross_track_m"))
    bodies = [record.robot.body(state) for state in record.states]
    upright = np.array([1.0 if body is None else np.cos(body.angles[:2]).prod() for body in bodies])
    figures: dict[str, float | None] = {}
    for side, ticks in (("before", (time >= START_UP) & (time < split)), ("after", time >= split)):
        foreseen = ticks & ((time < split) | (time >= split + OPEN_LOOP_STEPS / record.rate))
        figures[f"cost_{side}"] = _mean(tracking["cost"][ticks])
        figures |= {f"{name}_{side}": _mean(values[ticks]) for name, values in sizes.items()}
        figures[f"cross_track_{side}_m"] = _mean(distance[ticks])
        figures[f"speed_{side}_m_s"] = _speed(time, progress, ticks)
        figures[f"on_back_{side}"] = _mean((upright[ticks] < 0).astype(np.float64))
        figures[f"model_error_{side}"] = _mean(record.array("model_error")[ticks])
        figures[f"open_loop_error_{side}_m"] = _mean(record.array("open_loop_error")[foreseen])
    speed_before, speed_after = figures["speed_before_m_s"], figures["speed_after_m_s"]
    figures["speed_kept"] = speed_after / speed_before if speed_before and speed_after is not None else None
    stopped = figures["speed_kept"] is not None and figures["speed_kept"] < STANDS
    stood = not _walks(time, tracking, (time >= START_UP) & (time < split))
    figures["lost"] = float(stood or stopped or upright[-1] < 0 or bool((distance[time >= split] > STRAYED).any()))
    figures["recovery_s"] = None if stood else recovery_time(time, tracking["cost"], split, COST_RECOVERY_LEVEL)
    figures["adaptation_ms"] = _percentiles(record.array("adaptation_time"))["p50"]
    figures["planning_ms"] = _percentiles(record.array("planning_time"))["p50"]
    return figures
