"""Messages from and to what the core uses."""

from __future__ import annotations

import array
import functools
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from geometry_msgs.msg import PoseStamped, Quaternion, Twist, Vector3
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import BatteryState, Imu
from std_msgs.msg import Header

from mbmrl_base.robots.observation import Observation
from mbmrl_base.toolkit.conversions import to_roll_pitch_yaw, to_seconds, with_prefix
from mbmrl_control.control.controller import Decision, Outcome
from mbmrl_control.control.steering import Order, Progress, Report
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.hardware.codecs.wire import Telemetry
from mbmrl_control.hardware.pose import RECKONED
from mbmrl_control.hardware.state_builder import Reading
from mbmrl_control.learners import LEARNERS, Learner, Update, make_learner
from mbmrl_control.learners.online import Adaptation, OnlineAdapter
from mbmrl_control.nodes import conversions, hardware_conversions
from mbmrl_control.nodes.dashboard_conversions import from_plan_insight
from mbmrl_control.priors import load_shipped
from mbmrl_control.tasks import Task, make_task
from mbmrl_control.training.episodes import Episode
from mbmrl_msgs.msg import AdaptedModel, PlanInsight, PlannerStatus
from robot_testing import INPUT_SIZE, MILLIROBOT, OUTPUT_SIZE, path_task, standing

FEW = settings(derandomize=True, deadline=None, max_examples=100, database=None)


@pytest.fixture
def adaptation(
    make_prior: Callable[..., Prior], episodes: list[Episode], observations_of: Callable[..., list[Observation]]
) -> Adaptation:
    """What an adapter says after some transitions."""
    adapter = OnlineAdapter(make_prior())
    last = [adapter.observe(observation) for observation in observations_of(episodes[0])[:20]][-1]
    assert last.update
    return last


def test_adapted_model_is_received_bit_for_bit(adaptation: Adaptation, make_prior: Callable[..., Prior]) -> None:
    message = conversions.to_adapted_model("millirobot", adaptation, 1.25, "abc", "grbal")
    assert (message.robot, message.prior_hash, message.learner) == ("millirobot", "abc", "grbal")
    assert (message.sequence, message.state_sequence) == (adaptation.sequence, adaptation.state_sequence)
    assert to_seconds(message.header.stamp) == 1.25
    received = conversions.from_adapted_model(message)
    assert received.keys() == adaptation.update.keys()
    assert all(torch.equal(received[name], adaptation.update[name]) for name in received)
    learner = make_learner(make_prior())
    sent = learner.adapted_layers(adaptation.update)
    for (weight, bias), (sent_weight, sent_bias) in zip(learner.adapted_layers(received), sent, strict=True):
        assert torch.equal(weight, sent_weight)
        assert torch.equal(bias, sent_bias)


def test_empty_update_means_the_prior() -> None:
    adaptation = Adaptation(3, 4, {}, math.nan, math.nan, 0, 0)
    message = conversions.to_adapted_model("millirobot", adaptation, 0.0, "abc", "mb")
    assert len(message.update) == 0
    assert conversions.from_adapted_model(message) == {}


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.99])
def test_cut_update_is_refused(adaptation: Adaptation, share: float) -> None:
    message = conversions.to_adapted_model("millirobot", adaptation, 0.0, "abc", "grbal")
    message.update = message.update[: int(share * len(message.update))]
    with pytest.raises(ValueError, match="not in the safetensors format"):
        conversions.from_adapted_model(message)


@FEW
@given(st.binary(min_size=1, max_size=100))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not in the safetensors format"):
        conversions.from_adapted_model(AdaptedModel(update=array.array("B", data)))


HEADERS = (
    b'{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}',
    b'{"a":{"dtype":"F8_E8M0","shape":[8],"data_offsets":[0,8]}}',
    b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}',
    b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
    b'{"a":{"dtype":"STR","shape":[2],"data_offsets":[0,8]}}',
    b"[]",
)


@pytest.mark.parametrize("header", HEADERS)
def test_header_that_no_tensor_fits_is_refused(header: bytes) -> None:
    content = len(header).to_bytes(8, "little") + header + bytes(8)
    with pytest.raises(ValueError, match="not in the safetensors format"):
        conversions.from_adapted_model(AdaptedModel(update=array.array("B", content)))


def test_status_tells_of_the_adaptation(adaptation: Adaptation, make_prior: Callable[..., Prior]) -> None:
    adaptation = replace(adaptation, skipped=3, failed=1, member=0, member_errors=(0.5,))
    adapter = OnlineAdapter(make_prior(window=32))
    adapter.frozen = True
    status = conversions.to_adaptation_status("millirobot", adaptation, 2.5, adapter, 4.5, 0.004)
    assert (status.members, status.member, list(status.member_errors)) == (["grbal"], 0, [0.5])
    assert (status.sequence, status.state_sequence) == (adaptation.sequence, adaptation.state_sequence)
    assert (status.window_length, status.window_capacity) == (8, 32)
    assert (status.prior_error, status.adapted_error) == (adaptation.prior_error, adaptation.adapted_error)
    assert (status.surprise, status.weights_moved) == (4.5, adapter.weights_moved())
    assert (status.adaptation_time, status.rejected, status.frozen) == (0.004, adaptation.rejected, True)
    assert (status.skipped, status.failed) == (3, 1)


def test_figures_of_a_task_are_carried_by_name() -> None:
    figures = {"distance_m": 1.5, "cost": 0.25, "heading_error_rad": math.nan}
    decision = Decision(np.zeros(2), 7, Outcome.STOPPED, "the stop is latched", figures=figures)
    report = Report(Order("goal_pose", path_task()), 3.0, Progress.NOT_REACHED, "no nearer", 1.25)
    status = conversions.to_planner_status("go_to_goal", decision, report, Header(), "abc")
    assert (status.command_sequence, status.outcome, status.prior_hash) == (7, PlannerStatus.STOPPED, "abc")
    assert (status.task, status.figure_names, status.cost) == ("go_to_goal", ["distance_m", "heading_error_rad"], 0.25)
    assert (status.steered_by, status.steering, status.remaining) == ("goal_pose", PlannerStatus.NOT_REACHED, 1.25)
    figures = conversions.from_figures(status)
    assert (figures["distance_m"], figures["cost"]) == (1.5, 0.25)
    assert math.isnan(figures["heading_error_rad"])


@pytest.mark.parametrize("number", [int, np.int64, np.float32], ids=lambda number: number.__name__)
def test_numbers_of_any_type_fit_each_message(number: type, make_prior: Callable[..., Prior]) -> None:
    """Fields are checked in tests; elsewhere a wrong type aborts the process."""
    made = Adaptation(
        number(3), number(4), {}, *map(number, (1, 2, 8, 0)), member=number(0), member_errors=(number(1),)
    )
    adapter = OnlineAdapter(make_prior())
    status = conversions.to_adaptation_status("millirobot", made, number(5), adapter, number(1), number(1))
    assert (status.sequence, status.prior_error, status.window_length, status.adaptation_time) == (3, 1.0, 8, 1.0)
    figures = {"tilt_rad": number(1), "cost": number(4)}
    decision = Decision(np.zeros(2), number(1), Outcome.PLANNED, "", number(2), number(3), figures)
    report = Report(Order("path", path_task()), number(1), Progress.REACHED, "", number(2))
    planner = conversions.to_planner_status("stand", decision, report, Header(), "")
    assert (list(planner.figures), planner.cost, planner.model_sequence) == ([1.0], 4.0, 3)
    (pose,) = conversions.to_path(np.array([[1, 2, 0]]), number(5)).poses
    assert (pose.pose.position.x, pose.pose.position.y) == (1.0, 2.0)
    place = hardware_conversions.to_pose_stamped(number(5), np.array([1, 2, 3]), np.array([0, 0, 0])).pose.position
    assert (place.x, place.y, place.z) == (1.0, 2.0, 3.0)
    there = Observation(np.ones(24, int), np.ones(2, int), number(5), 1, 1, number(1))
    pair, triple = (number(1), number(2)), (number(1), number(2), number(3))
    measured = Telemetry(1, 0.0, 1, pair, pair, pair, triple, triple, pair, number(4), pair, pair, True, False)
    reading, imu, battery = Reading(there, 1, measured, RECKONED), Imu(), BatteryState()
    for message in (imu, battery):
        hardware_conversions.amend(reading, message)
    assert (imu.linear_acceleration.y, battery.voltage, battery.current) == (2.0, 4.0, -3.0)


def test_path_is_in_odom() -> None:
    poses = np.array([[0.0, 1.0, 0.0], [2.0, -3.0, 2.0], [4.0, 4.0, -3.0]])
    message = conversions.to_path(poses, 7.5)
    assert message.header.frame_id == "odom"
    assert to_seconds(message.header.stamp) == 7.5
    for pose, (*point, heading) in zip(message.poses, poses, strict=True):
        assert pose.header == message.header
        assert (pose.pose.position.x, pose.pose.position.y, pose.pose.position.z) == (*point, 0.0)
        assert to_roll_pitch_yaw(pose.pose.orientation) == pytest.approx((0.0, 0.0, heading))
    assert conversions.path_start(message) == pytest.approx([0.0, 1.0, 0.0])


def test_points_of_a_path_are_those_of_its_poses_in_odom() -> None:
    points = [[0.0, 1.0], [2.0, -3.0]]
    message = conversions.to_path(np.array([[*point, 0.5] for point in points]), 1.0)
    assert conversions.from_path(message) == points
    message.poses[0].header = Header()  # then the frame is that of the path
    assert conversions.from_path(with_prefix(message, "r1/"), "r1/") == points
    message.poses[1].header = Header(frame_id="map")
    for frame, other in (("r1/odom", "map"), ("odom", "odom"), ("", "")):
        message.header.frame_id = frame
        with pytest.raises(ValueError, match=f"it is in the frame {other!r}, wanted is 'r1/odom'"):
            conversions.from_path(message, "r1/")


def test_headings_beyond_a_turn_are_the_same_direction() -> None:
    message = conversions.to_path(np.array([[0.0, 0.0, 1.0 + 4 * np.pi]]), 0.0)
    assert to_roll_pitch_yaw(message.poses[0].pose.orientation)[2] == pytest.approx(1.0)


def test_insight_whose_arrays_do_not_fit_is_refused() -> None:
    whole = {"expected": [0.0] * 6, "expected_by_prior": [0.0] * 6, "candidates": 2, "candidate_poses": [0.0] * 12}
    whole |= {"term_names": ["distance"], "terms": [1.0, 2.0], "runner_up_ranks": [0.0]}
    assert from_plan_insight(PlanInsight(**whole)).candidates.shape == (2, 2, 3)
    for name, value in (
        ("expected", []),
        ("expected", [0.0] * 5),
        ("expected_by_prior", [0.0] * 3),
        ("candidates", 0),
        ("candidates", 3),
        ("candidate_poses", [0.0]),
        ("terms", []),
        ("terms", [1.0]),
        ("term_names", []),
        ("runner_up_ranks", [0.0, 0.1]),
    ):
        with pytest.raises(ValueError, match=r"missing or cut|fit to the others"):
            from_plan_insight(PlanInsight(**whole | {name: value}))


ANY = st.floats() | st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf, 1e308])
THREE = st.tuples(ANY, ANY, ANY)


def task_of(name: str, **values: object) -> Task[Any] | None:
    """The task that values from a topic ask for, as the planner makes it; None where they are refused."""
    try:
        task = make_task(name, MILLIROBOT, values, 0.05)
        task.reset()
        figures = task.observe(standing(0.0, 0.0, 0.0))
    except ValueError as error:
        assert "\n" not in str(error)
        return None
    assert figures is not None
    assert not any(math.isinf(figure) for figure in figures.values())  # what is not known yet is NaN
    return task


@FEW
@given(THREE, THREE)
def test_any_velocity_is_taken_or_refused(linear: tuple[float, ...], angular: tuple[float, ...]) -> None:
    message = Twist(linear=Vector3(**dict(zip("xyz", linear, strict=True))))
    message.angular = Vector3(**dict(zip("xyz", angular, strict=True)))
    with suppress(ValueError):
        forward, turn = conversions.from_twist(message)
        assert (linear[1:], angular[:2]) == ((0.0, 0.0), (0.0, 0.0))
        task = task_of("track_velocity", forward_speed=forward, turn_rate=turn)
        assert (task is not None) <= math.isfinite(forward + turn)


@FEW
@given(st.tuples(ANY, ANY), st.tuples(*[ANY] * 4) | st.just((0.0, 0.0, 0.6, 0.8)), st.sampled_from(["odom", "x"]))
def test_any_goal_is_taken_or_refused(place: tuple[float, float], turn: tuple[float, ...], frame: str) -> None:
    message = PoseStamped(header=Header(frame_id=frame))
    message.pose.position.x, message.pose.position.y = place
    message.pose.orientation = Quaternion(**dict(zip("xyzw", turn, strict=True)))
    with suppress(ValueError):
        goal = conversions.from_goal(message)
        assert frame == "odom"
        assert math.isfinite(goal[2])
        assert (task_of("go_to_goal", goal=goal) is not None) <= all(map(math.isfinite, place))


@FEW
@given(st.lists(st.tuples(ANY | st.floats(-3, 3), ANY | st.floats(-3, 3)), max_size=4))
def test_any_path_is_taken_or_refused(points: list[tuple[float, float]]) -> None:
    message = conversions.to_path(np.array([[*point, 0.0] for point in points]).reshape(-1, 3), 0.0)
    task_of("follow_path", path=json.dumps(conversions.from_path(message)))


TENSORS = st.builds(
    torch.ones,
    st.lists(st.integers(0, 3) | st.sampled_from([16, 21, 22]), max_size=3),
    dtype=st.sampled_from([torch.float32, torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64]),
)


@functools.cache
def shipped(name: str) -> tuple[Learner, Update]:
    """A learner that comes with the package, and an update of it."""
    learner = make_learner(load_shipped(name, MILLIROBOT))
    update = learner.members[0].adapt(torch.ones(8, INPUT_SIZE), torch.ones(8, OUTPUT_SIZE))
    return learner, learner.update_of(0, update)


@pytest.mark.parametrize("name", LEARNERS)
@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(data=st.data())
def test_any_update_is_a_model_or_refused(name: str, data: st.DataObject) -> None:
    learner, known = shipped(name)
    names = st.sampled_from([*known, "layers.0.rows", "layers.0.columns", "member", "context", "", "x"])
    update = (known if data.draw(st.booleans()) else {}) | data.draw(st.dictionaries(names, TENSORS, max_size=3))
    for left_out in data.draw(st.sets(names, max_size=2)):
        update.pop(left_out, None)
    message = AdaptedModel(update=array.array("B", safetensors.torch.save(update)))
    with suppress(ValueError):
        model = learner.adapted_model(conversions.from_adapted_model(message))
        assert model.predict(torch.zeros(3, INPUT_SIZE)).mean.shape == (3, OUTPUT_SIZE)
