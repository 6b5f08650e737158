"""Requests for faults: each ends in a possible fault or in a sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.robots.faults import Fault, FaultError, FaultPlan
from mbmrl_base.robots.millirobot.layout import LEG_NAMES
from mbmrl_sim.millirobot.faults import FAULT_KINDS, LEG_LOSS
from mbmrl_sim.millirobot.terrain import TERRAINS

ALL_LEGS = set(LEG_NAMES)
NUMERIC = [kind for kind, allowed in FAULT_KINDS.items() if allowed.high > allowed.low]


def rng(seed: int = 0) -> np.random.Generator:
    """A source of random legs."""
    return np.random.default_rng(seed)


def lost(*legs: str) -> list[Fault]:
    """Legs that are lost already."""
    return [Fault(LEG_LOSS, leg) for leg in legs]


def test_no_values_lose_a_random_leg() -> None:
    assert {FAULT_KINDS.choose(Fault(), (), rng(seed)).part for seed in range(60)} == ALL_LEGS
    assert FAULT_KINDS.choose(Fault(), (), rng()).kind == LEG_LOSS


def test_random_leg_is_one_that_still_works() -> None:
    working = {"left_middle", "right_middle"}
    gone = lost(*(ALL_LEGS - working))
    assert {FAULT_KINDS.choose(Fault(LEG_LOSS), gone, rng(seed)).part for seed in range(30)} == {
        "left_middle",
        "right_middle",
    }


def test_what_is_left_open_follows_from_the_seed() -> None:
    first, second = rng(7), rng(7)
    for _ in range(10):
        for kind in FAULT_KINDS:
            assert FAULT_KINDS.choose(Fault(kind), (), first) == FAULT_KINDS.choose(Fault(kind), (), second)


def test_named_leg_is_lost_from_now_on() -> None:
    for part in ("left_rear", "2"):
        fault = FAULT_KINDS.choose(Fault("leg_loss", part), lost("left_middle"), rng(), since=3.5)
        assert fault == Fault("leg_loss", "left_rear", since=3.5)


def test_random_ground_is_another_one() -> None:
    chosen = {FAULT_KINDS.choose(Fault("terrain"), (), rng(seed), ground="turf").terrain for seed in range(40)}
    assert chosen == set(TERRAINS) - {"turf"}


def test_random_side_is_either() -> None:
    assert {FAULT_KINDS.choose(Fault("motor_weak"), (), rng(seed)).part for seed in range(20)} == {"left", "right"}


@pytest.mark.parametrize("kind", NUMERIC)
def test_magnitude_that_is_left_open_is_the_default(kind: str) -> None:
    allowed = FAULT_KINDS[kind]
    assert FAULT_KINDS.choose(Fault(kind)).magnitude == allowed.default
    assert allowed.low <= allowed.default <= allowed.high
    for magnitude in (allowed.low, allowed.high):
        if magnitude:
            assert FAULT_KINDS.choose(Fault(kind, magnitude=magnitude)).magnitude == magnitude


def test_pose_may_be_shifted_without_a_turn_and_commands_lost_without_a_delay() -> None:
    assert FAULT_KINDS.choose(Fault("pose_miscalibration", x=0.1)).magnitude == 0.0
    assert FAULT_KINDS.choose(Fault("link", loss=20.0)).magnitude == 0.0
    assert FAULT_KINDS.choose(Fault("payload", x=0.02)).magnitude > 0.0


@pytest.mark.parametrize(
    ("request_", "gone", "sentence"),
    [
        (Fault(part="9"), (), "leg_loss hits no part '9': allowed is left_front, .*, right_rear, or 0 to 5$"),
        (Fault(part="-2"), (), "leg_loss hits no part '-2'"),
        (Fault("rust", "2"), (), "unknown fault kind 'rust': allowed is leg_loss, motor_weak, payload"),
        (
            Fault("leg_loss", "2"),
            ("left_rear",),
            "leg_loss of left_rear is in force already: .* are left_front, ",
        ),
        (Fault(), LEG_NAMES, "leg_loss of each part is in force already"),
        (Fault(part="3"), LEG_NAMES, "leg_loss of right_front is in force already"),
        (Fault("payload", magnitude=61.0), (), "magnitude of payload is 61: allowed is 0.1 to 60 g"),
        (Fault("payload", magnitude=-1.0), (), "allowed is 0.1 to 60 g"),
        (Fault("payload", x=0.1), (), "x of payload is 0.1: allowed is -0.06 to 0.06 m"),
        (Fault("slope", magnitude=30.0), (), "magnitude of slope is 30: allowed is -25 to 25 degrees"),
        (Fault("link", magnitude=500.0), (), "allowed is 0 to 200 ms"),
        (Fault("link", loss=95.0), (), "loss of link is 95: allowed is 0 to 90 percent"),
        (Fault("motor_weak", part="top"), (), "motor_weak hits no part 'top': allowed is left, right, or 0 to 1"),
        (Fault("motor_weak", magnitude=1.5), (), "magnitude of motor_weak is 1.5: allowed is 0.01 to 0.99$"),
        (Fault("terrain", terrain="ice"), (), "unknown terrain 'ice': allowed is carpet"),
        (Fault("battery_low", magnitude=float("nan")), (), "allowed is 0.05 to 1.5 V"),
        (Fault("leg_loss", ramp=2.0), (), "leg_loss takes no ramp: allowed is part"),
        (Fault("terrain", ramp=2.0), (), "terrain takes no ramp: allowed is terrain"),
        (Fault("payload", part="2"), (), "payload takes no part: allowed is magnitude, ramp, x, y"),
        (Fault("slope", ramp=-1.0), (), "ramp of slope is -1: allowed is 0 to 60 s"),
    ],
)
def test_impossible_fault_is_refused_with_a_sentence(request_: Fault, gone: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(FaultError, match=sentence):
        FAULT_KINDS.choose(request_, lost(*gone), rng())


@given(
    st.builds(
        Fault,
        kind=st.one_of(st.sampled_from(["", *FAULT_KINDS]), st.text()),
        part=st.one_of(st.sampled_from(["", "left", "right", "left_rear", "3", "6"]), st.text()),
        terrain=st.sampled_from(["", *TERRAINS, "ice"]),
        **{name: st.one_of(st.just(0.0), st.floats()) for name in ("magnitude", "x", "y", "direction", "loss", "ramp")},
    ),
    st.sets(st.sampled_from(sorted(ALL_LEGS))),
)
def test_any_request_is_met_or_refused(request_: Fault, gone: set[str]) -> None:
    try:
        fault = FAULT_KINDS.choose(request_, lost(*gone), rng())
    except FaultError as error:
        assert len(str(error).split()) > 3
    else:
        assert fault.kind in FAULT_KINDS
        assert fault.kind != LEG_LOSS or fault.part in ALL_LEGS - gone
        assert all(np.isfinite(value) for value in vars(fault).values() if isinstance(value, float))


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("leg_loss@10", FaultPlan((Fault("leg_loss"),), 10.0)),
        ("leg_loss:right_middle@2.5", FaultPlan((Fault("leg_loss", "right_middle"),), 2.5)),
        ("leg_loss:0@0", FaultPlan((Fault("leg_loss", "0"),), 0.0)),
        ("payload:magnitude=15,x=0.03@5", FaultPlan((Fault("payload", magnitude=15.0, x=0.03),), 5.0)),
        ("motor_weak:left,magnitude=0.4@5", FaultPlan((Fault("motor_weak", part="left", magnitude=0.4),), 5.0)),
        ("terrain:gravel@5", FaultPlan((Fault("terrain", terrain="gravel"),), 5.0)),
        (
            "slope:magnitude=-8,direction=90,ramp=2@1",
            FaultPlan((Fault("slope", magnitude=-8.0, direction=90.0, ramp=2.0),), 1),
        ),
        (
            "leg_loss:3+leg_loss:5+payload:magnitude=8@7",
            FaultPlan((Fault("leg_loss", "3"), Fault("leg_loss", "5"), Fault("payload", magnitude=8.0)), 7.0),
        ),
    ],
)
def test_plan_is_read_and_written(text: str, plan: FaultPlan) -> None:
    assert FAULT_KINDS.plan(text) == plan
    assert str(plan) == text


def test_bare_number_is_the_part_or_the_magnitude() -> None:
    assert FAULT_KINDS.plan("leg_loss:4@1").faults[0].part == "4"
    assert FAULT_KINDS.plan("slope:8@1").faults[0].magnitude == 8.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss@", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss@-1", r"KIND\[:VALUE,...\]@T"),
        ("leg_loss:@3", r"KIND\[:VALUE,...\], such as leg_loss, several"),
        ("leg_loss:two@3", "leg_loss hits no part 'two'"),
        ("leg_loss:2@nan", r"KIND\[:VALUE,...\]@T"),
        ("payload:weight=3@3", r"KIND\[:VALUE,...\], such as leg_loss, several"),
        ("payload:since=3@3", r"KIND\[:VALUE,...\], such as leg_loss, several"),
        ("leg_loss:9@3", "leg_loss hits no part '9'"),
        ("rust@3", "unknown fault kind 'rust'"),
        ("payload:99@3", "allowed is 0.1 to 60 g"),
        ("leg_loss:3+leg_loss:3@3", "leg_loss of right_front is in force already"),
        ("leg_loss+@3", "several with \\+ between"),
        ("leg_loss@3+payload@4", "several with \\+ between"),
    ],
)
def test_impossible_plan_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(FaultError, match=sentence):
        FAULT_KINDS.plan(text)


_SHAPED = r"(leg_loss|payload|terrain|\w{0,9}):?[a-z]{0,9}=?-?\d{0,3},?\w{0,4}(\+payload)?@\d{0,3}(\.\d{0,3})?"


@given(st.one_of(st.text(), st.from_regex(_SHAPED, fullmatch=True)))
def test_any_text_is_a_plan_or_refused(text: str) -> None:
    try:
        plan = FAULT_KINDS.plan(text)
    except FaultError as error:
        assert len(str(error).split()) > 3
    else:
        assert FAULT_KINDS.plan(str(plan)) == plan
        assert plan.time >= 0


def test_faults_that_hit_the_same_have_one_key() -> None:
    weak = Fault("motor_weak", part="left", magnitude=0.4)
    assert weak.key == replace(weak, magnitude=0.2).key != replace(weak, part="right").key
    assert Fault("leg_loss", "left_middle").key != Fault("leg_loss", "left_rear").key
