"""Online adaptation: the window, when there is a transition, and what is withheld."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learner_testing import TRAINED
from mbmrl_base.robots.millirobot.layout import ANGULAR_VELOCITY
from mbmrl_base.robots.observation import Observation
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.learners import LEARNERS, Update
from mbmrl_control.learners.member import JUDGED
from mbmrl_control.learners.online import Adaptation, OnlineAdapter
from mbmrl_control.priors import load_shipped
from mbmrl_control.training.episodes import Episode
from mbmrl_control.training.transitions import Transitions
from robot_testing import MILLIROBOT

MakePrior = Callable[..., Prior]
WINDOW = 8


@pytest.fixture
def observations(episodes: list[Episode], observations_of: Callable[..., list[Observation]]) -> list[Observation]:
    """A walk of 60 transitions."""
    return observations_of(episodes[0])


def observe_all(adapter: OnlineAdapter, observations: list[Observation]) -> list[Adaptation]:
    return [adapter.observe(observation) for observation in observations]


def assert_equal(left: Update, right: Update) -> None:
    """The same tensors, bit for bit."""
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


# From theta*, on the window alone


def test_update_follows_from_the_window_alone(
    make_prior: MakePrior,
    observations: list[Observation],
    episodes: list[Episode],
    observations_of: Callable[..., list[Observation]],
) -> None:
    """Whatever was adapted to earlier: weights are not carried forward (the stale-weights bug)."""
    prior = make_prior(window=WINDOW)
    # The judge looks back on JUDGED predictions, each of which needed a window.
    common = observations[-(WINDOW + JUDGED + 2) :]
    whole = observe_all(OnlineAdapter(prior), observations)[-1]
    short = observe_all(OnlineAdapter(prior), common)[-1]
    other = [replace(observation, sequence=o) for o, observation in enumerate(observations_of(episodes[3]), 1000)]
    after_other = observe_all(OnlineAdapter(prior), [*other, *common])[-1]
    assert whole.update
    assert_equal(whole.update, short.update)
    assert_equal(whole.update, after_other.update)


def test_update_is_that_of_the_learner_on_the_last_transitions(
    make_prior: MakePrior, observations: list[Observation]
) -> None:
    prior = make_prior(window=WINDOW)
    adapter = OnlineAdapter(prior)
    last = observe_all(adapter, observations)[-1]
    states = torch.from_numpy(np.array([observation.state for observation in observations[-WINDOW - 1 :]]))
    actions = torch.from_numpy(np.array([observation.action for observation in observations[-WINDOW:]]))
    inputs = prior.normalizer.inputs(MILLIROBOT.features.inputs(states[:-1], actions).float())
    targets = prior.normalizer.targets(MILLIROBOT.features.targets(states[:-1], states[1:]).float())
    expected = adapter.learner.adapt(inputs, targets)
    for name, tensor in expected.items():
        torch.testing.assert_close(last.update[name], tensor)


def test_warming_up_changes_nothing(make_prior: MakePrior, observations: list[Observation]) -> None:
    prior = make_prior(window=WINDOW)
    cold, warm = OnlineAdapter(prior), OnlineAdapter(prior)
    warm.warm_up()
    for observation in observations:
        expected, adaptation = cold.observe(observation), warm.observe(observation)
        assert_equal(adaptation.update, expected.update)
        assert adaptation.sequence == expected.sequence
        warm.warm_up()


def test_window_is_bounded(make_prior: MakePrior, observations: list[Observation]) -> None:
    adaptations = observe_all(OnlineAdapter(make_prior(window=WINDOW)), observations)
    assert [adaptation.window for adaptation in adaptations] == [min(i, WINDOW) for i in range(len(observations))]


def test_adaptations_and_observations_are_numbered(make_prior: MakePrior, observations: list[Observation]) -> None:
    adaptations = observe_all(OnlineAdapter(make_prior()), observations[5:10])
    assert [adaptation.sequence for adaptation in adaptations] == [1, 2, 3, 4, 5]
    assert [adaptation.state_sequence for adaptation in adaptations] == [5, 6, 7, 8, 9]


# What makes a transition


@pytest.mark.parametrize(
    "change",
    [
        lambda observation: replace(observation, sequence=observation.sequence + 1),
        lambda observation: replace(observation, sequence=observation.sequence - 1),
        lambda observation: replace(observation, interval=0.0),
    ],
    ids=["gap in the sequence", "seen twice", "no exact interval"],
)
def test_no_transition_leaves_the_model_as_it_was(
    make_prior: MakePrior, observations: list[Observation], change: Callable[[Observation], Observation]
) -> None:
    adapter = OnlineAdapter(make_prior(window=WINDOW))
    before = observe_all(adapter, observations[:5])[-1]
    after = adapter.observe(change(observations[5]))
    assert after.window == before.window == 4
    assert math.isnan(after.prior_error)
    assert math.isnan(after.adapted_error)
    assert_equal(after.update, before.update)


def test_transitions_go_on_after_a_gap(make_prior: MakePrior, observations: list[Observation]) -> None:
    adaptations = observe_all(OnlineAdapter(make_prior()), observations[:4] + observations[6:9])
    assert [adaptation.window for adaptation in adaptations] == [0, 1, 2, 3, 3, 4, 5]


@pytest.mark.parametrize("begins", [{"episode": 2}, {"sequence": -20}], ids=["reset", "started again"])
def test_new_episode_empties_the_window(
    begins: dict[str, int], make_prior: MakePrior, observations: list[Observation]
) -> None:
    """What was adapted in the last episode must not steer the first steps of a new one."""
    adapter = OnlineAdapter(make_prior(window=WINDOW))
    assert observe_all(adapter, observations[:20])[-1].update
    shift, episode = begins.get("sequence", 0), begins.get("episode", 1)
    second = [replace(each, episode=episode, sequence=each.sequence + shift) for each in observations[20:30]]
    first, *rest = observe_all(adapter, second)
    assert (first.window, first.update) == (0, {})
    assert math.isnan(first.prior_error)
    assert [adaptation.window for adaptation in rest] == [1, 2, 3, 4, 5, 6, 7, 8, 8]
    fresh = observe_all(OnlineAdapter(make_prior(window=WINDOW)), second)[-1]
    assert_equal(rest[-1].update, fresh.update)


# Errors


def test_errors_are_of_models_that_had_not_seen_the_transition(
    make_prior: MakePrior, observations: list[Observation]
) -> None:
    prior = make_prior(window=WINDOW)
    adapter = OnlineAdapter(prior)
    adaptations = observe_all(adapter, observations)
    compared = 0
    for before, after, start, end in zip(adaptations, adaptations[1:], observations, observations[1:], strict=False):
        state, following = torch.from_numpy(start.state), torch.from_numpy(end.state)
        inputs = prior.normalizer.inputs(MILLIROBOT.features.inputs(state, torch.from_numpy(end.action)).float())
        targets = prior.normalizer.targets(MILLIROBOT.features.targets(state, following).float())
        expected = float(adapter.learner.adapted_model({}).error(inputs, targets))
        assert after.prior_error == pytest.approx(expected, rel=1e-5)
        if before.update or before.window == 0:
            expected = float(adapter.learner.adapted_model(before.update).error(inputs, targets))
            assert after.adapted_error == pytest.approx(expected, rel=1e-5)
            compared += 1
    assert compared > 30


def test_adaptation_makes_a_poor_prior_better(make_prior: MakePrior, observations: list[Observation]) -> None:
    adaptations = observe_all(OnlineAdapter(make_prior(window=16)), observations)[10:]
    prior = np.mean([adaptation.prior_error for adaptation in adaptations])
    adapted = np.mean([adaptation.adapted_error for adaptation in adaptations])
    assert adapted < 0.9 * prior


# What is withheld


def test_update_that_is_not_finite_is_withheld_and_counted(
    make_prior: MakePrior, observations: list[Observation]
) -> None:
    adaptations = observe_all(OnlineAdapter(make_prior(psi=math.inf)), observations[:10])
    assert all(adaptation.update == {} for adaptation in adaptations)
    assert [adaptation.rejected for adaptation in adaptations] == list(range(10))
    assert all(adaptation.adapted_error == adaptation.prior_error for adaptation in adaptations[1:])


def test_update_that_predicts_worse_than_the_prior_is_withheld_and_counted(
    make_prior: MakePrior, observations: list[Observation]
) -> None:
    _, first, *rest = observe_all(OnlineAdapter(make_prior(psi=3.0, inner_steps=1)), observations[:12])
    assert first.update  # nothing has been predicted with it yet
    for count, adaptation in enumerate(rest, start=1):
        assert adaptation.adapted_error > adaptation.prior_error
        assert (adaptation.update, adaptation.rejected) == ({}, count)


@pytest.mark.parametrize("learner", TRAINED)
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300], ids=str)
def test_transition_with_a_missing_number_is_skipped_and_counted(
    make_prior: MakePrior, observations: list[Observation], learner: str, value: float
) -> None:
    """One gyro reading is not there: the model stays as it is, and goes on as if that state had never come."""
    state = observations[12].state.copy()
    state[ANGULAR_VELOCITY.start] = value
    bad = replace(observations[12], state=state)
    prior = make_prior(learner, window=WINDOW)
    seen = observe_all(OnlineAdapter(prior), [*observations[:12], bad, *observations[13:40]])
    without = observe_all(OnlineAdapter(prior), [*observations[:12], *observations[13:40]])
    # Two transitions have the bad state at an end.
    for adaptation in seen[12:14]:
        assert_equal(adaptation.update, seen[11].update)
        assert math.isnan(adaptation.prior_error)
    assert [adaptation.skipped for adaptation in seen[11:16]] == [0, 1, 2, 2, 2]
    assert_equal(seen[-1].update, without[-1].update)
    assert (seen[-1].window, seen[-1].failed) == (without[-1].window, 0)


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(st.data())
def test_no_number_ends_the_adaptation(
    make_prior: MakePrior,
    episodes: list[Episode],
    observations_of: Callable[..., list[Observation]],
    data: st.DataObject,
) -> None:
    """Whatever states, actions and intervals say, finite models come out."""
    adapter = OnlineAdapter(make_prior("bayes_replay", window=WINDOW))
    numbers = st.floats(width=64) | st.just(math.nan)
    for observation in observations_of(episodes[0])[:20]:
        state, action = observation.state.copy(), observation.action.copy()
        if data.draw(st.booleans()):
            state[data.draw(st.integers(0, 23))] = data.draw(numbers)
            action[data.draw(st.integers(0, 1))] = data.draw(numbers)
        given_interval = data.draw(st.sampled_from([0.05, 0.05, 0.06, math.nan, math.inf, -1.0]))
        adaptation = adapter.observe(replace(observation, state=state, action=action, interval=given_interval))
        assert all(torch.isfinite(tensor).all() for tensor in adaptation.update.values())


def test_learner_that_raises_is_reported_and_starts_anew(
    make_prior: MakePrior, observations: list[Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = make_prior("bayes_last_layer", window=WINDOW)
    adapter = OnlineAdapter(prior)
    assert observe_all(adapter, observations[:12])[-1].update
    with monkeypatch.context() as patch:
        patch.setattr(adapter.learner, "adapt", lambda *_: torch.linalg.cholesky(-torch.eye(2)))
        adapter.warm_up()
        failed = adapter.observe(observations[12])
    assert (failed.update, failed.window, failed.failed) == ({}, 0, 1)
    assert failed.failure.startswith("linalg.cholesky: ")
    after = observe_all(adapter, observations[13:25])
    assert {(adaptation.failed, adaptation.failure) for adaptation in after} == {(1, "")}
    assert_equal(after[-1].update, observe_all(OnlineAdapter(prior), observations[12:25])[-1].update)


# The length of intervals


def test_change_counts_per_nominal_interval(make_prior: MakePrior, observations: list[Observation]) -> None:
    """As in training: what a longer interval changed more is not learned as another dynamics."""
    prior = make_prior(window=WINDOW)
    adapter = OnlineAdapter(prior)
    lengths = [1.0, 1.2, 0.9, 1.45, 0.6, 1.0, 1.1, 0.8]
    walk = [replace(seen, interval=0.05 * length) for seen, length in zip(observations[1:9], lengths, strict=True)]
    last = observe_all(adapter, [observations[0], *walk])[-1]
    episode = Episode(
        state=np.array([seen.state for seen in [observations[0], *walk]]),
        action=np.array([seen.action for seen in walk]),
        time=np.cumsum([0.0, *(seen.interval for seen in walk)]),
        metadata={"robot": "millirobot"},
    )
    transitions = Transitions.of([episode], rate=20.0).normalised(prior.normalizer)
    assert transitions.intervals.tolist() == pytest.approx(lengths)
    for name, tensor in adapter.learner.adapt(transitions.inputs, transitions.targets).items():
        torch.testing.assert_close(last.update[name], tensor)


@pytest.mark.parametrize("length", [0.45, 1.55, 0.0, math.nan])
def test_interval_far_from_the_nominal_one_is_a_gap(
    make_prior: MakePrior, observations: list[Observation], length: float
) -> None:
    adapter = OnlineAdapter(make_prior(window=WINDOW))
    observe_all(adapter, observations[:5])
    after = adapter.observe(replace(observations[5], interval=0.05 * length))
    assert (after.window, after.skipped) == (4, 0)


def test_frozen_model_is_kept(make_prior: MakePrior, observations: list[Observation]) -> None:
    adapter = OnlineAdapter(make_prior(window=WINDOW))
    before = observe_all(adapter, observations[:15])[-1]
    adapter.frozen = True
    frozen = observe_all(adapter, observations[15:25])
    for adaptation in frozen:
        assert_equal(adaptation.update, before.update)
        assert math.isfinite(adaptation.adapted_error)
    adapter.frozen = False
    (after,) = observe_all(adapter, observations[25:26])
    # The window went on meanwhile.
    assert_equal(after.update, observe_all(OnlineAdapter(make_prior(window=WINDOW)), observations[:26])[-1].update)


def test_mb_reports_its_error_and_no_update(make_prior: MakePrior, observations: list[Observation]) -> None:
    adaptations = observe_all(OnlineAdapter(make_prior("mb")), observations)
    assert all((adaptation.update, adaptation.rejected) == ({}, 0) for adaptation in adaptations)
    assert all(adaptation.adapted_error == adaptation.prior_error for adaptation in adaptations[1:])


@pytest.mark.parametrize("learner", LEARNERS)
def test_weights_moved_are_those_of_the_update(learner: str, observations: list[Observation]) -> None:
    adapter = OnlineAdapter(load_shipped(learner, MILLIROBOT))
    assert adapter.weights_moved() == 0.0
    moved = [adapter.weights_moved() for observation in observations[:40] if adapter.observe(observation)]
    adapts = learner != "mb"
    assert (max(moved) > 0.0) == adapts
    assert max(moved) < 1.0
