"""Commands of the ``mbmrl`` command that evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_control.cli.completion import kinds_of, several, words
from mbmrl_control.cli.learning import Robot, Task
from mbmrl_control.cli.options import AsJson, Cluster, Workers, console, refuse_path, refusing, show, stoppable, warn
from mbmrl_control.priors import shipped_learners

app = typer.Typer()


@app.command("model-error", epilog="Example: mbmrl model-error --checkpoint mb.safetensors --data episodes")
def model_error(
    checkpoint: Annotated[Path, typer.Option(help="File of the prior, *.safetensors.")],
    data: Annotated[Path, typer.Option(help="Folder of episodes of the robot that it is for.")],
    as_json: AsJson = False,
    robot: Annotated[str | None, typer.Option(help="Robot, if it has features of its own: its file, *.py.")] = None,
    learner: Annotated[str | None, typer.Option(help="Learner, if it is one of your own: its file, *.py.")] = None,
) -> None:
    """Measure the error of a prior's predictions over K steps.

    Before and after adaptation.
    """
    from mbmrl_base.robots.catalogue import load_robot
    from mbmrl_control.evaluation import model_error as evaluation
    from mbmrl_control.learners import load_learner

    with refusing():
        if learner is not None:
            load_learner(learner)
        with console.status("predicting"):
            found = evaluation.model_error(checkpoint, data, warn, load_robot(robot) if robot else None)
    console.print(evaluation.table(found), soft_wrap=True)
    if as_json:
        print(json.dumps(found))


@app.command(epilog="Example: mbmrl evaluate --learners default,mb --scenarios leg_loss --seeds 5")
def evaluate(
    robot: Robot = DEFAULT_ROBOT,
    learners: Annotated[
        str,
        typer.Option(
            help="default, learners with a shipped prior, NAME=FILE or LEARNER.py=FILE, with commas between; or all.",
            autocompletion=words(
                lambda given: (*shipped_learners(given.get("robot") or DEFAULT_ROBOT), "default", "all"), many=True
            ),
        ),
    ] = "default,mb",
    scenarios: Annotated[
        str | None,
        typer.Option(
            help="none, kinds of faults, two_at_once, comes_and_goes, or KIND:VALUE+KIND:VALUE, with commas between;"
            " all; severe: faults together, up to what no robot stands; if not given, the simulator's first kind.",
            autocompletion=words(
                lambda given: ("none", *kinds_of(given), "two_at_once", "comes_and_goes", "all", "severe"), many=True
            ),
        ),
    ] = None,
    task: Task = "",
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the task, such as speed=0.3; may be given several times."),
    ] = None,
    paths: Annotated[
        str | None,
        typer.Option(
            help="Of follow_path: paths with commas between; or all; figure_eight if not given.",
            autocompletion=several("path", "all"),
        ),
    ] = None,
    planner: Annotated[
        str,
        typer.Option(
            help="mppi, cem, random_shooting, files, *.py, with commas between; or all.",
            autocompletion=several("planner", "all"),
        ),
    ] = "mppi",
    precision: Annotated[
        str,
        typer.Option(
            help="Of the planner's roll-outs: float32, bfloat16, with commas between; or all.",
            autocompletion=words(lambda _: ("float32", "bfloat16", "all"), many=True),
        ),
    ] = "float32",
    seeds: Annotated[int, typer.Option(help="Number of seeds.", min=1, max=10_000)] = 20,
    seed: Annotated[int, typer.Option(help="The first seed.", min=0, max=2**30)] = 0,
    duration: Annotated[float, typer.Option(help="Length of a run, s.", min=1.0, max=600.0)] = 30.0,
    fault_time: Annotated[float, typer.Option(help="Time of the fault, s.")] = 10.0,
    workers: Workers = 2,
    cluster: Cluster = "",
    work: Annotated[Path, typer.Option(help="Folder of the runs, one file each.")] = Path("runs/evaluate"),
    out: Annotated[Path | None, typer.Option(help="Folder for table, charts and CSV; none if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare learners on faults that training did not show.

    Ctrl-C stops, the same command goes on.
    """
    from mbmrl_base.system.files import check_file, check_folder
    from mbmrl_base.system.parallel import on_cluster
    from mbmrl_control.evaluation.comparison import (
        Comparison,
        choose,
        choose_learners,
        choose_scenarios,
        choose_tasks,
        result_files,
        run_with_bar,
        write_results,
    )
    from mbmrl_control.evaluation.statistics import summarise
    from mbmrl_control.evaluation.tables import markdown
    from mbmrl_control.planning import PLANNERS, PRECISIONS, load_planner
    from mbmrl_control.tasks import usual_task
    from mbmrl_sim.catalogue import check_simulator

    with refusing():
        simulated, kinds = check_simulator(robot)
        task = task or usual_task(simulated)
        refuse_path("--paths", paths, task, options or ())
        scenarios = next(iter(kinds), "none") if scenarios is None else scenarios
        own = [name for name in planner.split(",") if name.endswith(".py") and load_planner(name)]
        wanted = Comparison(
            choose_learners(learners, simulated),
            choose("planner", planner, [*PLANNERS, *own]),
            choose("precision", precision, [name for name in PRECISIONS if name != "auto"]),
            choose_tasks(task, options or (), paths or "figure_eight", simulated),
            choose_scenarios(scenarios, kinds),
            range(seed, seed + seeds),
            duration,
            fault_time,
            robot,
        )
        check_folder(work)
        for file in result_files(out) if out else []:
            check_file(file, new_folder=True)
    for folder in (work, out or work):
        folder.mkdir(parents=True, exist_ok=True)
    with refusing(), stoppable(f"what is done is in {work}, the same command goes on"):
        with on_cluster(cluster):
            rows = run_with_bar(wanted, work, workers, console)
        files = write_results(rows, fault_time, out) if out else []
    show(markdown(rows))
    if files:
        console.print(f"written: {', '.join(map(str, files))}", soft_wrap=True)
    if as_json:
        print(json.dumps(summarise(rows)))
