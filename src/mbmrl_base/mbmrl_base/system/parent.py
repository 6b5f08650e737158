"""Ends a process with the one that started it: whoever starts nodes and is killed cannot stop them."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

PARENT: Final = "MBMRL_PARENT"
"""Variable of the environment by which a launch has its nodes end with it: its process number."""
_SET_PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of Linux."""


def end_with_parent() -> None:
    """Have SIGTERM sent to this process when its parent ends, if PARENT asks for it."""
    parent = os.environ.get(PARENT)
    if parent is None:  # started by hand: it may outlive its shell
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if not os.path.exists(f"/proc/{parent}/exe"):  # it has ended before, and may still wait to be reaped
        os.kill(os.getpid(), signal.SIGTERM)
