"""What other threads ask of the one that owns a link."""

from __future__ import annotations

import queue
from collections.abc import Callable
from concurrent.futures import Future

from mbmrl_control.hardware.link.port import LinkError

Work = Callable[[], None]


class Requests:
    """Work that waits for the link's thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """Take what ends the wait of that thread."""
        self._wake = wake
        self._waiting: queue.SimpleQueue[tuple[Work, Future[None]]] = queue.SimpleQueue()

    def put(self, work: Work) -> Future[None]:
        """Ask for work; the future has its result."""
        future: Future[None] = Future()
        self._waiting.put((work, future))
        self._wake()
        return future

    def call(self, work: Work, timeout: float) -> None:
        """Ask for work, and wait for it at most a time, s.

        Raises:
            LinkError: If it fails, or takes longer.
        """
        try:
            self.put(work).result(timeout)
        except TimeoutError:
            raise LinkError("the link does not answer") from None

    @property
    def empty(self) -> bool:
        """Whether nothing is asked for."""
        return self._waiting.empty()

    def serve(self, ends: Callable[[LinkError], bool]) -> None:
        """Do what is asked for; to be called in the link's thread.

        Raises:
            LinkError: If work fails with an error that ends the session.
        """
        while not self._waiting.empty():
            work, future = self._waiting.get()
            try:
                future.set_result(work())
            except LinkError as error:
                future.set_exception(error)
                if ends(error):
                    raise

    def refuse(self, reason: str) -> None:
        """Refuse all that is asked for."""
        while not self._waiting.empty():
            self._waiting.get()[1].set_exception(LinkError(reason))
