"""``mbmrl tune``: settings with which a robot does its task best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_control.cli.completion import OF_PARAMETERS, kinds_of, several, words
from mbmrl_control.cli.learning import Robot, Task
from mbmrl_control.cli.options import AsJson, Cluster, Workers, console, refuse, refuse_path, refusing, stoppable

if TYPE_CHECKING:
    from mbmrl_control.training.transitions import Piece

app = typer.Typer()


@app.command(epilog="Example: mbmrl tune --robot husky --minutes 15 --out husky.yaml")
def tune(
    robot: Robot = DEFAULT_ROBOT,
    learner: Annotated[
        str, typer.Option(help="default, or a learner with a shipped prior.", autocompletion=OF_PARAMETERS["learner"])
    ] = "default",
    checkpoint: Annotated[Path | None, typer.Option(help="File of the prior; the shipped one if not given.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of episodes: the robot walks on models that are adapted to them; no simulator."),
    ] = None,
    planner: Annotated[
        str, typer.Option(help="Planner, or its file, *.py.", autocompletion=OF_PARAMETERS["planner"])
    ] = "mppi",
    task: Task = "",
    options: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the task, such as speed=0.3; several times.")
    ] = None,
    path: Annotated[
        str | None, typer.Option(help="Path of follow_path; figure_eight if not given.", autocompletion=several("path"))
    ] = None,
    scenarios: Annotated[
        str | None,
        typer.Option(
            help="As of evaluate, of each seed; none and the simulator's first kind if not given.",
            autocompletion=words(lambda given: ("none", *kinds_of(given)), many=True),
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each trial.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="The first of them.", min=0, max=2**29)] = 0,
    fresh: Annotated[int, typer.Option(help="Seeds on which what was found is compared.", min=2)] = 10,
    duration: Annotated[
        float, typer.Option(help="Length of a run, s; a fault comes half-way.", min=8.0, max=600.0)
    ] = 12.0,
    minutes: Annotated[float, typer.Option(help="Longest time of the search, min.", min=0.1)] = 15.0,
    trials: Annotated[int, typer.Option(help="Most trials.", min=1)] = 1000,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Do not begin with the settings as they are.")
    ] = False,
    workers: Workers = 2,
    cluster: Cluster = "",
    work: Annotated[Path, typer.Option(help="Folder of what was tried.")] = Path("runs/tune"),
    out: Annotated[Path, typer.Option(help="File of parameters for the nodes.")] = Path("tuned.yaml"),
    as_json: AsJson = False,
) -> None:
    """Find settings of the planner, and weights of the task's cost.

    In the simulator, or, with --data, on models that were learned. Ctrl-C stops,
    the same command goes on.
    """
    from mbmrl_base.system.files import check_file, check_folder
    from mbmrl_base.system.parallel import on_cluster
    from mbmrl_control.dynamics.prior import load_prior
    from mbmrl_control.evaluation.comparison import choose_learners, choose_scenarios, choose_tasks
    from mbmrl_control.evaluation.learned_world import windows
    from mbmrl_control.evaluation.run_cache import Job
    from mbmrl_control.evaluation.tuning import Search, problem_of, write_parameters
    from mbmrl_control.learners import LEARNER_FILES, make_learner
    from mbmrl_control.tasks import usual_task
    from mbmrl_control.training.episodes import read_folder
    from mbmrl_control.training.pipeline import progress_bar
    from mbmrl_sim.catalogue import check_simulator

    with refusing():
        if data is not None and checkpoint is None:
            refuse("data need the prior of their robot: give its file, --checkpoint")
        if data is not None and scenarios is not None:
            refuse("on models there are no faults but those of the data: leave --scenarios out")
        prior = None if checkpoint is None else load_prior(checkpoint)
        if data is None:
            simulated, kinds = check_simulator(robot)
            chosen = choose_scenarios(scenarios or ",".join(["none", *list(kinds)[:1]]), kinds)
            if prior is None:
                (prior,) = choose_learners(learner, simulated).values()
            elif difference := simulated.difference(prior.robot):
                refuse(f"{checkpoint} is a prior of another robot: {difference}")
            past: tuple[Piece, ...] = ()
        else:
            assert prior is not None
            chosen, past = ("none",), tuple(windows(prior, read_folder(data, prior.robot)))
        make_learner(prior)
        task = task or usual_task(prior.robot)
        refuse_path("--path", path, task, options or ())
        (done,) = choose_tasks(task, options or (), path or "figure_eight", prior.robot)
        file = LEARNER_FILES.get(prior.settings.learner, "")
        job = Job(prior, planner, "float32", done, "none", seed, duration, duration / 2, robot, file)
        problem = problem_of(job, chosen, range(seed, seed + seeds), past)
        check_folder(work)
        check_file(out)
    work.mkdir(parents=True, exist_ok=True)
    with refusing(), stoppable(f"what is done is in {work}, the same command goes on"), on_cluster(cluster):
        search = Search(problem, work, seed, workers, begin_with_present=not from_scratch)
        with progress_bar(console) as bar:
            shown = bar.add_task("trials", total=trials, note="")

            def progress(count: int, seconds: float, best: float) -> None:
                bar.update(shown, completed=count, note=f"best {best:.4g}, {seconds / 60:.1f} of {minutes:g} min")

            seconds = search.run(trials, 60.0 * minutes, progress)
        with console.status("comparing on fresh seeds"):
            tuned = search.result(seconds, fresh)
        write_parameters(problem, tuned, out)
    found = tuned.as_json()
    cost, changed = found["cost"], found["difference"]
    interval = f"{changed['mean']:+.3g} ({changed['low']:+.3g} to {changed['high']:+.3g})"
    console.print(
        f"{tuned.trials} trials; cost on fresh seeds: {cost['before']:.4g}, with what was found {cost['after']:.4g},"
        f" {interval}",
        soft_wrap=True,
    )
    if changed["high"] >= 0:
        console.print("nothing is certainly better than the settings as they were")
    console.print(f"written: {out}", soft_wrap=True)
    if as_json:
        print(json.dumps(found))
