"""From nothing to a prior: random episodes, then priors and episodes of their controllers, then the final prior.

This is Algorithm 1 of the paper: one data set, to which each iteration adds. Each stage keeps what
it has done in the work folder, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.robots.faults import FaultKinds
from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.network import Layers
from mbmrl_control.dynamics.prior import Prior, load_prior
from mbmrl_control.learners import LEARNER_TYPES
from mbmrl_control.learners.base import NetworkLearner
from mbmrl_control.learners.bayes import BayesLastLayer
from mbmrl_control.learners.mb import ModelBased
from mbmrl_control.tasks import DEFAULT_TASK
from mbmrl_control.training.collect import CollectSettings, check_kept, collect
from mbmrl_control.training.episodes import Episode
from mbmrl_control.training.meta_training import MetaTrainer, TrainingSettings
from mbmrl_sim.catalogue import check_simulator

COLLECTOR: Final = BayesLastLayer.name
"""Learner whose controller collects: the one that is trained quickest."""
OPEN_LOOP_ON_DATA: Final = 20.0
"""Weight of the error in open loop for learners that adapt, if they are trained on given data."""
SEEDS_PER_STAGE: Final = 1_000_000
"""Distance between the first seeds of the stages, so that no two episodes share one."""
SEEDS_PER_TRAINING: Final = 100 * SEEDS_PER_STAGE
"""Distance between the first seeds of trainings."""
_HELD_OUT: Final = "held-out faults, {}"
"""Title of a stage that collects what is not trained on, of random actions or of a controller."""
WIDTH: Final = 120
"""Columns of what is shown of progress where there is no terminal."""


@dataclass(frozen=True)
class PipelineSettings:
    """How to train, and how much of everything.

    Attributes:
        training: Settings of the final training.
        random_episodes: Episodes of random actions.
        iterations: How often a prior is trained and its controller collects.
        controlled_episodes: Episodes of the controller in each iteration.
        held_out_episodes: Episodes with faults not trained on, of random actions, and as many of the controller.
        first_steps: Steps of the trainings before the final one.
        rate: Control rate, Hz.
        duration: Length of an episode, s.
        simulator: The simulator, as of `make_simulator`.
        task: What the controller does whose episodes are collected.
        task_settings: Its settings, as of `make_task`.
    """

    training: TrainingSettings
    random_episodes: int = 300
    iterations: int = 2
    controlled_episodes: int = 300
    held_out_episodes: int = 30
    first_steps: int = 1500
    rate: float = 20.0
    duration: float = 15.0
    simulator: str = DEFAULT_ROBOT
    task: str = DEFAULT_TASK
    task_settings: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """See that the episodes to collect are long enough to learn from; ValueError if not."""
        needed = (self.training.window + self.training.future) / self.rate
        if self.duration < needed:
            raise ValueError(
                f"episodes of {self.duration:g} s are too short for {self.training.learner}: its window and the future"
                f" to be predicted take {needed:g} s"
            )


@dataclass(frozen=True)
class Preset:
    """How much of everything.

    Attributes:
        plain_steps: Steps of the plain model that a learner that adapts starts from.
        steps: Steps of the learner after them.
        steps_alone: Steps of a plain model on given data; a learner that starts from it takes twice as many.
        amounts: What differs from the defaults of `PipelineSettings`.
    """

    plain_steps: int
    steps: int
    steps_alone: int
    amounts: dict[str, Any] = field(default_factory=dict)


_FEW: Final = {"random_episodes": 60, "iterations": 1, "controlled_episodes": 60, "held_out_episodes": 10}
PRESETS: Final = {
    "full": Preset(20_000, 12_000, 6000),
    "quick": Preset(5000, 1000, 1500, {**_FEW, "first_steps": 500, "duration": 10.0}),
}


def preset(
    name: str,
    training: TrainingSettings,
    steps: int | None = None,
    window: int | None = None,
    open_loop: float | None = None,
    alone: bool = False,
) -> PipelineSettings:
    """Settings of a preset.

    Args:
        name: One of PRESETS.
        training: Settings of the final training, but for the following.
        steps: Steps of the final training; None: those of the preset.
        window: M; None: what suits the learner.
        open_loop: Weight of the error in open loop; None: what suits the learner, or the data.
        alone: Whether that is all, on given data.

    Raises:
        ValueError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: allowed is {', '.join(PRESETS)}")
    given, suits = PRESETS[name], LEARNER_TYPES[training.learner].training
    if open_loop is None:
        open_loop = OPEN_LOOP_ON_DATA * LEARNER_TYPES[training.learner].adapts if alone else suits.open_loop
    augmented = 0.0 if alone else suits.augmented
    training = replace(training, window=window or suits.window, open_loop=open_loop, augmented=augmented)
    if alone:
        usual = given.steps_alone * (1 if is_final(training) else 2)
        training = replace(training, plain_steps=steps or given.steps_alone, steps=steps or usual)
    else:
        plain = given.plain_steps if is_final(training) else 0
        training = replace(training, plain_steps=steps or given.plain_steps, steps=steps or plain + given.steps)
    return PipelineSettings(training, **given.amounts)


FURTHER: Final = {"full": 600, "quick": 150}
"""Steps by which a prior that is known is tuned further, by presets."""
FURTHER_RATE: Final = 3e-4
"""Its rate of learning."""


def further(name: str, known: Prior, seed: int, steps: int | None) -> TrainingSettings:
    """Settings by which a prior is tuned further on other data, by a preset.

    Raises:
        ValueError: If there is no such preset, or the prior does not say how it was trained.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: allowed is {', '.join(PRESETS)}")
    learner, given = known.settings.learner, known.settings.training
    kind = LEARNER_TYPES[learner]
    try:
        return TrainingSettings(
            learner=learner,
            seed=seed,
            steps=steps or FURTHER[name],
            window=known.settings.window,
            future=int(given["future"]),
            options=kind.settings_type(**given["options"]),
            learning_rate=FURTHER_RATE,
            augmented=0.0,
            open_loop=OPEN_LOOP_ON_DATA,
        )
    except (KeyError, TypeError):
        raise ValueError(f"the prior of {learner} does not say how it was trained") from None


def is_final(training: TrainingSettings) -> bool:
    """Whether the plain model, trained on single steps without adaptation, is all that is wanted, or of no use."""
    kind = LEARNER_TYPES[training.learner]
    plain = (kind.trained_as or kind) is ModelBased and not training.open_loop
    return plain or not issubclass(kind, NetworkLearner)


def stages(training: TrainingSettings) -> list[TrainingSettings]:
    """The trainings that make a prior: that of a plain model to start from, if there is one, and the final one.

    The gradient of what comes out of an adaptation is a poor guide as long as the model knows nothing. The second one
    has half the rate: what the model knows is not to be shaken off.
    """
    if is_final(training):
        return [training]
    kind = ModelBased
    plain = replace(
        training, learner=kind.name, options=kind.settings_type(), steps=training.plain_steps, open_loop=0.0
    )
    return [plain, replace(training, learning_rate=training.learning_rate / 2)]


class _Note(ProgressColumn):
    """The note, of which a narrow terminal shows the beginning."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


def progress_bar(console: Console) -> Progress:
    """A progress bar with a title and a note, for which a file has room."""
    if not console.is_terminal:
        console = Console(file=console.file, width=max(WIDTH, console.width))
    columns = (TextColumn("{task.description}"), BarColumn(12), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), _Note(), console=console)


def collect_with_bar(
    settings: CollectSettings, seeds: Sequence[int], folder: Path, workers: int, title: str, console: Console
) -> list[Path]:
    """Collect episodes under a progress bar; returns their files.

    Raises:
        ValueError: If an episode that is there was collected with other settings.
    """
    check_kept(settings, seeds, folder)
    with progress_bar(console) as bar:
        task = bar.add_task(title, total=len(seeds), note="")
        for done in collect(settings, seeds, folder, workers):
            bar.update(task, completed=done)
    return [folder / f"{seed:08d}.npz" for seed in seeds]


def train_with_bar(trainer: MetaTrainer, state_file: Path, title: str, console: Console) -> Prior:
    """Train under a progress bar; it shows the errors on held-out faults before and after adaptation.

    The same numbers go to TensorBoard, in a folder beside the file of the state.
    """
    from torch.utils.tensorboard import SummaryWriter  # takes seconds to import

    logs = state_file.parent / "tensorboard" / state_file.stem.removesuffix("-state")
    with progress_bar(console) as bar, closing(SummaryWriter(str(logs))) as writer:
        task = bar.add_task(title, total=trainer.settings.steps, note="")
        for progress in trainer.run(state_file):
            errors = f"{progress.pre_error:.3f} -> {progress.post_error:.3f}"
            note = f"error {errors}, over K steps {progress.open_loop_error:.3f}"
            bar.update(task, completed=progress.step, note=note)
            writer.add_scalar("loss", progress.loss, progress.step)
            writer.add_scalar("held_out/before", progress.pre_error, progress.step)
            writer.add_scalar("held_out/after", progress.post_error, progress.step)
            writer.add_scalar("held_out/open_loop", progress.open_loop_error, progress.step)
        bar.update(task, completed=trainer.settings.steps)  # which it may not have needed
    return trainer.prior()


def _prior_file(work: Path, iteration: int) -> Path:
    """That of the prior that an iteration trains."""
    return work / f"iteration-{iteration}.safetensors"


def _to_collect(settings: PipelineSettings, kinds: FaultKinds, work: Path) -> dict[str, tuple[range, CollectSettings]]:
    """Seeds of the episodes of each stage, and how they are collected, by its title, in order."""
    common = CollectSettings(
        settings.simulator,
        tuple(kinds),
        duration=settings.duration,
        rate=settings.rate,
        task=settings.task,
        task_settings=settings.task_settings,
    )
    spared = next(iter(kinds.values())).spared if kinds else ()
    unseen = replace(common, kinds=None, parts=spared, faults=(0.1, 0.9, 0.0), varied=0.0)
    found = {
        _HELD_OUT.format("random actions"): (settings.held_out_episodes, unseen),
        "random actions": (settings.random_episodes, common),
    }
    for iteration in range(1, settings.iterations + 1):
        prior = _prior_file(work, iteration)
        found[f"controller {iteration}"] = (settings.controlled_episodes, replace(common, prior=prior))
        if iteration == 1:
            found[_HELD_OUT.format("controller 1")] = (settings.held_out_episodes, replace(unseen, prior=prior))
    first = settings.training.seed * SEEDS_PER_TRAINING
    starts = count(first, SEEDS_PER_STAGE)
    return {
        title: (range(start, start + number), what)
        for start, (title, (number, what)) in zip(starts, found.items(), strict=False)
    }


def _check_work(
    settings: PipelineSettings, robot: Robot, planned: dict[str, tuple[range, CollectSettings]], work: Path
) -> None:
    """Refuse to go on from what was made with other settings."""
    folder, seed = work / "episodes", settings.training.seed
    for file in sorted(folder.glob("*.npz")):
        if file.stem.isdecimal() and (other := int(file.stem) // SEEDS_PER_TRAINING) != seed:
            raise ValueError(f"{file} is of a training with seed {other}, wanted is {seed}: give another folder")
    for seeds, what in planned.values():
        check_kept(what, seeds, folder)
    for prior in (_prior_file(work, iteration) for iteration in range(1, settings.iterations + 1)):
        if prior.exists() and (steps := load_prior(prior, robot).settings.training["steps"]) != settings.first_steps:
            raise ValueError(f"{prior} has {steps} steps, wanted are {settings.first_steps}: give another folder")


def make_prior(settings: PipelineSettings, work: Path, workers: int, console: Console) -> Prior:
    """Make a prior.

    Args:
        settings: How much of everything.
        work: Folder for episodes and states of trainings; what it holds of an earlier run is used. Priors of
            several learners that share it are trained on the same episodes.
        workers: Processes that collect.
        console: Where to show progress.

    Raises:
        ValueError: If what the folder holds was made with other settings.
    """
    settings.check()
    # One thread: as quick for layers of this size, and the same result on every machine.
    torch.set_num_threads(1)
    robot, kinds = check_simulator(settings.simulator, settings.rate)
    planned = _to_collect(settings, kinds, work)
    _check_work(settings, robot, planned, work)

    def gather(title: str) -> tuple[Path, ...]:
        seeds, what = planned[title]
        return tuple(collect_with_bar(what, seeds, work / "episodes", workers, title, console))

    def trained(training: TrainingSettings, name: str, title: str, start: Layers | None = None) -> Prior:
        seen, unseen = ([Episode.load(file, robot) for file in part] for part in (files, held_out))
        trainer = MetaTrainer(training, settings.rate, seen, unseen, start)
        return train_with_bar(trainer, work / f"{name}-state.safetensors", title, console)

    held_out = gather(_HELD_OUT.format("random actions"))
    files = gather("random actions")
    for iteration in range(1, settings.iterations + 1):
        prior = _prior_file(work, iteration)
        if not prior.exists():
            first = replace(settings.training, learner=COLLECTOR, options=None, open_loop=0.0)
            trained(replace(first, steps=settings.first_steps), prior.stem, f"prior {iteration}").save(prior)
        files += gather(f"controller {iteration}")
        if iteration == 1:
            held_out += gather(_HELD_OUT.format("controller 1"))
    *plain, training = stages(settings.training)
    start = trained(plain[0], f"plain-{training.window}", "plain model").layers if plain else None
    kind = LEARNER_TYPES[training.learner]
    name = (kind.trained_as or kind).name if start is None else training.learner
    # What is trained with other settings does not go on from what these have left.
    options = asdict(training.options or kind.settings_type())
    usual = asdict(kind.settings_type())
    name = "-".join([name, *(f"{key}={value}" for key, value in options.items() if value != usual[key])])
    final = trained(training, name, f"final {training.learner}", start)
    contents = (hashlib.sha256(file.read_bytes()).digest() for file in (*files, *held_out))
    final.settings.training["data"] = hashlib.sha256(b"".join(contents)).hexdigest()
    return final
