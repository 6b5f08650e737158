"""Fixtures of the tests of mbmrl_sim."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import hypothesis
import pytest

from mbmrl_sim.millirobot.world import World
from ros_testing import domain, log_folder, peer, start_simulator
from world_testing import NewWorld

__all__ = ["domain", "log_folder", "peer", "start_simulator"]

# The same examples each time, however long they take.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("steady")


@pytest.fixture
def new_world() -> Iterator[NewWorld]:
    """Makes worlds, which are freed at the end of the test."""
    with ExitStack() as worlds:
        yield lambda *args, **settings: worlds.enter_context(closing(World(*args, **settings)))
