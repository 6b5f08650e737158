"""Model predictive path integral control (Williams et al., ICRA 2017) over a learned model."""

from __future__ import annotations

import torch
from pydantic import Field

from mbmrl_base.toolkit.settings import tuned_between
from mbmrl_control.planning.planner import Evaluate, Plan, Planner, SamplingSettings


class MppiSettings(SamplingSettings):
    """Settings of MPPI."""

    temperature: float = Field(
        0.05,
        ge=1e-3,
        le=10.0,
        description="Temperature of mppi, as a share of the deviation of the sequences' costs",
        json_schema_extra=tuned_between(1e-3, 1.0, log=True),
    )


class Mppi(Planner):
    """Weighs the candidates by their costs; the plan is their mean."""

    name = "mppi"
    settings_type = MppiSettings
    settings: MppiSettings

    def _search(self, evaluate: Evaluate, count: int) -> Plan | None:
        candidates = self._around(self._nominal, self.noise_std, count, self.settings.held_share)
        poses, costs = evaluate(candidates)
        finite = torch.isfinite(costs)
        if not finite.any():
            return None
        spread = costs[finite].double().std(correction=0).clamp_min(1e-6) * self.settings.temperature
        weights = torch.softmax(-costs / spread, dim=0)
        actions = (weights[:, None, None] * candidates).sum(0)
        best = int(costs.argmin())
        return Plan(actions, None if poses is None else poses[best], float(costs[best]))
