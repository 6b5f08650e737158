"""Work side by side: by processes, and by a real Ray cluster of several worker processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import parallel_testing
from mbmrl_base.system.parallel import ClusterError, each, in_order, on_cluster
from mbmrl_base.system.ports import free_port
from parallel_testing import die_once, process, refuse, square

WITH_RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: requirements/cluster.txt"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster of two workers."""
    path = os.pathsep.join(filter(None, [str(Path(parallel_testing.__file__).parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": path}
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    address = f"127.0.0.1:{free_port(0)}"
    command = ["start", "--head", "--block", "--num-cpus=2", f"--port={address.rpartition(':')[2]}"]
    small = ["--include-dashboard=false", "--disable-usage-stats", "--object-store-memory=100000000"]
    # A folder of sockets has a short name.
    with subprocess.Popen(
        [*ray, *command, *small], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as head:
        try:
            end = time.monotonic() + 60.0
            while subprocess.run([*ray, "health-check", f"--address={address}"], capture_output=True).returncode:
                assert time.monotonic() < end and head.poll() is None, "no cluster has started"
            yield address
        finally:
            head.terminate()


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_those_of_their_arguments(workers: int) -> None:
    assert sorted(each(square, ((n,) for n in range(20)), workers)) == [(n, n * n) for n in range(20)]
    assert in_order(square, ((n,) for n in range(20)), workers) == [n * n for n in range(20)]


@WITH_RAY
def test_cluster_does_the_same_by_several_processes(cluster: str) -> None:
    with on_cluster(cluster):
        assert in_order(square, ((n,) for n in range(20)), 1) == [n * n for n in range(20)]
        ours = set(in_order(process, ((n,) for n in range(12)), 1))
        assert len(ours) >= 2 and os.getpid() not in ours
        with pytest.raises(ValueError, match="3 is odd"):
            in_order(refuse, [(3,)], 1)
    assert in_order(square, [(2,)], 1) == [4]  # by this process again


@WITH_RAY
def test_worker_that_is_killed_loses_nothing(cluster: str, tmp_path: Path) -> None:
    with on_cluster(cluster):
        assert in_order(die_once, ((str(tmp_path), n) for n in range(4)), 1) == [0, 1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 4  # all of them died


def test_cluster_that_is_not_there_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"no Ray cluster is at|Ray is not installed"), on_cluster("127.0.0.1:9"):
        pass
