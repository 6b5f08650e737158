"""Path following: from an observation and an adapted model to the next leg speeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.planning.planner import Plan, Planner
from mbmrl_control.planning.response import CommandResponse
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

    def __init__(self, robot: Robot, path: ReferencePath, cost: PathCost) -> None:
        """Take the robot, the path and the cost that is reported."""
        self.robot = robot
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

    def state(self, observation: Observation) -> Tensor:
        """State on the path's own plane, shape (n,), in double precision."""
        state = torch.from_numpy(observation.state)
        if self.origin is None:
            self.origin = self.robot.features.pose(state).numpy().copy()
        return self.robot.features.seen_from(state, torch.from_numpy(self.origin))

    def pose(self, observation: Observation) -> Tensor:
        """Pose on the path's own plane, shape (3,): x, y in m, yaw in rad."""
        return self.robot.features.pose(self.state(observation)).float()

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
        self.response = CommandResponse(tracker.robot)
        self._normalizer = normalizer

    def warm_up(self, model: Model) -> None:
        """Plan from a made-up state with each number of candidates, so that no real plan is the first of its size."""
        robot = self.tracker.robot
        state = np.zeros(len(robot.state_names))
        state[robot.features.cosines] = 1.0
        safe = robot.safe_action(state)
        observation = Observation(state, safe, 0.0, 0, 0, 0.0)
        budget = self.planner.budget
        # The most come last: what they take is what the first real plan is expected to take.
        for count in (*reversed(budget.levels), *[budget.levels[0]] * 4):
            budget.count = count
            self._search(model, observation, [safe], math.inf)
        self.reset()

    def reset(self) -> None:
        """Forget the last plan and how commands came into force; the path starts at the next observation."""
        self.planner.reset()
        self.tracker.reset()
        self.response.reset()

    @torch.inference_mode()
    def plan(
        self, model: Model, observation: Observation, pending: Sequence[Array], deadline: float = math.inf
    ) -> Plan | None:
        """Plan from an observation that the tracker has seen.

        Args:
            model: Adapted model.
            observation: The newest observation.
            pending: Actions, shape (m,) each, that come into force from the observation on, before the
                planned one can; the plan starts from where they lead.
            deadline: When the plan must be there, as of `Planner.plan`.

        Returns:
            The plan, or None if nothing finite was found. With a wanted speed of 0 it is one step of standing.
        """
        if not np.isfinite(observation.state).all():
            return None
        if self.tracker.cost.speed == 0:
            # Legs that are planned turn, if slowly: to stand is no plan of theirs.
            self.planner.reset()
            safe = torch.from_numpy(self.tracker.robot.safe_action(observation.state))[None]
            return Plan(safe, self.tracker.pose(observation).expand(2, -1), 0.0, tried=1)
        return self._search(model, observation, pending, deadline)

    def _search(self, model: Model, observation: Observation, pending: Sequence[Array], deadline: float) -> Plan | None:
        cost, interval = self.tracker.cost, self.planner.interval
        count = len(pending)
        sent = torch.as_tensor(np.array(pending), dtype=torch.float32).reshape(1, count, len(observation.action))
        if pending:
            self.response.observe(observation, pending[0])

        def in_force(commands: Tensor) -> Tensor:
            with_sent = torch.cat([sent.expand(len(commands), -1, -1), commands], dim=1)
            return self.response.in_force(with_sent)[:, count:]

        progress = self.tracker.progress
        reach = 2.0 * cost.speed * interval * (self.planner.settings.horizon + count)
        window = self.tracker.path.window(progress - 0.15, progress + reach + 0.15)

        def costs(trajectories: Trajectories) -> Tensor:
            assert trajectories.poses is not None
            return cost.steps(window, trajectories.poses, interval)

        before = self.response.in_force(sent)[0]
        return self.planner.plan(
            model,
            self._normalizer,
            self.tracker.state(observation),
            costs,
            deadline,
            in_force,
            sees_states=False,
            pending=before,
        )
