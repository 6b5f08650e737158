"""Where results come from: versions of packages, and the state of the code in git."""

from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = ("mbmrl_control", "mbmrl_sim", "torch", "numpy", "pybullet")


def provenance() -> dict[str, Any]:
    """``versions`` of packages, and ``git``: the commit of this code, with ``+`` if files differ from it.

    ``git`` is None if the code is in no repository.
    """
    found = {name: known for name in _PACKAGES if (known := _version(name))}
    folder = Path(__file__).resolve().parent
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = commit and _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"versions": found, "git": f"{commit}{'+' if changed else ''}" if commit else None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    """What git answers; empty if it, or a repository, is not there."""
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
