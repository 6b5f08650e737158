"""The quick roll-out against the reference: for any described robot, and without what is private to torch."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.features import Features
from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.network import Normalizer, initial_layers
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.planning import RollOuts, compiled, quick
from mbmrl_control.planning.rollout import BLOCK

ACTION = {"low": -1.0, "high": 2.0}


@st.composite
def robots(draw: st.DrawFn) -> Robot:
    """Robots of any kind: states in any order, some unseen, pairs, angles, planar with or without a velocity."""
    planar, by_angle, velocity = (draw(st.booleans()) for _ in range(3))
    names = [f"s{index}" for index in range(draw(st.integers(0 if planar else 1, 4)))]
    angles = [f"angle{index}" for index in range(draw(st.integers(0, 2)))]
    pairs = [[f"cos{index}", f"sin{index}"] for index in range(draw(st.integers(0, 3)))]
    given: dict[str, Any] = {"name": "any"}
    if planar:
        names += ["x", "y", *(["vx", "vy"] if velocity else [])]
        if by_angle:
            angles.append("yaw")
        else:
            pairs.append(["cos_yaw", "sin_yaw"])
        given["planar"] = {"position": ["x", "y"], "heading": "yaw" if by_angle else ["cos_yaw", "sin_yaw"]}
        if velocity:
            given["planar"]["velocity"] = ["vx", "vy"]
    order = draw(st.permutations([*names, *angles, *(name for pair in pairs for name in pair)]))
    given["states"] = [{"name": name, "angle": name in angles, "seen": draw(st.booleans())} for name in order]
    given["actions"] = [{"name": f"a{index}", **ACTION} for index in range(draw(st.integers(1, 3)))]
    return Robot(describe(given | {"pairs": pairs}))


def of(robot: Robot, units: int = 8) -> tuple[ReluNetwork, Normalizer]:
    """A random model of a robot, and a normaliser."""
    features, random = robot.features, torch.Generator().manual_seed(0)
    model = ReluNetwork(initial_layers((features.input_size, units, units, features.output_size), random))
    sizes = (features.input_size, features.input_size, features.output_size, features.output_size)
    scale = [torch.rand(size, generator=random) * 0.4 + 0.1 for size in sizes]
    return model, Normalizer(scale[0], scale[1] + 0.5, scale[2] - 0.3, scale[3])


def state_of(robot: Robot) -> Tensor:
    """A random state."""
    features = robot.features
    state = torch.rand(len(robot.state_names), generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 4 - 2
    state[features.cosines], state[features.sines] = state[features.cosines].cos(), state[features.cosines].sin()
    return state


def actions_of(robot: Robot, count: int, steps: int = 5) -> Tensor:
    low, high = torch.from_numpy(robot.planned).float()
    return low + (high - low) * torch.rand(count, steps, len(low), generator=torch.Generator().manual_seed(2))


def both(robot: Robot, pending: int, count: int = 7) -> tuple[Trajectories, Trajectories]:
    """What the quick roll-out and the reference make of the same."""

    class Own(Features):
        """Features that are equal, but for which there is no quick roll-out."""

    model, normalizer = of(robot)
    actions, first = actions_of(robot, count), actions_of(robot, 1, pending)[0]
    found = [
        RollOuts().ready(features, normalizer, model, state_of(robot), first)(actions)
        for features in (robot.features, Own(robot.description))
    ]
    return found[0], found[1]


def same(quick: Trajectories, reference: Trajectories) -> None:
    torch.testing.assert_close(quick.states.double(), reference.states, rtol=1e-4, atol=2e-4)
    assert (quick.poses is None) == (reference.poses is None)
    if quick.poses is not None and reference.poses is not None:
        turns = (quick.poses - reference.poses)[..., 2] / (2 * math.pi)
        torch.testing.assert_close(quick.poses[..., :2].double(), reference.poses[..., :2], rtol=1e-4, atol=2e-4)
        # The reference knows a heading of cosine and sine up to full turns.
        torch.testing.assert_close(turns, turns.round(), rtol=0, atol=2e-4)


@settings(derandomize=True, deadline=None, max_examples=100, database=None)
@given(robots(), st.integers(0, 3))
def test_quick_roll_out_is_the_reference(robot: Robot, pending: int) -> None:
    quick, reference = both(robot, pending)
    assert quick.states.dtype == torch.float32
    same(quick, reference)


@pytest.mark.parametrize("pending", [0, 2])
def test_quick_roll_out_of_the_millirobot_is_the_reference(pending: int) -> None:
    same(*both(load_robot("millirobot"), pending))


def test_states_are_left_out_where_only_poses_are_seen() -> None:
    robot = load_robot("millirobot")
    (model, normalizer), actions = of(robot), actions_of(robot, 3)
    given = (robot.features, normalizer, model, state_of(robot), actions[0, :1])
    with_states, without = (RollOuts().ready(*given, sees_states=seen)(actions) for seen in (True, False))
    assert without.states.shape == (3, 0, len(robot.state_names))
    assert with_states.poses is not None
    assert without.poses is not None
    assert torch.equal(with_states.poses, without.poses)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_without_what_is_private_to_torch_it_is_the_same(
    precision: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python's interpreter, with plain products."""
    robot = load_robot("millirobot")
    (model, normalizer), actions = of(robot, 32), actions_of(robot, 20)
    given = (state_of(robot), actions[0, :2], True)

    def predicted() -> Trajectories:
        packed = quick.pack(normalizer, model, precision, torch.device("cpu"), BLOCK)
        return quick.ready(robot.features, packed, *given)(actions)

    fast = predicted()
    monkeypatch.setattr(compiled, "roll_out", compiled.plain_roll_out)
    monkeypatch.setattr(compiled, "FUSES", False)
    plain = predicted()
    # Sums in half precision are rounded in another order.
    tolerance = 1e-5 if precision == torch.float32 else 3e-2
    torch.testing.assert_close(plain.states, fast.states, rtol=tolerance, atol=tolerance)


def test_torch_without_private_operators_and_torchscript_is_enough() -> None:
    """In a process of its own, whose torch lacks them from the start."""
    script = (
        "import torch\n"
        "class Nothing: pass\n"
        "torch.ops.mkldnn = Nothing()\n"
        "def no(*given, **named): raise RuntimeError('no TorchScript')\n"
        "torch.jit.script = no\n"
        "from mbmrl_control.planning import compiled\n"
        "assert not compiled.FUSES and compiled.roll_out is compiled.plain_roll_out\n"
        "from mbmrl_control.benchmarks.planning import task\n"
        "from mbmrl_control.planning import RollOuts\n"
        "given, actions = task(16, 4), torch.full((8, 4, 2), 30.0)\n"
        "rolled = RollOuts('bfloat16').ready(given.robot.features, given.normalizer, given.model, given.state,"
        " actions[0, :1])(actions)\n"
        "assert torch.isfinite(rolled.states).all()\n"
    )
    subprocess.run(
        [sys.executable, "-c", script], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
