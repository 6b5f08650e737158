"""Messages to what the page shows; nothing else."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Pose
from nav_msgs.msg import Path as PathMessage
from sensor_msgs.msg import JointState

from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit.conversions import to_roll_pitch_yaw
from mbmrl_control.dashboard.snapshot import NO_PATH, Foresight
from mbmrl_msgs.msg import AdaptationStatus, PlanInsight, PlannerStatus


def from_pose(pose: Pose) -> tuple[Array, Array]:
    """Position, shape (3,), m, and quaternion, w first, of a pose."""
    place, turn = pose.position, pose.orientation
    return np.array([place.x, place.y, place.z]), np.array([turn.w, turn.x, turn.y, turn.z])


def from_poses(message: PathMessage) -> Array:
    """Planar poses of a path, shape (n, 3), m and rad."""
    if not message.poses:
        return NO_PATH
    poses = [each.pose for each in message.poses]
    return np.array([(p.position.x, p.position.y, to_roll_pitch_yaw(p.orientation)[2]) for p in poses])


def from_joint_state(message: JointState) -> dict[str, float]:
    """Positions of joints by name."""
    return dict(zip(message.name, message.position, strict=False))


def from_statuses(planner: PlannerStatus | None, adaptation: AdaptationStatus | None) -> dict[str, float]:
    """What the page plots of a planner's and an adaptation's status."""
    numbers: dict[str, float] = {}
    if planner is not None:
        numbers |= dict(zip(planner.figure_names, planner.figures, strict=False))
        numbers |= {"cost": planner.cost, "planning_time": planner.planning_time}
    if adaptation is not None:
        names = ("prior_error", "adapted_error", "weights_moved", "surprise")
        numbers |= {name: getattr(adaptation, name) for name in names}
    return numbers


def from_plan_insight(message: PlanInsight) -> Foresight:
    """What a plan was chosen among.

    Raises:
        ValueError: If its arrays do not fit together.
    """
    rows = 1 + len(message.runner_up_ranks)
    lengths = {
        "expected_by_prior": len(message.expected),
        "candidate_poses": message.candidates * len(message.expected),
        "terms": rows * len(message.term_names),
    }
    if not message.expected or not message.candidates or len(message.expected) % 3:
        raise ValueError("a plan's expected poses, or its candidates, are missing or cut")
    for name, wanted in lengths.items():
        if len(getattr(message, name)) != wanted:
            raise ValueError(f"{name} has {len(getattr(message, name))} numbers: {wanted} fit to the others")
    terms = np.array(message.terms).reshape(rows, -1).T
    poses = np.array(message.candidate_poses).reshape(message.candidates, -1, 3)
    return Foresight(
        np.array(message.expected).reshape(-1, 3),
        np.array(message.expected_by_prior).reshape(-1, 3),
        poses,
        dict(zip(message.term_names, terms, strict=True)),
        np.array(message.runner_up_ranks),
    )
