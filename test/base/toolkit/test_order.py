"""The order of messages that are stamped and numbered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.toolkit.order import LATE, Order

MESSAGES = st.tuples(st.floats(0.0, 100.0), st.integers(0, 1000))


def taken(order: Order, stamp: float, sequence: int) -> bool:
    try:
        order.check(stamp, sequence)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("stamp", "sequence", "sentence"),
    [
        (5.0, 7, "number 7 has come before: number 7 is the newest"),
        (4.9, 6, "number 6 is 0.100 s late: number 7 is the newest"),
        (4.9, 9, "number 9 is 0.100 s late: number 7 is the newest"),
    ],
)
def test_what_comes_late_or_again_is_named(stamp: float, sequence: int, sentence: str) -> None:
    order = Order()
    order.check(5.0, 7)
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        order.check(stamp, sequence)
    order.check(5.05, 8)


@pytest.mark.parametrize(
    "following",
    [
        pytest.param((5.05, 8), id="the next one"),
        pytest.param((5.0, 8), id="the next one, of a clock that is read in steps"),
        pytest.param((5.05, 1), id="a node that was started again"),
        pytest.param((0.05, 1), id="a simulator that was started again"),
        pytest.param((0.0, 0), id="without stamp and number"),
    ],
)
def test_what_is_new_is_taken(following: tuple[float, int]) -> None:
    order = Order()
    order.check(5.0, 7)
    assert taken(order, *following)


@given(st.lists(MESSAGES, max_size=30))
def test_none_that_was_taken_is_taken_again_before_its_clock_begins_anew(messages: list[tuple[float, int]]) -> None:
    order = Order()
    seen: list[tuple[float, int]] = []
    for message in messages:
        if not taken(order, *message) or message == (0.0, 0):
            continue
        if seen and message[0] < seen[-1][0] - LATE:
            seen = []
        assert message not in seen
        assert seen == sorted(seen)
        seen.append(message)
