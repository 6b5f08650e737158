"""A committee of learners, of which the one is planned with whose model lately predicted best what is planned with.

All members adapt in each tick. How they are judged is what a planner suffers from: how far the robot is from where a
member expected it some steps ago, given the actions since applied. Who errs less by a margin takes over (a switching
controller with hysteresis, Morse, Mayne and Goodwin, IEEE Transactions on Automatic Control 37(9), 1992).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.features import Features
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.network import Layers, Normalizer
from mbmrl_control.dynamics.open_loop import OpenLoop
from mbmrl_control.dynamics.prior import Prior, PriorError, layers_of
from mbmrl_control.dynamics.rollout import roll_out, transition
from mbmrl_control.learners.base import Learner, NetworkLearner, Update

STEPS: Final = 8
"""Steps, K, ahead that members are judged by."""
JUDGED: Final = 20
"""Ticks over which their errors are averaged."""
_FEWEST: Final = 4
"""Ticks from which on there is a choice."""
_MARGIN: Final = 0.9
"""Share of the present member's error below which another one takes over."""


class Committee(Learner):
    """Several priors in one; an update is that of one of them.

    Attributes:
        members: The members; the first one's prior is that of the committee.
    """

    name = "committee"

    def __init__(self, layers: Layers, extras: Mapping[str, Tensor]) -> None:
        """Make the members from what `join` has put together."""
        from mbmrl_control.learners import LEARNER_TYPES

        super().__init__(layers, extras)
        parts: dict[tuple[int, str], dict[str, Tensor]] = {}
        for name, tensor in extras.items():
            number, _, rest = name.partition(".")
            learner, _, rest = rest.partition(".")
            if not number.isdecimal() or learner not in LEARNER_TYPES or not rest:
                raise ValueError(f"a prior of committee has no member for its tensor {name}")
            parts.setdefault((int(number), learner), {})[rest] = tensor
        if not parts or [number for number, _ in sorted(parts)] != list(range(len(parts))):
            raise ValueError("a prior of committee needs members with numbers from 0 on")
        self.members = [_member(LEARNER_TYPES[key[1]], parts[key]) for key in sorted(parts)]

    @classmethod
    def initial(cls, layers: Layers, settings: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Refuse: its members are trained one by one."""
        raise ValueError("a committee is not trained, but its members")

    def adapt(self, inputs: Tensor, targets: Tensor) -> Update:
        """Refuse: its members adapt one by one, see `OnlineAdapter`."""
        raise ValueError("a committee does not adapt, but its members")

    def fitted_model(self, inputs: Tensor, targets: Tensor) -> Model:
        """Refuse, as `adapt` does."""
        raise ValueError("a committee does not adapt, but its members")

    def update_of(self, member: int, update: Update) -> Update:
        """The update that chooses a member, and is its own."""
        return {"member": torch.tensor([member]), **update}

    def adapted_model(self, update: Update) -> Model:
        """The model of the member that the update is of; the first one's prior if it is empty."""
        own = dict(update)
        chosen = own.pop("member", torch.tensor([0]))
        if chosen.shape != (1,) or chosen.dtype != torch.int64 or not 0 <= (number := int(chosen)) < len(self.members):
            raise ValueError(f"an update of committee needs the number of one of its {len(self.members)} members")
        return self.members[number].adapted_model(own)


def join(priors: Sequence[Prior]) -> Prior:
    """A prior of a committee.

    Args:
        priors: Those of its members, which were trained on the same data; the first one is planned with as long as
            nothing else is known.

    Raises:
        PriorError: If they cannot work together.
    """
    first, tensors = priors[0], dict[str, Tensor]()
    for number, prior in enumerate(priors):
        name = prior.settings.learner
        if prior.settings.window != first.settings.window or prior.settings.rate != first.settings.rate:
            raise PriorError(f"members of a committee have the same window and rate: {name} has others")
        normalizers = (vars(each.normalizer).values() for each in (prior, first))
        same = not first.robot.difference(prior.robot) and all(map(torch.equal, *normalizers))
        if name == Committee.name or not same:
            raise PriorError(f"members of a committee are learners that were trained on the same data: {name} was not")
        tensors |= {f"{number}.{name}.{key}": tensor for key, tensor in prior.tensors.items()}
    members = [prior.settings.training for prior in priors]
    training = {key: value for key, value in members[0].items() if all(each.get(key) == value for each in members)}
    training["members"] = members
    settings = replace(first.settings, learner=Committee.name, training=training)
    return Prior([], first.normalizer, settings, tensors, robot=first.robot)


def split(prior: Prior) -> list[Prior]:
    """The priors that `join` has put together; the prior alone if it is of another learner."""
    if prior.settings.learner != Committee.name:
        return [prior]
    found: list[Prior] = []
    for number, training in enumerate(prior.settings.training.get("members", ())):
        own = {key: tensor for key, tensor in prior.extras.items() if key.startswith(f"{number}.")}
        name = next(iter(own), "..").split(".")[1]
        tensors = {key.removeprefix(f"{number}.{name}."): tensor for key, tensor in own.items()}
        extras = {key.removeprefix("learner."): each for key, each in tensors.items() if key.startswith("learner.")}
        layers = layers_of(f"the member {name}", tensors, prior.features.input_size)
        settings = replace(prior.settings, learner=name, training=training)
        found.append(Prior(layers, prior.normalizer, settings, extras, robot=prior.robot))
    return found


def _member(kind: type[Learner], tensors: dict[str, Tensor]) -> Learner:
    first = tensors.get("layers.0.weight")
    layers = layers_of(f"the member {kind.name}", tensors, 0 if first is None else first.shape[-1])
    if issubclass(kind, NetworkLearner) != bool(layers):
        raise PriorError(f"the member {kind.name} needs {'no layers' if layers else 'layers of a network'}")
    own = {name.removeprefix("learner."): tensor for name, tensor in tensors.items() if name.startswith("learner.")}
    return kind(layers, own)


class Choice:
    """Chooses among models, tick by tick, by how they predicted lately."""

    def __init__(self, features: Features, normalizer: Normalizer, interval: float, count: int) -> None:
        """Choose among a number of models that predict in intervals, s; the first one at the beginning."""
        self._features, self._normalizer = features, normalizer
        self._open_loop = OpenLoop(features, normalizer, STEPS, interval)
        self._errors: deque[Array] = deque(maxlen=JUDGED)
        self.errors = np.full(count, math.nan)
        """Mean error of each lately, in what is covered and turned in a usual step; NaN if not known."""
        self.chosen = 0

    def reset(self) -> None:
        """Forget how they predicted; the choice stays."""
        self._open_loop.reset()
        self._errors.clear()

    def observe(self, observation: Observation, models: Sequence[Model], out: Sequence[bool] | None = None) -> int:
        """Take in an observation, the models adapted to it, and which are not to be chosen; returns the chosen one."""
        expected = self._open_loop.observe(observation, models)
        if expected is not None:
            state = torch.from_numpy(observation.state)
            errors = _distance(self._features, self._normalizer, expected, state).numpy()
            self._errors.append(np.where(out or [False] * len(models), math.inf, errors))
        if len(self._errors) >= _FEWEST:
            self.errors = np.nan_to_num(np.mean(self._errors, axis=0), nan=math.inf, posinf=math.inf)
            best = int(self.errors.argmin())
            if self.errors[best] < _MARGIN * self.errors[self.chosen]:
                self.chosen = best
        return self.chosen


@torch.no_grad()
def likeliest(
    members: Sequence[Learner],
    features: Features,
    normalizer: Normalizer,
    states: Tensor,
    actions: Tensor,
    intervals: Tensor,
) -> Tensor:
    """The members that predict windows best, as `Choice` finds them, if nothing before the windows is known.

    Each member is adapted to the first transitions of a window, and judged by the STEPS after them, or half the window
    if that is shorter.

    Args:
        members: The members.
        features: What the model of the robot sees and predicts.
        normalizer: Its normaliser.
        states: Shape (windows, M + 1, states).
        actions: Shape (windows, M, actions).
        intervals: Length of each interval as a share of the nominal one, shape (windows, M).

    Returns:
        Their numbers, shape (windows,).
    """
    inputs, targets = transition(features, states[:, :-1], actions, states[:, 1:], intervals)
    inputs, targets = normalizer.inputs(inputs), normalizer.targets(targets)
    window = actions.shape[1]
    steps = min(STEPS, window // 2)
    errors = torch.zeros(len(members), len(states), dtype=torch.float64)
    for end in range(max(1, window - steps - JUDGED + 1), window - steps + 1):
        ahead = (actions[:, None, end : end + steps], intervals[:, None, end : end + steps])
        for number, member in enumerate(members):
            model = member.fitted_model(inputs[:, :end], targets[:, :end])
            expected = roll_out(features, normalizer, model, states[:, end, None], *ahead).states[:, 0, -1]
            errors[number] += _distance(features, normalizer, expected, states[:, end + steps])
    return errors.nan_to_num(nan=math.inf).argmin(0)


def _distance(features: Features, normalizer: Normalizer, expected: Tensor, state: Tensor) -> Tensor:
    """How far states, shape (n, states), are from the ones that came, in what changes in a usual step, shape (n,)."""
    deviation = normalizer.output_deviation
    change = features.targets(expected, state)
    if not features.pose_outputs:
        distance: Tensor = (change / deviation).square().mean(-1).sqrt()
        return distance
    ahead, left, turn = features.pose_outputs
    # What a robot covers to its side is little, and is no measure.
    distance = change[:, [ahead, left]].norm(dim=-1) / deviation[ahead] + change[:, turn].abs() / deviation[turn]
    return distance
