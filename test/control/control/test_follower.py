"""Path tracking, and plans from observations: wherever the robot is, and ahead of the delay."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_control.control.follower import PathFollower, PathTracker
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.dynamics.rollout import roll_out
from mbmrl_control.planning import Plan, make_planner
from mbmrl_control.planning.settings import MppiSettings
from mbmrl_control.tasks.path.cost import PathCost
from mbmrl_control.tasks.path.paths import make_path

MakePrior = Callable[..., Prior]
ROBOT = load_robot("millirobot")
SETTINGS = MppiSettings(candidates=60, horizon=6, noise_std=(6.0,), correlation=(0.6,), temperature=0.15)
POSES = [(0.0, 0.0, 0.0), (3.0, -2.0, 1.0), (-1.0, 0.5, 3.0), (0.2, 5.0, -2.0)]


def observation(x: float, y: float, yaw: float, time: float = 0.0, episode: int = 1) -> Observation:
    """A robot that stands at a pose."""
    still = (0.0, 0.0, 0.0)
    state = pack_state((x, y, 0.02), still, (0.02, -0.01, yaw), still, (0.3, -1.0), (20.0, 25.0), (1.0, 1.2), 3.9)
    return Observation(state, np.array([20.0, 25.0]), time, round(time / 0.05), episode, 0.05)


def turned(x: float, y: float, origin: tuple[float, float, float]) -> tuple[float, float]:
    """A point in front of and beside an origin, in odom."""
    cosine, sine = math.cos(origin[2]), math.sin(origin[2])
    return origin[0] + cosine * x - sine * y, origin[1] + sine * x + cosine * y


def tracker(path: str = "straight") -> PathTracker:
    return PathTracker(ROBOT, make_path(path), PathCost())


def follower(prior: Prior, path: str = "figure_eight", seed: int = 0) -> PathFollower:
    return PathFollower(tracker(path), make_planner("mppi", ROBOT, SETTINGS, 0.05, seed), prior.normalizer)


# The tracker


@pytest.mark.parametrize("origin", POSES)
@pytest.mark.parametrize("path", ["straight", "figure_eight"])
def test_path_starts_at_the_first_pose(path: str, origin: tuple[float, float, float]) -> None:
    tracking = tracker(path).observe(observation(*origin))
    assert tracking.cross_track == pytest.approx(0.0, abs=1e-6)
    assert tracking.progress == pytest.approx(0.0, abs=1e-6)
    assert tracking.heading_error == pytest.approx(0.0, abs=1e-6)
    assert math.isnan(tracking.cost)


@pytest.mark.parametrize("origin", POSES)
def test_progress_and_distance_are_along_and_left_of_the_path(origin: tuple[float, float, float]) -> None:
    follow = tracker()
    follow.observe(observation(*origin))
    for step in range(1, 20):
        x, y = turned(0.05 * step, -0.03, origin)
        tracking = follow.observe(observation(x, y, origin[2] + 0.2, time=0.05 * step))
        assert tracking.progress == pytest.approx(0.05 * step, abs=1e-5)
        assert tracking.cross_track == pytest.approx(-0.03, abs=1e-5)
        assert tracking.heading_error == pytest.approx(0.2, abs=1e-5)


def test_heading_error_is_the_shorter_way_round() -> None:
    follow = tracker()
    follow.observe(observation(0.0, 0.0, 3.0))
    assert follow.observe(observation(0.0, 0.0, -3.0, time=0.05)).heading_error == pytest.approx(2 * math.pi - 6.0)


def test_cost_is_that_of_the_step_as_executed() -> None:
    follow = tracker()
    follow.cost = PathCost(distance=2.0, progress=10.0, heading=1.0, speed=0.2, reach=1e3, lookahead=1e6)
    follow.observe(observation(0.0, 0.0, 0.0))
    tracking = follow.observe(observation(0.004, 0.03, 0.1, time=0.05))
    assert tracking.cost == pytest.approx(2.0 * 0.03 + 10.0 * (0.2 * 0.05 - 0.004) + 0.1, abs=1e-4)
    # Twice the time: twice the way is wanted.
    tracking = follow.observe(observation(0.004, 0.03, 0.1, time=0.15))
    assert tracking.cost == pytest.approx(2.0 * 0.03 + 10.0 * 0.2 * 0.1 + 0.1, abs=1e-4)


def test_new_episode_starts_the_path_anew() -> None:
    follow = tracker()
    follow.observe(observation(0.0, 0.0, 0.0))
    follow.observe(observation(0.1, 0.0, 0.0, time=0.05))
    tracking = follow.observe(observation(4.0, 4.0, 2.0, time=0.1, episode=2))
    assert (tracking.cross_track, tracking.progress) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert math.isnan(tracking.cost)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_measurement_that_is_not_finite_passes(value: float) -> None:
    """One bad state is no end of the run: the robot is found again from the next one on."""
    follow = tracker("figure_eight")
    follow.observe(observation(0.0, 0.0, 0.0))
    before = follow.observe(observation(0.1, 0.0, 0.0, time=0.05))
    bad = observation(0.0, 0.0, 0.0, time=0.1)
    tracking = follow.observe(replace(bad, state=np.full(24, value)))
    assert not math.isfinite(tracking.cross_track)
    after = follow.observe(observation(0.1, 0.0, 0.0, time=0.15))
    assert after.progress == pytest.approx(before.progress, abs=1e-4)
    assert math.isfinite(after.cross_track)


@pytest.mark.parametrize("path", ["figure_eight", "left", "straight"])
def test_single_state_far_away_is_not_believed(path: str) -> None:
    follow = tracker(path)
    follow.observe(observation(0.0, 0.0, 0.0))
    for step in range(1, 40):
        x = 0.005 * step
        before = follow.observe(observation(x, 0.0, 0.0, time=0.1 * step))
        away = follow.observe(observation(100.0, 0.0, 0.0, time=0.1 * step + 0.05))
        assert math.isnan(away.cross_track)
        assert away.progress == before.progress
    assert follow.progress == pytest.approx(x, abs=0.02)


@pytest.mark.parametrize("path", ["figure_eight", "left", "straight"])
def test_robot_that_is_elsewhere_is_found_there_and_back(path: str) -> None:
    """Progress follows from where it is, however far that is."""
    follow = tracker(path)
    points, headings = follow.path.points, follow.path.headings
    seen = observation(0.0, 0.0, 0.0)
    follow.observe(seen)
    time = 0.0
    for row in (100, len(points) // 2 - 70, 10, len(points) // 3):
        for place in ((1e3, 1e3), points[row]):
            for _ in range(2):
                time += 0.05
                tracking = follow.observe(observation(*place, headings[row], time=time))
        assert tracking.cross_track == pytest.approx(0.0, abs=1e-3)
        assert tracking.progress % follow.path.length == pytest.approx(row * 0.01, abs=1e-3)
        assert abs(tracking.progress) <= follow.path.length
        assert abs(tracking.heading_error) < 0.02
        assert math.isnan(tracking.cost)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_path_does_not_start_at_a_measurement_that_is_not_finite(value: float) -> None:
    follow = tracker()
    follow.observe(replace(observation(0.0, 0.0, 0.0), state=np.full(24, value)))
    tracking = follow.observe(observation(3.0, -2.0, 1.0, time=0.05))
    assert (tracking.cross_track, tracking.progress) == pytest.approx((0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("origin", POSES)
def test_path_in_odom_starts_at_the_robot(origin: tuple[float, float, float]) -> None:
    follow = tracker("left")
    follow.observe(observation(*origin))
    points, headings = follow.to_odom(follow.path.points, follow.path.headings)
    assert points[0] == pytest.approx(origin[:2])
    assert headings[0] == pytest.approx(origin[2])
    row = 100
    assert points[row] == pytest.approx(turned(*follow.path.points[row], origin))
    assert headings[row] == pytest.approx(follow.path.headings[row] + origin[2])


# The follower


def plan_at(prior: Prior, origin: tuple[float, float, float], pending: list[Array]) -> Plan:
    """The second plan of a robot that started at an origin and is now 10 cm ahead and 2 cm beside it."""
    follow = follower(prior)
    here = turned(0.1, 0.02, origin)
    for seen in (observation(*origin), observation(*here, origin[2] + 0.1, time=0.05)):
        follow.tracker.observe(seen)
        found = follow.plan(ReluNetwork(prior.layers), seen, pending)
    assert found is not None
    return found


@pytest.mark.parametrize("origin", POSES[1:])
def test_plan_is_the_same_wherever_the_robot_is_and_looks(
    make_prior: MakePrior, origin: tuple[float, float, float]
) -> None:
    prior, pending = make_prior(), [np.array([30.0, 35.0])]
    there, here = plan_at(prior, origin, pending), plan_at(prior, POSES[0], pending)
    torch.testing.assert_close(there.actions, here.actions, rtol=0, atol=1e-4)
    torch.testing.assert_close(there.poses, here.poses, rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_plan_starts_from_where_the_pending_actions_lead(make_prior: MakePrior, count: int) -> None:
    prior = make_prior()
    pending = [np.array([20.0, 50.0]), np.array([45.0, 15.0])][:count]
    start = observation(0.0, 0.0, 0.0)
    state, actions = torch.from_numpy(start.state), torch.tensor(np.array([pending]))
    led_to = roll_out(ROBOT.features, prior.normalizer, ReluNetwork(prior.layers), state, actions)
    later = replace(start, state=led_to.states[0, -1].numpy())

    ahead, there, not_ahead = follower(prior), follower(prior), follower(prior)
    for follow in (ahead, there, not_ahead):
        follow.tracker.observe(start)
    with_pending = ahead.plan(ReluNetwork(prior.layers), start, pending)
    from_there = there.plan(ReluNetwork(prior.layers), later, [])
    without = not_ahead.plan(ReluNetwork(prior.layers), start, [])
    assert with_pending is not None
    assert from_there is not None
    assert without is not None
    torch.testing.assert_close(with_pending.poses, from_there.poses, rtol=0, atol=1e-4)
    torch.testing.assert_close(with_pending.actions, from_there.actions, rtol=0, atol=2e-3)
    assert (with_pending.poses[0] - without.poses[0]).abs().max() > 1e-3


def test_warm_up_leaves_no_trace_but_in_the_samples(make_prior: MakePrior) -> None:
    prior = make_prior()
    warm = follower(prior)
    warm.warm_up(ReluNetwork(prior.layers))
    tracking = warm.tracker.observe(observation(2.0, 1.0, -1.0))
    assert tracking.progress == pytest.approx(0.0, abs=1e-6)
    assert warm.plan(ReluNetwork(prior.layers), observation(2.0, 1.0, -1.0), []) is not None


def test_state_that_is_not_finite_gives_no_plan(make_prior: MakePrior) -> None:
    prior = make_prior()
    follow = follower(prior)
    follow.tracker.observe(observation(0.0, 0.0, 0.0))
    bad = replace(observation(0.0, 0.0, 0.0, time=0.05), state=np.full(24, np.nan))
    follow.tracker.observe(bad)
    assert follow.plan(ReluNetwork(prior.layers), bad, [np.array([20.0, 20.0])]) is None
