"""States at a fixed rate of messages that come when they come."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest
from sensor_msgs.msg import JointState

from mbmrl_base.robots.contract.contract import Contract
from mbmrl_base.robots.contract.sampler import Sampler
from mbmrl_base.robots.observation import Observation
from rover_testing import ODOM, TWIST, Timed, contract, drive, odom, twist

NEWEST = {"topics": {"odom": {"type": "nav_msgs/msg/Odometry"}, "cmd_vel": {"type": "geometry_msgs/msg/Twist"}}}


def sampled(messages: Iterable[Timed], of: Contract | None = None) -> tuple[list[Observation], Sampler]:
    """States of messages."""
    sampler = Sampler(of or contract())
    return [
        state for time, topic, message in messages for state in sampler.take(topic, message, round(time * 1e9))
    ], sampler


def test_states_lie_a_control_interval_apart_whenever_messages_come() -> None:
    steady = [(1000 + 0.03 * k, "odom", odom(1000 + 0.03 * k, x=0.06 * k, yaw=3.0 + 0.03 * k)) for k in range(100)]
    states, _ = sampled([(999.0, "cmd_vel", twist(0.3, 0.0)), *steady])
    assert [state.sequence for state in states] == list(range(1, len(states) + 1))
    assert all(after.time - before.time == pytest.approx(0.05) for before, after in itertools.pairwise(states))
    assert [state.interval for state in states] == [0.0, *[0.05] * (len(states) - 1)]
    for state in states:
        # x goes on evenly, and so does the heading, over the half turn at which its number jumps.
        assert state.state[0] == pytest.approx(2.0 * (state.time - 1000))
        turned = math.remainder(state.state[2] - 3.0 - (state.time - 1000), 2 * math.pi)
        assert turned == pytest.approx(0.0, abs=1e-6)


def test_action_is_what_was_in_force_on_average() -> None:
    messages = [(999.0, "cmd_vel", twist(0.2, 0.0)), *((1000 + k / 50, "odom", odom(1000 + k / 50)) for k in range(20))]
    messages.append((1000.11, "cmd_vel", twist(0.4, 1.0)))
    states, _ = sampled(sorted(messages, key=lambda each: each[0]))
    speeds = {round(state.time, 2): state.action.tolist() for state in states}
    assert speeds[1000.10] == [0.2, 0.0]  # to the last bit, where nothing changes
    assert speeds[1000.15] == pytest.approx([0.2 * 0.2 + 0.8 * 0.4, 0.8])
    assert speeds[1000.20] == [0.4, 1.0]


def test_newest_number_is_that_of_the_newest_message_by_then() -> None:
    messages = [(999.9, "cmd_vel", twist(0.2, 0.0))]
    messages += [(1000 + k / 50 + 0.004, "odom", odom(1000 + k / 50, x=k)) for k in range(20)]
    states, _ = sampled(messages, contract(**NEWEST))
    # That of 1000.10 is of that time, however late it came.
    assert [state.state[0] for state in states][:4] == [0.0, 2.0, 5.0, 7.0]


def test_messages_at_the_times_of_the_ticks_are_those_of_the_ticks() -> None:
    """At times of today a float of seconds has steps of 240 ns."""
    start = 1_700_000_000
    messages = [(start - 1, "cmd_vel", twist(0.2, 0.0))]
    messages += [(start + k / 20, "odom", odom(start + k / 20, x=k)) for k in range(600)]
    for of in (contract(**NEWEST), contract()):
        states, sampler = sampled(messages, of)
        assert [state.state[0] for state in states] == list(range(len(states)))
        assert len(states) >= 599
        assert not sampler.counts["missing"]


def test_tick_that_all_topics_have_reached_waits_for_no_later_message() -> None:
    messages = [(999.9, "cmd_vel", twist(0.2, 0.0))]
    messages += [(1000 + k / 20, "odom", odom(1000 + k / 20, x=k)) for k in range(20)]
    for of in (contract(**NEWEST), contract()):
        states, _ = sampled(messages, of)
        assert states[-1].state[0] == 19


def test_delay_of_a_topic_changes_nothing() -> None:
    clean = drive(4.0)
    for delay in (0.09, 0.5):
        late = [(time + delay if topic == "odom" else time, topic, message) for time, topic, message in clean]
        states, sampler = sampled(sorted(late, key=lambda each: each[0]))
        wanted, _ = sampled(clean)
        assert sampler.clocks()["odom"] == pytest.approx(0.002 + delay)
        assert not sampler.counts["missing"]
        for got, want in zip(states, wanted, strict=True):
            assert np.array_equal(got.state, want.state)


@pytest.mark.parametrize(("every", "age"), [(5, None), (50, 1.5), (100, 5.0)])
def test_topic_may_be_as_slow_as_its_greatest_age(every: int, age: float | None) -> None:
    """Of 10, 1 and 0.5 Hz; by default two control intervals."""
    topics = {"odom": {"type": ODOM, "sampling": "interpolate"} | ({"max_age": age} if age else {})}
    messages = [each for k, each in enumerate(drive(20.0)) if each[1] == "cmd_vel"]
    messages += [(1000 + k / 50, "odom", odom(1000 + k / 50, x=k)) for k in range(0, 1000, every)]
    states, sampler = sampled(
        sorted(messages, key=lambda each: each[0]), contract(topics=topics | {"cmd_vel": {"type": TWIST}})
    )
    assert (sampler.counts["jumps"], sampler.counts["missing"]) == (0, 0)
    assert len(states) > 340
    assert all(state.state[0] == pytest.approx(50 * (state.time - 1000)) for state in states)


def test_stamp_that_is_none_of_now_is_a_jump() -> None:
    clean = drive(4.0)
    time = clean[100][0]
    states, sampler = sampled([*clean[:100], (time, "odom", odom(1.0)), *clean[100:]])
    assert sampler.counts["jumps"] == 2
    assert len(states) > 60
    assert all(state.time > 1000 for state in states if state.interval)


def test_message_that_lacks_an_item_is_none_of_the_robot() -> None:
    joints = {"name": "arm", "unit": "rad", "topic": "joints", "field": "position[arm]"}
    topics = {"joints": {"type": "sensor_msgs/msg/JointState"}}
    of = contract(states=[joints], actions=[], topics=topics, planar=None)
    own = JointState(name=["arm"], position=[1.0])
    others = (JointState(name=["grip"], position=[0.5]), JointState(name=["arm"]))
    messages = [(1000 + k / 50, "joints", own if k % 3 else others[k % 2]) for k in range(60)]
    states, sampler = sampled(messages, of)
    assert sampler.counts["incomplete"] == 20
    assert {state.state[0] for state in states} == {1.0}
    assert not sampler.counts["missing"]
    assert sampler.lacking["joints"].startswith("'position[arm]': there ")


def test_number_that_is_too_old_is_not_made_up() -> None:
    messages = [(999.0, "cmd_vel", twist(0.2, 0.0))]
    messages += [(1000 + k / 50, "odom", odom(1000 + k / 50)) for k in range(100) if not 40 <= k < 60]
    states, sampler = sampled(messages)
    times = [round(state.time, 2) for state in states]
    assert not any(1000.78 < time < 1001.2 for time in times)
    (after,) = [state for state in states if round(state.time, 2) == 1001.2]
    assert after.interval == 0.0
    assert after.sequence == 25  # those that were left out are counted
    assert (sampler.counts["missing"], sampler.late["odom"]) == (8, 8)
    assert {state.episode for state in states} == {1}


def test_number_that_is_none_leaves_its_ticks_out() -> None:
    messages = [(999.0, "cmd_vel", twist(0.2, 0.0))]
    messages += [
        (1000 + k / 50, "odom", odom(1000 + k / 50, x=math.nan if k == 10 else 1e16 if k == 20 else 1.0))
        for k in range(40)
    ]
    states, sampler = sampled(messages)
    assert all(state.state[0] == 1.0 for state in states)
    assert sampler.counts["missing"] == 2


def test_duplicates_and_what_is_out_of_order_are_left_out() -> None:
    clean = drive(4.0)
    doubled = [each for message in clean for each in (message, message)]
    late = clean[60]
    assert late[1] == "odom"
    disturbed = [*doubled[:130], late, *doubled[130:]]
    states, sampler = sampled(disturbed)
    wanted, _ = sampled(clean)
    assert sampler.counts["out_of_order"] == 1
    assert sampler.counts["duplicates"] == len(clean)
    for got, want in zip(states, wanted, strict=True):
        assert (got.time, got.interval) == (want.time, want.interval)
        assert np.array_equal(got.state, want.state)


@pytest.mark.parametrize("jump", [-500.0, 3600.0])
def test_clock_that_jumps_begins_another_episode(jump: float) -> None:
    first, second = drive(2.0), drive(2.0, start=1002.0)
    later = [
        (time, topic, odom(time - 0.002 + jump) if topic == "odom" else message) for time, topic, message in second
    ]
    states, sampler = sampled([*first, *later])
    assert sampler.counts["jumps"] >= 1
    numbers = [state.episode for state in states]
    assert numbers[0] == 1
    assert numbers[-1] > 1
    for before, after in itertools.pairwise(states):
        assert after.interval == 0.0 or (after.episode == before.episode and after.time > before.time)


def test_action_that_is_not_known_makes_no_transition() -> None:
    messages = [(1000 + k / 50, "odom", odom(1000 + k / 50)) for k in range(30)]
    messages.append((1000.3, "cmd_vel", twist(0.2, 0.0)))
    states, sampler = sampled(sorted(messages, key=lambda each: each[0]))
    exact = [round(state.time, 2) for state in states if state.interval]
    assert exact[0] == 1000.35
    assert sampler.counts["unknown_actions"] == len([state for state in states if state.time < 1000.32])


def test_topic_that_never_comes_is_named() -> None:
    _, sampler = sampled((time, topic, message) for time, topic, message in drive(1.0) if topic == "cmd_vel")
    assert sampler.silent == ["odom"]


def test_units_and_signs_are_those_of_the_contract() -> None:
    states = [{"name": "x", "topic": "odom", "field": "pose.pose.position.x", "scale": -100.0, "offset": 3.0}]
    of = contract(states=states, planar=None)
    found, _ = sampled(
        [(999.0, "cmd_vel", twist(0, 0)), *((t, "odom", odom(t, x=0.5)) for t in (1000.0, 1000.04, 1000.08))], of
    )
    assert [state.state.tolist() for state in found] == [[-47.0], [-47.0]]


def test_leap_of_the_clock_is_not_gone_through_tick_by_tick() -> None:
    """However old a number of a slow topic may be: else the caller would wait for hours of states."""
    slow = {"odom": {"type": "nav_msgs/msg/Odometry", "max_age": 1e6}, "cmd_vel": NEWEST["topics"]["cmd_vel"]}
    messages = [(999.0, "cmd_vel", twist(0.2, 0.0))]
    messages += [(start + k / 50, "odom", odom(start + k / 50)) for start in (1000, 900_000) for k in range(100)]
    states, sampler = sampled(messages, contract(topics=slow))
    assert len(states) == 2 * 40
    assert [state.episode for state in states] == [1] * 40 + [2] * 40
    assert (sampler.counts["jumps"], sampler.counts["missing"]) == (1, 0)
