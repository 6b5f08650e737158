"""Work for other processes, which have to find it by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    raise ValueError(f"{number} is odd")


def die_once(place: str, number: int) -> int:
    """The first worker that comes here is killed."""
    file = Path(place) / f"died{number}"
    if not file.exists():
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def process(_: int) -> int:
    time.sleep(0.2)  # long enough for the other one to take its part
    return os.getpid()
