"""What each simulator keeps to, whichever robot it simulates; and simulators that a user's file gives."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mbmrl_base.robots.faults import Fault, FaultError
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.simulator import Simulator
from mbmrl_sim.catalogue import SIMULATED, check_simulator, fault_kinds, make_simulator
from pages import example

OWN = example("simulator", Path(tempfile.mkdtemp()) / "pendulum.py")
"""A simulator of a robot that is not in the project."""


@pytest.fixture(params=[*SIMULATED, "own"])
def given(request: pytest.FixtureRequest) -> str:
    return str(OWN) if request.param == "own" else str(request.param)


@pytest.fixture
def simulator(given: str) -> Iterator[Simulator]:
    with closing(make_simulator(given, seed=3)) as made:
        yield made


def actions(simulator: Simulator, count: int) -> Array:
    """Actions within the bounds, always the same ones, shape (count, m)."""
    low, high = simulator.robot.planned
    return np.random.default_rng(1).uniform(low, high, (count, len(low)))


def walked(simulator: Simulator, count: int = 20) -> Array:
    """States after some actions, shape (count, n)."""
    return np.array([simulator.step(action).state for action in actions(simulator, count)])


def test_observations_are_of_the_robot(simulator: Simulator) -> None:
    first = simulator.observe()
    assert len(first.state) == len(simulator.robot.state_names)
    assert first.action.shape == simulator.robot.low.shape
    assert (first.sequence, first.episode, first.interval) == (0, 1, 0.0)
    action = actions(simulator, 1)[0]
    second = simulator.step(action)
    assert second is simulator.observe()
    assert (second.sequence, second.interval) == (1, pytest.approx(1 / simulator.rate))
    assert second.time - first.time == pytest.approx(1 / simulator.rate)
    np.testing.assert_array_equal(second.action, action)
    assert np.isfinite(second.state).all()


def test_same_seed_and_commands_give_the_same_states_bit_for_bit(given: str, simulator: Simulator) -> None:
    states = walked(simulator)
    with closing(make_simulator(given, seed=3)) as other:
        assert walked(other).tobytes() == states.tobytes()
    simulator.reset(3)
    assert walked(simulator).tobytes() == states.tobytes()
    assert simulator.observe().episode == simulator.episode == 2


def test_parts_of_an_interval_make_the_whole(given: str, simulator: Simulator) -> None:
    states = walked(simulator, 5)
    with closing(make_simulator(given, seed=3)) as other:
        for action, state in zip(actions(other, 5), states, strict=True):
            other.apply(action)
            other.advance(other.substeps // 3)
            other.advance(other.substeps - other.substeps // 3)
            np.testing.assert_allclose(other.finish_interval().state, state, atol=1e-9)


def test_command_out_of_bounds_is_clipped_and_halt_is_safe(simulator: Simulator) -> None:
    np.testing.assert_array_equal(simulator.step(simulator.robot.high * 10).action, simulator.robot.high)
    simulator.apply(simulator.robot.high)
    simulator.halt()
    simulator.advance(simulator.substeps)
    safe = simulator.robot.safe_action(simulator.observe().state)
    np.testing.assert_array_equal(simulator.finish_interval(exact=False).action, safe)
    with pytest.raises(ValueError, match="finite numbers"):
        simulator.step(np.full(len(simulator.robot.low), np.nan))


def test_each_kind_of_fault_needs_no_values_and_is_undone(simulator: Simulator) -> None:
    for kind in simulator.kinds:
        assert simulator.inject(Fault(kind)).kind == kind
    assert [fault.kind for fault in simulator.faults] == sorted(simulator.kinds)
    assert len(simulator.clear_faults()) == len(simulator.kinds)
    assert simulator.faults == ()
    with pytest.raises(FaultError, match="unknown fault kind 'rust'"):
        simulator.inject(Fault("rust"))


def test_faults_of_the_first_kind_change_the_walk(given: str, simulator: Simulator) -> None:
    states = walked(simulator)
    simulator.reset(3)
    simulator.inject()
    assert walked(simulator).tobytes() != states.tobytes()
    simulator.reset(3)
    assert simulator.faults == ()
    assert walked(simulator).tobytes() == states.tobytes()


def test_random_part_follows_from_the_seed_and_still_works(given: str, simulator: Simulator) -> None:
    kind, allowed = next(iter(simulator.kinds.items()))
    if not allowed.parts:
        pytest.skip(f"{kind} hits no part")
    hit = [simulator.inject().part for _ in allowed.parts]
    assert sorted(hit) == sorted(allowed.parts)
    simulator.reset(3)
    assert [simulator.inject().part for _ in allowed.parts] == hit
    with pytest.raises(FaultError, match="of each part is in force already"):
        simulator.inject()


def test_held_out_faults_are_none_of_those_of_training(given: str) -> None:
    kinds = fault_kinds(given)
    rng = np.random.default_rng(0)
    for name, kind in kinds.items():
        trained = [kinds.draw(rng, (name,), ground="carpet") for _ in range(300)]
        held_out = [kinds.draw_held_out(rng, name) for _ in range(100)]
        assert [kinds.choose(fault) for fault in (*trained, *held_out)]
        if kind.spared:
            what = {fault.part or fault.terrain for fault in held_out}
            assert what == set(kind.spared)
            assert not what & {fault.part or fault.terrain for fault in trained}
        elif kind.worse:
            low, high = (bound([fault.magnitude for fault in trained]) for bound in (min, max))
            assert all(not low <= fault.magnitude <= high for fault in held_out)


def test_joints_are_those_of_the_urdf(simulator: Simulator) -> None:
    joints, urdf = simulator.joints(), simulator.urdf()
    assert len(joints.names) == len(joints.positions) == len(joints.velocities)
    assert all(f'joint name="{name}"' in (urdf or "") for name in joints.names)


def test_unknown_simulator_is_refused_with_a_sentence(tmp_path: Path) -> None:
    for given, sentence in (
        (
            "tank",
            "no simulator of 'tank': there are those of millirobot, husky, half_cheetah, ant, or a file, *.py, that"
            " simulates it",
        ),
        (str(tmp_path / "none.py"), f"there is no file {tmp_path / 'none.py'}"),
    ):
        with pytest.raises(ValueError, match=sentence.replace("*", r"\*")):
            make_simulator(given)
    with pytest.raises(ValueError, match="gives no simulator: this simulator has no terrain: it takes sensors"):
        make_simulator(str(OWN), terrain="mud")
    for given in SIMULATED:
        with pytest.raises(ValueError, match="a control rate of 7 Hz is not reachable"):
            check_simulator(given, 7.0)
