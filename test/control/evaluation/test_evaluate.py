"""mbmrl evaluate: short runs of small models, what is told of them, and what is used again."""

from __future__ import annotations

import csv
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor

from mbmrl_base.robots.catalogue import ROBOTS, load_robot
from mbmrl_control import priors
from mbmrl_control.control.closed_loop import walk
from mbmrl_control.control.run_record import Tick
from mbmrl_control.dynamics.prior import Prior, load_prior
from mbmrl_control.evaluation import run_cache
from mbmrl_control.evaluation.comparison import choose_learners
from mbmrl_control.evaluation.run_cache import Job, hash_of_code, make_run, make_runs, read_run
from mbmrl_control.learners import LEARNER_FILES, LEARNER_TYPES, LEARNERS
from mbmrl_control.priors import shipped_learners, shipped_prior
from mbmrl_sim.millirobot.world import World
from pages import example
from robot_testing import FOLLOW, follow, path_task

MakePrior = Callable[..., Prior]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def job(make_prior: MakePrior, tmp_path: Path) -> Job:
    """The shortest run that tells anything, with a prior as it comes from a file."""
    make_prior().save(tmp_path / "prior.safetensors")
    return Job(load_prior(tmp_path / "prior.safetensors"), "mppi", "float32", FOLLOW, "leg_loss", 3, 6.5, 4.0)


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Runs that are not made but noted down."""
    noted: list[Job] = []

    def note(job: Job) -> dict[str, Any]:
        noted.append(job)
        told = {name: 1.0 for name in ("cost_before", "cost_after", "cross_track_before_m", "cross_track_after_m")}
        told |= {"lost": 0.0, "speed_kept": 1.0, "model_error_before": 0.1, "model_error_after": 0.1, "recovery_s": 0.5}
        told |= {"open_loop_error_after_m": 0.1, "on_back_after": 0.0, "adaptation_ms": 1.0, "planning_ms": 1.0}
        return {"figures": told, "faults": [], "cost_trace": [1.0, 1.0]}

    monkeypatch.setattr(run_cache, "make_run", note)
    return noted


# A run


def test_run_tells_of_both_sides_of_the_fault(job: Job) -> None:
    told = make_run(job)
    assert told["faults"][0].startswith("leg_loss:")
    assert told["faults"][0].endswith("@4")
    assert len(told["cost_trace"]) == 13
    assert json.loads(json.dumps(told)) == told
    figures = told["figures"]
    measured = {name: value for name, value in figures.items() if name != "recovery_s"}
    assert all(value is not None and np.isfinite(value) for value in measured.values())
    again = make_run(replace(job, prior=pickle.loads(pickle.dumps(job.prior))))  # as another process gets it
    untimed = [name for name in figures if not name.endswith("_ms")]
    assert {name: again["figures"][name] for name in untimed} == {name: figures[name] for name in untimed}


def test_runs_differ_from_the_fault_on(job: Job) -> None:
    lost, none = make_run(job), make_run(replace(job, scenario="none"))
    assert lost["cost_trace"][:8] == none["cost_trace"][:8]
    assert lost["cost_trace"][8:] != none["cost_trace"][8:]
    assert none["faults"] == []


def test_leg_that_comes_back_is_there_again(job: Job) -> None:
    assert [text.partition("@")[0][:8] for text in make_run(replace(job, scenario="comes_and_goes"))["faults"]] == [
        *("leg_loss", "cleared") * 2
    ]


# The model's errors


def test_model_that_is_withheld_is_not_the_one_in_use(make_prior: MakePrior) -> None:
    """Steps far too large make models that are far off, and never used."""
    world = World(0)
    ticks: Iterator[Tick] = walk(world, make_prior(psi=50.0), path_task("straight"), 0)
    errors = [(tick.prior_error, tick.adapted_error, tick.model_error) for tick in islice(ticks, 30)][3:]
    world.close()
    assert any(not adapted < prior for prior, adapted, _ in errors)
    assert all(used == prior for prior, _, used in errors[1:])


# What is used again


def test_run_that_was_made_is_not_made_again(job: Job, instead: list[Job], tmp_path: Path) -> None:
    assert list(make_runs([job, job], tmp_path, 1)) == [0, 1]
    assert list(make_runs([job], tmp_path, 1)) == [1]
    assert len(instead) == 1
    assert read_run(job, tmp_path)["figures"]["cost_after"] == 1.0


def test_other_run_is_made_anew(job: Job, instead: list[Job], tmp_path: Path, make_prior: MakePrior) -> None:
    others = [
        replace(job, prior=make_prior(seed=1)),
        *(
            replace(job, **{name: value})
            for name, value in [("planner", "cem"), ("precision", "bfloat16"), ("task", follow("left")), ("seed", 4)]
        ),
        *(replace(job, **{name: value}) for name, value in [("scenario", "none"), ("duration", 7.0)]),
        replace(job, fault_time=4.2),
    ]
    assert len({each.file_name for each in (job, *others)}) == 9
    assert list(make_runs([job, *others], tmp_path, 1))[-1] == len(instead) == 9


def test_run_of_another_version_is_made_anew(
    job: Job, instead: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(make_runs([job], tmp_path, 1))
    monkeypatch.setattr(run_cache, "version", lambda name: "9.9")
    list(make_runs([replace(job)], tmp_path, 1))
    assert len(instead) == 2


def test_run_of_other_code_is_made_anew(
    job: Job, instead: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(make_runs([job], tmp_path, 1))
    monkeypatch.setattr(run_cache, "own_code", lambda: "another")
    list(make_runs([replace(job)], tmp_path, 1))
    assert len(instead) == 2


def test_code_that_is_only_said_otherwise_is_the_same(tmp_path: Path) -> None:
    hashes = []
    for content in ("a = 1\n", "a = (1)  # one\n", "a = 2\n"):
        (tmp_path / "code.py").write_text(content)
        hashes.append(hash_of_code([tmp_path / "code.py"]))
    assert hashes[0] == hashes[1] != hashes[2]


def test_all_code_that_runs_load_is_looked_at() -> None:
    code = """
import sys
from mbmrl_control.evaluation import run_cache
loaded = {m.__file__ for name, m in sys.modules.items() if name.startswith("mbmrl_")}
print(*{file for file in loaded if not file.endswith("__init__.py")} - set(map(str, run_cache.own_files())))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"key": {}, "result": {}}'])
def test_damaged_file_is_made_anew(job: Job, instead: list[Job], tmp_path: Path, content: str) -> None:
    (tmp_path / job.file_name).write_text(content)
    list(make_runs([job], tmp_path, 1))
    assert len(instead) == 1
    assert read_run(job, tmp_path)["faults"] == []


# The command

SMALL = ("--scenarios", "leg_loss,none", "--seeds", "2", "--duration", "6.5", "--fault-time", "4", "--workers", "1")


def test_command_tells_and_writes_what_came_out(mbmrl: Run, folder: Path, make_prior: MakePrior) -> None:
    make_prior().save(folder / "small.safetensors")
    make_prior("mb").save(folder / "plain.safetensors")
    learners = ("--learners", "small=small.safetensors,mb=plain.safetensors")
    code, output, errors = mbmrl("evaluate", *learners, *SMALL, "--out", "results", "--json")
    assert code == 0, errors
    told = json.loads(output.splitlines()[-1])
    assert list(told) == ["small", "mb", "paired"]
    assert list(told["paired"]) == ["small-mb"]
    assert told["small"]["cost_after"]["ci95"][0] <= told["small"]["cost_after"]["mean"]
    with (folder / "results" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["contender"], row["scenario"], row["seed"]) for row in rows] == [
        (name, scenario, seed) for name in ("small", "mb") for scenario in ("leg_loss", "none") for seed in "01"
    ]
    # A learner's fault is another's.
    assert [row["faults"] for row in rows[:4]] == [row["faults"] for row in rows[4:]]
    pooled = np.mean([float(row["cost_after"]) for row in rows[:4]])
    assert told["small"]["cost_after"]["mean"] == pytest.approx(pooled, rel=1e-4)
    names = {path.name for path in (folder / "results").iterdir()}
    assert names == {"runs.csv", "tables.md", "cost_after.png", "cost_over_time.png", "envelope.png"}
    table = (folder / "results" / "tables.md").read_text()
    assert "## leg_loss on figure_eight, 2 seeds" in table
    assert "| small - mb |" in table
    assert len(list((folder / "runs" / "evaluate").iterdir())) == 8


def test_default_shares_the_runs_of_its_learner(mbmrl: Run, folder: Path, instead: list[Job]) -> None:
    learner = choose_learners("default", load_robot("millirobot"))["default"].settings.learner
    code, output, _ = mbmrl("evaluate", "--learners", f"default,{learner}", *SMALL, "--json")
    assert code == 0
    assert len(instead) == 4
    assert set(json.loads(output)) == {"default", learner, "paired"}


def test_all_learners_of_a_robot_are_those_with_a_shipped_prior() -> None:
    for robot in map(load_robot, ROBOTS):
        if shipped := shipped_learners(robot.name):
            assert sorted(choose_learners("all", robot)) == list(shipped)
        else:
            with pytest.raises(ValueError, match=f"no prior of grbal is shipped for the robot {robot.name}"):
                choose_learners("all", robot)


def test_all_learners_take_part(mbmrl: Run, folder: Path, instead: list[Job]) -> None:
    code, output, _ = mbmrl("evaluate", "--learners", "all", *SMALL, "--json")
    assert code == 0
    assert set(json.loads(output)) == {*LEARNERS, "paired"}


def test_planners_are_told_apart(mbmrl: Run, folder: Path, instead: list[Job]) -> None:
    code, output, _ = mbmrl("evaluate", "--learners", "mb", *SMALL, "--planner", "all", "--json")
    assert code == 0
    told = json.loads(output)
    assert set(told) == {"mb/mppi", "mb/cem", "mb/random_shooting", "paired"}
    assert set(told["paired"]) == {"mb/cem-mb/mppi", "mb/random_shooting-mb/mppi"}


def test_precisions_are_told_apart(mbmrl: Run, folder: Path, instead: list[Job]) -> None:
    code, output, _ = mbmrl("evaluate", "--learners", "mb", *SMALL, "--precision", "all", "--json")
    assert code == 0
    assert set(json.loads(output)["paired"]) == {"mb/bfloat16-mb/float32"}


def test_stopped_evaluation_goes_on(
    mbmrl: Run, folder: Path, instead: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    note = run_cache.make_run

    def stop(job: Job) -> Any:
        if len(instead) == 3:
            raise KeyboardInterrupt
        return note(job)

    monkeypatch.setattr(run_cache, "make_run", stop)
    code, output, errors = mbmrl("evaluate", "--learners", "mb", *SMALL, "--json")
    assert (code, output) == (130, "")
    assert "the same command goes on" in errors
    monkeypatch.setattr(run_cache, "make_run", note)
    assert mbmrl("evaluate", "--learners", "mb", *SMALL)[0] == 0
    assert len(instead) == 4


def test_learner_without_a_shipped_prior_is_refused(mbmrl: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a run was made")

    monkeypatch.setattr(run_cache, "make_run", refuse)
    monkeypatch.setattr(
        priors, "shipped_prior", lambda name, robot: folder / "mb" if name == "mb" else shipped_prior(name, robot)
    )
    code, output, errors = mbmrl("evaluate", "--learners", "bayes_replay,mb", *SMALL)
    assert (code, output) == (2, "")
    assert errors.startswith("error: no prior of mb is shipped for the robot millirobot: train one ")
    assert list(folder.iterdir()) == []


def test_robot_that_never_recovers_is_told_of(
    mbmrl: Run, folder: Path, instead: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    note = run_cache.make_run

    def lost(job: Job) -> dict[str, Any]:
        told: dict[str, Any] = note(job)
        told["figures"]["recovery_s"] = None
        return told

    monkeypatch.setattr(run_cache, "make_run", lost)
    _, _, errors = mbmrl("evaluate", "--learners", "mb", *SMALL)
    assert "| never (never to never); 0 of 2 |" in errors


# What does not come with the package

MINE = """
from mbmrl_control.learners.mb import ModelBased

class Mine(ModelBased):
    name = "mine"

def learner():
    return Mine
"""


@pytest.fixture
def own(folder: Path, make_prior: MakePrior, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a task, a planner, and a learner and its prior."""
    for names in (LEARNER_TYPES, LEARNER_FILES):
        monkeypatch.setitem(names, "mine", Any)  # so that what is registered is undone
    get_reusable_executor().shutdown()  # its processes are in the folder of the test that started them
    example("task", folder / "hold.py")
    example("planner", folder / "annealed.py")
    (folder / "mine.py").write_text(MINE)
    plain = make_prior("mb")
    replace(plain, settings=replace(plain.settings, learner="mine")).save(folder / "mine.safetensors")
    return folder


OWN = (*("--learners", "mine.py=mine.safetensors", "--planner", "annealed.py,mppi"), *SMALL, "--workers", "2")


def test_own_learner_planner_and_task_are_evaluated_in_all_processes(mbmrl: Run, own: Path) -> None:
    hold = ("--task", "hold.py", "--set", "heading=0.5")
    code, output, errors = mbmrl("evaluate", *OWN, *hold, "--json", "--out", "results")
    assert code == 0, errors
    assert list(json.loads(output)) == ["mine/annealed.py", "mine/mppi", "paired"]
    with (own / "results" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["robot"], row["task"], row["path"]) for row in rows} == {("millirobot", "hold.py", "")}
    assert all(float(row["heading_error_rad_after"]) < 3.2 for row in rows)
    assert "## leg_loss on hold.py, 2 seeds" in errors
    assert "| heading error after, ° |" in errors
    keys = [json.loads(file.read_text())["key"] for file in (own / "runs" / "evaluate").iterdir()]
    assert {json.dumps(key["task"]) for key in keys} == {'{"name": "hold.py", "settings": {"heading": 0.5}}'}
    assert {key["planner"]["name"] for key in keys} == {"annealed.py", "mppi"}


def test_task_that_fails_in_a_run_is_named_in_one_sentence(mbmrl: Run, own: Path) -> None:
    task = (own / "hold.py").read_text()
    (own / "hold.py").write_text(task.replace("yaw = ", "yaw = [][observation.sequence and 7] or "))
    code, output, errors = mbmrl("evaluate", *OWN, "--task", "hold.py")
    assert (code, output) == (2, "")
    (sentence,) = (line for line in errors.splitlines() if "error" in line)
    assert re.fullmatch(r"error: \S+/hold\.py, line \d+, HoldHeading\.observe: IndexError: list .*", sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--task", "dance"), "unknown task 'dance': allowed is follow_path"),
        (("--task", "none.py"), "there is no file none.py"),
        (("--task", "go_to_goal", "--set", "goal=[1]"), "parameter 'goal'"),
        (("--task", "hold.py", "--set", "heading=7"), "parameter 'heading' is 7"),
        (
            ("--task", "hold.py", "--set", "tempo=1"),
            "hold_heading has no setting 'tempo': allowed is NAME=VALUE of heading",
        ),
        (("--set", "path=none.csv"), "none.csv: no such file"),
        (("--planner", "none.py"), "there is no file none.py"),
        (("--learners", "none.py=mine.safetensors"), "there is no file none.py"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_a_run(
    mbmrl: Run, own: Path, instead: list[Job], arguments: tuple[str, ...], sentence: str
) -> None:
    code, output, errors = mbmrl("evaluate", *OWN, *arguments)
    assert (code, output, instead) == (2, "", [])
    assert errors.startswith(f"error: {sentence}")
