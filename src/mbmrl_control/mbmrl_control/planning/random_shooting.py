"""Random shooting (Nagabandi et al., ICRA 2018), the planner of the paper's robot, over a learned model."""

from __future__ import annotations

import math

from mbmrl_control.planning.planner import Evaluate, Plan, Planner


class RandomShooting(Planner):
    """Takes the best of candidates that are drawn uniformly within the bounds, with no regard to the last plan."""

    name = "random_shooting"

    def _search(self, evaluate: Evaluate, count: int) -> Plan | None:
        candidates = self._with_held(self._uniform(count, self.settings.horizon), self.settings.held_share)
        poses, costs = evaluate(candidates)
        best = int(costs.argmin())
        if not math.isfinite(costs[best]):
            return None
        return Plan(candidates[best], None if poses is None else poses[best], float(costs[best]))
