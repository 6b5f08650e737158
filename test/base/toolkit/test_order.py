"""The order of messages that are stamped and numbered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.toolkit.order import Order


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
        pytest.param((4.999, 8), id="the next one, of a clock that shakes"),
        pytest.param((0.0, 0), id="without stamp and number"),
    ],
)
def test_what_is_new_is_taken(following: tuple[float, int]) -> None:
    order = Order()
    order.check(5.0, 7)
    assert taken(order, *following)


@given(st.lists(st.integers(1, 19), max_size=60))
def test_of_one_publisher_each_message_that_is_newer_than_all_before_it_is_taken_once(numbers: list[int]) -> None:
    order = Order()
    newest = [number for place, number in enumerate(numbers) if number > max(numbers[:place], default=0)]
    assert [number for number in numbers if taken(order, 0.05 * number, number)] == newest
