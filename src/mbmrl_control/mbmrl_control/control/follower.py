"""Path following: from an observation and an adapted model to the next leg speeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.millirobot.features import body_state, planar_pose
from mbmrl_base.robots.millirobot.layout import ACTION_SIZE, LEFT_PHASE, PITCH, RIGHT_PHASE, ROLL, STATE_SIZE, YAW
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_control.dynamics.network import Layers, Normalizer
from mbmrl_control.planning.planner import Plan, Planner
from mbmrl_control.planning.response import CommandResponse
from mbmrl_control.planning.rollout import roll_out
from mbmrl_control.tasks.path.cost import PathCost
from mbmrl_control.tasks.path.paths import ReferencePath

JUMP: Final = 2.0
"""Distance between two states from which the robot cannot have walked it, m."""


@dataclass(frozen=True)
class Tracking:
    """Where the robot is relative to the path; NaN but for the progress where that is not known.

    Attributes:
        cross_track: Signed distance, m, positive to the left of the path.
        progress: Distance covered along the path, m.
        heading_error: rad.
        cost: Cost of the last step as executed; NaN in the first one.
    """

    cross_track: float
    progress: float
    heading_error: float
    cost: float

    @property
    def figures(self) -> dict[str, float]:
        """The same by names with units."""
        return {
            "cross_track_m": self.cross_track,
            "progress_m": self.progress,
            "heading_error_rad": self.heading_error,
            "cost": self.cost,
        }


class PathTracker:
    """Follows the robot's progress along a path that starts where the robot stood at first."""

    def __init__(self, path: ReferencePath, cost: PathCost) -> None:
        """Take the path and the cost that is reported."""
        self.path = path
        self.cost = cost
        self.reset()

    def reset(self) -> None:
        """Let the path start at the next observation."""
        self.origin: Array | None = None
        """x, y (m) and yaw (rad) of the path's start in the frame of the observations."""
        self.progress = 0.0
        self._last: tuple[Tensor, Observation] | None = None
        self._jumped: Tensor | None = None

    def pose(self, observation: Observation) -> Tensor:
        """Pose on the path's own plane, shape (3,): x, y in m, yaw in rad."""
        pose = planar_pose(torch.from_numpy(observation.state))
        if self.origin is None:
            self.origin = pose.numpy().copy()
        x, y, yaw = (pose.numpy() - self.origin).tolist()
        cosine, sine = np.cos(self.origin[2]), np.sin(self.origin[2])
        return torch.tensor([cosine * x + sine * y, cosine * y - sine * x, yaw], dtype=torch.float32)

    def to_odom(self, points: Array, headings: Array) -> tuple[Array, Array]:
        """Points, shape (n, 2), m, and headings, shape (n,), rad, from the path's plane to the odom frame."""
        x, y, yaw = np.zeros(3) if self.origin is None else self.origin
        cosine, sine = np.cos(yaw), np.sin(yaw)
        turned = points @ np.array([[cosine, sine], [-sine, cosine]])
        return turned + np.array([x, y]), headings + yaw

    def reference(self) -> Array:
        """Points of the path in the odom frame, shape (n, 2), m."""
        return self.to_odom(self.path.points, self.path.headings)[0]

    def observe(self, observation: Observation) -> Tracking:
        """Measure where the robot is, and what its last step cost.

        A state that is not finite is not believed, nor is one that is a JUMP from the last one that was, until a
        second one agrees: then the robot is looked for along the whole path.
        """
        nan = float("nan")
        unknown = Tracking(nan, self.progress, nan, nan)
        if not np.isfinite(observation.state).all():
            return unknown
        if self._last is not None and self._last[1].episode != observation.episode:
            self.reset()
        pose = self.pose(observation)
        if self._last is not None and torch.dist(pose[:2], self._last[0][:2]) > JUMP:
            jumped, self._jumped = self._jumped, pose
            if jumped is None or torch.dist(pose[:2], jumped[:2]) > JUMP:
                return unknown
            projection = self.path.locate(pose[:2].numpy(), self.progress, self.path.whole)
            self._last = None
        else:
            projection = self.path.locate(pose[:2].numpy(), self.progress)
        self._jumped = None
        before, self.progress = self.progress, float(projection.progress)
        cost = nan
        if self._last is not None and observation.time > self._last[1].time:
            window = self.path.window(min(before, self.progress) - 0.15, max(before, self.progress) + 0.15)
            poses = torch.stack([self._last[0], pose])
            cost = float(self.cost.steps(window, poses, observation.time - self._last[1].time))
        self._last = (pose, observation)
        error = float(pose[2] - projection.heading)
        wrapped = float(np.arctan2(np.sin(error), np.cos(error)))
        return Tracking(float(projection.cross_track), self.progress, wrapped, cost)


class PathFollower:
    """Plans the next action; accounts for the actions that are still to come into force, and for how they do."""

    def __init__(self, tracker: PathTracker, planner: Planner, normalizer: Normalizer) -> None:
        """Plan with a planner along the tracker's path."""
        self.tracker = tracker
        self.planner = planner
        self.response = CommandResponse()
        self._normalizer = normalizer

    def warm_up(self, layers: Layers) -> None:
        """Plan from a made-up state with each number of candidates, so that no real plan is the first of its size."""
        state = np.zeros(STATE_SIZE)
        state[[pair.start for pair in (ROLL, PITCH, YAW, LEFT_PHASE, RIGHT_PHASE)]] = 1.0
        observation = Observation(state, np.zeros(ACTION_SIZE), 0.0, 0, 0, 0.0)
        budget = self.planner.budget
        # The most come last: what they take is what the first real plan is expected to take.
        for count in (*reversed(budget.levels), *[budget.levels[0]] * 4):
            budget.count = count
            self._search(layers, observation, [np.zeros(ACTION_SIZE)], math.inf)
        self.reset()

    def reset(self) -> None:
        """Forget the last plan and how commands came into force; the path starts at the next observation."""
        self.planner.reset()
        self.tracker.reset()
        self.response.reset()

    @torch.inference_mode()
    def plan(
        self, layers: Layers, observation: Observation, pending: Sequence[Array], deadline: float = math.inf
    ) -> Plan | None:
        """Plan from an observation that the tracker has seen.

        Args:
            layers: Adapted model, normalised.
            observation: The newest observation.
            pending: Actions, shape (2,) each, that come into force from the observation on, before the
                planned one can; the plan starts from where they lead.
            deadline: When the plan must be there, as of `Planner.plan`.

        Returns:
            The plan, or None where nothing finite was found. With a wanted speed of 0 it is one step of standing.
        """
        if not np.isfinite(observation.state).all():
            return None
        if self.planner.cost.speed == 0:
            # Legs that are planned turn, if slowly: to stand is no plan of theirs.
            self.planner.reset()
            return Plan(torch.zeros(1, ACTION_SIZE), self.tracker.pose(observation).expand(2, -1), 0.0, tried=1)
        return self._search(layers, observation, pending, deadline)

    def _search(
        self, layers: Layers, observation: Observation, pending: Sequence[Array], deadline: float
    ) -> Plan | None:
        folded = self._normalizer.fold(layers)
        body = body_state(torch.from_numpy(observation.state)).float()
        pose = self.tracker.pose(observation)
        sent = torch.as_tensor(np.array(pending), dtype=torch.float32).reshape(1, len(pending), ACTION_SIZE)
        if pending:
            self.response.observe(observation, pending[0])
            poses, bodies = roll_out(folded, body, pose, self.response.in_force(sent))
            body, pose = bodies[0], poses[0, -1]

        def in_force(commands: Tensor) -> Tensor:
            with_sent = torch.cat([sent.expand(len(commands), -1, -1), commands], dim=1)
            return self.response.in_force(with_sent)[:, len(pending) :]

        progress = self.tracker.progress
        steps = self.planner.settings.horizon + len(pending)
        reach = 2.0 * self.planner.cost.speed * self.planner.interval * steps
        window = self.tracker.path.window(progress - 0.15, progress + reach + 0.15)
        return self.planner.plan(folded, body, pose, window, deadline, in_force)
