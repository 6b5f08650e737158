"""Walks compared with recorded ones."""

from __future__ import annotations

import numpy as np
import pytest

from mbmrl_sim.millirobot import calibration
from mbmrl_sim.millirobot.calibration import RATE, TARGETS, Walk
from mbmrl_sim.millirobot.terrain import TERRAINS


def test_every_terrain_has_recorded_walks() -> None:
    assert set(TARGETS) == set(TERRAINS)


def test_figures_are_those_of_known_walks() -> None:
    """Two walks along circles: path and turn are known."""
    rng = np.random.default_rng(0)
    walks = []
    for _ in range(2):
        differences = rng.uniform(-2, 2, 50)
        walks.append((50 * 6.0 * 0.05 / RATE, 50 * 6.0 / RATE, differences, 0.2 * differences + 0.03))
    figures = calibration._figures(walks)
    assert figures.leg_speed == pytest.approx(6.0)
    assert figures.path_per_rev == pytest.approx(0.05)
    assert figures.yaw_per_difference == pytest.approx(0.2)


def test_random_walk_is_at_the_mean_leg_speed_and_follows_from_the_seed() -> None:
    first, again, other = (calibration._one_walk("carpet", seed, 1) for seed in (3, 3, 4))
    assert first[:2] == again[:2] != other[:2]
    assert first[1] / calibration.DURATION == pytest.approx(TARGETS["carpet"].leg_speed, rel=0.15)
    assert np.percentile(np.abs(first[2]), 90) < 2 * calibration.SPREAD
    assert 0.03 < first[0] / first[1] < 0.08


def test_workers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "TERRAINS", {"turf": TERRAINS["turf"]})
    assert dict(calibration.calibrate(2, workers=1)) == dict(calibration.calibrate(2, workers=2))


def test_half_the_physics_step_walks_another_way() -> None:
    assert calibration._one_walk("carpet", 0, 2)[0] != calibration._one_walk("carpet", 0, 1)[0]


def test_table_tells_figures_targets_and_what_they_miss() -> None:
    walks = {"carpet": Walk(6.0, 0.052 * 1.1, 0.2 * 0.8)}
    assert calibration.misses("carpet", walks["carpet"]) == pytest.approx((0.1, -0.2))
    told = calibration.as_json(walks, {"carpet": Walk(6.0, 0.052 * 1.1 * 1.02, 0.2)})
    (entry,) = told["terrains"]
    assert entry["name"] == "carpet"
    assert entry["path_per_rev_m"] == pytest.approx(0.0572)
    assert entry["target_yaw_per_rev_difference"] == 0.2
    assert entry["path_change_with_half_step"] == pytest.approx(0.02)
    row = calibration.as_markdown(told).splitlines()[-1]
    for cell in ("carpet", "0.0572", "0.052", "+10%", "0.160", "0.20", "-20%", "+2.0%"):
        assert f"| {cell} |" in row
    assert "not measured" in calibration.as_markdown(calibration.as_json(walks))
