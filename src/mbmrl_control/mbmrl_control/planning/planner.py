"""What all planners share: sampling within bounds, costs of candidates, and the warm start."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import NodeSettings, tuned_between
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.planning.rollout import RollOuts

_LEVELS: Final = 16
_MULTIPLE: Final = 16
_SHARE: Final = 0.9
"""Share of its time that a plan is meant to take."""
_GAIN: Final = 0.1
"""Weight of the last plan: a machine that is slow, or fast, now and then is not trusted at once."""

Evaluate = Callable[[Tensor], tuple[Tensor | None, Tensor]]
"""Poses, shape (n, H + 1, 3), if the robot is planar, and mean costs, shape (n,), of candidates, shape (n, H, m)."""


@dataclass(frozen=True)
class Tried:
    """Candidates, shape (n, H, m), their poses, shape (n, H + 1, 3), if planar, and mean costs, shape (n,)."""

    actions: Tensor
    poses: Tensor | None
    costs: Tensor


@dataclass(frozen=True)
class Plan:
    """A plan: actions, shape (H, m), poses of the best candidate, shape (H + 1, 3), if planar, and its cost.

    ``tried`` candidates were tried for it; if none was, for want of time, it is what the last plan has left, its
    poses are but the start, and its cost is NaN.
    """

    actions: Tensor
    poses: Tensor | None
    cost: float
    tried: int = 0


class SamplingSettings(NodeSettings):
    """What planners that sample have in common; of one number per action, a single one is for all actions."""

    candidates: int = Field(
        800, ge=2, le=100_000, description="Action sequences per plan, at most; all iterations together"
    )
    min_candidates: int = Field(
        100, ge=2, le=100_000, description="Action sequences per plan, at least, if the deadline allows them"
    )
    horizon: int = Field(
        16, ge=1, le=200, description="Steps of an action sequence", json_schema_extra=tuned_between(5, 40, log=True)
    )
    noise_std: tuple[float, ...] = Field(
        (0.0,),
        min_length=1,
        description="Deviation of the noise on each action, in its unit; of cem in its first iteration; 0: the robot's",
        json_schema_extra=tuned_between(0.2, 5.0, log=True),  # shares of the robot's
    )
    correlation: tuple[float, ...] = Field(
        (0.85,),
        min_length=1,
        description="Correlation of the noise on each action from step to step, 0 to below 1",
        json_schema_extra=tuned_between(0.0, 0.98),
    )
    held_share: float = Field(
        0.3,
        ge=0.0,
        le=1.0,
        description="Share of the sequences, of cem in its first iteration, that hold one random action: so a planner"
        " leaves a plan that no small change improves, as after a fault",
        json_schema_extra=tuned_between(0.0, 1.0),
    )


class CandidateBudget:
    """As many candidates as the machine tries in the time of a plan, within bounds.

    They come in a few levels only: the first products of a size take longer than those that follow.
    """

    def __init__(self, least: int, most: int) -> None:
        """Begin with the most."""
        step = max(1, most // (_LEVELS * _MULTIPLE)) * _MULTIPLE
        least = min(least, most)
        self.levels = (most, *range((most - 1) // step * step, least, -step), least) if least < most else (most,)
        """All that there may be, the most first."""
        self.count = most
        """Candidates of the next plan."""
        self._capacity = float(most)

    def observe(self, tried: int, used: float) -> None:
        """Take in how many candidates the last plan tried, and which share of its time it took."""
        capacity = min(float(self.levels[0]), _SHARE * tried / max(used, 1e-6))
        self._capacity += _GAIN * (capacity - self._capacity)
        fitting = [level for level in self.levels if level <= self._capacity + 0.5]
        self.count = fitting[0] if fitting else self.levels[-1]


class Planner(ABC):
    """Sampling planner with warm start; seeded, so that the same calls give the same plans."""

    name: ClassVar[str]
    settings_type: ClassVar[type[SamplingSettings]] = SamplingSettings

    def __init__(
        self,
        robot: Robot,
        settings: SamplingSettings,
        interval: float,
        seed: int = 0,
        roll_outs: RollOuts | None = None,
    ) -> None:
        """Take the robot, the settings, the control interval in s, and what rolls out; one thread if None.

        Raises:
            ValueError: If an action has no bounds, or the settings do not fit the robot's actions.
        """
        self.robot = robot
        self.settings = settings
        self.interval = interval
        self.roll_outs = roll_outs or RollOuts()
        self.budget = CandidateBudget(settings.min_candidates, settings.candidates)
        low, high = robot.planned
        self._low, self._range, self._high, self._middle = (
            torch.from_numpy(values).float() for values in (low, high - low, high, (low + high) / 2)
        )
        given = self._of_each("noise_std", math.inf)
        self.noise_std = torch.from_numpy(np.where(given == 0.0, robot.noise_std, given)).float()
        """Deviation of the noise on each action, shape (m,)."""
        steps = torch.arange(settings.horizon)
        apart = (steps - steps.unsqueeze(1)).abs()
        # Each turns white noise into noise that is correlated from step to step.
        self._colours = [
            torch.linalg.cholesky(share ** apart.double()).float() for share in self._of_each("correlation", 1.0)
        ]
        self._generator = torch.Generator().manual_seed(seed)
        self.reset()

    def _of_each(self, name: str, limit: float) -> Array:
        """A setting of each action, shape (m,), from 0 to below a limit."""
        given, actions = getattr(self.settings, name), self.robot.action_names
        if len(given) not in (1, len(actions)):
            raise ValueError(
                f"{name} has {len(given)} numbers: allowed is one for all actions, or one each for {', '.join(actions)}"
            )
        if not all(0.0 <= number < limit for number in given):
            raise ValueError(f"{name} is {list(given)}: allowed is from 0 to below {limit:g}")
        return np.broadcast_to(np.array(given), len(actions))

    def reset(self) -> None:
        """Forget the last plan."""
        self._nominal = self._middle.repeat(self.settings.horizon, 1)
        self._planned_ahead = 0
        self.tried: Tried | None = None
        """What the last plan was chosen among, of several iterations the last one; None if there was none."""

    @torch.inference_mode()
    def plan(
        self,
        model: Model,
        normalizer: Normalizer,
        state: Tensor,
        costs: Callable[[Trajectories], Tensor],
        deadline: float = math.inf,
        in_force: Callable[[Tensor], Tensor] = lambda commands: commands,
        sees_states: bool = True,
        pending: Tensor | None = None,
    ) -> Plan | None:
        """Plan from a state.

        Args:
            model: Model of the robot, of normalised numbers.
            normalizer: Its normaliser.
            state: State at the start, shape (n,); in double precision, and in the frame in which costs and the
                plan's poses are wanted (`Features.seen_from`): there, near the origin, single precision is enough.
            costs: Cost of each step of trajectories, shape (count, H); threads call it at the same time.
            deadline: When the plan must be there, s of the monotonic clock. When it nears, the best so far is
                taken, or what the last plan has left; how long plans take decides how many candidates they have.
            in_force: Actions that candidates put in force, both of shape (count, H, m).
            sees_states: Whether the costs need states; those that need no more than poses are quicker.
            pending: Actions, shape (p, m), that are in force before those that are planned can be; trajectories
                start where they lead.

        Returns:
            The plan, or None if no candidate has a finite cost; then the last plan is forgotten.
        """
        before = self._nominal[:0] if pending is None else pending
        roll_out = self.roll_outs.ready(self.robot.features, normalizer, model, state, before, sees_states)
        begin, tried = time.monotonic(), 0  # of what takes as long as there are candidates

        def mean_cost(trajectories: Trajectories) -> Tensor:
            means = costs(trajectories).mean(1)
            # What is not finite cannot win: it costs infinitely much.
            return torch.where(torch.isfinite(means), means, torch.inf)

        def evaluate(candidates: Tensor) -> tuple[Tensor | None, Tensor]:
            nonlocal tried
            outcome = self.roll_outs.evaluate(roll_out, in_force(candidates), mean_cost, deadline)
            tried += outcome.tried
            self.tried = Tried(candidates, outcome.poses, outcome.costs)
            return outcome.poses, outcome.costs

        plan = self._search(evaluate, self.budget.count)
        if deadline < math.inf:
            used = (time.monotonic() - begin) / max(deadline - begin, 1e-6)
            self.budget.observe(tried, used)
        if plan is not None:
            plan = replace(plan, tried=tried)
            self._planned_ahead = self.settings.horizon
        elif tried == 0 and self._planned_ahead > 0:
            features = self.robot.features
            plan = Plan(self._nominal, features.pose(state[None]).float() if features.position else None, math.nan)
        else:
            self.reset()
            return None
        # Warm start: what was planned for the next step is the next plan's first step.
        self._nominal = torch.cat([plan.actions[1:], plan.actions[-1:]])
        self._planned_ahead -= 1
        return plan

    @abstractmethod
    def _search(self, evaluate: Evaluate, count: int) -> Plan | None:
        """Search near the last plan with a number of candidates; None if nothing finite was found."""

    def _around(self, mean: Tensor, std: Tensor, count: int, held: float) -> Tensor:
        """Candidates, shape (count, H, m): a mean, and noise around it; a share of them holds a random action."""
        white = torch.randn(count, *self._nominal.shape, generator=self._generator)
        white[0] = 0.0
        noise = [
            colour @ part for colour, part in zip(self._colours, white.tensor_split(white.shape[2], dim=2), strict=True)
        ]
        return self._with_held(mean + std * torch.cat(noise, dim=2), held)

    def _uniform(self, count: int, steps: int) -> Tensor:
        """Actions anywhere within the bounds, shape (count, steps, m)."""
        share = torch.rand(count, steps, len(self._low), generator=self._generator)
        return self._low + self._range * share

    def _with_held(self, candidates: Tensor, share: float) -> Tensor:
        """Candidates within the bounds, of which the last ones hold one random action."""
        held = round(share * len(candidates))
        if held:
            candidates[-held:] = self._uniform(held, 1)
        return candidates.clamp_(self._low, self._high)
