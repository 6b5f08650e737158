"""Figures of a run, from records that are made up."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_control.control.run_record import Record, RecordError, Tick, choice
from mbmrl_control.evaluation.film import render_runs
from mbmrl_control.evaluation.metrics import RECOVERY_WINDOW, before_and_after, recovery_time, summarise
from mbmrl_control.evaluation.plots import plot
from mbmrl_control.evaluation.tables import summary_table
from mbmrl_control.tasks.goal import GoToGoal
from robot_testing import FOLLOW, PLANNER, path_task

TIME = np.arange(0.0, 20.0, 0.05)
FAULT_TIME = 8.0
PENDULUM = {
    "name": "pendulum",
    "states": [{"name": "theta", "unit": "rad", "angle": True}, {"name": "omega", "unit": "rad/s"}],
    "actions": [{"name": "torque", "unit": "N m", "low": -2.0, "high": 2.0}],
}
KEYS = {
    *(
        "robot",
        "learner",
        "task",
        "planner",
        "seed",
        "rate_hz",
        "duration_s",
        "ticks",
        "missed_ticks",
        "command_rate_hz",
        "fault",
    ),
    *("planning_ms", "adaptation_ms", "tracking_cost", "figures", "recovery_s", "model_error"),
}


# Recovery


def distance(*pieces: tuple[float, float]) -> Array:
    """Distance from the path: pieces of the time from which on, and the distance, m."""
    values = np.full(len(TIME), 0.01)
    for start, value in pieces:
        values[start <= TIME] = value
    return values


def test_robot_that_is_never_thrown_off_recovers_at_once() -> None:
    assert recovery_time(TIME, distance(), FAULT_TIME) == pytest.approx(0.0, abs=1e-9)
    assert recovery_time(TIME, distance((8.0, 0.014)), FAULT_TIME) == pytest.approx(0.0, abs=1e-9)


def test_robot_that_is_thrown_off_and_comes_back_recovers_then() -> None:
    """Its next two seconds are then as good on average as 1.5 times what they were before."""
    recovered = recovery_time(TIME, distance((8.0, 0.1), (11.0, 0.01)), FAULT_TIME)
    assert recovered is not None
    assert 3.0 - RECOVERY_WINDOW * 0.005 / 0.09 - 0.06 <= recovered <= 3.0


def test_robot_that_stays_off_never_recovers() -> None:
    assert recovery_time(TIME, distance((8.0, 0.016)), FAULT_TIME) is None


def test_robot_that_crosses_the_path_on_its_way_out_has_not_recovered() -> None:
    values = distance((8.0, 0.1), (9.0, 0.001), (11.5, 0.1))
    assert recovery_time(TIME, values, FAULT_TIME) is None


def test_rewards_are_costs_below_zero() -> None:
    """Of a reward of 0.01 nine tenths are enough, by a level of 1.1, and eight are not."""
    for after, recovered in ((0.0091, True), (0.0089, False)):
        values = -distance((8.0, after))
        assert (recovery_time(TIME, values, FAULT_TIME, 1.1) is not None) == recovered


def test_run_that_ends_too_soon_tells_nothing() -> None:
    assert recovery_time(TIME, distance(), 18.5) is None


def test_start_up_does_not_raise_the_level() -> None:
    values = distance((8.0, 0.02))
    values[TIME < 2.0] = 1.0
    assert recovery_time(TIME, values, FAULT_TIME) is None


def test_fault_without_anything_before_it_has_no_level() -> None:
    assert recovery_time(TIME, distance(), 1.0) is None


# The summary


def record(fault: bool = True, missed: tuple[int, ...] = (), still: int = 20) -> Record:
    """A robot that stands, walks straight ahead, and after a fault 3 cm beside the path."""
    ticks = []
    for index, time in enumerate(TIME):
        after = fault and time >= FAULT_TIME
        position = (max(0.0, 0.2 * (time - 1.0)), 0.03 if after else 0.005, 0.02)
        state = pack_state(position, (0.2, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0), (20, 20), (1, 1), 3.9)
        ticks.append(
            Tick(
                Observation(state, np.array([20.0, 20.0]), 5.0 + time, index, 1, 0.05),
                commanded=index >= still and index not in missed,
                faults=("leg_loss:4", "payload:magnitude=15,x=0.03") if after else (),
                prior_error=0.8 if after else 0.1,
                adapted_error=0.3 if after else 0.1,
                adaptation_time=0.002,
                planning_time=0.010 if index else np.nan,
            )
        )
    name, start = ("leg_loss:4@8", FAULT_TIME) if fault else (None, None)
    return Record(load_robot("millirobot"), "grbal", FOLLOW, PLANNER, 7, 20.0, name, start, ticks)


def summary(run: Record) -> dict[str, object]:
    return summarise(run, run.track(path_task("straight")), 20.0)


def test_path_is_where_the_planner_let_it_start() -> None:
    """The first state that was heard of may be a later one, of a robot that walks already."""
    run = record(True)
    run.origin = np.array([0.0, 0.02, 0.0])
    before = np.abs(run.track(path_task("straight"))["cross_track_m"][:100])
    assert before == pytest.approx(0.015)


@pytest.mark.parametrize("fault", [True, False])
def test_keys_are_those_of_the_issue(fault: bool) -> None:
    figures = summary(record(fault))
    assert set(figures) == KEYS
    assert set(figures["planning_ms"]) == set(figures["adaptation_ms"]) == {"p50", "p99"}
    assert set(figures["tracking_cost"]) == {"before", "after"}
    assert set(figures["figures"]) == {"cross_track_m", "progress_m", "heading_error_rad"}
    assert set(figures["model_error"]) == {"prior_after", "adapted_after"}
    assert "NaN" not in json.dumps(figures)


def test_figures_are_before_and_after_the_fault() -> None:
    figures = summary(record())
    assert (figures["learner"], figures["task"], figures["planner"]) == ("grbal", FOLLOW, PLANNER)
    assert (figures["fault"], figures["duration_s"], figures["rate_hz"]) == ("leg_loss:4@8", 20.0, 20.0)
    distance = figures["figures"]["cross_track_m"]
    assert distance == pytest.approx({"before": 0.0, "after": 0.025, "end": 0.025}, abs=1e-4)
    assert figures["model_error"] == pytest.approx({"prior_after": 0.8, "adapted_after": 0.3})
    assert figures["tracking_cost"]["after"] > figures["tracking_cost"]["before"]
    assert figures["planning_ms"] == pytest.approx({"p50": 10.0, "p99": 10.0})
    assert figures["adaptation_ms"] == pytest.approx({"p50": 2.0, "p99": 2.0})
    assert figures["recovery_s"] is None


def test_run_without_a_fault_has_nothing_after_it() -> None:
    figures = summary(record(fault=False))
    assert (figures["fault"], figures["recovery_s"]) == (None, None)
    assert figures["figures"]["cross_track_m"]["after"] is None
    assert figures["figures"]["cross_track_m"]["before"] is not None


def test_ticks_count_from_the_first_command_on() -> None:
    figures = summary(record(missed=(100, 101, 300)))
    assert (figures["ticks"], figures["missed_ticks"]) == (len(TIME) - 20, 3)
    assert figures["command_rate_hz"] == pytest.approx(20.0 * (379 - 3) / 379, rel=1e-3)


def test_run_without_any_command_has_no_rate() -> None:
    figures = summary(record(still=len(TIME)))
    assert (figures["ticks"], figures["missed_ticks"], figures["command_rate_hz"]) == (0, 0, None)


# Both sides of a moment


def test_both_sides_of_the_fault_are_told() -> None:
    run = record()
    for tick in run.ticks:
        after = tick.observation.time >= 5.0 + FAULT_TIME
        tick.model_error, tick.open_loop_error = (0.4, 0.05) if after else (0.1, 0.02)
    # Predictions across the fault are on neither side.
    run.ticks[round((FAULT_TIME + 0.5) * 20)].open_loop_error = 9.0
    told = before_and_after(run, run.track(path_task("straight")), FAULT_TIME)
    assert (told["cross_track_before_m"], told["cross_track_after_m"]) == pytest.approx((0.0, 0.025), abs=1e-4)
    assert (told["model_error_before"], told["model_error_after"]) == pytest.approx((0.1, 0.4))
    assert (told["open_loop_error_before_m"], told["open_loop_error_after_m"]) == pytest.approx((0.02, 0.05))
    assert (told["speed_before_m_s"], told["speed_kept"]) == pytest.approx((0.2, 1.0), rel=1e-3)
    assert (told["adaptation_ms"], told["planning_ms"]) == pytest.approx((2.0, 10.0))
    assert told["recovery_s"] is None
    assert told["lost"] == 0.0
    assert told["cost_before"] is not None
    assert told["cost_after"] == pytest.approx(
        told["cost_before"] + 50 * 0.05 * np.tanh(0.025 / 0.05) + 4 * np.arctan(0.25), rel=0.02
    )


def test_robot_on_its_back_is_told_of() -> None:
    run = record()
    for tick in run.ticks[-20:]:
        # Rolled by 170 degrees; and the same attitude told by pitch.
        tick.observation.state[[6, 8]] = (-0.98, 1.0) if tick.observation.sequence % 2 else (1.0, -0.98)
    told = before_and_after(run, run.track(path_task("straight")), FAULT_TIME)
    assert (told["on_back_before"], told["on_back_after"]) == (0.0, pytest.approx(20 / (TIME >= FAULT_TIME).sum()))
    assert told["lost"] == 1.0


@pytest.mark.parametrize(("name", "lost"), [("strays before", 0.0), ("strays", 1.0), ("stops", 1.0)])
def test_run_is_lost_if_the_robot_leaves_the_path_or_stops_after_the_fault(name: str, lost: float) -> None:
    run = record()
    tracking = run.track(path_task("straight"))
    after = FAULT_TIME <= TIME
    if name == "stops":
        tracking["progress_m"][after] = tracking["progress_m"][after][0]
    else:
        tracking["cross_track_m"][np.flatnonzero(after)[0] + (10 if name == "strays" else -10)] = -0.051
    assert before_and_after(run, tracking, FAULT_TIME)["lost"] == lost


@pytest.mark.parametrize(("speed", "walked"), [(0.0, False), (-0.5, False), (0.019, False), (0.021, True)])
@pytest.mark.parametrize("task", ["follow_path", "move_forward"])
def test_robot_that_does_not_walk_before_the_fault_has_nothing_to_recover(
    task: str, speed: float, walked: bool
) -> None:
    run, nothing = record(), np.zeros(len(TIME))
    tracking = {"progress_m": speed * TIME, "cross_track_m": nothing, "cost": nothing}
    if task == "move_forward":
        tracking = {"forward_speed_m_s": nothing + speed, "distance_m": speed * TIME, "cost": nothing}
    told = before_and_after(run, tracking, FAULT_TIME)
    assert (told["lost"], told["recovery_s"] is not None) == (float(not walked), walked)
    assert (summarise(run, tracking, 20.0)["recovery_s"] is not None) == walked


def test_recovery_is_from_the_cost() -> None:
    costs = distance((8.0, 0.1), (10.0, 0.0108))
    recovered = recovery_time(TIME, costs, FAULT_TIME, 1.1)
    assert recovered == pytest.approx(2.0, abs=0.06)
    assert recovery_time(TIME, distance((8.0, 0.1), (10.0, 0.0112)), FAULT_TIME, 1.1) is None


# The table of ticks


def test_ticks_are_written_one_a_row(tmp_path: Path) -> None:
    run = record()
    run.write(tmp_path, run.track(path_task("straight")))
    with (tmp_path / "ticks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(TIME)
    assert [float(row["time_s"]) for row in rows] == pytest.approx(TIME)
    assert list(rows[0])[-24:-18] == ["x_m", "y_m", "z_m", "vx_m_s", "vy_m_s", "vz_m_s"]
    assert list(rows[0])[3:6] == ["left_leg_speed_rad_s", "right_leg_speed_rad_s", "faults"]
    assert json.loads((tmp_path / "run.json").read_text())["robot"] == "millirobot"
    assert float(rows[200]["x_m"]) == pytest.approx(run.states[200, 0])
    assert float(rows[200]["battery_v"]) == pytest.approx(3.9)
    assert (rows[10]["faults"], rows[-1]["faults"]) == ("", "leg_loss:4 payload:magnitude=15,x=0.03")
    assert (rows[10]["commanded"], rows[-1]["commanded"]) == ("0", "1")
    assert float(rows[-1]["cross_track_m"]) == pytest.approx(0.025, abs=1e-4)


@pytest.mark.parametrize("fault", [True, False])
@pytest.mark.parametrize("origin", [None, np.array([0.1, 0.02, 0.5])])
def test_record_that_is_written_is_read(tmp_path: Path, fault: bool, origin: Array | None) -> None:
    run = record(fault)
    run.origin = origin
    tracking = run.track(path_task("straight"))
    run.write(tmp_path, tracking)
    read = Record.read(tmp_path)
    assert read.robot == run.robot
    assert (read.learner, read.task, read.planner) == ("grbal", FOLLOW, PLANNER)
    assert (read.seed, read.rate, read.fault) == (7, 20.0, run.fault)
    assert read.fault_time == run.fault_time
    np.testing.assert_allclose(read.states, run.states, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(read.time, run.time, atol=1e-6)
    assert [tick.faults for tick in read.ticks] == [tick.faults for tick in run.ticks]
    for name in ("commanded", "prior_error", "adapted_error", "adaptation_time", "planning_time"):
        np.testing.assert_allclose(read.array(name), run.array(name))
    again = read.track(path_task("straight"))
    np.testing.assert_allclose(again["cross_track_m"], tracking["cross_track_m"], atol=1e-6)


def test_record_of_another_robot_has_its_columns(tmp_path: Path) -> None:
    pendulum = Robot(describe(PENDULUM))
    seen = [Observation(np.array([0.1 * i, -0.2]), np.array([1.5]), 0.05 * i, i, 1, 0.05) for i in range(9)]
    run = Record(
        pendulum,
        "mb",
        {"name": "swing_up", "settings": {}},
        PLANNER,
        0,
        20.0,
        None,
        None,
        [Tick(each, commanded=True) for each in seen],
    )
    run.write(tmp_path, {"height_m": np.arange(9.0), "cost": np.zeros(9)})
    with (tmp_path / "ticks.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert header == [
        *("time_s", "interval_s", "commanded", "torque_n_m", "faults", "height_m", "cost"),
        *("prior_error", "adapted_error", "adaptation_time_s", "planning_time_s", "theta_rad", "omega_rad_s"),
    ]
    read = Record.read(tmp_path)
    assert read.robot == pendulum
    assert read.places is None
    np.testing.assert_allclose(read.states, run.states)
    assert read.ticks[3].observation.action == 1.5
    plot(read, {"height_m": np.arange(9.0)}, None, tmp_path / "plot.png")
    with pytest.raises(ValueError, match="there is no scene to draw pendulum in"):
        render_runs([tmp_path], None, Console(quiet=True))


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("run.json", None, "holds no run: there is no run.json"),
        ("ticks.csv", None, "holds no run: there is no ticks.csv"),
        ("run.json", "{", "run.json holds no run"),
        ("run.json", "[]", "run.json holds no run"),
        ("run.json", "{}", "run.json holds no run"),
        pytest.param("run.json", "[" * 100_000, "run.json holds no run", id="deep"),
        pytest.param("run.json", f'{{"origin": [{10**400}, 0, 0]}}', "run.json holds no run", id="huge"),
        ("ticks.csv", "", "ticks.csv is empty"),
        pytest.param("ticks.csv", f"time_s\n{'1' * 200_000}\n", "ticks.csv is no record of a run", id="long"),
        ("ticks.csv", "time_s,interval_s\n0,0\n", "ticks.csv is no record of a run"),
        ("ticks.csv", "\x00\n\x00", "ticks.csv is no record of a run"),
    ],
)
def test_damaged_record_is_refused(tmp_path: Path, file: str, content: str | None, sentence: str) -> None:
    run = record()
    run.write(tmp_path, run.track(path_task("straight")))
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(RecordError, match=sentence):
        Record.read(tmp_path)


def test_task_without_a_path_is_judged_by_its_cost() -> None:
    still = Observation(np.zeros(24), np.zeros(2), 0.0, 0, 1, 0.05)
    ticks = [Tick(replace(still, time=0.05 * index), commanded=True) for index in range(200)]
    task = choice("go_to_goal", GoToGoal.settings_type(goal=(1.0, 0.5)))
    run = Record(load_robot("millirobot"), "mb", task, PLANNER, 0, 20.0, "leg_loss:4", 4.0, ticks)
    cost = np.where((run.time >= 4.0) & (run.time < 5.0), 8.0, 1.0)
    error = np.where(run.time >= 4.0, -0.5, 0.25)
    told = summarise(run, {"distance_m": 5.0 - 0.5 * run.time, "heading_error_rad": error, "cost": cost}, 10.0)
    assert told["tracking_cost"]["before"] == 1.0
    assert told["task"]["settings"]["goal"] == [1.0, 0.5]
    assert told["figures"]["heading_error_rad"] == {"before": 0.25, "after": 0.5, "end": 0.5}
    assert told["figures"]["distance_m"] == pytest.approx({"before": 3.51, "after": 1.51, "end": 0.025}, abs=0.02)
    assert 0.0 < told["recovery_s"] <= 1.0
    output = io.StringIO()
    Console(file=output, width=100).print(summary_table(told))
    assert "millirobot, mb on go_to_goal, leg_loss:4" in output.getvalue()
    assert re.search(r"heading error +\D+14.3 ° +\D+28.6 ° +\D+28.6 °", output.getvalue())


@pytest.mark.parametrize(
    ("fault", "recovered", "shown"), [(True, 0.5, "0.50 s"), (True, None, "not by the end"), (False, None, "-")]
)
def test_table_of_a_run_tells_of_any_task(fault: bool, recovered: float | None, shown: str) -> None:
    output = io.StringIO()
    Console(file=output, width=100).print(summary_table(summary(record(fault)) | {"recovery_s": recovered}))
    assert re.search(rf"time to recover [^\w-]+{shown} ", output.getvalue())
    assert "cost per step" in output.getvalue() and "tracking" not in output.getvalue()
