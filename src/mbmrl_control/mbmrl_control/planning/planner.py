"""What all planners share: settings, sampling within bounds, costs of candidates, and the warm start."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from mbmrl_base.robots.millirobot.layout import ACTION_SIZE, MAX_LEG_SPEED, MIN_LEG_SPEED
from mbmrl_control.dynamics.network import Layers
from mbmrl_control.planning.budget import CandidateBudget
from mbmrl_control.planning.rollout import RollOuts
from mbmrl_control.tasks.path.cost import PathCost
from mbmrl_control.tasks.path.paths import PathWindow

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Poses, shape (n, H + 1, 3), and mean costs, shape (n,), of candidates, shape (n, H, 2)."""


@dataclass(frozen=True)
class SamplingSettings:
    """Settings of a planner; each uses those that it has a use for.

    Attributes:
        candidates: Action sequences that are tried in each plan, by all iterations together; with a deadline, at
            most.
        fewest: Action sequences that a plan with a deadline has at least, where the deadline lets them be tried.
        horizon: Steps of an action sequence.
        deviation: Standard deviation of the noise on leg speeds, rad/s; of CEM in its first iteration.
        correlation: Correlation of the noise from one step to the next, 0 to below 1.
        temperature: Sharpness of MPPI's weighting, as a share of the deviation of the candidates' costs.
        constant: Share of the candidates (of CEM in its first iteration) that hold one random action, anywhere
            within the bounds: so the planner leaves a plan that no small change improves, as after a fault.
        iterations: Iterations of CEM.
        elites: Share of an iteration's candidates that CEM fits the next one to.
    """

    candidates: int = 800
    horizon: int = 16
    deviation: float = 12.0
    correlation: float = 0.85
    temperature: float = 0.05
    constant: float = 0.3
    iterations: int = 4
    elites: float = 0.1
    fewest: int = 100


@dataclass(frozen=True)
class Plan:
    """A plan: actions, shape (H, 2), rad/s, poses of the best candidate, shape (H + 1, 3), and its cost.

    ``tried`` candidates were tried for it; where none was, for want of time, it is what the last plan has left, its
    poses are but the start, and its cost is NaN.
    """

    actions: Tensor
    poses: Tensor
    cost: float
    tried: int = 0


class Planner(ABC):
    """Sampling planner with warm start; seeded, so that the same calls give the same plans."""

    name: ClassVar[str]

    def __init__(
        self,
        settings: SamplingSettings,
        cost: PathCost,
        interval: float,
        seed: int = 0,
        roll_outs: RollOuts | None = None,
    ) -> None:
        """Take the settings, the cost, the control interval in s, and what rolls out; one thread where None."""
        self.settings = settings
        self.cost = cost
        self.interval = interval
        self.roll_outs = roll_outs or RollOuts()
        self.budget = CandidateBudget(settings.fewest, settings.candidates)
        self._generator = torch.Generator().manual_seed(seed)
        steps = torch.arange(settings.horizon)
        covariance = settings.correlation ** (steps - steps.unsqueeze(1)).abs().double()
        # Turns white noise into noise that is correlated from step to step.
        self._colour = torch.linalg.cholesky(covariance).float()
        self.reset()

    def reset(self) -> None:
        """Forget the last plan."""
        middle = (MIN_LEG_SPEED + MAX_LEG_SPEED) / 2
        self._nominal = torch.full((self.settings.horizon, ACTION_SIZE), middle)
        self._planned_ahead = 0

    @torch.inference_mode()
    def plan(
        self,
        layers: Layers,
        body: Tensor,
        pose: Tensor,
        window: PathWindow,
        deadline: float = math.inf,
        in_force: Callable[[Tensor], Tensor] = lambda commands: commands,
    ) -> Plan | None:
        """Plan from a state.

        Args:
            layers: Model from raw inputs to raw outputs.
            body: Body state at the start, shape (20,).
            pose: Planar pose at the start, shape (3,).
            window: Stretch of the path that can be reached within the horizon.
            deadline: When the plan must be there, s of the monotonic clock. When it nears, the best so far is
                taken, or what the last plan has left; how long plans take decides how many candidates they have.
            in_force: Actions that candidates put in force, both of shape (n, H, 2).

        Returns:
            The plan, or None where no candidate has a finite cost; then the last plan is forgotten.
        """
        begin, tried = time.monotonic(), 0

        def mean_cost(poses: Tensor) -> Tensor:
            costs = self.cost.steps(window, poses, self.interval).mean(1)
            # What is not finite cannot win: it costs infinitely much.
            return torch.where(torch.isfinite(costs), costs, torch.inf)

        def evaluate(candidates: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal tried
            outcome = self.roll_outs.evaluate(layers, body, pose, in_force(candidates), mean_cost, deadline)
            tried += outcome.tried
            return outcome.poses, outcome.costs

        plan = self._search(evaluate, self.budget.count)
        if deadline < math.inf:
            used = (time.monotonic() - begin) / max(deadline - begin, 1e-6)
            self.budget.observe(tried, used)
        if plan is not None:
            plan = replace(plan, tried=tried)
            self._planned_ahead = self.settings.horizon
        elif tried == 0 and self._planned_ahead > 0:
            plan = Plan(self._nominal, pose.unsqueeze(0), math.nan)
        else:
            self.reset()
            return None
        # Warm start: what was planned for the next step is the next plan's first step.
        self._nominal = torch.cat([plan.actions[1:], plan.actions[-1:]])
        self._planned_ahead -= 1
        return plan

    @abstractmethod
    def _search(self, evaluate: Evaluate, count: int) -> Plan | None:
        """Search near the last plan with a number of candidates; None where nothing finite was found."""

    def _around(self, mean: Tensor, deviation: float | Tensor, count: int, held: float) -> Tensor:
        """Candidates, shape (count, H, 2): a mean, and noise around it; a share of them holds a random action."""
        white = torch.randn(count, self.settings.horizon, ACTION_SIZE, generator=self._generator)
        white[0] = 0.0
        return self._with_held(mean + deviation * (self._colour @ white), held)

    def _uniform(self, count: int, steps: int) -> Tensor:
        """Actions anywhere within the bounds, shape (count, steps, 2)."""
        share = torch.rand(count, steps, ACTION_SIZE, generator=self._generator)
        return MIN_LEG_SPEED + (MAX_LEG_SPEED - MIN_LEG_SPEED) * share

    def _with_held(self, candidates: Tensor, share: float) -> Tensor:
        """Candidates within the bounds, of which the last ones hold one random action."""
        held = round(share * len(candidates))
        if held:
            candidates[-held:] = self._uniform(held, 1)
        return candidates.clamp_(MIN_LEG_SPEED, MAX_LEG_SPEED)
