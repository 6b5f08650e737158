"""Training on a folder of episodes: of any robot, from anywhere."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Final

import torch
from rich.console import Console

from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.training.data_checks import warnings_of
from mbmrl_control.training.episodes import Episode, EpisodeError, Folder, read_folder
from mbmrl_control.training.meta_training import MetaTrainer, TrainingSettings
from mbmrl_control.training.pipeline import stages, train_with_bar
from mbmrl_control.training.transitions import pieces_of

HELD_OUT: Final = 5
"""One of how many episodes is held out; at least one is."""
MOST_VALUES: Final = 12
"""Values of a field that an error lists."""


def split(
    folder: Folder, settings: TrainingSettings, conditions: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[int], list[int]]:
    """Numbers of the episodes to train on and of those held out.

    One in HELD_OUT of the episodes with a segment of M + K transitions is held out, at least one, drawn with
    a fixed seed: the same data are always split alike. Episodes of the same ground and faults are in both parts then,
    so that the errors do not say how the model does on others: for that, whole conditions can be held out.

    Args:
        folder: The episodes.
        settings: M and K.
        conditions: Values of fields of the metadata whose episodes are held out instead.

    Raises:
        EpisodeError: If fewer than two episodes have M + K transitions without a gap, or none is left to train on or
            to hold out.
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
    if conditions:
        held_out = [index for index, episode in enumerate(folder.episodes) if _meets(episode, conditions)]
        inside = len(set(held_out) & set(usable))
        if not 0 < inside < len(usable):
            wanted = ", ".join(f"{name}={value}" for name, values in conditions.items() for value in values)
            there = "; ".join(f"{name} is {', '.join(_values(folder, name)) or 'missing'}" for name in conditions)
            raise EpisodeError(
                f"{folder.path}: {wanted} holds out {inside} of {len(usable)} episodes with M + K = {needed}"
                f" transitions: some must be held out, and some left to train on; in the metadata {there}"
            )
    return [index for index in range(len(lengths)) if index not in held_out], sorted(held_out)


def _found(episode: Episode, name: str) -> set[str]:
    """What the metadata have in a field, as text: kinds of the faults that came, or items of a list."""
    value = episode.metadata.get(name)
    items = value if isinstance(value, list) else [] if value is None else [value]
    return {str(item["kind"] if isinstance(item, dict) and "kind" in item else item) for item in items}


def _meets(episode: Episode, conditions: Mapping[str, Sequence[str]]) -> bool:
    return any(not _found(episode, name).isdisjoint(values) for name, values in conditions.items())


def _values(folder: Folder, name: str) -> list[str]:
    """What there is in a field."""
    return sorted(set().union(*(_found(episode, name) for episode in folder.episodes)))[:MOST_VALUES]


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
    members: Sequence[TrainingSettings],
    folder: Folder,
    work: Path,
    console: Console,
    conditions: Mapping[str, Sequence[str]] | None = None,
    known: Sequence[Prior] = (),
    rehearsed: Path | None = None,
) -> list[Prior]:
    """Train priors on the episodes of a folder.

    Args:
        members: How to train each; all with the same M and K.
        folder: The episodes.
        work: Folder for the state of the training: a stopped one of the same settings and data goes on.
        console: Where to show what was found in the data, what looks wrong in them, and progress.
        conditions: What is held out, see `split`.
        known: Priors that are tuned further, one for each of the members; none: they are trained from nothing.
        rehearsed: Another folder of episodes of the robot, such as those of the first training, that is trained on too.

    Raises:
        EpisodeError: If the data cannot be used.
        PriorError: If a prior is for another rate.
    """
    for prior in known:
        prior.check_rate(folder.rate)
    training, held_out = ([folder.episodes[index] for index in part] for part in split(folder, members[0], conditions))
    data = folder.hash
    if rehearsed is not None:
        other = read_folder(rehearsed, folder.robot)
        if other.rate != folder.rate:
            raise EpisodeError(f"{rehearsed} is of {other.rate:g} Hz, and {folder.path} of {folder.rate:g} Hz")
        for part, indices in zip((training, held_out), split(other, members[0]), strict=True):
            part += [other.episodes[index] for index in indices]
        data = hashlib.sha256(f"{data}{other.hash}".encode()).hexdigest()
    # One thread: as quick for layers of this size, and the same result on every machine.
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    priors: list[Prior] = []
    for settings, given in zip(members, known or repeat(None, len(members)), strict=True):
        start = None
        for stage in [settings] if given else stages(settings):
            trainer = MetaTrainer(stage, folder.rate, training, held_out, start, given)
            if not priors and start is None:
                for line in (*summary(trainer, folder), *(f"warning: {line}" for line in warnings_of(folder))):
                    console.print(line, markup=False, highlight=False, soft_wrap=True)
            tuned = given.hash if given else None
            identity = json.dumps([asdict(stage), data, conditions, tuned], sort_keys=True)
            name = f"{stage.learner}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}-state.safetensors"
            prior = train_with_bar(trainer, work / name, f"training {stage.learner}", console)
            start = prior.layers
        prior.settings.training.update(constant=list(folder.constant), data=data)
        if given:  # errors are in units of the data that it was trained on first, so that they can be compared
            prior.settings.training.update(spread=given.settings.training["spread"], start=given.hash)
        priors.append(prior)
    return priors
