"""Messages from and to what the core uses; nothing else. As in `mbmrl_sim`, each number is cast to its field's type."""

from __future__ import annotations

import array
import math

import numpy as np
import safetensors
import safetensors.torch
from geometry_msgs.msg import Point, PoseStamped, Twist
from nav_msgs.msg import Path as PathMessage
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit.conversions import (
    ODOM_FRAME,
    to_header,
    to_quaternion,
    to_roll_pitch_yaw,
)
from mbmrl_control.control.controller import Decision
from mbmrl_control.control.insight import RANKS, Insight
from mbmrl_control.control.steering import Report
from mbmrl_control.learners import Update
from mbmrl_control.learners.online import Adaptation, OnlineAdapter
from mbmrl_msgs.msg import AdaptationStatus, AdaptedModel, PlanInsight, PlannerStatus

_CHEAP, _DEAR = np.array([0.24, 0.7, 0.43, 0.9]), np.array([0.6, 0.6, 0.62, 0.4])
"""Colours of candidates, red, green, blue and opacity: the cheapest, and the most expensive one."""
_PRIOR, _ADAPTED = np.array([0.85, 0.33, 0.31, 1.0]), np.array([0.17, 0.63, 0.35, 1.0])
"""Colours of what the two models expect."""


def to_adapted_model(robot: str, adaptation: Adaptation, seconds: float, prior_hash: str, learner: str) -> AdaptedModel:
    """Message of an adaptation to observations of a robot up to a time in s."""
    update = adaptation.update
    content = safetensors.torch.save({name: t.contiguous() for name, t in update.items()}) if update else b""
    return AdaptedModel(
        header=to_header(seconds, ""),
        robot=robot,
        sequence=int(adaptation.sequence),
        state_sequence=int(adaptation.state_sequence),
        prior_hash=prior_hash,
        learner=learner,
        update=array.array("B", content),
    )


def from_adapted_model(message: AdaptedModel) -> Update:
    """Update of a message; empty where the prior itself is meant.

    Raises:
        ValueError: If the update is not in the safetensors format.
    """
    if not message.update:
        return {}
    try:
        return safetensors.torch.load(bytes(message.update))
    except (safetensors.SafetensorError, KeyError) as error:  # KeyError: a type that torch has not
        raise ValueError(f"an update is not in the safetensors format: {error}") from None


def to_adaptation_status(
    robot: str, adaptation: Adaptation, seconds: float, adapter: OnlineAdapter, surprise: float, duration: float
) -> AdaptationStatus:
    """Message of how an adaptation went; its duration in s."""
    return AdaptationStatus(
        header=to_header(seconds, ""),
        robot=robot,
        sequence=int(adaptation.sequence),
        state_sequence=int(adaptation.state_sequence),
        window_length=int(adaptation.window),
        window_capacity=int(adapter.capacity),
        prior_error=float(adaptation.prior_error),
        adapted_error=float(adaptation.adapted_error),
        weights_moved=adapter.weights_moved(),
        surprise=float(surprise),
        adaptation_time=float(duration),
        rejected=int(adaptation.rejected),
        skipped=int(adaptation.skipped),
        failed=int(adaptation.failed),
        members=[member.name for member in adapter.learner.members],
        member=int(adaptation.member),
        member_errors=list(map(float, adaptation.member_errors)),
        frozen=adapter.frozen,
    )


def to_planner_status(task: str, decision: Decision, report: Report, header: Header, prior_hash: str) -> PlannerStatus:
    """Message of what a tick has decided from a state with a header, and how far the robot has come."""
    figures = {name: float(value) for name, value in decision.figures.items() if name != "cost"}
    return PlannerStatus(
        header=header,
        command_sequence=int(decision.sequence),
        state_sequence=int(decision.state_sequence),
        prior_hash=prior_hash,
        model_sequence=int(decision.model_sequence),
        outcome=int(decision.outcome),
        candidates=int(decision.plan.tried) if decision.plan else 0,
        steered_by=report.order.by,
        steering=int(report.progress),
        remaining=float(report.remaining),
        task=task,
        figure_names=list(figures),
        figures=list(figures.values()),
        cost=float(decision.figures.get("cost", math.nan)),
    )


def to_plan_insight(robot: str, decision: Decision, insight: Insight, header: Header, interval: float) -> PlanInsight:
    """Message of what is behind a decision from a state with a header; the interval is the control interval, s."""

    def numbers(values: Array) -> array.array[float]:
        return array.array("f", values.astype(np.float32).ravel())

    return PlanInsight(
        header=header,
        robot=robot,
        state_sequence=int(decision.state_sequence),
        command_sequence=int(decision.sequence),
        interval=float(interval),
        expected=numbers(insight.expected),
        expected_by_prior=numbers(insight.expected_by_prior),
        candidates=len(insight.candidates),
        candidate_poses=numbers(insight.candidates),
        candidate_costs=numbers(insight.costs),
        term_names=list(insight.terms),
        runner_up_ranks=array.array("f", RANKS),
        terms=numbers(np.array(list(insight.terms.values())).T),
    )


def to_plan_markers(insight: Insight, seconds: float) -> MarkerArray:
    """Lines in the odom frame: where candidates lead, green to grey, the plan by the adapted model, and by the prior.

    They are as wide as a hundredth of the way that the candidates go.
    """
    header = to_header(seconds, ODOM_FRAME)
    ways = insight.candidates
    width = max(1e-3, 0.01 * float(np.linalg.norm(ways[:, -1, :2] - ways[:, 0, :2], axis=1).max(initial=0.0)))

    def marker(name: str, shape: int, lines: Array, colours: Array, wide: float) -> Marker:
        found = Marker(header=header, ns=name, type=shape, action=Marker.ADD)
        found.scale.x, found.pose.orientation.w = wide * width, 1.0
        found.points = [Point(x=float(x), y=float(y), z=0.0) for x, y in lines.reshape(-1, lines.shape[-1])[:, :2]]
        found.colors = [ColorRGBA(**dict(zip("rgba", map(float, each), strict=True))) for each in colours]
        return found

    pieces = np.stack([ways[:, :-1], ways[:, 1:]], axis=2)  # from one step to the next, for each candidate
    shares = np.linspace(0.0, 1.0, len(ways))[:, None]
    shades = (1.0 - shares) * _CHEAP + shares * _DEAR
    expected = ((insight.expected_by_prior, "expected by the prior", _PRIOR), (insight.expected, "expected", _ADAPTED))
    return MarkerArray(
        markers=[
            marker("candidates", Marker.LINE_LIST, pieces, shades.repeat(2 * (ways.shape[1] - 1), axis=0), 0.5),
            *(
                marker(name, Marker.LINE_STRIP, way, colour[None].repeat(len(way), 0), 2.0)
                for way, name, colour in expected
            ),
        ]
    )


def from_figures(status: PlannerStatus) -> dict[str, float]:
    """Figures of a planner's status by name, with ``cost``."""
    return dict(zip(status.figure_names, status.figures, strict=False)) | {"cost": status.cost}


def to_path(poses: Array, seconds: float) -> PathMessage:
    """Path message in the odom frame of planar poses, shape (n, 3), m and rad."""
    header = to_header(seconds, ODOM_FRAME)
    message = PathMessage(header=header)
    for x, y, heading in poses:
        pose = PoseStamped(header=header)
        pose.pose.position.x, pose.pose.position.y = float(x), float(y)
        pose.pose.orientation = to_quaternion((0.0, 0.0, heading))
        message.poses.append(pose)
    return message


def from_path(message: PathMessage, prefix: str = "") -> list[list[float]]:
    """x and y, m, of each point of a path in the odom frame, whose name may have a prefix.

    Raises:
        ValueError: If it is in another frame.
    """
    frame = message.header.frame_id
    for other in (frame, *(pose.header.frame_id or frame for pose in message.poses)):
        _check_frame(other, prefix)
    return [[pose.pose.position.x, pose.pose.position.y] for pose in message.poses]


def _check_frame(frame: str, prefix: str) -> None:
    if frame != (wanted := prefix + ODOM_FRAME):
        raise ValueError(f"it is in the frame {frame!r}, wanted is {wanted!r}")


def from_goal(message: PoseStamped, prefix: str = "") -> list[float]:
    """x and y, m, and yaw, rad, of a pose in the odom frame, whose name may have a prefix.

    Raises:
        ValueError: If it is in another frame, or its orientation is none.
    """
    _check_frame(message.header.frame_id, prefix)
    pose, q = message.pose, message.pose.orientation
    if not abs(math.hypot(q.x, q.y, q.z, q.w) - 1.0) < 0.1:  # nor is NaN
        raise ValueError("its orientation is no unit quaternion")
    return [pose.position.x, pose.position.y, to_roll_pitch_yaw(q)[2]]


def from_twist(message: Twist) -> tuple[float, float]:
    """Speed ahead, m/s, and turn rate, rad/s, of a velocity.

    Raises:
        ValueError: If it asks for anything else.
    """
    linear, angular = message.linear, message.angular
    others = {"linear.y": linear.y, "linear.z": linear.z, "angular.x": angular.x, "angular.y": angular.y}
    if wrong := [f"{name} is {value:g}" for name, value in others.items() if value != 0.0]:
        raise ValueError(f"its {', '.join(wrong)}: the robot goes ahead and turns, allowed is 0")
    return linear.x, angular.z


def path_start(message: PathMessage) -> Array:
    """x, y (m) and yaw (rad) of a path's first pose."""
    pose = message.poses[0].pose
    return np.array([pose.position.x, pose.position.y, to_roll_pitch_yaw(pose.orientation)[2]])
