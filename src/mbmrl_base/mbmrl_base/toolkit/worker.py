"""The thread in which a node does its arithmetic, while its callbacks only store what arrives."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable


class Worker(threading.Thread):
    """A thread that starts at once; if it fails the node ends, in order, and with exit code 1."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        """Start the work."""
        super().__init__(name=name)
        self.failed = False
        self._work = work
        self.start()

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except Exception:
            traceback.print_exc()
            self.failed = True
            # The node is closed as after any signal: what must be sent last is sent.
            os.kill(os.getpid(), signal.SIGTERM)
