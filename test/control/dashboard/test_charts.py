"""What charts draw of numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import viser

from mbmrl_control.dashboard.charts import WINDOW, Chart, Curve, averaged, curve_of, root_mean_square
from mbmrl_control.dashboard.server import PageServer


@pytest.fixture
def gui() -> Iterator[viser.GuiApi]:
    server = PageServer("127.0.0.1", 0)
    yield server.viser.gui
    server.close()


def chart_of(gui: viser.GuiApi, count: int, duration: float | None) -> tuple[Chart, viser.GuiUplotHandle]:
    """A chart of a number that is the time in ms, in each 0.1 s."""
    chart = Chart(gui, "time", (Curve("time", "ms", "#000", lambda values: 1e3 * values),), duration)
    for step in range(count):
        chart.take(0.1 * step, {"time": 0.1 * step})
    return chart, chart._chart


def test_chart_shows_the_newest_seconds(gui: viser.GuiApi) -> None:
    chart, shown = chart_of(gui, 500, None)
    chart.draw()
    assert (shown.data[0][0], shown.data[0][-1]) == (pytest.approx(49.9 - WINDOW, abs=0.11), pytest.approx(49.9))
    np.testing.assert_allclose(shown.data[1], 1e3 * shown.data[0])


def test_chart_of_a_whole_run_ends_at_a_time(gui: viser.GuiApi) -> None:
    chart, shown = chart_of(gui, 2000, 199.9)
    chart.draw(50.0)
    assert (shown.data[0][0], shown.data[0][-1]) == (pytest.approx(0.0), pytest.approx(50.0))
    chart.draw(199.9)  # of many points not all are drawn, but the last one
    assert len(shown.data[0]) <= 600
    assert (shown.data[0][0], shown.data[0][-1]) == (pytest.approx(0.3, abs=0.31), pytest.approx(199.9))
    chart.draw(10.0)
    assert shown.data[0][-1] == pytest.approx(10.0)


def test_chart_of_a_run_without_its_numbers_is_left_out(gui: viser.GuiApi) -> None:
    chart, shown = chart_of(gui, 0, 10.0)
    chart.take(0.0, {"another": 1.0})
    chart.draw()
    assert not shown.visible
    chart.take(0.1, {"time": 1.0})
    chart.draw()
    assert shown.visible


def test_average_is_of_the_values_up_to_each() -> None:
    values = np.random.default_rng(0).normal(size=40)
    expected = [values[max(0, end - 10) : end].mean() for end in range(1, 41)]
    np.testing.assert_allclose(averaged(values), expected)
    np.testing.assert_allclose(root_mean_square(values**2)[-1], np.sqrt((values[-10:] ** 2).mean()))


@pytest.mark.parametrize(
    ("figure", "title", "drawn"),
    [
        ("forward_speed_m_s", "forward speed (m/s)", 2.0),
        ("turn_rate_error_rad_s", "turn rate error (rad/s)", 2.0),
        ("heading_error_rad", "heading error (°)", pytest.approx(114.6, abs=0.01)),
        ("cross_track_m", "cross track (mm)", 2000.0),
        ("distance_m", "distance (m)", 2.0),
        ("cost", "cost", 2.0),
    ],
)
def test_chart_of_a_figure_is_in_a_unit_that_reads_well(figure: str, title: str, drawn: float) -> None:
    found, curve = curve_of(figure)
    assert (found, curve.drawn(np.array([2.0]))) == (title, [drawn])
