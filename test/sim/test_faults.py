"""Requests for faults: each ends in a possible fault or in a sentence."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_sim.faults import (
    FAULT_KINDS,
    LEG_LOSS,
    Fault,
    FaultError,
    FaultPlan,
    choose_fault,
    parse_fault_plan,
)
from mbmrl_sim.terrain import TERRAINS

ALL_LEGS = set(range(6))
NUMERIC = [kind for kind, allowed in FAULT_KINDS.items() if allowed.high > allowed.low]


def rng(seed: int = 0) -> np.random.Generator:
    """A source of random legs."""
    return np.random.default_rng(seed)


def lost(*legs: int) -> list[Fault]:
    """Legs that are lost already."""
    return [Fault(LEG_LOSS, leg) for leg in legs]


def test_no_values_lose_a_random_leg() -> None:
    assert {choose_fault(Fault(), (), rng(seed)).leg for seed in range(60)} == ALL_LEGS
    assert choose_fault(Fault(), (), rng()).kind == LEG_LOSS


def test_random_leg_is_one_that_still_works() -> None:
    gone = lost(0, 2, 3, 5)
    assert {choose_fault(Fault(LEG_LOSS), gone, rng(seed)).leg for seed in range(30)} == {1, 4}


def test_what_is_left_open_follows_from_the_seed() -> None:
    first, second = rng(7), rng(7)
    for _ in range(10):
        for kind in FAULT_KINDS:
            assert choose_fault(Fault(kind), (), first) == choose_fault(Fault(kind), (), second)


def test_named_leg_is_lost_from_now_on() -> None:
    assert choose_fault(Fault("leg_loss", 2), lost(1), rng(), since=3.5) == Fault("leg_loss", 2, since=3.5)


def test_random_ground_is_another_one() -> None:
    chosen = {choose_fault(Fault("terrain"), (), rng(seed), ground="turf").terrain for seed in range(40)}
    assert chosen == set(TERRAINS) - {"turf"}


def test_random_side_is_either() -> None:
    assert {choose_fault(Fault("motor_weak"), (), rng(seed)).side for seed in range(20)} == {"left", "right"}


@pytest.mark.parametrize("kind", NUMERIC)
def test_magnitude_that_is_left_open_is_the_default(kind: str) -> None:
    allowed = FAULT_KINDS[kind]
    assert choose_fault(Fault(kind)).magnitude == allowed.default
    assert allowed.low <= allowed.default <= allowed.high
    for magnitude in (allowed.low, allowed.high):
        if magnitude:
            assert choose_fault(Fault(kind, magnitude=magnitude)).magnitude == magnitude


def test_pose_may_be_shifted_without_a_turn_and_commands_lost_without_a_delay() -> None:
    assert choose_fault(Fault("pose_miscalibration", x=0.1)).magnitude == 0.0
    assert choose_fault(Fault("link", loss=20.0)).magnitude == 0.0
    assert choose_fault(Fault("payload", x=0.02)).magnitude > 0.0


@pytest.mark.parametrize(
    ("request_", "gone", "sentence"),
    [
        (Fault(leg=9), (), "there is no leg 9: allowed is 0 to 5, or -1 for a random one"),
        (Fault(leg=-2), (), "there is no leg -2"),
        (Fault("rust", 2), (), "unknown fault kind 'rust': allowed is leg_loss, motor_weak, payload"),
        (Fault("leg_loss", 2), (2,), r"leg 2 \(left_rear\) is lost already: still working are \[0, 1, 3, 4, 5\]"),
        (Fault(), ALL_LEGS, "all legs are lost already"),
        (Fault(leg=3), ALL_LEGS, "all legs are lost already"),
        (Fault("payload", magnitude=61.0), (), "magnitude of payload is 61: allowed is 0.1 to 60 g"),
        (Fault("payload", magnitude=-1.0), (), "allowed is 0.1 to 60 g"),
        (Fault("payload", x=0.1), (), "x of payload is 0.1: allowed is -0.06 to 0.06 m"),
        (Fault("slope", magnitude=30.0), (), "magnitude of slope is 30: allowed is -25 to 25 degrees"),
        (Fault("link", magnitude=500.0), (), "allowed is 0 to 200 ms"),
        (Fault("link", loss=95.0), (), "loss of link is 95: allowed is 0 to 90 percent"),
        (Fault("motor_weak", side="top"), (), "there is no side 'top': allowed is left or right"),
        (Fault("motor_weak", magnitude=1.5), (), "magnitude of motor_weak is 1.5: allowed is 0.01 to 0.99$"),
        (Fault("terrain", terrain="ice"), (), "unknown terrain 'ice': allowed is carpet"),
        (Fault("battery_low", magnitude=float("nan")), (), "allowed is 0.05 to 1.5 V"),
        (Fault("leg_loss", ramp=2.0), (), "leg_loss takes no ramp: allowed is leg"),
        (Fault("terrain", ramp=2.0), (), "terrain takes no ramp: allowed is terrain"),
        (Fault("payload", leg=2), (), "payload takes no leg: allowed is magnitude, ramp, x, y"),
        (Fault("slope", ramp=-1.0), (), "ramp of slope is -1: allowed is 0 to 60 s"),
    ],
)
def test_impossible_fault_is_refused_with_a_sentence(request_: Fault, gone: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(FaultError, match=sentence):
        choose_fault(request_, lost(*gone), rng())


@given(
    st.builds(
        Fault,
        kind=st.one_of(st.sampled_from(["", *FAULT_KINDS]), st.text()),
        leg=st.one_of(st.integers(-2, 6), st.integers()),
        side=st.sampled_from(["", "left", "right", "middle"]),
        terrain=st.sampled_from(["", *TERRAINS, "ice"]),
        **{name: st.one_of(st.just(0.0), st.floats()) for name in ("magnitude", "x", "y", "direction", "loss", "ramp")},
    ),
    st.sets(st.sampled_from(sorted(ALL_LEGS))),
)
def test_any_request_is_met_or_refused(request_: Fault, gone: set[int]) -> None:
    try:
        fault = choose_fault(request_, lost(*gone), rng())
    except FaultError as error:
        assert len(str(error).split()) > 3
    else:
        assert fault.kind in FAULT_KINDS
        assert fault.kind != LEG_LOSS or fault.leg in ALL_LEGS - gone
        assert all(np.isfinite(value) for value in vars(fault).values() if isinstance(value, float))


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("leg_loss@10", FaultPlan(Fault("leg_loss"), 10.0)),
        ("leg_loss:4@2.5", FaultPlan(Fault("leg_loss", 4), 2.5)),
        ("leg_loss:0@0", FaultPlan(Fault("leg_loss", 0), 0.0)),
        ("payload:magnitude=15,x=0.03@5", FaultPlan(Fault("payload", magnitude=15.0, x=0.03), 5.0)),
        ("motor_weak:left,magnitude=0.4@5", FaultPlan(Fault("motor_weak", side="left", magnitude=0.4), 5.0)),
        ("terrain:gravel@5", FaultPlan(Fault("terrain", terrain="gravel"), 5.0)),
        (
            "slope:magnitude=-8,direction=90,ramp=2@1",
            FaultPlan(Fault("slope", magnitude=-8.0, direction=90.0, ramp=2.0), 1),
        ),
    ],
)
def test_plan_is_read_and_written(text: str, plan: FaultPlan) -> None:
    assert parse_fault_plan(text) == plan
    assert str(plan) == text


def test_bare_number_is_the_leg_or_the_magnitude() -> None:
    assert parse_fault_plan("leg_loss:4@1").fault.leg == 4
    assert parse_fault_plan("slope:8@1").fault.magnitude == 8.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss@", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss@-1", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss:@3", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss:two@3", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss:2@nan", r"KIND\[:VALUE,...\]@T"),
        ("payload:weight=3@3", r"KIND\[:VALUE,...\]@T"),
        ("payload:since=3@3", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss:9@3", "there is no leg 9"),
        ("rust@3", "unknown fault kind 'rust'"),
        ("payload:99@3", "allowed is 0.1 to 60 g"),
    ],
)
def test_impossible_plan_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(FaultError, match=sentence):
        parse_fault_plan(text)


_SHAPED = r"(leg_loss|payload|terrain|\w{0,9}):?[a-z]{0,9}=?-?\d{0,3},?\w{0,4}@\d{0,3}(\.\d{0,3})?"


@given(st.one_of(st.text(), st.from_regex(_SHAPED, fullmatch=True)))
def test_any_text_is_a_plan_or_refused(text: str) -> None:
    try:
        plan = parse_fault_plan(text)
    except FaultError as error:
        assert len(str(error).split()) > 3
    else:
        assert parse_fault_plan(str(plan)).fault.kind == plan.fault.kind
        assert plan.time >= 0


def test_faults_that_hit_the_same_have_one_key() -> None:
    weak = Fault("motor_weak", side="left", magnitude=0.4)
    assert weak.key == replace(weak, magnitude=0.2).key != replace(weak, side="right").key
    assert Fault("leg_loss", 1).key != Fault("leg_loss", 2).key
    assert {entry.name for entry in fields(Fault)} >= {"kind", "leg", "side", "terrain", "magnitude", "ramp"}
