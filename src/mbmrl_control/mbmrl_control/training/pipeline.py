"""From nothing to a prior: random episodes, a first prior, episodes of its controller, the final prior.

These are two iterations of Algorithm 1 of the paper. Each stage keeps what it has done in the work folder,
so that a stopped run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.training.collect import HELD_OUT_LEGS, CollectSettings, collect
from mbmrl_control.training.episodes import Episodes
from mbmrl_control.training.meta_training import MetaTrainer, TrainingSettings

SEEDS_PER_STAGE: Final = 1_000_000
"""Distance between the first seeds of the stages, so that no two episodes share one."""


@dataclass(frozen=True)
class PipelineSettings:
    """How to train, and how much of everything: episodes, and steps of the first training."""

    training: TrainingSettings
    random_episodes: int = 300
    controlled_episodes: int = 260
    held_out_episodes: int = 40
    first_steps: int = 1500
    rate: float = 20.0
    duration: float = 10.0


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(16), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console)


def collect_with_bar(
    settings: CollectSettings, seeds: Sequence[int], folder: Path, workers: int, title: str, console: Console
) -> list[Path]:
    """Collect episodes under a progress bar; returns their files."""
    with _bar(console) as bar:
        task = bar.add_task(title, total=len(seeds), note="")
        for done in collect(settings, seeds, folder, workers):
            bar.update(task, completed=done)
    return [folder / f"{seed:08d}.npz" for seed in seeds]


def train_with_bar(trainer: MetaTrainer, state_file: Path, title: str, console: Console) -> Prior:
    """Train under a progress bar; it tells the errors on held-out faults before and after adaptation."""
    with _bar(console) as bar:
        task = bar.add_task(title, total=trainer.settings.steps, note="")
        for progress in trainer.run(state_file):
            note = f"held-out error {progress.pre_error:.3f} -> {progress.post_error:.3f}"
            bar.update(task, completed=progress.step, note=note)
    return trainer.prior()


def make_prior(settings: PipelineSettings, work: Path, workers: int, console: Console) -> Prior:
    """Make a prior.

    Args:
        settings: How much of everything.
        work: Folder for episodes and states of trainings; what it holds of an earlier run is used. Plain and
            adaptive priors that share it are trained on the same episodes.
        workers: Processes that collect.
        console: Where to show progress.
    """
    data = work / "episodes"
    seed = settings.training.seed * 10 * SEEDS_PER_STAGE
    # One thread: as quick for layers of this size, and the same result on every machine.
    torch.set_num_threads(1)

    def gather(stage: int, count: int, title: str, what: CollectSettings) -> Episodes:
        first = seed + stage * SEEDS_PER_STAGE
        return Episodes(collect_with_bar(what, range(first, first + count), data, workers, title, console))

    common = CollectSettings(duration=settings.duration, rate=settings.rate)
    unseen = replace(common, legs=HELD_OUT_LEGS, faults=(0.1, 0.9, 0.0), varied=0.0)
    held_out = gather(0, settings.held_out_episodes, "held-out faults", unseen)
    episodes = gather(1, settings.random_episodes, "random actions", common)
    first_prior = work / "first.safetensors"
    if not first_prior.exists():
        training = replace(settings.training, learner="grbal", steps=settings.first_steps)
        trainer = MetaTrainer(training, settings.rate, episodes, held_out)
        train_with_bar(trainer, work / "first-state.safetensors", "first prior", console).save(first_prior)
    controlled = replace(common, prior=first_prior)
    episodes = Episodes((*episodes.files, *gather(2, settings.controlled_episodes, "its controller", controlled).files))
    trainer = MetaTrainer(settings.training, settings.rate, episodes, held_out)
    state_file = work / f"{settings.training.learner}-state.safetensors"
    return train_with_bar(trainer, state_file, f"final {settings.training.learner}", console)
