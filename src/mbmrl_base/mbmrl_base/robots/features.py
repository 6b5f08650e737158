"""What the dynamics model of a robot sees and predicts, from its description.

Inputs are the states that are seen, the cosines and sines of those that are angles, and the actions. Outputs are
changes over one control interval, so that a part of an interval has that part of them. The model of a planar robot
sees its velocity in its heading, and neither where it is nor where it looks; it predicts how far it turns and what it
covers ahead and to the left. So what it predicts does not depend on the place and the direction.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from mbmrl_base.robots.description import RobotDescription

TOLERANCE: Final = 0.5
"""Largest deviation of an interval from the nominal one, as a share of it; a longer or shorter one is a gap."""


def wrap(angles: Tensor) -> Tensor:
    """Angles, rad, moved to -pi to pi, shape (...)."""
    return torch.atan2(torch.sin(angles), torch.cos(angles))


def rotate(vectors: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn vectors, shape (..., 2), by an angle of shape (...)."""
    x, y = vectors[..., 0], vectors[..., 1]
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], dim=-1)


def _place(indices: list[int]) -> slice | Tensor:
    """Indices of a last dimension; a slice if they are evenly spaced, which is quicker."""
    if not indices:
        return slice(0)
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    if step > 0 and indices == list(range(indices[0], indices[-1] + 1, step)):
        return slice(indices[0], indices[-1] + 1, step)
    return torch.tensor(indices)


class Features:
    """Inputs and outputs of a model, made of n states and m actions; a robot may have a subclass of its own.

    Attributes:
        input_size: Numbers that the model sees.
        output_size: Numbers that it predicts.
    """

    def __init__(self, description: RobotDescription) -> None:
        """Take the description of the robot."""
        self.description = description
        names = [state.name for state in description.states]
        index = {name: place for place, name in enumerate(names)}
        planar = description.planar
        self.position = [index[name] for name in planar.position] if planar else []
        self.velocity = [index[name] for name in planar.velocity or ()] if planar else []
        heading = planar.heading if planar else ()
        self.heading = [index[name] for name in ((heading,) if isinstance(heading, str) else heading)]
        """The state that is the heading, or its cosine and sine; empty if the robot is not planar."""
        self.cosines = [index[cosine] for cosine, _ in description.pairs]
        self.sines = [index[sine] for _, sine in description.pairs]
        self.angles = [place for place, state in enumerate(description.states) if state.angle]
        seen = [place for place, state in enumerate(description.states) if state.seen]
        hidden = {*self.position, *self.heading}
        self.plain = [place for place in seen if place not in hidden and place not in self.angles]
        """States that are inputs as they are, but for the velocity's turn."""
        self.turning = [place for place in seen if place not in hidden and place in self.angles]
        self.predicted = [place for place in range(len(names)) if place not in {*self.position, *self.sines}]
        """States whose change is an output; that of a cosine stands for its angle's."""
        self.input_size = len(self.plain) + 2 * len(self.turning) + len(description.actions)
        self.output_size = len(self.predicted) + len(self.position)
        self.is_angle = torch.tensor([place in self.angles for place in range(len(names))])
        """Whether a state is an angle, shape (n,)."""
        columns = [*self.predicted, *self.position]
        self.pose_outputs = [columns.index(place) for place in [*self.position, *self.heading[:1]]]
        """Outputs that are what a planar robot covers ahead and to the left, and how far it turns; else empty."""
        turns = {*self.angles, *self.cosines}
        self.turns = torch.tensor([place in turns for place in self.predicted] + [False] * len(self.position))
        """Whether an output is the turn of an angle, shape (output_size,); one with other outputs sets its own."""
        partner = dict(zip(self.sines, self.cosines, strict=True))
        # Tensors where a copy is wanted, in which numbers are then replaced.
        self._change = torch.tensor(self.predicted)
        self._output_of = torch.tensor([columns.index(partner.get(place, place)) for place in range(len(names))])
        self._seen, self._turning, self._angles = _place(self.plain), _place(self.turning), _place(self.angles)
        self._position, self._velocity = _place(self.position), _place(self.velocity)
        self._turned = torch.tensor([*self.position, *(self.heading if len(self.heading) == 2 else ()), *self.velocity])
        self._cosines, self._sines = _place(self.cosines), _place(self.sines)
        self._angle_outputs, self._pair_outputs, self._ahead, self._speed = (
            _place([columns.index(place) for place in places])
            for places in (self.angles, self.cosines, self.position, self.velocity)
        )

    def _heading(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the heading, shape (..., n) -> (...) twice."""
        if len(self.heading) == 1:
            yaw = states[..., self.heading[0]]
            return torch.cos(yaw), torch.sin(yaw)
        return states[..., self.heading[0]], states[..., self.heading[1]]

    def _seen_from_heading(self, states: Tensor, values: Tensor) -> Tensor:
        """Values, shape (..., n), with the velocity turned into the heading of states."""
        if not self.velocity:
            return values
        cosine, sine = self._heading(states)
        turned = values.clone()
        turned[..., self._velocity] = rotate(values[..., self._velocity], cosine, -sine)
        return turned

    def pose(self, states: Tensor) -> Tensor:
        """x (m), y (m) and yaw (rad) of a planar robot, shape (..., n) -> (..., 3)."""
        if len(self.heading) == 1:
            yaw = states[..., self.heading[0]]
        else:
            yaw = torch.atan2(states[..., self.heading[1]], states[..., self.heading[0]])
        return torch.cat([states[..., self._position], yaw.unsqueeze(-1)], dim=-1)

    def seen_from(self, states: Tensor, pose: Tensor) -> Tensor:
        """States of a planar robot in the frame of a planar pose, shapes (..., n) and (3,) -> (..., n)."""
        seen, pairs = states.clone(), states[..., self._turned].reshape(*states.shape[:-1], -1, 2)
        pairs[..., 0, :] -= pose[:2]
        seen[..., self._turned] = rotate(pairs, torch.cos(pose[2]), -torch.sin(pose[2])).flatten(-2)
        if len(self.heading) == 1:
            seen[..., self.heading[0]] -= pose[2]
        return seen

    def inputs(self, states: Tensor, actions: Tensor) -> Tensor:
        """What the model sees, shapes (..., n) and (..., m) -> (..., input_size)."""
        seen = self._seen_from_heading(states, states)[..., self._seen]
        if not self.turning:
            return torch.cat([seen, actions], dim=-1)
        angles = states[..., self._turning]
        return torch.cat([seen, torch.cos(angles), torch.sin(angles), actions], dim=-1)

    def targets(self, states: Tensor, next_states: Tensor) -> Tensor:
        """What it should predict for transitions, shapes (..., n) twice -> (..., output_size)."""
        change = next_states - states
        outputs = self._seen_from_heading(states, change)[..., self._change]
        if self.angles:
            outputs[..., self._angle_outputs] = wrap(change[..., self._angles])
        if self.cosines:
            cosine, sine = states[..., self._cosines], -states[..., self._sines]
            x, y = next_states[..., self._cosines], next_states[..., self._sines]
            outputs[..., self._pair_outputs] = torch.atan2(sine * x + cosine * y, cosine * x - sine * y)
        if not self.position:
            return outputs
        cosine, sine = self._heading(states)
        return torch.cat([outputs, rotate(change[..., self._position], cosine, -sine)], dim=-1)

    def advance(self, states: Tensor, outputs: Tensor) -> Tensor:
        """States to which predictions lead, the inverse of `targets`, shapes (..., n) and (..., output_size).

        Angles go on beyond pi.
        """
        outputs = outputs.to(states.dtype)
        change = outputs[..., self._output_of]
        if self.position:
            cosine, sine = self._heading(states)
            change[..., self._position] = rotate(outputs[..., self._ahead], cosine, sine)
            if self.velocity:
                change[..., self._velocity] = rotate(outputs[..., self._speed], cosine, sine)
        following = states + change
        if self.cosines:
            x, y, turns = states[..., self._cosines], states[..., self._sines], outputs[..., self._pair_outputs]
            cosine, sine = torch.cos(turns), torch.sin(turns)
            following[..., self._cosines], following[..., self._sines] = cosine * x - sine * y, sine * x + cosine * y
        return following

    def difference(self, states: Tensor, other: Tensor) -> Tensor:
        """States less others, angles by the shorter way round, shapes (..., n) -> (..., n)."""
        change = states - other
        return torch.where(self.is_angle, wrap(change), change)
