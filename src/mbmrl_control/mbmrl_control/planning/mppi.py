"""Model predictive path integral control (Williams et al., ICRA 2017) over a learned model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mbmrl_control.dynamics.network import Layers
from mbmrl_control.planning.rollout import roll_out
from mbmrl_control.tasks.cost import PathCost
from mbmrl_control.tasks.paths import PathWindow
from mbmrl_sim.state import ACTION_SIZE, MAX_LEG_SPEED, MIN_LEG_SPEED


@dataclass(frozen=True)
class MppiSettings:
    """Settings of the planner.

    Attributes:
        candidates: Action sequences that are tried in each plan.
        horizon: Steps of an action sequence.
        deviation: Standard deviation of the noise on leg speeds, rad/s.
        correlation: Correlation of the noise from one step to the next, 0 to below 1.
        temperature: Sharpness of the weighting, as a share of the deviation of the candidates' costs.
        constant: Share of the candidates that hold one random action, anywhere within the bounds: so the
            planner leaves a plan that no small change improves, as after a fault.
    """

    candidates: int = 200
    horizon: int = 18
    deviation: float = 12.0
    correlation: float = 0.85
    temperature: float = 0.05
    constant: float = 0.3


@dataclass(frozen=True)
class Plan:
    """A plan: actions, shape (H, 2), rad/s, poses that it should lead through, shape (H + 1, 3), its cost."""

    actions: Tensor
    poses: Tensor
    cost: float


class Mppi:
    """Sampling planner with warm start; seeded, so that the same calls give the same plans."""

    def __init__(self, settings: MppiSettings, cost: PathCost, interval: float, seed: int = 0) -> None:
        """Take the settings, the cost, and the control interval in s."""
        self.settings = settings
        self.cost = cost
        self.interval = interval
        self._generator = torch.Generator().manual_seed(seed)
        steps = torch.arange(settings.horizon)
        covariance = settings.correlation ** (steps - steps.unsqueeze(1)).abs().double()
        # Turns white noise into noise that is correlated from step to step.
        self._colour = settings.deviation * torch.linalg.cholesky(covariance).float()
        self.reset()

    def reset(self) -> None:
        """Forget the last plan."""
        middle = (MIN_LEG_SPEED + MAX_LEG_SPEED) / 2
        self._nominal = torch.full((self.settings.horizon, ACTION_SIZE), middle)

    @torch.inference_mode()
    def plan(self, layers: Layers, body: Tensor, pose: Tensor, window: PathWindow) -> Plan | None:
        """Plan from a state.

        Args:
            layers: Model from raw inputs to raw outputs.
            body: Body state at the start, shape (20,).
            pose: Planar pose at the start, shape (3,).
            window: Stretch of the path that can be reached within the horizon.

        Returns:
            The plan, or None where no candidate has a finite cost; then the last plan is forgotten.
        """
        candidates = self._sample()
        poses, _ = roll_out(layers, body, pose, candidates)
        costs = self.cost.steps(window, poses, self.interval).mean(1)
        # What is not finite cannot win: it has infinite cost and so no weight.
        finite = torch.isfinite(costs)
        if not finite.any():
            self.reset()
            return None
        spread = costs[finite].double().std(correction=0).clamp_min(1e-6) * self.settings.temperature
        costs = torch.where(finite, costs, torch.inf)
        weights = torch.softmax(-costs / spread, dim=0)
        actions = (weights[:, None, None] * candidates).sum(0)
        best = int(costs.argmin())
        # Warm start: what was planned for the next step is the next plan's first step.
        self._nominal = torch.cat([actions[1:], actions[-1:]])
        return Plan(actions, poses[best], float(costs[best]))

    def _sample(self) -> Tensor:
        """Candidates, shape (n, H, 2): the last plan, and noise around it."""
        settings = self.settings
        white = torch.randn(settings.candidates, settings.horizon, ACTION_SIZE, generator=self._generator)
        white[0] = 0.0
        candidates: Tensor = self._nominal + self._colour @ white
        held = round(settings.constant * settings.candidates)
        if held:
            spread = torch.rand(held, 1, ACTION_SIZE, generator=self._generator)
            candidates[-held:] = MIN_LEG_SPEED + (MAX_LEG_SPEED - MIN_LEG_SPEED) * spread
        return candidates.clamp_(MIN_LEG_SPEED, MAX_LEG_SPEED)
