"""Settings that are searched for: what is drawn, how trials are judged, and on what a robot without simulator walks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_control.bringup.graph import SIM
from mbmrl_control.bringup.parameters import check_nodes
from mbmrl_control.dynamics.prior import Prior, load_prior
from mbmrl_control.dynamics.rollout import roll_out
from mbmrl_control.evaluation import tuning
from mbmrl_control.evaluation.learned_world import learned_world, windows
from mbmrl_control.evaluation.run_cache import Job
from mbmrl_control.evaluation.tuning import FRESH, Problem, Search
from mbmrl_control.learners import make_learner
from mbmrl_control.priors import shipped_prior
from mbmrl_control.training.collect import CollectSettings, collect_episode
from mbmrl_control.training.episodes import EpisodeError, read_folder
from robot_testing import FOLLOW

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def prior() -> Prior:
    return load_prior(shipped_prior("mb"))


@pytest.fixture
def problem(prior: Prior) -> Problem:
    return Problem(Job(prior, "mppi", "float32", FOLLOW, "none", 0, 8.0, 4.0), ("none", "leg_loss"), range(5, 7))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for seed in range(2):
        collect_episode(CollectSettings(duration=4.0), seed).save(folder / f"{seed}.npz")
    return folder


def test_values_that_are_drawn_become_settings_of_planner_and_task(problem: Problem, prior: Prior) -> None:
    drawn = {"planner.horizon": 32, "planner.noise_std": 2.0, "planner.correlation": 0.5, "task.heading_weight": 8.0}
    jobs = problem.jobs(drawn)
    assert [(job.seed, job.scenario) for job in jobs] == [(s, w) for s in (5, 6) for w in ("none", "leg_loss")]
    sampling = jobs[0].sampling
    assert sampling.horizon == 32
    assert sampling.candidates == 400  # a plan takes no more time
    assert sampling.noise_std == tuple((2.0 * load_robot("millirobot").noise_std).tolist())
    assert sampling.correlation == (0.5,)
    assert jobs[0].make_task().settings.heading_weight == 8.0
    # No trial is cheaper because its weights are.
    assert jobs[0].make_task(judged=True).settings.heading_weight == 4.0
    assert {job.seed for job in problem.jobs(None, FRESH, 3)} == {FRESH + 5, FRESH + 6, FRESH + 7}


@pytest.fixture
def bowl(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Costs that are least where the heading's weight is 10, in place of runs."""
    made: list[Job] = []

    def cost(job: Job, past: object = ()) -> float:
        made.append(job)
        weight = job.task["settings"]["heading_weight"]
        return float(np.log(weight / 10.0) ** 2 + 0.01 * (job.seed % 3))

    monkeypatch.setattr(tuning, "cost_of", cost)
    return made


def test_search_finds_what_is_best_and_goes_on(problem: Problem, tmp_path: Path, bowl: list[Job]) -> None:
    def found(trials: int) -> Search:
        search = Search(problem, tmp_path, seed=0, workers=1)
        search.run(trials, 1000.0, lambda *_: None)
        return search

    first = found(20)
    tuned = first.result(1.0, fresh=3)
    assert tuned.trials == 20
    made = len(bowl)
    again = found(60)  # it goes on, from the twentieth
    assert again.result(1.0, fresh=3).trials == 60
    assert len(bowl) - made < 40 * 4 + 12  # trials that were worse were given up
    tuned = again.result(1.0, fresh=3)
    assert tuned.values["task.heading_weight"] == pytest.approx(10.0, rel=0.3)
    assert np.mean(tuned.after) < np.mean(tuned.before)
    told = tuned.as_json()
    assert told["difference"]["high"] < 0.0
    assert tuned.trace == sorted(tuned.trace, reverse=True)
    # The first one is what the settings are.
    assert bowl[0].sampling.temperature == 0.05


def test_robot_of_a_learned_model_moves_as_it_predicts(prior: Prior, data: Path) -> None:
    past = windows(prior, read_folder(data, prior.robot))
    world = learned_world(prior, past, seed=1)
    start = world.observe().state
    actions = np.array([[9.0, 3.0], [4.0, 8.0], [1e3, -1e3]])  # the last one is beyond its bounds
    states = [world.step(action).state for action in actions]
    clipped = torch.from_numpy(np.array([prior.robot.clip(action) for action in actions]))
    model = make_learner(prior).adapted_model({})
    expected = roll_out(prior.features, prior.normalizer, model, torch.from_numpy(start), clipped[None])
    assert np.allclose(states, expected.states[0, 1:])
    assert world.observe().time == pytest.approx(3 / world.rate)
    assert not np.array_equal(start, learned_world(prior, past, seed=2).observe().state)


def test_data_without_a_window_are_refused(prior: Prior, tmp_path: Path) -> None:
    collect_episode(CollectSettings(duration=1.0), 0).save(tmp_path / "0.npz")
    long = replace(prior, settings=replace(prior.settings, window=64))
    with pytest.raises(EpisodeError, match="no piece of the data has the 64 transitions"):
        windows(long, read_folder(tmp_path, prior.robot))


@pytest.mark.parametrize("on_data", [False, True])
def test_command_writes_parameters_that_the_nodes_take(folder: Path, data: Path, mbmrl: Run, on_data: bool) -> None:
    own = ("--checkpoint", str(shipped_prior("mb")))
    own = (*own, "--data", str(data)) if on_data else (*own, "--scenarios", "none")
    short = ("--trials", "2", "--seeds", "1", "--fresh", "2", "--duration", "8", "--workers", "1")
    code, output, errors = mbmrl("tune", *own, *short, "--json")
    assert code == 0, errors
    told = json.loads(output.splitlines()[-1])
    assert told["trials"] == 2
    assert all(np.isfinite(told["cost"][side]) for side in ("before", "after"))
    written = yaml.safe_load((folder / "tuned.yaml").read_text())["/**/mpc_node"]["ros__parameters"]
    taken = check_nodes(SIM, {"params_file": str(folder / "tuned.yaml"), "learner": "mb"})["mpc_node"]
    assert {name: getattr(taken, name) for name in ("horizon", "temperature", "heading_weight")} == {
        name: written[name] for name in ("horizon", "temperature", "heading_weight")
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--data", "nowhere"), "data need the prior of their robot"),
        (("--checkpoint", str(shipped_prior("mb")), "--data", "nowhere"), "there is no folder nowhere"),
        (("--checkpoint", str(shipped_prior("mb")), "--robot", "husky"), "is a prior of another robot"),
        (("--task", "track_velocity", "--planner", "nothing"), "nothing"),
        (("--minutes", "0"), "0"),
        (("--scenarios", "earthquake"), "earthquake"),
    ],
)
def test_impossible_search_is_refused(folder: Path, mbmrl: Run, arguments: tuple[str, ...], sentence: str) -> None:
    code, _, errors = mbmrl("tune", *arguments)
    assert code == 2
    assert sentence in errors
    assert "Traceback" not in errors
    assert not (folder / "tuned.yaml").exists()
