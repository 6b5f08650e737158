"""Entry points of executables: a node that is stopped while it still loads ends without a trace-back."""

from __future__ import annotations

import importlib
import os
import signal
import sys

from mbmrl_base.system.surroundings import SurroundingsError, prepare


def start(module: str) -> None:
    """Load a node's module, which takes seconds, and run its ``main``."""
    try:
        prepare()  # what is loaded with ROS 2 may end the process
    except SurroundingsError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    sys.exit(importlib.import_module(module).main())
