"""What the page takes from the stack: runs with it, viewers and all, and runs without it, in turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import msgspec.msgpack
import viser
from viser._messages import ViewerCameraMessage
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from mbmrl_base.system.ports import free_port
from mbmrl_control.benchmarks.loop import LoopCase, run_loop
from mbmrl_control.dynamics.prior import load_prior
from mbmrl_control.priors import DEFAULT_LEARNER, shipped_prior

CASE: Final = LoopCase(20.0, 800, 16, 256)
VIEWERS: Final = 3
ROUNDS: Final = 3
_CAMERA: Final = ViewerCameraMessage(
    (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 0.8, 0.1, 10.0, 600, 800, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)
)
"""What a browser sends first, and is a viewer from then on."""


@contextmanager
def viewer(address: str) -> Iterator[None]:
    """Takes all that a page sends, and draws nothing of it, as if that were another machine's work."""
    protocol = Subprotocol(f"viser-v{viser.__version__}")
    with connect(address.replace("http", "ws", 1), subprotocols=[protocol], max_size=None) as connection:
        connection.send(msgspec.msgpack.encode(_CAMERA.as_serializable_dict()))

        def take() -> None:
            try:
                for _ in connection:
                    pass
            except ConnectionClosed:
                pass

        threading.Thread(target=take, daemon=True).start()
        yield


@contextmanager
def viewers(address: str, count: int) -> Iterator[None]:
    """So many viewers of a page."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(viewer(address))
        yield


def measure(duration: float, threads: int) -> dict[str, Any]:
    """The figures of `run_loop`, by the name of the case and the number of its round; runs of a time in s."""
    prior, figures = load_prior(shipped_prior(DEFAULT_LEARNER)), {}
    for number in range(1, ROUNDS + 1):
        figures[f"without {number}"] = run_loop(CASE, duration, threads, prior=prior)
        port = free_port(0)
        page = {"dashboard": True, "page_port": port}
        watched = partial(viewers, f"http://127.0.0.1:{port}", VIEWERS)
        figures[f"with {number}"] = run_loop(CASE, duration, threads, prior=prior, more=page, watched=watched)
    return figures
