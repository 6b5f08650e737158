"""How figures of tasks are shown to people."""

from __future__ import annotations

import math

import pytest

from mbmrl_control.evaluation.units import in_units


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("cross_track_m", -0.0031, "cross track: -3.1 mm"),
        ("progress_m", 1.25, "progress: 1.250 m"),
        ("speed_error_m_s", 0.1, "speed error: 0.100 m/s"),
        ("turn_rate_error_rad_s", 0.1, "turn rate error: 0.100 rad/s"),
        ("heading_error_rad", math.pi / 2, "heading error: 90.0 °"),
        ("force_n", 2.0, "force n: 2.000"),
        ("_m", None, " m: -"),
    ],
)
def test_figure_is_shown_in_a_unit_that_reads_well(name: str, value: float | None, shown: str) -> None:
    unit = in_units(name)
    assert f"{unit.title}: {unit.text(value)}" == shown
