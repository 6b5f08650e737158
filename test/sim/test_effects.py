"""Faults as numbers that grow, and the link that brings commands late or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.observation import Array
from mbmrl_sim.effects import CommandLink, Effects, effect_of
from mbmrl_sim.millirobot.faults import FAULT_KINDS

TIMEOUT = 100
NEUTRAL = {
    "motor_weak": np.ones(1),
    "payload": np.zeros(3),
    "slope": np.zeros(2),
    "pose_miscalibration": np.zeros(3),
    "link": np.zeros(2),
    "battery_low": np.zeros(1),
}
"""Effect of each kind on an intact robot."""
NO_CHANGES: Mapping[int, int] = {}


def effects_of(*faults: Fault) -> Effects:
    """Effects that began one after the other."""
    effects = Effects(FAULT_KINDS)
    for fault in faults:
        effects.begin(fault)
    return effects


# What faults do


@pytest.mark.parametrize(
    ("fault", "effect"),
    [
        (Fault("motor_weak", part="left", magnitude=0.4), [0.4]),
        (Fault("payload", magnitude=20.0, x=0.05, y=-0.02), [0.02, 0.001, -0.0004]),
        (Fault("slope", magnitude=30.0), [0.5, 0.0]),
        (Fault("slope", magnitude=-30.0, direction=90.0), [0.0, -0.5]),
        (Fault("pose_miscalibration", magnitude=180.0, x=0.3, y=-0.1), [math.pi, 0.3, -0.1]),
        (Fault("link", magnitude=25.0, loss=40.0), [0.025, 0.4]),
        (Fault("battery_low", magnitude=0.7), [0.7]),
    ],
)
def test_effect_is_in_units_of_the_simulation(fault: Fault, effect: list[float]) -> None:
    np.testing.assert_allclose(effect_of(fault, FAULT_KINDS[fault.kind]), effect, atol=1e-15)
    assert effect_of(fault, FAULT_KINDS[fault.kind]).shape == NEUTRAL[fault.kind].shape


FULL = st.sampled_from(
    [
        Fault("motor_weak", part="right", magnitude=0.2),
        Fault("payload", magnitude=30.0, x=0.03, y=0.01),
        Fault("slope", magnitude=-12.0, direction=40.0),
        Fault("pose_miscalibration", magnitude=30.0, y=0.2),
        Fault("link", magnitude=90.0, loss=30.0),
        Fault("battery_low", magnitude=0.9),
    ]
)


@given(FULL, st.floats(1e-3, 60.0), st.floats(0.0, 1e4))
def test_effect_grows_evenly_from_nothing_to_its_full_value(fault: Fault, ramp: float, since: float) -> None:
    fault = Fault(**(vars(fault) | {"ramp": ramp, "since": since}))
    effects, none, full = effects_of(fault), NEUTRAL[fault.kind], effect_of(fault, FAULT_KINDS[fault.kind])

    def at(share: float) -> Array:
        return effects.value(fault.kind, since + share * ramp, fault.part)

    np.testing.assert_array_equal(at(0.0), none)
    np.testing.assert_allclose(at(0.5), (none + full) / 2, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(at(0.25), 0.75 * none + 0.25 * full, rtol=1e-6, atol=1e-12)
    for time in (since + ramp, since + 2 * ramp, math.inf):
        np.testing.assert_array_equal(effects.value(fault.kind, time, fault.part), full)
    assert effects.changing(since)
    assert effects.changing(since + 0.9 * ramp)
    assert not effects.changing(since + ramp)


@given(FULL)
def test_effect_without_a_ramp_is_there_at_once(fault: Fault) -> None:
    effects = effects_of(fault)
    np.testing.assert_array_equal(effects.value(fault.kind, 0.0, fault.part), effect_of(fault, FAULT_KINDS[fault.kind]))
    assert not effects.changing(0.0)


@pytest.mark.parametrize("kind", NEUTRAL)
def test_intact_robot_has_neutral_effects(kind: str) -> None:
    effects = Effects(FAULT_KINDS)
    np.testing.assert_array_equal(effects.value(kind, 3.0), NEUTRAL[kind])
    assert not effects.changing(0.0)


@pytest.mark.parametrize(("since", "first"), [(10.5, 0.5), (11.0, 1.0), (14.0, 1.0)])
def test_second_fault_starts_from_where_the_first_one_is(since: float, first: float) -> None:
    effects = effects_of(
        Fault("battery_low", magnitude=1.0, ramp=1.0, since=10.0),
        Fault("battery_low", magnitude=0.2, ramp=2.0, since=since),
    )
    values = [float(effects.value("battery_low", since + after)[0]) for after in (0.0, 1.0, 2.0, 3.0)]
    assert values == pytest.approx([first, (first + 0.2) / 2, 0.2, 0.2])


def test_faults_that_hit_something_else_do_not_mix() -> None:
    effects = effects_of(
        Fault("motor_weak", part="left", magnitude=0.4, ramp=2.0),
        Fault("motor_weak", part="right", magnitude=0.6),
        Fault("battery_low", magnitude=0.3),
    )
    assert effects.value("motor_weak", 1.0, "left").tolist() == pytest.approx([0.7])
    assert effects.value("motor_weak", 1.0, "right").tolist() == [0.6]
    assert effects.value("battery_low", 1.0).tolist() == [0.3]
    assert effects.value("slope", 1.0).tolist() == [0.0, 0.0]
    assert effects.changing(1.9)
    assert not effects.changing(2.0)


# The link


def make_link(delay: int = 0, loss: float = 0.0, seed: int = 0, timeout: int = TIMEOUT) -> CommandLink:
    """A link whose losses follow from a seed."""
    link = CommandLink(np.random.default_rng(seed), timeout, lambda: np.zeros(2))
    link.delay, link.loss = delay, loss
    return link


def command(number: int) -> Array:
    """A command that can be told from the others."""
    return np.array([float(number), 0.5])


def arrivals(
    link: CommandLink, times: Iterable[int], last: int, delays: Mapping[int, int] = NO_CHANGES
) -> dict[int, int]:
    """Step at which each command arrives, and its name: it is sent at one of some times and named after it."""
    arrived, sent = {}, set(times)
    for now in range(last + 1):
        link.delay = delays.get(now, link.delay)
        if now in sent:
            link.send(command(now), now)
        action = link.receive(now)
        if action is not None and action.any():
            arrived[now] = int(action[0])
    return arrived


@pytest.mark.parametrize("delay", [0, 1, 7, 60])
def test_commands_arrive_in_order_after_exactly_the_delay(delay: int) -> None:
    sent = range(5, 100, 3)
    assert arrivals(make_link(delay), sent, 200) == {now + delay: now for now in sent}


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 80)), min_size=1, max_size=30))
def test_no_command_overtakes_another_when_the_delay_changes(gaps_and_delays: list[tuple[int, int]]) -> None:
    times = np.cumsum([gap for gap, _ in gaps_and_delays]).tolist()
    delays = dict(zip(times, (delay for _, delay in gaps_and_delays), strict=True))
    expected, latest = {}, 0
    for now, delay in delays.items():
        latest = max(latest, now + delay)
        expected[latest] = now  # of those that arrive together the newest
    arrived = arrivals(make_link(), times, latest, delays)
    assert arrived == expected
    assert list(arrived.values()) == sorted(arrived.values())


@pytest.mark.parametrize("loss", [0.1, 0.5, 0.9])
def test_share_of_the_commands_that_is_lost(loss: float) -> None:
    link = make_link(loss=loss)
    count = 4000
    arrived = arrivals(link, range(count), count)
    assert len(arrived) / count == pytest.approx(1 - loss, abs=0.03)
    assert all(now == number for now, number in arrived.items())


def test_losses_follow_from_the_seed() -> None:
    first, again, other = (arrivals(make_link(loss=0.5, seed=seed), range(100), 100) for seed in (1, 1, 2))
    assert first == again != other


def test_sound_link_asks_for_no_randomness() -> None:
    rng = np.random.default_rng(3)
    link = CommandLink(rng, TIMEOUT, lambda: np.zeros(2))
    arrivals(link, range(50), 50)
    assert rng.random() == np.random.default_rng(3).random()


@pytest.mark.parametrize("delay", [0, 30])
def test_robot_stops_exactly_at_the_time_out_and_goes_on_with_the_next_command(delay: int) -> None:
    link = make_link(delay)
    link.send(command(1), 200)
    arrival = 200 + delay
    np.testing.assert_array_equal(link.receive(arrival), command(1))
    assert all(link.receive(now) is None for now in range(arrival + 1, arrival + TIMEOUT))
    for now in (arrival + TIMEOUT, arrival + TIMEOUT + 1, arrival + 10 * TIMEOUT):
        np.testing.assert_array_equal(link.receive(now), [0.0, 0.0])
    link.send(command(2), 5000)
    np.testing.assert_array_equal(link.receive(5000 + delay), command(2))
    assert link.receive(5000 + delay + TIMEOUT - 1) is None


@given(
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 200), st.floats(0.0, 0.9)), min_size=1, max_size=15),
    st.integers(0, 2**16),
)
def test_nothing_changes_before_the_step_that_the_link_announces(
    commands: list[tuple[int, int, float]], seed: int
) -> None:
    """Who looks only at the announced steps sees the same actions in force as who looks at each step."""
    patient, eager = make_link(seed=seed), make_link(seed=seed)
    force = {"patient": np.zeros(2), "eager": np.zeros(2)}
    now = 0
    for number, (gap, delay, loss) in enumerate(commands, start=1):
        for link in (patient, eager):
            link.delay, link.loss = delay, loss
            link.send(command(number), now)
        end, look = now + gap, now
        for step in range(now, end + 1):
            received = eager.receive(step)
            force["eager"] = force["eager"] if received is None else received
            if step in (look, end):
                received = patient.receive(step)
                force["patient"] = force["patient"] if received is None else received
                look = patient.next_change(step)
                assert look > step
            np.testing.assert_array_equal(force["patient"], force["eager"])
        now = end
