"""The report of data: what there is, and how long actions take to act."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cart_testing import INTERVAL, drive_cart, save_carts
from mbmrl_control.evaluation.data_report import write_data_report
from mbmrl_control.training.episodes import read_folder

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_delay_from_action_to_effect_is_found(tmp_path: Path, steps: int) -> None:
    """An action that is written so many rows before that in which it acts."""
    (tmp_path / "data").mkdir()
    for seed in range(6):
        episode = drive_cart(seed, 200)
        rows = 200 - steps
        state = episode.state[: rows + 1]
        noise = 1e-3 * state.std(axis=0) * np.random.default_rng(seed).normal(size=state.shape)
        early = replace(episode, state=state + noise, action=episode.action[steps:], time=episode.time[: rows + 1])
        early.save(tmp_path / "data" / f"{seed}.npz")
    found = write_data_report(read_folder(tmp_path / "data"), tmp_path / "data.html")
    assert found["delay_s"]["force"] == pytest.approx(steps * INTERVAL)
    assert found["transitions"] == 6 * (200 - steps)


def test_page_loads_nothing_and_says_what_looks_wrong(folder: Path, mbmrl: Run) -> None:
    data = save_carts(folder / "data", 4)
    stuck = drive_cart(9)
    stuck.state[30:60, 1] = stuck.state[30, 1]
    stuck.state[80] = np.nan
    stuck.save(data / "stuck.npz")
    code, output, errors = mbmrl("dataset", "report", "data", "--json")
    assert code == 0, errors
    found = json.loads(output.splitlines()[-1])
    assert (found["episodes"], found["dropped"]) == (5, {"missing_samples": 1})
    assert "state 'velocity' (column 1) does not change" in errors
    page = (data / "report.html").read_text()
    assert "does not change over 29 rows" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_few_data_do_not_tell(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    drive_cart(0, 12).save(tmp_path / "data" / "0.npz")
    found = write_data_report(read_folder(tmp_path / "data"), tmp_path / "data.html")
    assert found["delay_s"] == {"force": None}
    assert "too few to tell" in (tmp_path / "data.html").read_text()
