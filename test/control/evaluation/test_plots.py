"""The plots of a run and of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_control.control.run_record import Record, Tick
from mbmrl_control.evaluation.plots import plot
from robot_testing import FOLLOW, PLANNER, path_task


def draw(fault: str | None, faults: tuple[str, ...], file: Path) -> None:
    """The plot of a robot that walks ahead for 2 s, with a fault half-way."""
    ticks = []
    for index in range(41):
        state = pack_state((0.01 * index, 0, 0.025), (0.2, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0), (20, 20), (1, 1), 3.9)
        observation = Observation(state, np.full(2, 20.0), index / 20, index, 1, 0.05)
        ticks.append(Tick(observation, commanded=True, faults=faults if index > 20 else ()))
    record = Record(load_robot("millirobot"), "grbal", FOLLOW, PLANNER, 0, 20.0, fault, 1.0 if fault else None, ticks)
    task = path_task("straight")
    plot(record, record.track(task), task.reference()[:, :2], file)


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
    fault: str | None, faults: tuple[str, ...], label: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    savefig = Figure.savefig

    def saved(figure: Figure, *arguments: object, **named: object) -> None:
        figures.append(figure)
        savefig(figure, *arguments, **named)

    monkeypatch.setattr(Figure, "savefig", saved)
    draw(fault, faults, tmp_path / "plot.png")
    (legend,) = figures[0].subfigs[0].legends
    ground = figures[0].axes[0]
    box, around = legend.get_window_extent(), figures[0].subfigs[0].bbox
    fits = around.x0 <= box.x0 and box.x1 <= around.x1 and box.y1 <= ground.get_tightbbox().y0
    texts = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    assert texts == ["reference", "walked, intact", *([label, "fault"] if label else [])]
    assert fits
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (1320, 552)
