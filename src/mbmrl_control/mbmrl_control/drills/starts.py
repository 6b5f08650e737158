"""Starts of the simulated stack that are broken off by Ctrl-C, each at a random moment."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mbmrl_base.system import shared_memory
from mbmrl_base.system.interpreter import command_of
from mbmrl_control.drills.stack import MARK, marked

LONGEST: Final = 10.0
"""Longest time until Ctrl-C, s: the robot walks by then."""
END_LIMIT: Final = 3.0
"""Time in which all has to end, s."""
CODES: Final = (0, 130, -signal.SIGINT)
"""Exit codes of a program that ends as it was told to; a shell shows the last one as 130."""
_PATIENCE: Final = 30.0
"""Time after which what does not end is killed, s."""


@dataclass(frozen=True)
class End:
    """How a start ended.

    Attributes:
        after: Time from the start to Ctrl-C, s.
        took: From Ctrl-C until the command had ended, s.
        wrong: What was not as it has to be; empty: all was.
    """

    after: float
    took: float
    wrong: str


def starts(count: int, seed: int, folder: Path) -> Iterator[End]:
    """Start the stack and break it off, again and again.

    Args:
        count: How often.
        seed: Of the moments.
        folder: Where it is started, and where what it prints goes.

    Yields:
        How each ended.
    """
    random = np.random.default_rng(seed)
    for number in range(count):
        yield _start(float(random.uniform(0.0, LONGEST)), folder, folder / f"start-{number:03d}.log")


def _start(after: float, folder: Path, log: Path) -> End:
    mark, before = uuid.uuid4().hex, shared_memory.dead()
    command = [*command_of("mbmrl_control.cli.main"), "sim"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        time.sleep(after)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        code: int | None = process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        code = None
    took = time.monotonic() - begun
    left = marked(mark)
    for each in left:
        os.kill(each, signal.SIGKILL)
    wrong = []
    if code not in CODES:
        wrong.append(f"exit code {code}" if code is not None else f"it did not end within {_PATIENCE:g} s")
    if took > END_LIMIT:
        wrong.append(f"it took {took:.1f} s to end")
    if left:
        wrong.append(f"{len(left)} processes were left")
    if segments := shared_memory.dead() - before:
        wrong.append(f"{len(segments)} segments of shared memory were left")
    if "Traceback (most" in log.read_text(errors="replace"):
        wrong.append("there was a trace-back")
    return End(after, took, f"Ctrl-C after {after:.2f} s: {', '.join(wrong)} ({log})" if wrong else "")
