"""Requests for faults: each ends in a possible fault or in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_sim.faults import (
    ANY_LEG,
    FAULT_KINDS,
    LEG_LOSS,
    Fault,
    FaultError,
    FaultPlan,
    choose_fault,
    parse_fault_plan,
)

ALL_LEGS = set(range(6))


def rng(seed: int = 0) -> np.random.Generator:
    """A source of random legs."""
    return np.random.default_rng(seed)


def test_no_values_lose_a_random_leg() -> None:
    assert {choose_fault("", ANY_LEG, (), rng(seed)).leg for seed in range(60)} == ALL_LEGS
    assert choose_fault("", ANY_LEG, (), rng()).kind == LEG_LOSS


def test_random_leg_is_one_that_still_works() -> None:
    lost = {0, 2, 3, 5}
    assert {choose_fault(LEG_LOSS, ANY_LEG, lost, rng(seed)).leg for seed in range(30)} == {1, 4}


def test_random_leg_follows_from_the_seed() -> None:
    first, second = rng(7), rng(7)
    for _ in range(10):
        assert choose_fault("", ANY_LEG, (), first) == choose_fault("", ANY_LEG, (), second)


def test_named_leg_is_lost_from_now_on() -> None:
    assert choose_fault("leg_loss", 2, {1}, rng(), since=3.5) == Fault("leg_loss", 2, 3.5)


@pytest.mark.parametrize(
    ("kind", "leg", "lost", "sentence"),
    [
        ("", 9, set(), "there is no leg 9: allowed is 0 to 5, or -1 for a random one"),
        ("", -2, set(), "there is no leg -2"),
        ("rust", 2, set(), "unknown fault kind 'rust': allowed is leg_loss"),
        ("leg_loss", 2, {2}, r"leg 2 \(left_rear\) is lost already: still working are \[0, 1, 3, 4, 5\]"),
        ("", ANY_LEG, ALL_LEGS, "all legs are lost already"),
        ("", 3, ALL_LEGS, "all legs are lost already"),
    ],
)
def test_impossible_fault_is_refused_with_a_sentence(kind: str, leg: int, lost: set[int], sentence: str) -> None:
    with pytest.raises(FaultError, match=sentence):
        choose_fault(kind, leg, lost, rng())


@given(
    st.one_of(st.sampled_from(["", *FAULT_KINDS]), st.text()),
    st.one_of(st.integers(-2, 6), st.integers()),
    st.sets(st.sampled_from(sorted(ALL_LEGS))),
)
def test_any_request_is_met_or_refused(kind: str, leg: int, lost: set[int]) -> None:
    try:
        fault = choose_fault(kind, leg, lost, rng())
    except FaultError as error:
        assert len(str(error).split()) > 3
    else:
        assert fault.kind in FAULT_KINDS
        assert fault.leg in ALL_LEGS - lost
        assert leg in (ANY_LEG, fault.leg)


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("leg_loss@10", FaultPlan("leg_loss", ANY_LEG, 10.0)),
        ("leg_loss:4@2.5", FaultPlan("leg_loss", 4, 2.5)),
        ("leg_loss:0@0", FaultPlan("leg_loss", 0, 0.0)),
    ],
)
def test_plan_is_read_and_written(text: str, plan: FaultPlan) -> None:
    assert parse_fault_plan(text) == plan
    assert str(plan) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"KIND\[:LEG\]@T"),
        ("leg_loss", r"KIND\[:LEG\]@T"),
        ("leg_loss@", r"KIND\[:LEG\]@T"),
        ("leg_loss@-1", r"KIND\[:LEG\]@T"),
        ("leg_loss:@3", r"KIND\[:LEG\]@T"),
        ("leg_loss:two@3", r"KIND\[:LEG\]@T"),
        ("leg_loss:2@nan", r"KIND\[:LEG\]@T"),
        ("leg_loss:9@3", "there is no leg 9"),
        ("rust@3", "unknown fault kind 'rust'"),
    ],
)
def test_impossible_plan_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(FaultError, match=sentence):
        parse_fault_plan(text)


@given(st.one_of(st.text(), st.from_regex(r"(leg_loss|\w{0,9}):?-?\d{0,3}@\d{0,3}(\.\d{0,3})?", fullmatch=True)))
def test_any_text_is_a_plan_or_refused(text: str) -> None:
    try:
        plan = parse_fault_plan(text)
    except FaultError as error:
        assert len(str(error).split()) > 3
    else:
        assert parse_fault_plan(str(plan)).kind == plan.kind
        assert plan.time >= 0
