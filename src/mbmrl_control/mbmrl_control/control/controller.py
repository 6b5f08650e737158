"""One control tick: from what is known of the robot and its model to the action that is sent, and why."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import numpy as np
import torch

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_control.control.insight import Basis, Insight, explain
from mbmrl_control.dynamics.model import Model, ReluNetwork
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.planning import Plan, Planner
from mbmrl_control.planning.response import CommandResponse
from mbmrl_control.tasks import Task

MOST_PENDING: Final = 2
"""Commands that can be on their way; if there are more, they did not arrive."""
ABSURD: Final = 1e15
"""Size from which a number of a state is none: with less, squares are finite in single precision."""


class Outcome(IntEnum):
    """Why an action is what it is; the numbers are those of PlannerStatus."""

    PLANNED = 0
    NO_STATE = 1
    STOPPED = 2
    NO_FINITE_PLAN = 3
    LAST_PLAN = 4


@dataclass(frozen=True)
class Situation:
    """What is known in a tick.

    Attributes:
        observation: The newest one; None if there is none that can be used.
        model: The newest model.
        model_sequence: Its number; 0: the prior.
        age: Age of the observation, s.
        command_sequence: Number of the newest command that had come into force when it was made.
        stop: Why the robot is to be stopped; empty if it is not.
        deadline: When the plan must be there, as of `Planner.plan`.
    """

    observation: Observation | None
    model: Model
    model_sequence: int = 0
    age: float = 0.0
    command_sequence: int = 0
    stop: str = ""
    deadline: float = math.inf


@dataclass(frozen=True)
class Decision:
    """What a tick has decided.

    Attributes:
        action: The action to send, shape (m,); the robot's safe one unless it was planned.
        sequence: Number of the command.
        outcome: Why it is what it is.
        why: The same in words.
        state_sequence: Number of the observation that it was decided from; 0 if there was none.
        model_sequence: Number of the model that was planned with; 0: the prior, or none.
        figures: How the task goes, see `Task.observe`; NaN if not known.
        plan: The plan, if there is one.
        began: Whether an episode or a task began with it.
    """

    action: Array
    sequence: int
    outcome: Outcome
    why: str
    state_sequence: int = 0
    model_sequence: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    plan: Plan | None = None
    began: bool = False


class Controller:
    """Decides tick by tick; every failure ends in the robot's safe action."""

    def __init__(self, task: Task[Any], planner: Planner, normalizer: Normalizer, timeout: float = math.inf) -> None:
        """Take what is to be done, what plans, the model's normaliser, and the age from which a state is stale, s."""
        self.task = task
        self.planner = planner
        self.timeout = timeout
        self.response = CommandResponse(task.robot)
        self._robot, self._normalizer = task.robot, normalizer
        self._sent: deque[tuple[int, Array]] = deque(maxlen=8)
        self._newest: Array | None = None
        self._seen: Observation | None = None
        self._begins = False
        self._basis: Basis | None = None

    def use(self, task: Task[Any]) -> None:
        """Go on with a task: the same with other settings if it can take them, else from its beginning."""
        if type(task) is not type(self.task) or not self.task.change(task.settings):
            self.task, self._begins = task, True

    def plan_with(self, normalizer: Normalizer) -> None:
        """Take the normaliser of another prior, whose models come from now on."""
        self._normalizer = normalizer

    def warm_up(self, model: Model) -> None:
        """Plan from a made-up state with each number of candidates, so that no real plan is the first of its size."""
        state = np.zeros(len(self._robot.state_names))
        state[self._robot.features.cosines] = 1.0
        safe = self._robot.safe_action(state)
        observation = Observation(state, safe, 0.0, 0, 0, 0.0)
        self.task.observe(observation)
        budget = self.planner.budget
        # The most come last: what they take is what the first real plan is expected to take.
        for count in (*reversed(budget.levels), *[budget.levels[0]] * 4):
            budget.count = count
            self._plan(model, observation, [safe], math.inf)
        self._reset()

    def _reset(self) -> None:
        """Forget the last plan and how commands came into force; the task begins anew."""
        self.planner.reset()
        self.response.reset()
        self.task.reset()

    def prepare(self, model: Model) -> None:
        """Do what a plan with a model does before it sees a state, so that the next one has more time for the rest."""
        if isinstance(model, ReluNetwork):
            self.planner.roll_outs.prepare(self._normalizer, model)

    def decide(self, now: Situation) -> Decision:
        """What to send in this tick."""
        seen, unknown = now.observation, dict.fromkeys(self.task.figures, math.nan)
        if seen is None or not 0.0 <= now.age <= self.timeout:  # below 0 where a clock was set back
            stale = "there is no state" if seen is None else f"the newest state is {now.age:.3g} s old"
            return self.safe(Outcome.NO_STATE, stale, figures=unknown)
        known: dict[str, Any] = {"state_sequence": seen.sequence, "figures": unknown}
        if not (np.abs(seen.state) < ABSURD).all():  # nor is NaN
            return self.safe(Outcome.NO_STATE, "the state is not finite", **known)
        self._newest = seen.state
        if self._seen is None or seen.begins(self._seen):
            self._reset()
            known["began"] = True
        elif self._begins:
            # The robot walks meanwhile: its next actions go on from the last plan.
            self.task.reset()
            known["began"] = True
        self._seen, self._begins = seen, False
        figures = self.task.observe(seen)
        if figures is None:
            return self.safe(Outcome.NO_STATE, "the state cannot be believed", **known)
        known["figures"] = {name: float(value) for name, value in figures.items()}
        if now.stop:
            return self.safe(Outcome.STOPPED, now.stop, **known)
        known["model_sequence"] = now.model_sequence
        if self.task.stands:
            # Actions that are planned move the robot, if slowly: to stand is no plan of theirs.
            self.planner.reset()
            self._basis = None
            plan = Plan(torch.from_numpy(self._robot.safe_action(seen.state))[None], None, 0.0, tried=1)
            return self.safe(Outcome.PLANNED, "the task stands", plan=plan, **known)
        found = self._plan(now.model, seen, self._pending(seen, now.command_sequence), now.deadline)
        if found is None:
            return self.safe(Outcome.NO_FINITE_PLAN, "the model predicts nothing finite", **known)
        if found.tried:
            outcome, why = Outcome.PLANNED, "as planned"
        else:
            outcome, why = Outcome.LAST_PLAN, "there was no time for a plan: as the last one has it"
        # Single precision may have rounded the bounds outwards.
        action = np.clip(found.actions[0].numpy().astype(np.float64), self._robot.low, self._robot.high)
        return self._send(action, outcome, why, plan=found, **known)

    def safe(self, outcome: Outcome, why: str, **known: Any) -> Decision:
        """Send the robot's safe action, with what is known beside it of a `Decision`."""
        return self._send(self._robot.safe_action(self._newest), outcome, why, **known)

    def explain(self, decision: Decision, prior: Model) -> Insight | None:
        """What is behind a decision of the last tick; None if nothing was planned in it, or the robot is not planar."""
        basis, tried, plan = self._basis, self.planner.tried, decision.plan
        if decision.outcome is not Outcome.PLANNED or plan is None or basis is None or tried is None:
            return None
        return explain(self.task, self._normalizer, basis, prior, plan, tried)

    def _send(self, action: Array, outcome: Outcome, why: str, **known: Any) -> Decision:
        sequence = (self._sent[-1][0] if self._sent else 0) + 1
        self._sent.append((sequence, action))
        return Decision(action, sequence, outcome, why, **known)

    def _pending(self, seen: Observation, command_sequence: int) -> list[Array]:
        """Actions that come into force after an observation and before the one that is planned now.

        A command is in force from the first interval that starts after it arrived: those that were sent
        but that had not come into force with the observation.
        """
        pending = [action for sequence, action in self._sent if sequence > command_sequence]
        return pending[-MOST_PENDING:] or [seen.action]

    @torch.inference_mode()
    def _plan(self, model: Model, seen: Observation, pending: list[Array], deadline: float) -> Plan | None:
        self.response.observe(seen, pending[0])
        sent = torch.as_tensor(np.array(pending), dtype=torch.float32)[None]

        def in_force(commands: torch.Tensor) -> torch.Tensor:
            with_sent = torch.cat([sent.expand(len(commands), -1, -1), commands], dim=1)
            return self.response.in_force(with_sent)[:, len(pending) :]

        task, state = self.task, torch.from_numpy(seen.state)
        if task.frame is not None:
            state = self._robot.features.seen_from(state, torch.from_numpy(task.frame))
        self._basis = Basis(model, state, self.response.in_force(sent)[0], in_force)
        return self.planner.plan(
            model,
            self._normalizer,
            state,
            task.costs(self.planner.settings.horizon + len(pending)),
            deadline,
            in_force,
            sees_states=task.sees_states,
            pending=self._basis.pending,
        )
