"""Reads recorded runs to show them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mbmrl_base.toolkit.conversions import to_seconds
from mbmrl_control.dashboard.replay import Beside, Replay, replay_of
from mbmrl_control.nodes.bag_reader import RecordedRun, read_run
from mbmrl_control.nodes.dashboard_conversions import from_joint_state, from_plan_insight, from_poses, from_statuses


def read_replay(path: Path) -> tuple[RecordedRun, Replay]:
    """The run of a recording, or of a folder, see `read_run`, and how it is shown again.

    Raises:
        ValueError: If there is none, or it cannot be shown.
    """
    run = read_run(path)
    try:
        return run, replay_of_run(run)
    except ValueError as error:
        raise ValueError(f"{path} cannot be shown in 3-D: {error}") from None


def replay_of_run(run: RecordedRun) -> Replay:
    """How a run is shown again, with what else was recorded.

    Raises:
        ValueError: As of `replay_of`.
    """
    found = Beside()
    for topic, message in run.messages:
        _take(found, topic, message)
    return replay_of(run.record, found)


def _take(found: Beside, topic: str, message: Any) -> None:
    """Add what a message says."""
    match topic:
        case "robot_description":
            found.urdf = message.data
        case "joint_states":
            found.joints[to_seconds(message.header.stamp)] = from_joint_state(message)
        case "plan_insight":
            found.foresights[message.state_sequence] = from_plan_insight(message)
        case "planner_status":
            found.note(message.state_sequence, from_statuses(message, None))
        case "adaptation_status":
            found.note(message.state_sequence, from_statuses(None, message))
        case "reference_path":
            found.paths.append((to_seconds(message.header.stamp), from_poses(message)))
