"""Training on a folder of episodes: of any robot, from anywhere."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from rich.console import Console

from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.training.data_checks import warnings_of
from mbmrl_control.training.episodes import EpisodeError, Folder, read_folder
from mbmrl_control.training.meta_training import MetaTrainer, TrainingSettings
from mbmrl_control.training.pipeline import train_with_bar
from mbmrl_control.training.transitions import pieces_of

HELD_OUT: Final = 5
"""One of how many episodes is held out; at least one is."""


def split(folder: Folder, settings: TrainingSettings) -> tuple[list[int], list[int]]:
    """Numbers of the episodes to train on and of those held out.

    One in HELD_OUT of the episodes with a segment of M + K transitions is held out, at least one, drawn with
    a fixed seed: the same data are always split alike.

    Raises:
        EpisodeError: If fewer than two episodes have M + K transitions without a gap.
    """
    needed, rate = settings.window + settings.future, folder.rate
    lengths = [
        max((len(piece.actions) for piece in pieces_of(episode, rate)), default=0) for episode in folder.episodes
    ]
    usable = [index for index, length in enumerate(lengths) if length >= needed]
    if len(usable) < 2:
        longest = lengths.index(max(lengths))
        raise EpisodeError(
            f"{folder.files[longest]}: state and action have at most {lengths[longest]} transitions without a gap,"
            f" and {len(usable)} of {len(lengths)} episodes have as many as M + K = {settings.window} +"
            f" {settings.future} = {needed}: two must, one to train on and one held out"
        )
    held_out = random.Random(0).sample(usable, max(1, len(usable) // HELD_OUT))
    return [index for index in range(len(lengths)) if index not in held_out], sorted(held_out)


def summary(trainer: MetaTrainer, folder: Folder) -> Iterator[str]:
    """What was found in the data, line by line."""
    robot, settings, counts = folder.robot, trainer.settings, trainer.counts
    whole = {name: count + counts["held_out"][name] for name, count in counts["trained"].items()}
    yield (
        f"{folder.path}: {whole['episodes']} episodes, of which {counts['held_out']['episodes']} are held out,"
        f" {whole['transitions']} transitions at {folder.rate:g} Hz, {len(robot.state_names)} states,"
        f" {len(robot.action_names)} actions"
    )
    yield (
        f"{whole['missing_samples']} missing samples, {whole['gaps']} gaps, {whole['unequal']} unequal intervals;"
        f" {whole['short_pieces']} pieces with {whole['short_transitions']} transitions are shorter than M + K ="
        f" {settings.window} + {settings.future} and give no segments"
    )


def train_on_data(
    settings: TrainingSettings, path: Path, work: Path, console: Console, robot: Robot | None = None
) -> Prior:
    """Train a prior on the episodes of a folder.

    Args:
        settings: How to train.
        path: The folder.
        work: Folder for the state of the training: a stopped one of the same settings and data goes on.
        console: Where to show what was found in the data, what looks wrong in them, and progress.
        robot: The robot; None: the one that the data say.

    Raises:
        EpisodeError: If the data cannot be used.
    """
    folder = read_folder(path, robot)
    training, held_out = ([folder.episodes[index] for index in part] for part in split(folder, settings))
    # One thread: as quick for layers of this size, and the same result on every machine.
    torch.set_num_threads(1)
    trainer = MetaTrainer(settings, folder.rate, training, held_out)
    for line in summary(trainer, folder):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in warnings_of(folder):
        console.print(f"warning: {line}", markup=False, highlight=False, soft_wrap=True)
    identity = json.dumps([asdict(settings), folder.hash], sort_keys=True)
    name = f"{settings.learner}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}-state.safetensors"
    work.mkdir(parents=True, exist_ok=True)
    prior = train_with_bar(trainer, work / name, f"training {settings.learner}", console)
    prior.settings.training.update(constant=list(folder.constant), data=folder.hash)
    return prior
