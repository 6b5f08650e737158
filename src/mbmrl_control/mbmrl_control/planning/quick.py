"""Quick roll-outs of a plain ReLU network, for any robot whose features follow from its description.

Candidates are columns: a state's number of all of them is contiguous. A planar robot is advanced as it is seen from its
heading, beside its pose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mbmrl_base.robots.features import Features, rotate
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.planning import compiled


def _runs(entries: Iterable[tuple[int, ...]]) -> list[list[int]]:
    """Entries, such as rows and outputs, in runs of equal steps: the first entry, the steps, and the count."""
    runs: list[list[int]] = []
    for entry in entries:
        size = len(entry)
        if runs:
            run = runs[-1]
            first, steps, count = run[:size], run[size:-1], run[-1]
            apart = [(now - start) / count for now, start in zip(entry, first, strict=True)]
            if min(apart) >= 1 and (count == 1 or apart == steps):
                run[size:] = [*map(int, apart), count + 1]
                continue
        runs.append([*entry, *[1] * size, 1])
    return runs


class Layout:
    """Which row of a roll-out holds which state.

    Rows are the model's inputs, in their order, and after them states that it does not see, and angles, of which it
    sees cosine and sine; position and heading of a planar robot are in its pose.
    """

    def __init__(self, features: Features) -> None:
        """Take what the model sees and predicts."""
        self.features = features
        states, plain, turning = len(features.is_angle), features.plain, features.turning
        hidden = {*features.position, *features.heading}
        unseen = [place for place in range(states) if place not in {*plain, *turning, *hidden}]
        row_of = {place: row for row, place in enumerate(plain)}
        row_of |= {place: features.input_size + row for row, place in enumerate([*turning, *unseen])}
        self.size = features.input_size + len(turning) + len(unseen)
        self.states, self.rows = (torch.tensor(list(part), dtype=torch.int64) for part in (row_of, row_of.values()))
        """States that have rows, and their rows."""
        output_of = {place: output for output, place in enumerate(features.predicted)}
        paired = {*features.cosines, *features.sines}
        adds = [(row_of[place], output) for place, output in output_of.items() if place not in paired | hidden]
        pairs = [
            (row_of[cosine], row_of[sine], output_of[cosine])
            for cosine, sine in zip(features.cosines, features.sines, strict=True)
            if cosine not in hidden
        ]
        turn = [output_of[place] for place in features.heading[:1]]
        turned, count = [output for *_, output in pairs] + turn, len(features.predicted)
        self.runs = [
            _runs(adds),
            _runs(pairs),
            [[features.input_size, len(plain), len(turning)]] if turning else [],
            [[output, count, count + 1] for output in turn],
            [[*(row_of[place] for place in features.velocity), output] for output in turn if features.velocity],
            [[min(turned), max(turned) + 1]] if turned else [],
        ]
        """How predictions advance rows: runs of rows and outputs that are added; of cosines, sines and turns; row of
        the angles, of their cosines, and their number; outputs of turn and displacement; rows of the velocity and
        output of the turn; all outputs that are turns of pairs or of the heading, and maybe others between them."""

    def start(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Rows, shape (rows,), and planar pose, shape (3,), of a state, shape (n,); in single precision."""
        features = self.features
        pose = features.pose(state) if features.position else state.new_zeros(3)
        seen = state
        if features.velocity:
            heading = (state[place] for place in features.heading)
            cosine, sine = heading if len(features.heading) == 2 else (torch.cos(pose[2]), torch.sin(pose[2]))
            seen = state.clone()
            seen[features.velocity] = rotate(state[features.velocity], cosine, -sine)
        rows = state.new_zeros(self.size)
        rows[self.rows] = seen[self.states]
        if features.turning:
            turning, first = state[features.turning], len(features.plain)
            rows[first : first + 2 * len(turning)] = torch.cat([torch.cos(turning), torch.sin(turning)])
        return rows.float(), pose.float()

    def states_of(self, rows: Tensor, poses: Tensor) -> Tensor:
        """States that belong to rows, shape (H + 1, rows, n), and poses, shape (n, H + 1, 3)."""
        features = self.features
        states = rows.new_zeros(rows.shape[2], rows.shape[0], len(features.is_angle))
        states[..., self.states] = rows[:, self.rows].permute(2, 0, 1)
        if features.position:
            yaw = poses[..., 2]
            cosine, sine = torch.cos(yaw), torch.sin(yaw)
            states[..., features.position] = poses[..., :2]
            heading = [yaw] if len(features.heading) == 1 else [cosine, sine]
            states[..., features.heading] = torch.stack(heading, dim=-1)
            if features.velocity:
                states[..., features.velocity] = rotate(states[..., features.velocity], cosine, sine)
        return states


_layout = lru_cache(maxsize=8)(Layout)


@dataclass(frozen=True)
class Packed:
    """A model as it is computed with: in single precision, for pending actions, and in that of candidates."""

    normalizer: Normalizer
    model: ReluNetwork
    single: compiled.Packed
    candidates: compiled.Packed


@torch.inference_mode()
def pack(
    normalizer: Normalizer, model: ReluNetwork, precision: torch.dtype, device: torch.device, block: int
) -> Packed:
    """Pack a model with its normaliser on a device, for blocks of candidates; see `compiled.pack`."""
    folded = [(weight.to(device), bias.to(device)) for weight, bias in normalizer.fold(model.layers)]
    single, candidates = (compiled.pack(folded, kind, block) for kind in (torch.float32, precision))
    return Packed(normalizer, model, single, candidates)


def ready(
    features: Features, packed: Packed, state: Tensor, pending: Tensor, sees_states: bool
) -> Callable[[Tensor], Trajectories]:
    """A function from action sequences, shape (n, H, m), to where they lead from where pending ones, shape (p, m), do.

    Poses are in single precision, and states, which are empty unless wanted; arguments are as of `RollOuts.ready`.
    """
    layout, device = _layout(features), packed.single[0][0].device

    def rolled(
        network: compiled.Packed, rows: Tensor, pose: Tensor, actions: Tensor, kept: bool
    ) -> tuple[Tensor, Tensor]:
        return compiled.roll_out(*network, rows, pose, actions.to(device), features.input_size, layout.runs, kept)

    rows, pose = (values.to(device) for values in layout.start(state))
    if len(pending):
        poses, last = rolled(packed.single, rows, pose, pending[None].float(), False)
        rows, pose = last[-1, :, 0], poses[0, -1]

    def roll_out(actions: Tensor) -> Trajectories:
        found = rolled(packed.candidates, rows, pose, actions, sees_states)
        poses, history = (values.to(actions.device) for values in found)
        states = layout.states_of(history, poses) if sees_states else poses.new_empty(len(actions), 0, len(state))
        return Trajectories(states, actions, poses if features.position else None)

    return roll_out
