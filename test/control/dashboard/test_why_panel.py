"""The bars that show why the robot moves so."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mbmrl_control.dashboard.server import PageServer
from mbmrl_control.dashboard.snapshot import Foresight
from mbmrl_control.dashboard.why_panel import WhyPanel

PART = re.compile(r"left:([\d.-]+)%;width:([\d.-]+)%")
MARK = re.compile(r"left:calc\(([\d.-]+)% - 1px\)")


def bars(terms: dict[str, list[float]]) -> list[tuple[list[tuple[float, float]], float, float]]:
    """Of the plan and of candidates: where parts begin and end, the line at 0, and the mark, in % of the width."""
    way = np.zeros((2, 3))
    values = {name: np.array(each) for name, each in terms.items()}
    server = PageServer("127.0.0.1", 0)
    try:
        panel = WhyPanel(server.viser.gui)
        panel.show(Foresight(way, way, way[None], values, np.array([0.0, 0.1, 0.5])))
        rows = panel._html.content.split("</b></div>")[1:]
    finally:
        server.close()
    found = []
    for row in rows:
        zero, total = (float(place) for place in MARK.findall(row))
        parts = [(float(left), float(left) + float(width)) for left, width in PART.findall(row)]
        found.append((parts, zero, total))
    return found


def test_rewards_are_left_of_zero_and_cheaper_is_farther_left() -> None:
    shown = bars({"effort": [0.2, 0.2, 0.1, 0.2], "rest": [-0.7, -0.8, -0.5, -0.3]})
    parts, zero, total = shown[0]
    assert zero == pytest.approx(80.0)
    assert parts == [pytest.approx((80.0, 100.0)), pytest.approx((10.0, 80.0))]
    assert total == pytest.approx(30.0)
    marks = [mark for _, _, mark in shown[1:]]
    assert marks[0] < marks[1] < marks[2]


def test_costs_begin_at_the_left_and_the_largest_ends_at_the_right() -> None:
    shown = bars({"a": [1.0, 0.5, 1.0, 1.0], "b": [1.0, 0.5, 1.0, 1.0], "rest": [0.0, 0.0, 0.2, 4.0]})
    assert shown[3][0] == [pytest.approx((0.0, 16.7)), pytest.approx((16.7, 33.4)), pytest.approx((33.3, 100.0))]
    assert all(zero == 0.0 for _, zero, _ in shown)
    assert [total for _, _, total in shown] == pytest.approx([33.3, 16.7, 36.7, 100.0])


def test_nothing_costs_anything() -> None:
    assert bars({"a": [0.0] * 4})[0] == ([(0.0, 0.0)], 0.0, 0.0)
