"""A committee: its prior, its choice, and that its members adapt as they do alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from mbmrl_base.robots.description import describe
from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.network import Normalizer, predict
from mbmrl_control.dynamics.prior import Prior, PriorError, load_prior
from mbmrl_control.learners import make_learner, online
from mbmrl_control.learners.committee import JUDGED, STEPS, Choice, Committee, join
from mbmrl_control.learners.online import SLOW_TICKS, OnlineAdapter
from mbmrl_control.priors import load_shipped
from mbmrl_control.training.episodes import Episode
from robot_testing import MILLIROBOT

MakePrior = Callable[..., Prior]
NAMES = ("mb", "bayes_last_layer", "bayes_replay")


@pytest.fixture
def observations(episodes: list[Episode], observations_of: Callable[..., list[Observation]]) -> list[Observation]:
    """A walk of 60 transitions."""
    return observations_of(episodes[0])


@pytest.fixture
def priors(make_prior: MakePrior) -> list[Prior]:
    """Those of three members."""
    return [make_prior(name, seed=seed) for seed, name in enumerate(NAMES)]


# The prior


def test_file_holds_the_priors_of_all_members_in_order(priors: list[Prior], tmp_path: Any) -> None:
    join(priors).save(tmp_path / "prior.safetensors")
    committee = make_learner(load_prior(tmp_path / "prior.safetensors"))
    assert isinstance(committee, Committee)
    assert [member.name for member in committee.members] == list(NAMES)
    inputs = torch.randn(5, MILLIROBOT.features.input_size)
    for member, prior in zip(committee.members, priors, strict=True):
        assert torch.equal(member.adapted_model({}).predict(inputs).mean, predict(prior.layers, inputs))
    assert torch.equal(committee.adapted_model({}).predict(inputs).mean, predict(priors[0].layers, inputs))


def test_priors_are_joined_by_a_command(priors: list[Prior], mbmrl: Callable[..., Any], tmp_path: Any) -> None:
    files = [str(tmp_path / f"{prior.settings.learner}.safetensors") for prior in priors]
    for prior, file in zip(priors, files, strict=True):
        prior.save(Path(file))
    assert mbmrl("join", *files, "--out", str(tmp_path / "all.safetensors"))[0] == 0
    assert load_prior(tmp_path / "all.safetensors").hash == join(priors).hash
    code, _, errors = mbmrl("join", files[0], str(tmp_path / "all.safetensors"))
    assert (code, errors.count("\n")) == (2, 1)
    assert "committee was not" in errors


def test_shipped_committee_is_put_together_from_the_shipped_priors_of_its_members() -> None:
    prior = load_shipped("committee", MILLIROBOT, "grbal,mb")
    assert [member.name for member in make_learner(prior).members] == ["grbal", "mb"]
    assert prior.hash == load_shipped("committee", MILLIROBOT, "grbal,mb").hash
    with pytest.raises(ValueError, match="unknown learner 'ppo'"):
        load_shipped("committee", MILLIROBOT, "mb,ppo")


def test_members_that_cannot_work_together_are_refused(priors: list[Prior], make_prior: MakePrior) -> None:
    scaled = replace(priors[0].normalizer, input_mean=priors[0].normalizer.input_mean + 1)
    for other, text in (
        (make_prior("mb", window=9), "the same window and rate: mb has others"),
        (make_prior("mb", rate=10.0), "the same window and rate: mb has others"),
        (replace(priors[0], normalizer=scaled), "trained on the same data: mb was not"),
        (join(priors), "trained on the same data: committee was not"),
    ):
        with pytest.raises(PriorError, match=text):
            join([*priors, other])


def test_prior_with_a_member_missing_is_refused(priors: list[Prior]) -> None:
    whole = join(priors)
    for lost in ("1.bayes_last_layer.", "0.mb.layers.0.weight"):
        extras = {name: tensor for name, tensor in whole.extras.items() if not name.startswith(lost)}
        with pytest.raises(PriorError):
            make_learner(replace(whole, extras=extras))
    with pytest.raises(PriorError, match=r"no member for its tensor 3\.ppo\.rate"):
        make_learner(replace(whole, extras={**whole.extras, "3.ppo.rate": torch.ones(1)}))


# The choice


def line(slope: float) -> ReluNetwork:
    """A model of `POINT` that expects a multiple of the action."""
    return ReluNetwork([(torch.tensor([[0.0, slope]]), torch.zeros(1))])


POINT = Robot(describe({"name": "point", "states": ["x"], "actions": ["u"]}))
"""It moves by its action in each interval, and not on a plane."""


def choice_of(count: int) -> Choice:
    numbers = [torch.zeros(2), torch.ones(2), torch.zeros(1), torch.ones(1)]
    return Choice(POINT.features, Normalizer(*numbers), 0.1, count)


def going(count: int, slope: float = 1.0, start: int = 0) -> list[Observation]:
    """What is observed of a point with a slope."""
    rng = np.random.default_rng(start)
    actions = rng.uniform(0.5, 1.0, (count, 1))
    states = np.cumsum(slope * actions, axis=0)
    return [Observation(states[i], actions[i], 0.1 * i, start + i, 1, 0.1) for i in range(count)]


def test_model_that_predicts_best_is_chosen_as_soon_as_it_is_known() -> None:
    choice, models = choice_of(3), [line(0.2), line(0.9), line(-1.0)]
    chosen = [choice.observe(seen, models) for seen in going(STEPS + 10)]
    assert chosen[: STEPS + 3] == [0] * (STEPS + 3)
    assert set(chosen[STEPS + 3 :]) == {1}
    assert np.argsort(choice.errors).tolist() == [1, 0, 2]


def test_one_that_is_hardly_better_does_not_take_over() -> None:
    choice = choice_of(2)
    assert {choice.observe(seen, [line(0.5), line(0.52)]) for seen in going(STEPS + 2 * JUDGED)} == {0}


def test_choice_changes_with_the_robot_and_stays_over_a_gap() -> None:
    choice, models = choice_of(2), [line(1.0), line(0.3)]
    for seen in going(2 * JUDGED):
        choice.observe(seen, models)
    assert choice.chosen == 0
    for seen in going(STEPS + JUDGED, 0.3, 1000):
        choice.observe(seen, models)
    assert choice.chosen == 1
    choice.reset()
    assert choice.observe(going(1, 0.3, 2000)[0], models) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_model_that_predicts_nothing_finite_is_not_chosen(value: float) -> None:
    choice = choice_of(2)
    for seen in going(STEPS + JUDGED):
        choice.observe(seen, [line(0.1), line(value)])
    assert choice.chosen == 0
    for seen in going(STEPS + JUDGED, start=1000):
        choice.observe(seen, [line(value), line(0.1)])
    assert choice.chosen == 1


# Online


def test_members_adapt_as_they_do_alone(priors: list[Prior], observations: list[Observation]) -> None:
    together, alone = OnlineAdapter(join(priors)), [OnlineAdapter(prior) for prior in priors]
    for seen in observations:
        adaptation = together.observe(seen)
        own = [adapter.observe(seen).update for adapter in alone]
        for member, update in zip(together.members, own, strict=True):
            assert member.update.keys() == update.keys()
            assert all(torch.equal(member.update[name], update[name]) for name in update)
        chosen = own[adaptation.member]
        assert adaptation.update.keys() == {"member", *chosen}
        assert int(adaptation.update["member"]) == adaptation.member
        # What is sent is that of one member.
        size = len(safetensors.torch.save(chosen)) if chosen else 0
        assert len(safetensors.torch.save(dict(adaptation.update))) < size + 200
    assert np.isfinite(adaptation.member_errors).all()
    assert adaptation.member == int(np.argmin(adaptation.member_errors)) != 0


def test_who_receives_the_update_plans_with_the_model_of_the_member(
    priors: list[Prior], observations: list[Observation]
) -> None:
    adapter, receiver = OnlineAdapter(join(priors)), make_learner(join(priors))
    for seen in observations:
        adaptation = adapter.observe(seen)
    member = adapter.members[adaptation.member]
    inputs = torch.randn(5, MILLIROBOT.features.input_size)
    expected = member.learner.adapted_model(member.update).predict(inputs).mean
    assert torch.equal(receiver.adapted_model(adaptation.update).predict(inputs).mean, expected)
    for wrong in (torch.tensor([3]), torch.tensor([-1]), torch.tensor([0, 1]), torch.tensor([math.nan])):
        with pytest.raises(ValueError, match="number of one of its 3 members"):
            receiver.adapted_model({**adaptation.update, "member": wrong})


def test_member_that_fails_is_out_for_a_while_and_the_others_go_on(
    priors: list[Prior], observations: list[Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = OnlineAdapter(join(priors))

    def fail(*_: object) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(adapter.learner.members[2], "adapt", fail)
    monkeypatch.setattr(online, "REST", 20)
    told = [adapter.observe(seen) for seen in observations]
    assert [index for index, each in enumerate(told) if each.failure] == [1, 22, 43]
    assert {each.failure for each in told} == {"", "no memory left"}
    assert told[-1].failed == 3
    assert told[-1].member == 1
    assert told[-1].update.keys() > {"member"}


def test_member_that_is_slow_is_out_for_a_while_and_starts_anew(
    priors: list[Prior], observations: list[Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, times = 0.0, {0: 0.0, 1: 0.0, 2: 0.0}
    adapter = OnlineAdapter(join(priors), clock=lambda: now)

    def slowly(number: int, learn: Callable[..., float], *arguments: Any) -> float:
        nonlocal now
        now += times[number]
        return learn(*arguments)

    for number, member in enumerate(adapter.members):
        monkeypatch.setattr(member, "learn", partial(slowly, number, member.learn))
    for seen in observations[:40]:
        adaptation = adapter.observe(seen)
    assert (adaptation.failed, len(adapter.members[2])) == (0, 39)
    times[adaptation.member] = 0.02
    told = [adapter.observe(seen) for seen in observations[40 : 40 + SLOW_TICKS]]
    assert [each.failed for each in told] == [0] * (SLOW_TICKS - 1) + [1]
    slow = told[-1]
    assert slow.failure == f"{NAMES[adaptation.member]} took 20.0 ms of at most 12.5"
    assert not adapter.members[adaptation.member].update
    times[adaptation.member] = 0.0
    after = adapter.observe(observations[43])
    assert (after.failed, after.failure) == (1, "")
    assert after.member != adaptation.member
    assert after.member_errors[adaptation.member] == math.inf
    monkeypatch.setattr(adapter.members[adaptation.member], "out", 2)
    for seen in observations[44:50]:
        adapter.observe(seen)
    assert len(adapter.members[adaptation.member]) == 4


def test_frozen_committee_keeps_its_choice(priors: list[Prior], observations: list[Observation]) -> None:
    adapter = OnlineAdapter(join(priors))
    for seen in observations[:40]:
        kept = adapter.observe(seen)
    adapter.frozen = True
    for seen in observations[40:]:
        adaptation = adapter.observe(seen)
        assert adaptation.member == kept.member
        assert all(torch.equal(adaptation.update[name], tensor) for name, tensor in kept.update.items())
