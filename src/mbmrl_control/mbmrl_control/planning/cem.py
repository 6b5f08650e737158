"""Cross-entropy method (Botev et al., 2013); noise, warm start, kept elites as in iCEM (Pinneri et al., CoRL 2020)."""

from __future__ import annotations

from typing import Final

import torch
from pydantic import Field

from mbmrl_base.toolkit.settings import tuned_between
from mbmrl_control.planning.planner import Evaluate, Plan, Planner, SamplingSettings

KEPT: Final = 0.3
"""Share of the last elites that the next plan tries again, shifted."""


class CrossEntropySettings(SamplingSettings):
    """Settings of CEM."""

    iterations: int = Field(
        4, ge=1, le=100, description="Iterations of cem", json_schema_extra=tuned_between(2, 8, log=True)
    )
    elites: float = Field(
        0.1,
        gt=0.0,
        le=1.0,
        description="Share of an iteration's sequences that cem fits the next one to",
        json_schema_extra=tuned_between(0.01, 0.5, log=True),
    )


class CrossEntropy(Planner):
    """Fits mean and deviation of each step's actions to the best candidates, some times; takes the best of all.

    The best of an iteration stay in the choice in those that follow.
    """

    name = "cem"
    settings_type = CrossEntropySettings
    settings: CrossEntropySettings

    def reset(self) -> None:
        """Forget the last plan, and its elites."""
        super().reset()
        self._kept = self._nominal[None][:0]

    def _search(self, evaluate: Evaluate, count: int) -> Plan | None:
        settings = self.settings
        mean, deviation = self._nominal, self.noise_std.expand_as(self._nominal)
        elites, elite_costs = self._nominal[None][:0], self._nominal.new_empty(0)
        best: Plan | None = None
        iterations = min(settings.iterations, count)
        for iteration in range(iterations):
            # As many in all as another planner tries at once.
            share = count * (iteration + 1) // iterations - count * iteration // iterations
            # Clipped before they are rolled out: the elites are actions that the robot can take.
            candidates = self._around(mean, deviation, share, 0.0 if iteration else settings.held_share)
            if not iteration and len(self._kept):
                candidates[1 : 1 + len(self._kept)] = self._kept[: share - 1]
            poses, costs = evaluate(candidates)
            first = int(costs.argmin())
            if torch.isfinite(costs[first]) and (best is None or costs[first] < best.cost):
                best = Plan(candidates[first], None if poses is None else poses[first], float(costs[first]))
            tried, costs = torch.cat([candidates, elites]), torch.cat([costs, elite_costs])
            chosen = costs.argsort()[: max(2, round(settings.elites * share))]
            chosen = chosen[torch.isfinite(costs[chosen])]
            if len(chosen):
                elites, elite_costs = tried[chosen], costs[chosen]
                mean, deviation = elites.mean(0), elites.std(0, correction=0)
        # The best one is the plan, which the next plan tries anyway.
        kept = elites[1 : 1 + round(KEPT * len(elites))]
        self._kept = torch.cat([kept[:, 1:], kept[:, -1:]], 1)
        return best
