"""Shared memory that stays where a process with Fast DDS is killed: half a megabyte, until somebody removes it.

Fast DDS holds a lock on a file beside each segment as long as its process lives.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/dev/shm")
_LOCK: Final = re.compile(r"fastrtps_[0-9a-f]{16}_el")
YOUNG: Final = 5.0
"""Age below which a lock may be one that is just being taken, s."""


def _locks(folder: Path) -> list[Path]:
    with suppress(OSError):  # there is no such folder
        return [file for file in folder.iterdir() if _LOCK.fullmatch(file.name)]
    return []


def dead(folder: Path = FOLDER) -> set[str]:
    """Names of the segments whose processes are gone."""
    found = set()
    for lock in _locks(folder):
        with suppress(OSError), lock.open() as file:  # held, or removed meanwhile
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.add(lock.name.removesuffix("_el"))
    return found


def clean(folder: Path = FOLDER, young: float = YOUNG) -> int:
    """Remove segments of this user's whose processes are gone.

    Args:
        folder: Where shared memory is.
        young: Age, s, below which a segment is left alone.

    Returns:
        How many there were.
    """
    removed = 0
    for lock in _locks(folder):
        with suppress(OSError):  # another one cleans too
            removed += _remove(lock, young)
    return removed


def _remove(lock: Path, young: float) -> bool:
    """Remove a lock and its segment, unless it is held; OSError where another process was quicker."""
    with lock.open() as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.getuid() or time.time() - found.st_mtime < young:
            return False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.with_name(lock.name.removesuffix("_el")).unlink(missing_ok=True)
        lock.unlink()
    return True
