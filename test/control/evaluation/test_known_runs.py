"""mbmrl runs: what lies in folders, and in what two differ."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cart_testing import save_carts
from mbmrl_base.robots.catalogue import load_robot
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.evaluation import run_cache
from mbmrl_control.evaluation.known_runs import find
from mbmrl_control.evaluation.run_cache import Job, make_runs
from mbmrl_control.priors import load_shipped
from robot_testing import FOLLOW

MakePrior = Callable[..., Prior]
Run = Callable[..., tuple[int, str, str]]
TRAIN = ("train", "--data", "data", "--learner", "mb", "--window", "8", "--future", "4")


def test_trainings_say_what_they_depend_on(folder: Path, mbmrl: Run) -> None:
    save_carts(folder / "data", 4)
    for name, steps in (("one", "10"), ("two", "20")):
        code, _, errors = mbmrl(*TRAIN, "--steps", steps, "--work", name, "--out", f"{name}.safetensors")
        assert code == 0, errors
    code, output, errors = mbmrl("runs", "--json")
    assert code == 0, errors
    told = [each for each in json.loads(output.splitlines()[-1]) if "/" not in each["path"]]
    assert [each["path"] for each in told] == ["one.safetensors", "two.safetensors"]
    config = told[0]["config"]
    assert (config["learner"], config["steps"], config["seed"]) == ("mb", 10, 0)
    assert len(config["data"]) == 64
    assert config["versions.torch"].startswith("2.")
    assert "git" in config
    assert told[0]["figures"]["held_out_open_loop_error"] > 0.0
    code, output, _ = mbmrl("runs", "compare", "one.safetensors", "two.safetensors", "--json")
    assert code == 0
    (told,) = json.loads(output.splitlines()[-1])
    assert told["differs"]["steps"] == [10, 20]
    assert set(told["differs"]) == {"steps", "plain_steps", "command"}
    assert set(told["figures"]) == {f"held_out_{name}_error" for name in ("pre", "post", "open_loop")}


def test_runs_of_an_evaluation_are_told_together(
    make_prior: MakePrior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        run_cache,
        "make_run",
        lambda job: {"figures": {"cost_after": float(job.seed), "recovery_s": None}, "faults": [], "cost_trace": []},
    )
    job = Job(make_prior(), "mppi", "float32", FOLLOW, "leg_loss", 0, 8.0, 4.0)
    jobs = [replace(job, seed=seed, scenario=scenario) for seed in (3, 5) for scenario in ("leg_loss", "none")]
    list(make_runs(jobs, tmp_path, 1))
    (tmp_path / "other.json").write_text('{"key": 3}')
    (tmp_path / "damaged.json").write_text("{")
    found = {known.config["scenario"]: known for known in find([tmp_path])}
    assert set(found) == {"leg_loss", "none"}
    known = found["leg_loss"]
    assert known.result == "2 seeds, cost after 4"
    assert known.config["seeds"] == "2 from 3 to 5"
    assert known.figures == {"cost_after": 4.0}
    assert known.config["prior"] == job.prior.hash
    assert (known.robot, known.name) == ("millirobot", f"grbal ({job.prior.hash[:8]}), straight, leg_loss")


def test_robots_and_priors_that_are_not_shipped_are_told_apart(
    make_prior: MakePrior, folder: Path, mbmrl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns, with paths whole."""
    monkeypatch.setattr(run_cache, "make_run", lambda _: {"figures": {}, "faults": [], "cost_trace": []})
    shipped, own = load_shipped("mb", load_robot("millirobot")), make_prior("mb")
    own.save(folder / "own.safetensors")
    forward = {"name": "move_forward", "settings": {}}
    of_cheetah = load_shipped("mb", load_robot("half_cheetah"))
    place = folder / "a_folder_with_a_long_name" / "and_one_more_below_it"
    place.mkdir(parents=True)
    for prior, robot in ((shipped, "millirobot"), (own, "millirobot"), (of_cheetah, "half_cheetah")):
        list(make_runs([Job(prior, "mppi", "float32", forward, "none", 0, 8.0, 4.0, robot)], place, 1))
    monkeypatch.setenv("COLUMNS", "80")
    code, output, errors = mbmrl("runs", "--json")
    assert code == 0, errors
    named = {(each["robot"], each["name"]) for each in json.loads(output) if each["kind"] == "evaluation"}
    assert named == {
        ("millirobot", "mb, move_forward, none"),
        ("millirobot", "mb (own.safetensors), move_forward, none"),
        ("half_cheetah", "mb, move_forward, none"),
    }
    assert max(map(len, errors.splitlines())) <= 80
    assert "half_cheetah" in errors
    lines = errors.splitlines()
    start = next(line for line in lines if "where" in line).index("where")
    assert str(place.relative_to(folder)) in "".join(line[start:].strip() for line in lines)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--in", "nowhere"), "there is no nowhere"),
        (("compare", "nowhere", "data"), "there is no nowhere"),
        (("compare", "data", "data"), "data holds nothing that was trained, evaluated or driven"),
    ],
)
def test_what_is_not_there_is_refused(folder: Path, mbmrl: Run, arguments: tuple[str, ...], sentence: str) -> None:
    (folder / "data").mkdir()
    code, _, errors = mbmrl("runs", *arguments)
    assert code == 2
    assert sentence in errors


def test_nothing_is_said_to_be_there(folder: Path, mbmrl: Run) -> None:
    code, output, errors = mbmrl("runs", "--json")
    assert (code, output.splitlines()[-1]) == (0, "[]")
    assert "nothing that was trained" in errors
