"""Cross-entropy method (Botev et al., 2013; noise and warm start as in iCEM, Pinneri et al., CoRL 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from mbmrl_control.planning.planner import Evaluate, Plan, Planner


class CrossEntropy(Planner):
    """Fits mean and deviation of each step's actions to the best candidates, some times; takes the best of all."""

    name = "cem"

    def _search(self, evaluate: Evaluate, count: int) -> Plan | None:
        settings = self.settings
        mean, deviation = self._nominal, torch.full_like(self._nominal, settings.deviation)
        best: Plan | None = None
        iterations = min(settings.iterations, count)
        for iteration in range(iterations):
            # As many in all as another planner tries at once.
            share = count * (iteration + 1) // iterations - count * iteration // iterations
            # Clipped before they are rolled out: the elites are actions that the robot can take.
            candidates = self._around(mean, deviation, share, 0.0 if iteration else settings.constant)
            poses, costs = evaluate(candidates)
            chosen = costs.argsort()[: max(2, round(settings.elites * share))]
            chosen = chosen[torch.isfinite(costs[chosen])]
            if not len(chosen):
                continue
            first = int(chosen[0])
            if best is None or costs[first] < best.cost:
                best = Plan(candidates[first], poses[first], float(costs[first]))
            mean, deviation = _fit(candidates[chosen])
        return best


def _fit(elites: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of actions over candidates, shape (n, H, 2) -> (H, 2) twice, rad/s."""
    return elites.mean(0), elites.std(0, correction=0)
