"""What the dynamics model of a robot sees and predicts, as one object that its episodes and its prior name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mbmrl_base.robots.millirobot import features as millirobot
from mbmrl_base.robots.millirobot.layout import STATE_NAMES

TOLERANCE: Final = 0.5
"""Largest deviation of an interval from the nominal one, as a share of it; a longer or shorter one is a gap."""


def wrap(angles: Tensor) -> Tensor:
    """Angles, rad, moved to -pi to pi, shape (...)."""
    return torch.atan2(torch.sin(angles), torch.cos(angles))


class Features(ABC):
    """Inputs and outputs of a model, made of n states and m actions.

    Outputs are changes over one control interval, so that a part of an interval has that part of them.

    Attributes:
        state_names: Names of the n states.
        action_names: Names of the m actions.
        angles: Names of the states that are angles in rad, equal where they differ by full turns.
        input_size: Numbers that the model sees.
        output_size: Numbers that it predicts.
    """

    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    angles: tuple[str, ...]
    input_size: int
    output_size: int

    @abstractmethod
    def inputs(self, states: Tensor, actions: Tensor) -> Tensor:
        """What the model sees, shapes (..., n) and (..., m) -> (..., input_size)."""

    @abstractmethod
    def targets(self, states: Tensor, next_states: Tensor) -> Tensor:
        """What it should predict for transitions, shapes (..., n) twice -> (..., output_size)."""

    def scaled_targets(self, states: Tensor, next_states: Tensor, intervals: Tensor) -> Tensor:
        """Targets per nominal interval.

        Shapes (..., n) twice, and (...), lengths of the intervals as shares of the nominal one -> (..., output_size).
        """
        return self.targets(states, next_states) / intervals.unsqueeze(-1)

    @abstractmethod
    def advance(self, states: Tensor, outputs: Tensor) -> Tensor:
        """States to which predictions lead, the inverse of `targets`, shapes (..., n) and (..., output_size)."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """What `features_of` makes the same object of, for JSON."""

    def __eq__(self, other: object) -> bool:
        """Whether two see and predict the same."""
        return isinstance(other, Features) and self.description() == other.description()

    def __hash__(self) -> int:
        """Equal objects have equal names."""
        return hash((self.state_names, self.action_names))

    @property
    def is_angle(self) -> Tensor:
        """Whether a state is an angle, shape (n,)."""
        return torch.tensor([name in self.angles for name in self.state_names])

    def difference(self, states: Tensor, other: Tensor) -> Tensor:
        """States less others, angles by the shorter way round, shapes (..., n) -> (..., n)."""
        change = states - other
        return torch.where(self.is_angle, wrap(change), change)


_MILLIROBOT: Final = {"robot": "millirobot"}


class MillirobotFeatures(Features):
    """The millirobot's, relative to its heading: see `mbmrl_base.robots.millirobot.features`."""

    state_names = STATE_NAMES
    action_names = ("left_action_rad_s", "right_action_rad_s")
    angles = ()
    input_size = millirobot.INPUT_SIZE
    output_size = millirobot.OUTPUT_SIZE

    def inputs(self, states: Tensor, actions: Tensor) -> Tensor:
        """Body states and actions, shapes (..., 24) and (..., 2) -> (..., 22)."""
        return millirobot.model_inputs(states, actions)

    def targets(self, states: Tensor, next_states: Tensor) -> Tensor:
        """Changes seen in the heading at the start, shapes (..., 24) twice -> (..., 21)."""
        return millirobot.model_targets(states, next_states)

    def advance(self, states: Tensor, outputs: Tensor) -> Tensor:
        """The next states, shapes (..., 24) and (..., 21) -> (..., 24)."""
        return millirobot.advanced(states, outputs)

    def description(self) -> dict[str, Any]:
        """Its name says it all."""
        return dict(_MILLIROBOT)


MILLIROBOT: Final = MillirobotFeatures()


class NamedFeatures(Features):
    """Those of any robot: states as they are, angles as cosine and sine, and actions; changes of all states."""

    def __init__(
        self,
        state_names: tuple[str, ...],
        action_names: tuple[str, ...],
        angles: tuple[str, ...] = (),
        unseen: tuple[str, ...] = (),
    ) -> None:
        """Take the names.

        Args:
            state_names: Names of the n states.
            action_names: Names of the m actions.
            angles: States that are angles, rad.
            unseen: States that the model must not see, such as x and y; their changes it predicts nevertheless.

        Raises:
            ValueError: If the names do not fit together; the text begins with the name of the argument.
        """
        for field, names in (("state_names", state_names), ("action_names", action_names)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{field} has {twice[0]!r} more than once: each name stands for one column")
        for field, names in (("angles", angles), ("unseen", unseen)):
            if unknown := [name for name in names if name not in state_names]:
                raise ValueError(f"{field} has {unknown[0]!r}: allowed are the state_names, {', '.join(state_names)}")
        self.state_names, self.action_names = state_names, action_names
        self.angles, self.unseen = angles, unseen
        seen = [index for index, name in enumerate(state_names) if name not in unseen]
        self._plain = [index for index in seen if state_names[index] not in angles]
        self._turning = [index for index in seen if state_names[index] in angles]
        self.input_size = len(self._plain) + 2 * len(self._turning) + len(action_names)
        self.output_size = len(state_names)
        if not self.output_size or not self.input_size:
            raise ValueError("state_names leaves the model nothing to see: at least one state or action must be seen")

    def inputs(self, states: Tensor, actions: Tensor) -> Tensor:
        """Plain states, cosines, sines, actions, shapes (..., n) and (..., m) -> (..., input_size)."""
        turning = states[..., self._turning]
        return torch.cat([states[..., self._plain], torch.cos(turning), torch.sin(turning), actions], dim=-1)

    def targets(self, states: Tensor, next_states: Tensor) -> Tensor:
        """Changes, of angles within -pi to pi, shapes (..., n) twice -> (..., n)."""
        return self.difference(next_states, states)

    def advance(self, states: Tensor, outputs: Tensor) -> Tensor:
        """States plus changes, shapes (..., n) twice -> (..., n); angles go on beyond pi."""
        return states + outputs

    def description(self) -> dict[str, Any]:
        """The names, as in the metadata of episodes."""
        return {field: list(getattr(self, field)) for field in ("state_names", "action_names", "angles", "unseen")}


def features_of(description: Mapping[str, Any], actions: int | None = None) -> Features:
    """The object of a description, or of the metadata of an episode.

    Args:
        description: That ``robot`` is ``millirobot`` and no more, or lists of names: ``state_names``, and where
            there are any ``action_names``, ``angles`` and ``unseen``.
        actions: Number of actions; they are numbered where they have no names.

    Raises:
        ValueError: If it describes none; the text begins with the name of the field.
    """
    if description == _MILLIROBOT:
        return MILLIROBOT
    named = {"action_names": [f"action_{index}" for index in range(actions or 0)]} | dict(description)
    fields = []
    for field in ("state_names", "action_names", "angles", "unseen"):
        names = named.get(field, None if field == "state_names" else [])
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"{field} is {names!r}: wanted is a list of names")
        fields.append(tuple(names))
    return NamedFeatures(*fields)
