"""Commands of the ``mbmrl`` command that collect data and train."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_control.cli.completion import OF_PARAMETERS, kinds_of, robots, several, words
from mbmrl_control.cli.options import AsJson, Cluster, Rate, Seed, Workers, console, refusing, stoppable
from mbmrl_control.priors import DEFAULT_LEARNER, MEMBERS, shipped_learners

if TYPE_CHECKING:
    from mbmrl_base.robots.robot import Robot as RobotType

app = typer.Typer()
FOLLOW: Final = "follow_path"
Task = Annotated[
    str,
    typer.Option(
        help="What the robot does, or the task's file, *.py; as its description says if not given.",
        show_default=False,
        autocompletion=OF_PARAMETERS["task"],
    ),
]
TaskSettings = Annotated[
    list[str] | None,
    typer.Option("--task-set", help="A setting of the task, such as speed=0.3; may be given several times."),
]
Robot = Annotated[
    str,
    typer.Option(
        "--robot",
        help="Simulated robot: millirobot, husky, half_cheetah, ant; or the file of a simulator, *.py.",
        autocompletion=robots,
    ),
]


@app.command(epilog="Example: mbmrl collect --episodes 20 --faults leg_loss --out episodes")
def collect(
    robot: Robot = DEFAULT_ROBOT,
    episodes: Annotated[int, typer.Option(help="Number of episodes.", min=1)] = 100,
    seed: Seed = 0,
    workers: Workers = 2,
    cluster: Cluster = "",
    out: Annotated[Path, typer.Option(help="Folder of the episodes, one .npz file each.")] = Path("runs/episodes"),
    duration: Annotated[float, typer.Option(help="Length of an episode, s.", min=1.0, max=600.0)] = 10.0,
    rate: Rate = 20.0,
    prior: Annotated[
        Path | None, typer.Option(help="Prior of the controller that walks; random actions if not given.")
    ] = None,
    task: Task = "",
    task_set: TaskSettings = None,
    faults: Annotated[
        str | None,
        typer.Option(
            help="Kinds of faults that may come, with commas between; 'none'; the simulator's first one.",
            autocompletion=words(lambda given: (*kinds_of(given), "none"), many=True),
        ),
    ] = None,
    parts: Annotated[
        str,
        typer.Option(
            help="Parts that may be hit, with commas between; those that training may show.",
            autocompletion=words(
                lambda given: dict.fromkeys(part for kind in kinds_of(given).values() for part in kind.parts), many=True
            ),
        ),
    ] = "",
    terrains: Annotated[
        str,
        typer.Option(help="Grounds to choose from, with commas between.", autocompletion=several("terrain")),
    ] = "carpet",
    sensors: Annotated[
        str,
        typer.Option(
            help="Imperfections of the sensors: ideal, or real; or as in real,delay=0.",
            autocompletion=OF_PARAMETERS["sensors"],
        ),
    ] = "ideal",
    varied: Annotated[
        float, typer.Option(help="Share of episodes with another robot, on a slope.", min=0.0, max=1.0)
    ] = 0.8,
    as_json: AsJson = False,
) -> None:
    """Collect episodes in the simulator, with faults on the way."""
    from mbmrl_base.robots.faults import Fault
    from mbmrl_base.system.files import check_folder
    from mbmrl_base.system.parallel import on_cluster
    from mbmrl_control.dynamics.prior import load_prior
    from mbmrl_control.tasks import usual_task
    from mbmrl_control.training.collect import CollectSettings
    from mbmrl_control.training.episodes import Episode
    from mbmrl_control.training.pipeline import collect_with_bar
    from mbmrl_sim.catalogue import check_simulator

    with refusing():
        grounds = tuple(terrains.split(","))
        for terrain in grounds:
            simulated, known = check_simulator(robot, rate, terrain=terrain, sensors=sensors)
        task_settings: dict[str, Any] = {}
        if prior is not None:
            load_prior(prior, simulated).check_rate(rate)
            task = task or usual_task(simulated)
            task_settings = _task_settings(task, simulated, task_set or ())
        elif task or task_set:
            odd = f"--task {task}" if task else f"--task-set {(task_set or [''])[0]}"
            raise ValueError(f"{odd}: random actions do no task, a controller's --prior does")
        if round(duration * rate) < 1:
            raise ValueError(f"--duration {duration:g}: at {rate:g} Hz that is not even one control interval")
        kinds = None
        if faults == "":
            raise ValueError("--faults is empty: allowed are kinds of faults, or none")
        if faults is not None:
            kinds = () if faults == "none" else tuple(known.choose(Fault(kind)).kind for kind in faults.split(","))
        hit = kinds[0] if kinds else ""
        may_be_hit = tuple(known.choose(Fault(hit, part)).part for part in parts.split(",") if part)
        check_folder(out)
        for file in sorted(out.glob("*.npz"))[:1]:  # what is there is kept
            Episode.load(file, simulated)
    settings = CollectSettings(
        robot,
        kinds,
        may_be_hit,
        terrains=grounds,
        duration=duration,
        rate=rate,
        varied=varied,
        sensors=sensors,
        prior=prior,
        task=task or FOLLOW,
        task_settings=task_settings,
    )
    seeds = range(seed * 1_000_000, seed * 1_000_000 + episodes)
    with refusing(), stoppable(f"what is done is in {out}, the same command goes on"), on_cluster(cluster):
        collect_with_bar(settings, seeds, out, workers, "episodes", console)
    console.print(f"written: {episodes} episodes in {out}", soft_wrap=True)
    if as_json:
        print(json.dumps({"written": str(out), "episodes": episodes}))


@app.command(epilog="Example: mbmrl train --learner grbal --preset quick")
def train(
    learner: Annotated[
        str,
        typer.Option(
            help="Learner to train a prior for, or its file, *.py; committee: each of its members, joined.",
            autocompletion=words(lambda _: shipped_learners(DEFAULT_ROBOT)),
        ),
    ] = DEFAULT_LEARNER,
    preset: Annotated[
        str,
        typer.Option(
            help="full, or quick: less data and fewer steps.", autocompletion=words(lambda _: ("full", "quick"))
        ),
    ] = "full",
    seed: Seed = 0,
    workers: Workers = 2,
    cluster: Cluster = "",
    work: Annotated[Path, typer.Option(help="Folder for episodes and what is needed to go on.")] = Path("runs/train"),
    out: Annotated[Path | None, typer.Option(help="File of the prior; LEARNER.safetensors if not given.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of episodes of any robot to train on; no simulator then.")
    ] = None,
    robot: Annotated[
        str | None,
        typer.Option(
            help="Simulated robot, millirobot if not given, or the file of a simulator, *.py; with --data the robot"
            " of the data, if it has features of its own: its file, *.py.",
            autocompletion=robots,
        ),
    ] = None,
    task: Task = "",
    task_set: TaskSettings = None,
    duration: Annotated[
        float | None,
        typer.Option(help="Length of an episode to collect, s; that of the preset if not given.", min=1.0, max=600.0),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Rounds of collecting with the controller; those of the preset if not given.", min=0),
    ] = None,
    first_steps: Annotated[
        int | None, typer.Option(help="Steps of the trainings between rounds; those of the preset if not given.", min=1)
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the final training; those of the preset if not given.", min=1)
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="M, transitions to adapt on; what suits the learner if not given.", min=1)
    ] = None,
    future: Annotated[int, typer.Option(help="K, transitions after them that are to be predicted.", min=1)] = 16,
    open_loop: Annotated[
        float | None,
        typer.Option(
            help="Weight of the error in open loop over those K, beside that of single steps; if not given, what"
            " suits the learner; with --data 20, and 0 for those that do not adapt.",
            min=0,
            max=1e6,
        ),
    ] = None,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            help="With --data: FIELD=VALUE, such as terrain=gravel: validate on episodes with that in their metadata,"
            " and do not train on them; may be given several times."
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the learner, such as inner_steps=1; may be given several times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a prior, from nothing or on given data.

    Without --learner those of all members of the default, a committee, on
    the same data. Ctrl-C stops, the same command goes on.
    """
    from mbmrl_base.robots.catalogue import load_robot
    from mbmrl_base.system.files import check_file, check_folder
    from mbmrl_base.system.parallel import on_cluster
    from mbmrl_control.dynamics.prior import check_replaced
    from mbmrl_control.learners import load_learner
    from mbmrl_control.learners.committee import Committee
    from mbmrl_control.learners.committee import join as joined
    from mbmrl_control.tasks import usual_task
    from mbmrl_control.training.episodes import read_folder
    from mbmrl_control.training.from_data import train_on_data
    from mbmrl_control.training.meta_training import TrainingSettings
    from mbmrl_control.training.pipeline import make_prior
    from mbmrl_control.training.pipeline import preset as settings_of
    from mbmrl_sim.catalogue import check_simulator

    with refusing():
        kind = load_learner(learner)
        file = out or Path(f"{kind.name}.safetensors")
        check_file(file)
        check_folder(work)
        own_settings = kind.settings_of(options or ())
        trained = [
            settings_of(
                preset,
                TrainingSettings(learner=name, seed=seed, future=future, options=given),
                steps,
                window,
                open_loop,
                alone=data is not None,
            )
            for name, given in (
                [(name, load_learner(name).settings_type()) for name in MEMBERS.split(",")]
                if kind is Committee
                else [(kind.name, own_settings)]
            )
        ]
        conditions = _conditions(hold_out or ())
        if data is None and hold_out:
            raise ValueError(f"--hold-out {hold_out[0]}: no --data are given")
        collecting = {
            "task": bool(task),
            "task-set": bool(task_set),
            "duration": duration is not None,
            "rounds": rounds is not None,
            "first-steps": first_steps is not None,
        }
        if data is not None and any(collecting.values()):
            first = next(name for name, is_given in collecting.items() if is_given)
            raise ValueError(f"--{first}: with --data nothing is collected")
        if data is None:
            simulator = robot or DEFAULT_ROBOT
            simulated, _ = check_simulator(simulator, trained[0].rate)
            check_replaced(file, simulated)
            task = task or usual_task(simulated)
            differing: dict[str, Any] = {"simulator": simulator, "task": task, "duration": duration}
            differing |= {"iterations": rounds, "first_steps": first_steps}
            differing["task_settings"] = _task_settings(task, simulated, task_set or ())
            differing = {name: value for name, value in differing.items() if value is not None}
            trained = [replace(settings, **differing) for settings in trained]
            for settings in trained:
                settings.check()
    with refusing(), stoppable(f"what is done is in {work}, the same command goes on"):
        if data is not None:
            folder = read_folder(data, load_robot(robot) if robot else None)
            check_replaced(file, folder.robot)
            priors = train_on_data([settings.training for settings in trained], folder, work, console, conditions)
        else:
            work.mkdir(parents=True, exist_ok=True)
            with on_cluster(cluster):
                priors = [make_prior(settings, work, workers, console) for settings in trained]
    prior = joined(priors) if kind is Committee else priors[0]
    given: dict[str, object] = {"learner": learner, "preset": preset, "seed": seed, "data": data}
    given |= {"steps": steps, "window": window, "open-loop": open_loop, "robot": robot}
    given |= {
        "task": None if task in ("", FOLLOW) else task,
        "duration": duration,
        "rounds": rounds,
        "first-steps": first_steps,
    }
    prior.settings.training["command"] = f"mbmrl train --future {future}" + "".join(
        f" --{name} {value}"
        for name, value in [
            *given.items(),
            *(("hold-out", condition) for condition in hold_out or ()),
            *(("set", option) for option in options or ()),
            *(("task-set", option) for option in task_set or ()),
        ]
        if value is not None
    )
    prior.save(file)
    console.print(f"written: {file}, {file.stat().st_size / 1e6:.2f} MB, hash {prior.hash[:12]}", soft_wrap=True)
    if as_json:
        print(json.dumps({"written": str(file), "learner": kind.name, "hash": prior.hash}))


def _task_settings(task: str, robot: RobotType, options: Sequence[str]) -> dict[str, Any]:
    """Settings of a task, as NAME=VALUE; ValueError if the robot cannot do it so."""
    from mbmrl_control.tasks import make_task, read_settings

    given = read_settings(task, options)
    make_task(task, robot, ({"speed": 0.0} if task == FOLLOW else {}) | given)
    return given


def _conditions(hold_out: Iterable[str]) -> dict[str, list[str]]:
    """Values by fields of what is held out; ValueError if it is none."""
    found: dict[str, list[str]] = {}
    for condition in hold_out:
        name, equals, value = condition.partition("=")
        if not (name and equals and value):
            raise ValueError(f"--hold-out {condition}: allowed is FIELD=VALUE, such as terrain=gravel")
        found.setdefault(name, []).append(value)
    return found


@app.command(epilog="Example: mbmrl finetune --checkpoint rover.safetensors --data today")
def finetune(
    checkpoint: Annotated[Path, typer.Option(help="File of the prior, *.safetensors.")],
    data: Annotated[Path, typer.Option(help="Folder of episodes of the robot that it is for.")],
    out: Annotated[Path, typer.Option(help="File of the prior that is made.")] = Path("tuned.safetensors"),
    rehearse: Annotated[
        Path | None,
        typer.Option(help="Folder of episodes that it was trained on, so that what they say is not forgotten."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="full, or quick: fewer steps.", autocompletion=words(lambda _: ("full", "quick")))
    ] = "full",
    steps: Annotated[int | None, typer.Option(help="Steps; those of the preset if not given.", min=1)] = None,
    seed: Seed = 0,
    work: Annotated[Path, typer.Option(help="Folder for what is needed to go on.")] = Path("runs/train"),
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=VALUE, such as terrain=gravel: validate on episodes with that in their metadata, and do not"
            " train on them; may be given several times."
        ),
    ] = None,
    robot: Annotated[str | None, typer.Option(help="Robot, if it has features of its own: its file, *.py.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a prior further on new data, near to what it knows.

    Ctrl-C stops, the same command goes on.
    """
    from mbmrl_base.robots.catalogue import load_robot
    from mbmrl_base.system.files import check_file, check_folder
    from mbmrl_control.dynamics.prior import check_replaced, load_prior
    from mbmrl_control.learners.committee import join as joined
    from mbmrl_control.learners.committee import split
    from mbmrl_control.training.episodes import read_folder
    from mbmrl_control.training.from_data import train_on_data
    from mbmrl_control.training.pipeline import further

    with refusing():
        check_file(out)
        check_folder(work)
        known = load_prior(checkpoint, load_robot(robot) if robot else None)
        check_replaced(out, known.robot)
        parts = split(known)
        settings = [further(preset, part, seed, steps) for part in parts]
        conditions = _conditions(hold_out or ())
    with refusing(), stoppable(f"what is done is in {work}, the same command goes on"):
        folder = read_folder(data, known.robot)
        tuned = train_on_data(settings, folder, work, console, conditions, parts, rehearse)
    prior = joined(tuned) if len(tuned) > 1 else tuned[0]
    also = f" --rehearse {rehearse}" if rehearse else ""
    prior.settings.training["command"] = f"mbmrl finetune --checkpoint {checkpoint} --data {data}{also}"
    prior.save(out)
    console.print(f"written: {out}, {out.stat().st_size / 1e6:.2f} MB, hash {prior.hash[:12]}", soft_wrap=True)
    if as_json:
        print(json.dumps({"written": str(out), "learner": prior.settings.learner, "hash": prior.hash}))


@app.command(epilog="Example: mbmrl join mb.safetensors grbal.safetensors --out both.safetensors")
def join(
    priors: Annotated[list[Path], typer.Argument(help="Files of priors that were trained on the same data.")],
    out: Annotated[Path, typer.Option(help="File of the prior.")] = Path("committee.safetensors"),
    as_json: AsJson = False,
) -> None:
    """Make the prior of a committee of those of its members.

    The first one is planned with until more is known.
    """
    from mbmrl_base.system.files import check_file
    from mbmrl_control.dynamics.prior import load_prior
    from mbmrl_control.learners import committee

    with refusing():
        check_file(out)
        joined = committee.join([load_prior(prior) for prior in priors])
        joined.save(out)
    console.print(f"written: {out}", soft_wrap=True)
    if as_json:
        print(json.dumps({"written": str(out), "learner": committee.Committee.name, "hash": joined.hash}))
