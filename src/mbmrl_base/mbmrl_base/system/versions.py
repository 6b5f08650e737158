"""Versions of files: one that a newer program wrote is refused, not misread."""

from __future__ import annotations

from typing import Any


def check_version(given: Any, newest: int) -> None:
    """See whether a file can be read.

    Args:
        given: The version that the file says it has.
        newest: The newest one that can be read; 1 is the first.

    Raises:
        ValueError: If it cannot.
    """
    if type(given) is not int or not 1 <= given <= newest:
        allowed = "1" if newest == 1 else f"1 to {newest}"
        raise ValueError(f"it is of version {given!r}: allowed is {allowed}")
