"""Fixtures of the tests of mbmrl_control."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from learner_testing import options_of
from mbmrl_base.robots.observation import Observation
from mbmrl_base.system.interpreter import command_of
from mbmrl_control.cli.main import app
from mbmrl_control.dynamics.network import Normalizer, initial_layers
from mbmrl_control.dynamics.prior import Prior, PriorSettings
from mbmrl_control.dynamics.rollout import transition
from mbmrl_control.learners import LEARNER_TYPES
from mbmrl_control.learners.mb import ModelBased
from mbmrl_control.training.collect import CollectSettings, collect_episode
from mbmrl_control.training.episodes import Episode
from robot_testing import MILLIROBOT, random_states
from ros_testing import NodeProcess, domain, log_folder, peer, processes

__all__ = ["domain", "log_folder", "peer", "random_states"]

MakePrior = Callable[..., Prior]
ObservationsOf = Callable[..., list[Observation]]
StartNode = Callable[..., NodeProcess]
StartCommand = Callable[..., subprocess.Popen[str]]
Run = Callable[..., tuple[int, str, str]]


# The core


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests of small networks are faster without threads that wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def episodes() -> list[Episode]:
    """A few short episodes of random actions, with legs lost on the way."""
    return [collect_episode(CollectSettings(duration=3.0), seed) for seed in range(6)]


@pytest.fixture(scope="session")
def normalizer(episodes: list[Episode]) -> Normalizer:
    """Statistics of the episodes."""
    states = torch.stack([torch.from_numpy(episode.state) for episode in episodes])
    actions = torch.stack([torch.from_numpy(episode.action) for episode in episodes])
    inputs, targets = transition(
        MILLIROBOT.features, states[:, :-1], actions, states[:, 1:], torch.ones(actions.shape[:-1])
    )
    return Normalizer.fit(inputs.flatten(0, 1), targets.flatten(0, 1))


@pytest.fixture(scope="session")
def make_prior(normalizer: Normalizer) -> MakePrior:
    """A function that makes a small prior with random weights, from which adaptation has much to correct."""

    def make(
        learner: str = "grbal",
        window: int = 8,
        psi: float = 0.02,
        inner_steps: int = 2,
        hidden: tuple[int, ...] = (16, 16),
        seed: int = 0,
        rate: float = 20.0,
    ) -> Prior:
        sizes = (MILLIROBOT.features.input_size, *hidden, MILLIROBOT.features.output_size)
        layers = initial_layers(sizes, torch.Generator().manual_seed(seed))
        layers[-1][1].fill_(1.0)
        options = options_of(learner, inner_steps=inner_steps, initial_psi=psi, context=8)
        extras = LEARNER_TYPES.get(learner, ModelBased).initial(layers, options, torch.Generator().manual_seed(seed))
        extras |= {"rate": torch.tensor([psi])} if learner == "mb_de" else {}
        settings = PriorSettings(learner, window, rate, {"note": "of a test"})
        return Prior(layers, normalizer, settings, extras, robot=MILLIROBOT)

    return make


@pytest.fixture(scope="session")
def observations_of() -> ObservationsOf:
    """A function that makes the observations that a collected episode consists of."""

    def make(episode: Episode, number: int = 1) -> list[Observation]:
        steps = zip(episode.state, [np.zeros(2), *episode.action], episode.time, strict=True)
        return [
            Observation(state, action, float(time), sequence, number, 0.05 if sequence else 0.0)
            for sequence, (state, action, time) in enumerate(steps)
        ]

    return make


# The nodes


@pytest.fixture
def start_node(domain: int, tmp_path: Path) -> Iterator[StartNode]:
    """A function that starts a node of this package in the test's domain with parameters like ``rate=20.0``."""
    with ExitStack() as processes:

        def start(name: str, *ros_arguments: str, **parameters: Any) -> NodeProcess:
            given = [text for key, value in parameters.items() for text in ("-p", f"{key}:={value}")]
            process = NodeProcess(f"mbmrl_control.nodes.{name}", domain, *ros_arguments, *given, folder=tmp_path)
            return processes.enter_context(process)

        yield start


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the command runs."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def mbmrl(folder: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command in this process; returns exit code, output and error output."""

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            app(arguments, prog_name="mbmrl")
        return int(end.value.code or 0), *capfd.readouterr()

    return run


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """Something in the environment of all processes that this test starts, and that they start."""
    mark = f"MBMRL_TEST={uuid.uuid4()}"
    monkeypatch.setenv(*mark.split("="))
    return mark


@pytest.fixture
def start_command(mark: str, domain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartCommand]:
    """A function that starts the command in the test's domain and folder; none of its processes may stay."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    with ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [*command_of("mbmrl_control.cli.main"), *arguments],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.terminate)
            return process

        yield start
    assert processes(mark) == {}
