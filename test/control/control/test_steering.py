"""Whether the robot comes to the end of what it is to do, and how it goes over to something else."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest

from mbmrl_base.robots.observation import Array
from mbmrl_control.control.controller import Controller, Outcome, Situation
from mbmrl_control.control.steering import Journey, Order, Progress
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.prior import load_prior
from mbmrl_control.planning import make_planner
from mbmrl_control.priors import shipped_prior
from mbmrl_control.tasks import make_task
from mbmrl_msgs.msg import PlannerStatus
from mbmrl_sim.millirobot.world import World
from robot_testing import MILLIROBOT, standing

UNDER_WAY, REACHED, NOT_REACHED = Progress
SQUARE = "[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]"


def test_numbers_are_those_of_the_message() -> None:
    assert {each.name: each.value for each in Progress} == {
        name: getattr(PlannerStatus, name) for name in ("UNDER_WAY", "REACHED", "NOT_REACHED")
    }


def journey(name: str, settings: dict[str, Any], places: list[tuple[float, float]], **order: Any) -> list[Any]:
    """Progress, rest of the way and reason of a robot that is at these places, m, second by second."""
    task, journey = make_task(name, MILLIROBOT, settings), Journey()
    reports = []
    for second, (x, y) in enumerate(places):
        task.observe(standing(x, y, 0.0, 20 * second))
        report = journey.observe(Order("someone", task, **order), task, float(second), 0.05, "as planned")
        reports.append((report.progress, round(report.remaining, 3), report.why))
    return reports


def line(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    """Places from a start to just before an end, 0.1 m apart, m."""
    count = round(math.dist(start, end) / 0.1)
    (x, y), (to_x, to_y) = start, end
    return [(x + (to_x - x) * i / count, y + (to_y - y) * i / count) for i in range(count)]


GOAL = {"goal": (1.0, 0.0)}
PATH = {"path": "[[0, 0], [1, 0]]"}


def test_goal_is_reached_within_its_tolerance_and_left_again() -> None:
    reports = journey("go_to_goal", GOAL, [(0.0, 0.0), (0.5, 0.0), (0.96, 0.0), (0.92, 0.0), (0.5, 0.0)], patience=3.0)
    assert reports == [(UNDER_WAY, 1.0, ""), (UNDER_WAY, 0.5, ""), *[(REACHED, 0.0, "")] * 2, (UNDER_WAY, 0.5, "")]


@pytest.mark.parametrize(("name", "settings"), [("go_to_goal", GOAL), ("follow_path", PATH)])
def test_end_that_comes_no_nearer_is_not_reached(name: str, settings: dict[str, Any]) -> None:
    """What counts is that it comes nearer by the tolerance, however it goes to and fro."""
    places = [(x, 0.0) for x in (0.0, 0.1, 0.1, 0.13, 0.05, 0.13)]
    reports = journey(name, settings, places, patience=3.0)
    assert [progress for progress, *_ in reports] == [UNDER_WAY] * 5 + [NOT_REACHED]
    # A path ends on a whole number of centimetres.
    assert re.fullmatch(r"no nearer to the end in 3 s, 0\.8[67] m are left: as planned", reports[-1][2])
    assert {progress for progress, *_ in journey(name, settings, places)} == {UNDER_WAY}  # who is patient for ever


@pytest.mark.parametrize(("beside", "progress", "why"), [(0.03, REACHED, ""), (0.2, NOT_REACHED, "0.20 m beside it")])
def test_end_of_a_path_is_reached_only_near_it(beside: float, progress: Progress, why: str) -> None:
    *_, (last, left, text) = journey("follow_path", PATH, line((0.0, beside), (1.1, beside)))
    assert (last, left) == (progress, 0.0)
    assert why in text


@pytest.mark.parametrize(("one_lap", "last"), [(True, REACHED), (False, UNDER_WAY)])
def test_closed_path_ends_after_a_lap_if_one_is_wanted(one_lap: bool, last: Progress) -> None:
    """It begins at the nearest point; who goes lap after lap comes nearer for ever."""
    corners = [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    places = [place for a, b in itertools.pairwise(corners) for place in line(a, b)]
    reports = journey("follow_path", {"path": SQUARE}, places, one_lap=one_lap, patience=5.0)
    found = [progress for progress, *_ in reports]
    assert found[:38] == [UNDER_WAY] * 38
    assert found[42:] == [last] * len(found[42:])


def test_task_without_an_end_is_never_missed() -> None:
    reports = journey("track_velocity", {"turn_rate": 1.0}, [(0.0, 0.0)] * 9, patience=3.0)
    assert {progress for progress, *_ in reports} == {UNDER_WAY}
    assert math.isnan(reports[-1][1])


def test_another_order_is_given_its_own_time_and_one_that_ended_stays_so() -> None:
    task, journey = make_task("go_to_goal", MILLIROBOT, GOAL), Journey()
    task.observe(standing(0.0, 0.0, 0.0))

    def at(time: float, **order: Any) -> Progress:
        return journey.observe(Order("someone", task, patience=3.0, **order), task, time, 0.05, "").progress

    assert [at(0.0), at(3.5), at(3.5, number=1), at(6.0, number=1)] == [UNDER_WAY, NOT_REACHED, UNDER_WAY, UNDER_WAY]
    # A clock that begins anew, as a simulated one does, takes nobody's time.
    assert [at(1.0, number=1), at(3.9, number=1), at(4.1, number=1)] == [UNDER_WAY, UNDER_WAY, NOT_REACHED]
    assert at(6.0, number=2, ended=NOT_REACHED) is NOT_REACHED
    # A task that fails brings nobody nearer.
    assert journey.observe(Order("someone", task, 1, 3.0), None, 9.0, 0.05, "it fails").why.endswith("left: it fails")


def test_robot_goes_over_to_something_else_without_a_halt_or_a_jerk(monkeypatch: pytest.MonkeyPatch) -> None:
    """From task to task each tick has a plan, what is known of the link is kept, and actions change as in between."""
    prior, world = load_prior(shipped_prior("mb")), World(3, 20.0)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("follow_path", {"path": "left"}),
        ("track_velocity", {"forward_speed": 0.2}),
        ("go_to_goal", {"goal": (3.0, 1.0)}),
        ("follow_path", {"path": "[[0, 0], [5, 0]]"}),
    ]
    first = make_task("follow_path", prior.robot, {"path": "left"})
    controller = Controller(first, make_planner("mppi", prior.robot, None, 0.05), prior.normalizer)
    model, observation, actions = ReluNetwork(prior.layers), world.observe(), list[Array]()
    for tick in range(120):
        name, settings = kinds[tick // 8 % 4]
        if tick % 8 == 0 and tick:
            monkeypatch.setattr(controller.response, "reset", None)
            controller.use(make_task(name, prior.robot, settings))
        decision = controller.decide(Situation(observation, model, command_sequence=tick - 1))
        assert decision.outcome is Outcome.PLANNED
        assert decision.began == (tick % 8 == 0)
        actions.append(decision.action)
        observation = world.step(actions[-2] if tick else decision.action)
    world.close()
    changes = np.abs(np.diff(actions, axis=0)).mean(axis=1)[7:]
    assert changes[::8].mean() < 2.0 * changes.mean()
