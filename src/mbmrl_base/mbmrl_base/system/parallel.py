"""Work that is done side by side: by processes of this machine, or by a Ray cluster."""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import joblib
import psutil  # noqa: F401  # joblib ends its workers by it; else by commands, which Ctrl-C ends as well

Result = TypeVar("Result")

RETRIES: Final = 10
"""How often a piece of work whose worker has died is done anew."""
_CONNECTION_TIME: Final = 5.0
"""Time in which a cluster has to be reached, s."""
_AHEAD: Final = 2
"""Pieces of work that are handed to a cluster, for each of its processors: more would only take memory."""
_cluster: list[Any] = []
"""Ray, while there is a cluster."""


class ClusterError(ValueError):
    """A cluster that cannot be used; the text says why."""


@contextmanager
def on_cluster(address: str) -> Iterator[None]:
    """Have `each` work on a Ray cluster.

    Args:
        address: ``auto`` for the one that this machine belongs to, or its address, HOST:PORT; empty: none.

    Raises:
        ClusterError: If Ray is not installed, or no cluster is there.
    """
    if not address:
        yield
        return
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise ClusterError("Ray is not installed: pip install -r requirements/cluster.txt") from None
    try:
        host, _, port = (_known() if address == "auto" else address).rpartition(":")
        if host:  # Ray would try for minutes
            socket.create_connection((host, int(port)), _CONNECTION_TIME).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except Exception as error:  # it has an error for each way in which there is none
        first = str(error).strip().splitlines()[0]
        raise ClusterError(f"no Ray cluster is at {address}, `ray start --head` starts one: {first}") from None
    _cluster.append(ray)
    try:
        yield
    finally:
        _cluster.pop()
        ray.shutdown()


def _known() -> str:
    """Address of the cluster that this machine belongs to, or did; empty if that is not known."""
    if given := os.environ.get("RAY_ADDRESS"):
        return given
    try:
        return Path("/tmp/ray/ray_current_cluster").read_text().strip()  # where Ray looks it up
    except OSError:
        return ""


def each(
    function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Result]]:
    """Call a function with each of some arguments, by so many processes, or by all of the cluster.

    What a worker of the cluster did not finish because it died is done anew.

    Yields:
        Results as they come, each with the number of its arguments.
    """
    if _cluster:
        yield from _on_ray(_cluster[-1], function, arguments)
        return
    jobs = (joblib.delayed(_numbered)(function, number, given) for number, given in enumerate(arguments))
    yield from joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(jobs)


def in_order(function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]], workers: int) -> list[Result]:
    """As `each`; the results in the order of the arguments."""
    found = dict(each(function, arguments, workers))
    return [found[number] for number in range(len(found))]


def _numbered(function: Callable[..., Result], number: int, given: tuple[Any, ...]) -> tuple[int, Result]:
    return number, function(*given)


def _on_ray(
    ray: Any, function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[int, Result]]:
    task = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(_numbered)
    room = max(1, int(_AHEAD * ray.cluster_resources().get("CPU", 1)))
    running: list[Any] = []
    given = iter(enumerate(arguments))
    try:
        while True:
            while len(running) < room and (following := next(given, None)) is not None:
                running.append(task.remote(function, *following))
            if not running:
                return
            (done, *_), running = ray.wait(running, num_returns=1)
            try:
                result: tuple[int, Result] = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            yield result
    finally:
        for left in running:
            ray.cancel(left, force=True)
