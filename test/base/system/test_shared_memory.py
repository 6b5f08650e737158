"""Shared memory of processes that were killed."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from mbmrl_base.system.shared_memory import FOLDER, clean, dead
from ros_testing import NodeProcess, Peer

DEAD, ALIVE = "fastrtps_0123456789abcdef", "fastrtps_fedcba9876543210"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Segments with their locks, long ago, and files of others."""
    for name in (DEAD, f"{DEAD}_el", ALIVE, f"{ALIVE}_el", "fastrtps_port7400", "fastrtps_port7400_el", "of_others_el"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    return tmp_path


def test_only_what_nobody_holds_is_removed(folder: Path) -> None:
    before = {file.name for file in folder.iterdir()}
    with (folder / f"{ALIVE}_el").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert dead(folder) == {DEAD}
        assert clean(folder) == 1
        assert before - {file.name for file in folder.iterdir()} == {DEAD, f"{DEAD}_el"}
    assert clean(folder) == 1
    assert clean(folder) == 0


def test_what_may_be_just_being_made_is_left_alone(folder: Path) -> None:
    (folder / f"{DEAD}_el").touch()
    assert clean(folder) == 1
    assert (folder / DEAD).exists()


def test_without_shared_memory_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert clean(tmp_path / "none") == 0
    assert dead(tmp_path / "none") == set()


def segments_of(pid: int) -> set[Path]:
    """Segments whose locks a process has."""
    opened = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
    locks = [name for name in opened if name.startswith(f"{FOLDER}/fastrtps_") and "port" not in name]
    return {Path(name.removesuffix("_el")) for name in locks}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="needs /dev/shm")
def test_segment_of_a_node_is_removed_once_it_was_killed(domain: int, peer: Peer, tmp_path: Path) -> None:
    with NodeProcess("mbmrl_sim.nodes.simulator_node", domain, folder=tmp_path) as node:
        peer.spin_until(lambda: peer.node.count_publishers("robot_state"), node)
        own = segments_of(node.pid)
        assert own
        clean(young=0.0)
        assert all(file.exists() for file in own)
        node.end(signal.SIGKILL)
        assert all(file.exists() for file in own)
        clean(young=0.0)
        assert not any(file.exists() for file in own)
