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
        angles = [place for place, state in enumerate(description.states) if state.angle]
        seen = [place for place, state in enumerate(description.states) if state.seen]
        hidden = {*self.position, *self.heading}
        self.plain = [place for place in seen if place not in hidden and place not in angles]
        """States that are inputs as they are, but for the velocity's turn."""
        self.turning = [place for place in seen if place not in hidden and place in angles]
        self.predicted = [place for place in range(len(names)) if place not in {*self.position, *self.sines}]
        """States whose change is an output; that of a cosine stands for its angle's."""
        self.input_size = len(self.plain) + 2 * len(self.turning) + len(description.actions)
        self.output_size = len(self.predicted) + len(self.position)
        self.is_angle = torch.tensor([place in angles for place in range(len(names))])
        """Whether a state is an angle, shape (n,)."""
        self._angle_outputs = [self.predicted.index(place) for place in angles if place in self.predicted]
        self._pair_outputs = [self.predicted.index(place) for place in self.cosines]

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
        turned[..., self.velocity] = rotate(values[..., self.velocity], cosine, -sine)
        return turned

    def pose(self, states: Tensor) -> Tensor:
        """x (m), y (m) and yaw (rad) of a planar robot, shape (..., n) -> (..., 3)."""
        if len(self.heading) == 1:
            yaw = states[..., self.heading[0]]
        else:
            yaw = torch.atan2(states[..., self.heading[1]], states[..., self.heading[0]])
        return torch.cat([states[..., self.position], yaw.unsqueeze(-1)], dim=-1)

    def inputs(self, states: Tensor, actions: Tensor) -> Tensor:
        """What the model sees, shapes (..., n) and (..., m) -> (..., input_size)."""
        angles = states[..., self.turning]
        seen = self._seen_from_heading(states, states)[..., self.plain]
        return torch.cat([seen, torch.cos(angles), torch.sin(angles), actions], dim=-1)

    def targets(self, states: Tensor, next_states: Tensor) -> Tensor:
        """What it should predict for transitions, shapes (..., n) twice -> (..., output_size)."""
        change = next_states - states
        outputs = self._seen_from_heading(states, change)[..., self.predicted]
        outputs[..., self._angle_outputs] = wrap(outputs[..., self._angle_outputs])
        if self.cosines:
            cosine, sine = states[..., self.cosines], states[..., self.sines]
            end = torch.stack([next_states[..., self.cosines], next_states[..., self.sines]], dim=-1)
            turned = rotate(end, cosine, -sine)
            outputs[..., self._pair_outputs] = torch.atan2(turned[..., 1], turned[..., 0])
        if not self.position:
            return outputs
        cosine, sine = self._heading(states)
        return torch.cat([outputs, rotate(change[..., self.position], cosine, -sine)], dim=-1)

    def advance(self, states: Tensor, outputs: Tensor) -> Tensor:
        """States to which predictions lead, the inverse of `targets`, shapes (..., n) and (..., output_size).

        Angles go on beyond pi.
        """
        change = torch.zeros_like(states)
        count = len(self.predicted)
        change[..., self.predicted] = outputs[..., :count].to(states.dtype)
        if self.position:
            cosine, sine = self._heading(states)
            change[..., self.position] = rotate(outputs[..., count:].to(states.dtype), cosine, sine)
            if self.velocity:
                change[..., self.velocity] = rotate(change[..., self.velocity], cosine, sine)
        following = states + change
        if self.cosines:
            pairs = torch.stack([states[..., self.cosines], states[..., self.sines]], dim=-1)
            turns = outputs[..., self._pair_outputs].to(states.dtype)
            turned = rotate(pairs, torch.cos(turns), torch.sin(turns))
            following[..., self.cosines], following[..., self.sines] = turned[..., 0], turned[..., 1]
        return following

    def difference(self, states: Tensor, other: Tensor) -> Tensor:
        """States less others, angles by the shorter way round, shapes (..., n) -> (..., n)."""
        change = states - other
        return torch.where(self.is_angle, wrap(change), change)
