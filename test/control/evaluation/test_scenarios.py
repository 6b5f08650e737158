"""What happens in evaluated runs: always possible, never what training shows, the same for all who walk."""

from __future__ import annotations

import numpy as np
import pytest

from mbmrl_base.robots.faults import Fault, FaultError, FaultKind, FaultKinds
from mbmrl_control.evaluation.comparison import choose_scenarios
from mbmrl_control.evaluation.scenarios import Event, scenarios, schedule
from mbmrl_sim.millirobot.faults import FAULT_KINDS, LEG_LOSS, MOTOR_WEAK, TERRAIN

SEEDS = range(60)
MEASURED = [kind for kind in FAULT_KINDS if kind not in (LEG_LOSS, TERRAIN)]


def faults(scenario: str, seed: int) -> list[Fault]:
    return [event.fault for event in schedule(scenario, FAULT_KINDS, seed, 10.0, 30.0) if event.fault is not None]


@pytest.mark.parametrize("scenario", scenarios(FAULT_KINDS))
def test_faults_are_possible_and_depend_on_the_seed_alone(scenario: str) -> None:
    runs = [schedule(scenario, FAULT_KINDS, seed, 10.0, 30.0) for seed in SEEDS]
    assert runs == [schedule(scenario, FAULT_KINDS, seed, 10.0, 30.0) for seed in SEEDS]
    for run in runs:
        in_force: list[Fault] = []
        for event in run:
            if event.fault is None:
                in_force = []
                continue
            assert FAULT_KINDS.choose(event.fault, in_force) == event.fault
            in_force.append(event.fault)
    if scenario not in ("none", TERRAIN):
        assert len({str(run) for run in runs}) > 1


@pytest.mark.parametrize("kind", MEASURED)
def test_magnitudes_are_worse_than_in_training(kind: str) -> None:
    rng = np.random.default_rng(0)
    trained = [FAULT_KINDS.draw(rng, (kind,)) for _ in range(2000)]
    held_out = [fault for seed in SEEDS for fault in faults(kind, seed)]
    if kind == MOTOR_WEAK:
        assert max(fault.magnitude for fault in held_out) < min(fault.magnitude for fault in trained)
    else:
        assert min(fault.magnitude for fault in held_out) > max(fault.magnitude for fault in trained)
    if "loss" in FAULT_KINDS[kind].takes:
        assert min(fault.loss for fault in held_out) > max(fault.loss for fault in trained)


def test_ground_is_the_one_held_out() -> None:
    rng = np.random.default_rng(0)
    trained = {FAULT_KINDS.draw(rng, (TERRAIN,), ground="carpet").terrain for _ in range(100)}
    assert trained == {"styrofoam", "turf"}
    assert {fault.terrain for seed in SEEDS for fault in faults(TERRAIN, seed)} == {"gravel"}


def test_legs_are_those_held_out() -> None:
    for scenario in (LEG_LOSS, "two_at_once", "comes_and_goes"):
        legs = {fault.part for seed in SEEDS for fault in faults(scenario, seed) if fault.kind == LEG_LOSS}
        assert legs == {"left_middle", "right_middle"}


def test_two_at_once_are_two_kinds_at_one_time() -> None:
    for seed in SEEDS:
        first, second = schedule("two_at_once", FAULT_KINDS, seed, 10.0, 30.0)
        assert first.time == second.time == 10.0
        assert first.fault is not None
        assert second.fault is not None
        assert first.fault.kind != second.fault.kind
    others = {faults("two_at_once", seed)[1].kind for seed in range(200)}
    assert others == set(FAULT_KINDS) - {LEG_LOSS}


def test_leg_comes_and_goes() -> None:
    events = schedule("comes_and_goes", FAULT_KINDS, 3, 10.0, 30.0)
    lost = events[0].fault
    assert lost is not None
    assert events == [Event(10.0, lost), Event(15.0, None), Event(20.0, lost), Event(25.0, None)]


def test_scenario_of_ones_own_names_its_faults() -> None:
    events = schedule("leg_loss:3+payload:25", FAULT_KINDS, 0, 10.0, 30.0)
    expected = [Fault(LEG_LOSS, part="3"), Fault("payload", magnitude=25.0)]
    assert events == [Event(10.0, fault) for fault in expected]
    assert choose_scenarios("none,leg_loss:0+leg_loss:1", FAULT_KINDS) == ("none", "leg_loss:0+leg_loss:1")
    for wrong, text in (
        ("leg_loss:9", "hits no part '9'"),
        ("leg_loss+rust", "unknown fault kind 'rust'"),
        ("leg_loss:", "a fault is written"),
        ("leg_loss:1,leg_loss:1", "is given twice"),
    ):
        with pytest.raises(ValueError, match=text):
            choose_scenarios(wrong, FAULT_KINDS)


def test_faults_come_one_after_the_other_in_equal_parts_of_the_time() -> None:
    scenario = "leg_loss:3+payload:9..leg_loss:5..slope:4"
    assert choose_scenarios(scenario, FAULT_KINDS) == (scenario,)
    events = schedule(scenario, FAULT_KINDS, seed=3, start=8.0, end=17.0)
    assert [(event.time, str(event.fault)) for event in events] == [
        (8.0, "leg_loss:3"),
        (8.0, "payload:magnitude=9"),
        (11.0, "leg_loss:5"),
        (14.0, "slope:magnitude=4"),
    ]
    for wrong in ("leg_loss:3..leg_loss:3", "leg_loss..", "leg_loss:3....leg_loss:4"):
        with pytest.raises(FaultError):
            choose_scenarios(wrong, FAULT_KINDS)


def test_nothing_happens_where_nothing_should() -> None:
    assert schedule("none", FAULT_KINDS, 0, 10.0, 30.0) == []


def test_severe_faults_are_possible_together_and_all_meant_by_a_word() -> None:
    assert choose_scenarios("severe", FAULT_KINDS) == tuple(FAULT_KINDS.severe)
    assert choose_scenarios("a_tripod,none", FAULT_KINDS) == ("a_tripod", "none")
    assert [fault.part for fault in faults("a_tripod", 3)] == ["0", "2", "4"]
    for scenario in FAULT_KINDS.severe:
        in_force: list[Fault] = []
        for fault in faults(scenario, 0):
            in_force.append(FAULT_KINDS.choose(fault, in_force))
        assert in_force


def test_simulator_without_severe_faults_has_none_to_choose() -> None:
    with pytest.raises(ValueError, match=r"^unknown scenario 'severe': allowed is none, knock, or all$"):
        choose_scenarios("severe", FaultKinds(knock=FaultKind("it is hit")))
