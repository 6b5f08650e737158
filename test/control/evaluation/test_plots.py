"""The plots of a run and of a comparison."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_control.control.run_record import Record, Tick
from mbmrl_control.evaluation.plots import draw, envelope, plot
from robot_testing import FOLLOW, PLANNER, path_task


def walked(fault: str | None, faults: tuple[str, ...] = (), speed: float = 0.2) -> Record:
    """A robot that walks ahead for 2 s, at a speed in m/s, with a fault half-way."""
    ticks = []
    for index in range(41):
        state = pack_state(
            (speed * index / 20, 0, 0.025), (0.2, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0), (20, 20), (1, 1), 3.9
        )
        observation = Observation(state, np.full(2, 20.0), index / 20, index, 1, 0.05)
        ticks.append(Tick(observation, commanded=True, faults=faults if index > 20 else ()))
    start = 1.0 if fault else None
    return Record(load_robot("millirobot"), "grbal", FOLLOW, PLANNER, 0, 20.0, fault, start, ticks)


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures that are written to files."""
    figures: list[Figure] = []
    savefig = Figure.savefig

    def keep(figure: Figure, *arguments: object, **named: object) -> None:
        figures.append(figure)
        savefig(figure, *arguments, **named)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


@pytest.mark.parametrize(
    ("fault", "faults", "label"),
    [
        ("leg_loss@1", ("leg_loss:4", "link:loss=9"), "walked, leg_loss: 4, link: loss=9"),
        ("payload:magnitude=15,x=0.03,ramp=2@1", (), "walked, payload: magnitude=15, x=0.03, ramp=2"),
        ("motor_weak:left@1", (), "walked, motor_weak: left"),
        ("terrain:gravel@1", (), "walked, terrain: gravel"),
        ("link:magnitude=199.5,loss=12.5,ramp=12.5@1", (), "walked, link: magnitude=199.5, loss=12.5, ramp=12.5"),
        (None, (), None),
    ],
)
def test_plot_names_the_fault_beneath_the_path(
    fault: str | None, faults: tuple[str, ...], label: str | None, tmp_path: Path, saved: list[Figure]
) -> None:
    record, task = walked(fault, faults), path_task("straight")
    plot(record, record.track(task), task.reference()[:, :2], tmp_path / "plot.png")
    (legend,) = saved[0].subfigs[0].legends
    ground = saved[0].axes[0]
    box, around = legend.get_window_extent(), saved[0].subfigs[0].bbox
    fits = around.x0 <= box.x0 and box.x1 <= around.x1 and box.y1 <= ground.get_tightbbox().y0
    texts = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    assert texts == ["reference", "walked, intact", *([label, "fault"] if label else [])]
    assert fits
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (1320, 552)


@pytest.mark.parametrize("turned", [False, True])
def test_way_on_a_line_has_room_for_its_labels(turned: bool) -> None:
    record = walked("leg_loss@1", speed=10.0)
    for tick in record.ticks if turned else ():
        tick.observation.state[:2] = tick.observation.state[1::-1]
    figure = draw(record, {"forward_speed_m_s": record.time}, None)
    figure.draw_without_rendering()
    ground = figure.axes[0]
    box = ground.get_window_extent()
    assert 0.39 < min(box.width / box.height, box.height / box.width) < 0.41
    labels = [label.get_window_extent() for label in ground.get_yticklabels() if label.get_text()]
    assert len(labels) > 1
    assert not any(low.overlaps(high) for low, high in pairwise(labels))


@pytest.mark.parametrize(
    ("path", "title"),
    [("straight", "runs that left the path, stopped or fell"), ("", "runs that never walked, or fell")],
)
def test_envelope_says_what_is_lost(path: str, title: str, tmp_path: Path, saved: list[Figure]) -> None:
    rows = [{"scenario": "slope", "contender": "mb", "path": path, "lost": lost} for lost in (1.0, 0.0)]
    envelope(rows, tmp_path / "envelope.png")
    (axes,) = saved[0].axes
    assert (axes.get_title(), [text.get_text() for text in axes.texts]) == (title, ["1 of 2"])
