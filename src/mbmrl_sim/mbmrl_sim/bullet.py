"""PyBullet without the greetings that it prints."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mbmrl_base.system.surroundings import open_streams

__all__ = ["BulletClient", "connect", "load_urdf", "push", "pybullet", "quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Send what C code prints on the standard output and error output to nowhere."""
    open_streams()
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # where the output is no terminal, C keeps it until later
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nowhere)


with quiet():
    import pybullet
    from pybullet_utils.bullet_client import BulletClient


# Ctrl-C must not come where Python forgets a world: it would be lost there.
del BulletClient.__del__
_worlds: dict[int, weakref.ref[Any]] = {}
"""Worlds by their numbers."""


def connect(gui: bool = False) -> Any:
    """Open a PyBullet world of its own, in a window or without a screen; those that nobody has any more are closed."""
    for number in [number for number, world in _worlds.items() if world() is None]:
        del _worlds[number]
        with suppress(pybullet.error):  # closed already
            pybullet.disconnect(physicsClientId=number)
    with quiet():
        client = BulletClient(connection_mode=pybullet.GUI if gui else pybullet.DIRECT)
    _worlds[client._client] = weakref.ref(client)
    # Descriptions are written anew for each robot: a cached file of the same name would be a stale one.
    client.setPhysicsEngineParameter(enableFileCaching=0)
    return client


def load_urdf(client: Any, urdf: str, *place: Any, **options: Any) -> int:
    """Load a URDF, with its moments of inertia; other values as of `loadURDF`. Returns the body."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "robot.urdf"
        path.write_text(urdf)
        return int(client.loadURDF(str(path), *place, flags=pybullet.URDF_USE_INERTIA_FROM_FILE, **options))


def push(client: Any, body: int, velocity: Sequence[float]) -> None:
    """Change the velocity of a body and all its links, m/s, as it heads: ahead, to the left and up."""
    ahead, left, up = velocity
    _, orientation = client.getBasePositionAndOrientation(body)
    yaw = client.getEulerFromQuaternion(orientation)[2]
    change = (
        math.cos(yaw) * ahead - math.sin(yaw) * left,
        math.sin(yaw) * ahead + math.cos(yaw) * left,
        up,
    )
    linear, angular = client.getBaseVelocity(body)
    client.resetBaseVelocity(body, [now + by for now, by in zip(linear, change, strict=True)], angular)
