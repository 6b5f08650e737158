"""Training on recorded episodes of a small system that is known, and the error of what comes out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from cart_testing import CART, INTERVAL, STATES, drive_cart, save_carts
from learner_testing import TRAINED
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.prior import Prior, PriorError, PriorSettings, load_prior
from mbmrl_control.dynamics.rollout import roll_out
from mbmrl_control.evaluation import model_error as evaluation
from mbmrl_control.evaluation.model_error import model_error, windows_of
from mbmrl_control.learners.committee import join, split
from mbmrl_control.learners.grbal import StepSettings
from mbmrl_control.nodes.settings import ModelSettings
from mbmrl_control.priors import DEFAULT_LEARNER, MEMBERS
from mbmrl_control.training.episodes import Episode, EpisodeError, read_folder
from mbmrl_control.training.from_data import train_on_data
from mbmrl_control.training.meta_training import TrainingSettings
from mbmrl_control.training.transitions import pieces_of
from robot_testing import MILLIROBOT

Run = Callable[..., tuple[int, str, str]]
QUICK = TrainingSettings(
    steps=600,
    plain_steps=300,
    open_loop=2.0,
    hidden=(64, 64),
    window=16,
    future=8,
    options=StepSettings(inner_steps=2),
    tasks=16,
    learning_rate=3e-3,
    seed=1,
)
RAMP = {"states": ["s"], "actions": ["u"]}


def constant_model(change: float, spread: float, window: int = 4, future: int = 3) -> Prior:
    """A prior of one state and one action that always predicts the same change."""
    layers = [(torch.zeros(1, 2), torch.zeros(1))]
    statistics = (torch.zeros(2), torch.ones(2), torch.tensor([change]), torch.ones(1))
    training = {"future": future, "spread": [spread]}
    settings = PriorSettings("mb", window, 20.0, training)
    return Prior(layers, Normalizer(*statistics), settings, robot=Robot(describe(RAMP)))


def ramp(length: int, intervals: float = INTERVAL) -> Episode:
    """A state that grows by 2 a second."""
    time = np.arange(length + 1) * intervals
    return Episode(2 * time[:, np.newaxis], np.zeros((length, 1)), time, metadata={"robot": RAMP})


# The figures


def test_error_is_relative_to_the_spread_of_the_training_data(tmp_path: Path) -> None:
    """Of 0.1 per step, 0.08 is predicted: after 1, 2, 3 steps 0.02, 0.04, 0.06 are missing."""
    prior, file = constant_model(0.08, spread=0.5), tmp_path / "prior.safetensors"
    prior.save(file)
    (tmp_path / "data").mkdir()
    ramp(10).save(tmp_path / "data" / "ramp.npz")
    told = model_error(file, tmp_path / "data")
    expected = math.sqrt((0.02**2 + 0.04**2 + 0.06**2) / 3) / 0.5
    assert told["before"] == {"overall": pytest.approx(expected, rel=1e-5), "per_state": told["before"]["per_state"]}
    assert told["before"]["per_state"] == {"s": pytest.approx(expected, rel=1e-5)}
    assert told["after"] == told["before"]  # mb adapts nothing
    assert told["windows"] == 2


def test_longer_intervals_are_predicted_as_such(tmp_path: Path) -> None:
    prior = constant_model(0.1, spread=0.5)
    (piece,) = pieces_of(ramp(10, 0.06), 20.0)
    actions, intervals = piece.actions.unsqueeze(0), piece.intervals.unsqueeze(0)
    model = ReluNetwork(prior.layers)
    predicted = roll_out(prior.features, prior.normalizer, model, piece.states[:1], actions, intervals)
    assert torch.allclose(predicted.states[0], piece.states, atol=1e-6)


def test_windows_do_not_cross_gaps_and_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [piece for length in (6, 7, 14) for piece in pieces_of(ramp(length), 20.0)]
    windows = windows_of(pieces, 4, 3)
    assert len(windows) == 1 + 3
    for past, future in windows:
        assert (len(past.actions), len(future.actions)) == (4, 3)
        assert torch.equal(past.states[-1], future.states[0])
    monkeypatch.setattr(evaluation, "MOST_WINDOWS", 2)
    starts = [past.states[0] for past, _ in windows_of(pieces, 4, 3)]
    assert torch.equal(torch.cat(starts), torch.cat([windows[index][0].states[0] for index in (0, 2)]))


def test_model_that_runs_away_has_no_error(tmp_path: Path) -> None:
    prior, file = constant_model(0.1, spread=0.5), tmp_path / "prior.safetensors"
    replace(prior, layers=[(torch.tensor([[1e30, 0.0]]), torch.ones(1))]).save(file)
    (tmp_path / "data").mkdir()
    ramp(10).save(tmp_path / "data" / "ramp.npz")
    told = model_error(file, tmp_path / "data")
    assert told["before"] == {"overall": None, "per_state": {"s": None}}
    assert "not finite" in evaluation.table(told)


# What is refused


def test_prior_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prior.safetensors"
    whole = constant_model(0.1, spread=0.5)
    for change, field in (
        ({"spread": None}, "spread"),
        ({"spread": [1.0, 2.0]}, "spread"),
        ({"spread": [0.0]}, "spread"),
        ({"spread": "wide"}, "spread"),
        ({"future": None}, "future"),
        ({"future": 0}, "future"),
    ):
        replace(whole, settings=replace(whole.settings, training=whole.settings.training | change)).save(file)
        with pytest.raises(PriorError, match=rf"prior\.safetensors: {field}, .* is missing in its training settings"):
            model_error(file, tmp_path)


def test_data_of_another_robot_or_too_short_are_refused(tmp_path: Path) -> None:
    file, data = tmp_path / "prior.safetensors", tmp_path / "data"
    constant_model(0.1, spread=0.5).save(file)
    save_carts(data, 1)
    with pytest.raises(
        EpisodeError, match=r"0000\.npz is of another robot: its states are x, velocity, .*, those of this robot are s$"
    ):
        model_error(file, data)
    (data / "0000.npz").unlink()
    ramp(6).save(data / "ramp.npz")
    with pytest.raises(
        EpisodeError, match=r"at most 6 transitions at 20 Hz without a gap: M \+ K = 4 \+ 3 = 7 are need"
    ):
        model_error(file, data)


# All of it


@pytest.fixture(scope="module")
def carts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Episodes of carts, and the prior that was trained on them."""
    folder = tmp_path_factory.mktemp("carts")
    [prior] = train_on_data([QUICK], read_folder(save_carts(folder / "data", 60)), folder / "work", Console(quiet=True))
    prior.save(folder / "cart.safetensors")
    return folder / "data", folder / "cart.safetensors"


def test_adaptation_beats_the_prior_on_carts_of_unknown_mass(carts: tuple[Path, Path], tmp_path: Path) -> None:
    told = model_error(carts[1], save_carts(tmp_path, 10, first=1000))
    before, after = told["before"], told["after"]
    assert list(before["per_state"]) == STATES
    assert told["windows"] == 10 * 13
    assert before["overall"] < 0.3
    assert after["overall"] < 0.88 * before["overall"]
    assert after["per_state"]["velocity"] < 0.82 * before["per_state"]["velocity"]


def test_prior_tells_what_it_was_trained_on(carts: tuple[Path, Path]) -> None:
    prior = load_prior(carts[1])
    training = prior.settings.training
    assert prior.robot == drive_cart(0, 10).robot
    assert (prior.settings.rate, prior.settings.window, training["future"]) == (20.0, 16, 8)
    assert [training["counts"][part]["episodes"] for part in ("trained", "held_out")] == [48, 12]
    assert training["counts"]["trained"]["transitions"] == 48 * 120
    assert training["held_out_post_error"] < training["held_out_pre_error"]
    assert len(training["spread"]) == 4
    assert len(training["data"]) == 64
    with pytest.raises(PriorError, match="is for another robot: it is one without a name, this one is millirobot"):
        ModelSettings(checkpoint=str(carts[1])).load_prior()


def test_commands_train_and_judge(mbmrl: Run, tmp_path: Path) -> None:
    """Unequal steps, missing samples and short episodes are told once and stand in the prior's header."""
    data = save_carts(tmp_path / "data", 4, length=30)
    rng = np.random.default_rng(0)
    odd = drive_cart(9, 40, rng.uniform(0.03, 0.07, 40), note="of another logger")
    odd.state[20] = np.nan
    odd.save(data / "odd.npz")
    gap = drive_cart(10, 15)
    gap.time[8:] += 1.0
    gap.save(data / "gap.npz")
    sizes = ("--window", "6", "--future", "4", "--steps", "3")
    options = ("--set", "inner_steps=1", "--set", "psi=scalar")
    command = ("train", "--data", str(data), "--learner", "grbal", *options, *sizes, "--out", "cart.safetensors")
    code, output, errors = mbmrl(*command)
    assert (code, output) == (0, "")
    assert "6 episodes, of which 1 are held out, 172 transitions at 20 Hz, 4 states, 1 actions" in errors
    assert "1 missing samples, 1 gaps, 38 unequal intervals; 2 pieces with 14 transitions are shorter than M" in errors
    prior = load_prior(Path("cart.safetensors"))
    assert prior.settings.training["seed"] == 0
    assert prior.settings.training["options"] == {"inner_steps": 1, "psi": "scalar", "initial_psi": 0.01}
    assert prior.extras["psi"].shape == (1, 1)
    assert prior.settings.training["command"].endswith("--set inner_steps=1 --set psi=scalar")
    assert mbmrl(*command)[0] == 0  # what is done is not done again, and ends the same
    assert load_prior(Path("cart.safetensors")).hash == prior.hash
    code, output, errors = mbmrl("model-error", "--checkpoint", "cart.safetensors", "--data", str(data), "--json")
    told = json.loads(output.splitlines()[-1])
    assert code == 0
    assert set(told) == {"before", "after", "windows"}
    assert set(told["before"]) == set(told["after"]) == {"overall", "per_state"}
    assert f"over {told['windows']} windows" in errors


def test_default_is_trained_member_by_member_and_judged_by_those_that_are_planned_with(
    mbmrl: Run, tmp_path: Path
) -> None:
    """Of the plain model, which is a member and what the others start from, there is one training."""
    data = save_carts(tmp_path / "data", 4, length=40)
    sizes = ("--window", "12", "--future", "4", "--steps", "3")
    code, output, errors = mbmrl("train", "--data", str(data), *sizes, "--out", "cart.safetensors", "--json")
    assert code == 0, errors
    assert json.loads(output)["learner"] == DEFAULT_LEARNER
    assert errors.count("4 episodes, of which 1 are held out") == 1
    members = [member["learner"] for member in load_prior(Path("cart.safetensors")).settings.training["members"]]
    assert members == MEMBERS.split(",")
    assert sorted(file.name.split("-")[0] for file in Path("runs/train").glob("*-state.safetensors")) == sorted(members)
    code, output, errors = mbmrl("model-error", "--checkpoint", "cart.safetensors", "--data", str(data), "--json")
    assert code == 0, errors
    assert 0 < json.loads(output)["after"]["overall"] < math.inf


def test_each_window_has_the_error_of_the_member_that_predicts_it_best(tmp_path: Path) -> None:
    still = constant_model(0.0, spread=0.5, window=8)
    layers = [[(torch.zeros(1, 2), torch.tensor([change]))] for change in (0.05, 0.1)]
    join([replace(still, layers=each) for each in layers]).save(tmp_path / "both.safetensors")
    for number, interval in enumerate((INTERVAL, INTERVAL / 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        replace(ramp(11, interval), time=np.arange(12) * INTERVAL).save(folder / "ramp.npz")
        told = model_error(tmp_path / "both.safetensors", folder)
        assert told["after"]["overall"] == pytest.approx(0.0, abs=1e-6)
        assert (told["before"]["overall"] < 1e-6) == (number == 1)  # the first member is slow


def test_prior_is_tuned_further_on_data_of_a_changed_cart(mbmrl: Run, tmp_path: Path) -> None:
    """A committee's members each; with the data that it knew beside them it forgets little of these."""
    drives = {"old": (20, 0, 1.0), "old again": (5, 100, 1.0), "new": (10, 200, -2.0), "new again": (5, 300, -2.0)}
    data = {name: tmp_path / name for name in drives}
    for name, (count, first, gain) in drives.items():
        data[name].mkdir()
        for seed in range(first, first + count):  # whoever drives the changed one has its motor the other way round
            cart = drive_cart(seed)
            replace(cart, action=cart.action / gain).save(data[name] / f"{seed}.npz")
    sizes = ("--window", "12", "--future", "4", "--steps", "200")
    assert mbmrl("train", "--data", str(data["old"]), *sizes, "--out", "cart.safetensors")[0] == 0
    tune = ("finetune", "--checkpoint", "cart.safetensors", "--data", str(data["new"]), "--steps", "200")
    assert mbmrl(*tune)[0] == 0
    assert mbmrl(*tune, "--rehearse", str(data["old"]), "--out", "both.safetensors")[0] == 0
    error = {
        (name, what): model_error(Path(f"{name}.safetensors"), data[what])["after"]["overall"]
        for name in ("cart", "tuned", "both")
        for what in ("old again", "new again")
    }
    assert error["tuned", "new again"] < 0.8 * error["cart", "new again"]
    assert error["both", "new again"] < 0.9 * error["cart", "new again"]
    assert error["both", "old again"] < error["tuned", "old again"]
    start, tuned = (load_prior(Path(name)) for name in ("cart.safetensors", "tuned.safetensors"))
    assert [member["start"] for member in tuned.settings.training["members"]] == [part.hash for part in split(start)]
    assert torch.equal(tuned.normalizer.input_mean, start.normalizer.input_mean)
    code, _, errors = mbmrl(*tune[:3], "--data", str(tmp_path / "none"))
    assert (code, errors.count("\n")) == (2, 1)


def test_split_undoes_join() -> None:
    parts = [constant_model(change, spread=0.5) for change in (0.1, 0.1)]
    assert [part.hash for part in split(join(parts))] == [part.hash for part in parts]
    assert split(parts[0]) == [parts[0]]


def test_data_that_look_wrong_are_told_and_used(mbmrl: Run, tmp_path: Path) -> None:
    """An angle in degrees: one line, of the training and of the error."""
    for seed in range(3):
        episode = drive_cart(seed, 30)
        episode.state[:, 2] = np.degrees(episode.state[:, 2])
        episode.save(tmp_path / f"{seed}.npz")
    sizes = ("--window", "6", "--future", "4", "--steps", "2", "--out", "cart.safetensors")
    for command in (("train", *sizes), ("model-error", "--checkpoint", "cart.safetensors")):
        code, output, errors = mbmrl(*command, "--data", str(tmp_path))
        assert (code, output) == (0, "")
        (told,) = [line for line in errors.splitlines() if line.startswith("warning: ")]
        assert told.startswith(
            f"warning: {tmp_path / '0.npz'} and 2 more: state 'angle' (column 2) is declared an angle"
        )


def test_training_on_other_data_starts_anew(mbmrl: Run, tmp_path: Path) -> None:
    """In the same work folder."""
    command = ("train", "--window", "6", "--future", "4", "--steps", "2", "--learner", "mb", "--data")
    hashes = set()
    for first in (0, 10):
        assert mbmrl(*command, str(save_carts(tmp_path / str(first), 2, first, 20)))[0] == 0
        hashes.add(load_prior(Path("mb.safetensors")).hash)
    assert len(hashes) == 2


def test_constant_columns_are_named_and_do_no_harm(mbmrl: Run, tmp_path: Path) -> None:
    for seed in range(3):
        episode = drive_cart(seed, 20)
        episode.state[:, 1], episode.action[:] = 3.0, 0.0
        episode.save(tmp_path / f"{seed}.npz")
    command = ("train", "--window", "6", "--future", "4", "--steps", "2", "--out", "cart.safetensors", "--data")
    code, _, errors = mbmrl(*command, str(tmp_path))
    assert code == 0
    warning = (
        f"{tmp_path}: state 'velocity' (column 1) is always 3: a column that never varies says nothing to the model"
    )
    assert f"warning: {warning}" in errors
    assert f"warning: {tmp_path}: action 'force' (column 0) is always 0" in errors
    assert load_prior(Path("cart.safetensors")).settings.training["constant"] == ["state 'velocity'", "action 'force'"]
    code, output, errors = mbmrl("model-error", "--checkpoint", "cart.safetensors", "--data", str(tmp_path), "--json")
    assert code == 0
    assert f"warning: {warning}" in errors
    assert all(value is not None and value < 10 for value in json.loads(output)["after"]["per_state"].values())


@pytest.mark.parametrize(("states", "actions"), [(1, 0), (1, 2), (3, 0), (9, 5)])
@pytest.mark.parametrize("learner", TRAINED)
def test_any_dimensions_will_do(mbmrl: Run, tmp_path: Path, states: int, actions: int, learner: str) -> None:
    """Among them a single state, an angle, and no actions."""
    names = [f"s{index}" for index in range(states)]
    described = [{"name": name, "angle": name == names[-1], "seen": name not in names[:-1][:1]} for name in names]
    metadata = {"robot": {"states": described, "actions": [f"a{index}" for index in range(actions)]}}
    for seed in range(2):
        rng = np.random.default_rng(seed)
        state = rng.normal(size=(31, states)).cumsum(axis=0)
        action, time = rng.normal(size=(30, actions)), np.arange(31) * 0.01
        Episode(state, action, time, metadata=metadata).save(tmp_path / f"{seed}.npz")
    common = ("--window", "6", "--future", "4", "--steps", "2", "--out", "p.safetensors", "--data", str(tmp_path))
    assert mbmrl("train", "--learner", learner, *common)[0] == 0
    assert load_prior(Path("p.safetensors")).settings.rate == 100.0
    code, output, _ = mbmrl("model-error", "--checkpoint", "p.safetensors", "--data", str(tmp_path), "--json")
    told = json.loads(output)
    assert code == 0
    assert list(told["after"]["per_state"]) == names
    assert told["windows"] == 2 * 6


def test_episodes_of_the_millirobot_are_data_too(mbmrl: Run, tmp_path: Path, episodes: list[Episode]) -> None:
    for number, episode in enumerate(episodes):
        episode.save(tmp_path / f"{number}.npz")
    small = ("--window", "6", "--future", "4", "--steps", "2")
    assert mbmrl("train", "--learner", "grbal", *small, "--data", str(tmp_path))[0] == 0
    prior = load_prior(Path("grbal.safetensors"))
    assert prior.robot == MILLIROBOT
    code, output, _ = mbmrl("model-error", "--checkpoint", "grbal.safetensors", "--data", str(tmp_path), "--json")
    assert code == 0
    assert len(json.loads(output)["before"]["per_state"]) == 24


OWN = """
import torch
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.features import Features
from mbmrl_base.robots.robot import Robot

class Squares(Features):
    def __init__(self, description):
        super().__init__(description)
        self.input_size += 1

    def inputs(self, states, actions):
        return torch.cat([super().inputs(states, actions), states[..., 3:].square()], dim=-1)

class Cart(Robot):
    features = property(lambda self: Squares(self.description))

def robot():
    return Cart(describe(%r))
"""


def test_robot_with_features_of_its_own_is_given_by_its_file(mbmrl: Run, folder: Path) -> None:
    cart = CART | {"name": "cart"}
    Path("cart.py").write_text(OWN % cart)
    Path("data").mkdir()
    for seed in range(3):
        drive_cart(seed, 30, robot=cart).save(Path("data") / f"{seed}.npz")
    small = ("--window", "6", "--future", "4", "--steps", "2", "--out", "cart.safetensors")
    assert mbmrl("train", "--learner", "mb", "--data", "data", "--robot", "cart.py", *small)[0] == 0
    judge = ("model-error", "--checkpoint", "cart.safetensors", "--data", "data")
    assert mbmrl(*judge, "--robot", "cart.py")[0] == 0
    code, _, errors = mbmrl(*judge)
    assert code == 2
    assert "is for cart, which has features of its own: give the robot's file" in " ".join(errors.split())
    drive_cart(3, 30).save(Path("data") / "3.npz")
    code, _, errors = mbmrl(*judge, "--robot", "cart.py")
    assert code == 2
    assert "3.npz is of another robot: it is one without a name, this one is cart" in " ".join(errors.split())
