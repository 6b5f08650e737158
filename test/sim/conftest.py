"""Fixtures of the tests of mbmrl_sim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import hypothesis
import pytest

from mbmrl_sim.world import World
from ros_testing import NodeProcess, Peer, free_domain, peer_in
from world_testing import NewWorld

# The same examples each time, however long they take.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("steady")


@pytest.fixture(autouse=True)
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ROS logs of this process go where the test's files go."""
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))


@pytest.fixture
def new_world() -> Iterator[NewWorld]:
    """Makes worlds, which are freed at the end of the test."""
    with ExitStack() as worlds:
        yield lambda *args, **settings: worlds.enter_context(closing(World(*args, **settings)))


@pytest.fixture
def domain() -> Iterator[int]:
    """A ROS domain of the test's own."""
    with free_domain() as number:
        yield number


@pytest.fixture
def peer(domain: int) -> Iterator[Peer]:
    """The test's ROS node."""
    with peer_in(domain) as peer:
        yield peer


StartSimulator = Callable[..., NodeProcess]


@pytest.fixture
def start_simulator(domain: int, tmp_path: Path) -> Iterator[StartSimulator]:
    """A function that starts a simulator node in the test's domain with parameters like ``rate=50.0``."""
    with ExitStack() as processes:

        def start(*ros_arguments: str, **parameters: object) -> NodeProcess:
            given = [text for name, value in parameters.items() for text in ("-p", f"{name}:={value}")]
            process = NodeProcess("mbmrl_sim.simulator_node", domain, *ros_arguments, *given, folder=tmp_path)
            return processes.enter_context(process)

        yield start
