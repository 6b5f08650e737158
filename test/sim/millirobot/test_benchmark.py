"""What the benchmark of the simulator tells."""

from __future__ import annotations

from mbmrl_sim.millirobot.benchmark import measure_simulator


def test_rates_are_told_beside_those_of_bare_pybullet() -> None:
    told = measure_simulator(blocks=1)
    assert set(told) == {"steps_per_s", "bare_steps_per_s", "ratio", "real_time_factor", "two_workers"}
    assert all(value > 0 for value in told.values())
    assert told["ratio"] == told["steps_per_s"] / told["bare_steps_per_s"]
