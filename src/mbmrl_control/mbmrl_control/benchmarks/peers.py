"""Packages that are compared with; they live in an environment of their own, which `make bench` makes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Final

PACKAGES: Final = {
    "pytorch_mppi": "pytorch_mppi",
    "mbrl": "mbrl.planning",
    "torchrl": "torchrl.modules",
    "learn2learn": "learn2learn.algorithms.maml",
    "higher": "higher",
    "torchopt": "torchopt",
}
"""Name of each package, and the module that is used of it."""

PLANNERS: Final = ("pytorch_mppi", "torchrl", "mbrl")
_COMPARED: Final = {"planning": PLANNERS, "outer_step": ("learn2learn", "higher", "torchopt")}

_FOLDER: Final = Path(sys.prefix).with_name(".venv-bench")


def enable() -> None:
    """Let packages be found that only the other environment has; the main one goes first."""
    folder = _FOLDER / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if folder.is_dir() and str(folder) not in sys.path:
        sys.path.append(str(folder))
    # learn2learn's own __init__ imports torchvision and gym, which MAML has no use for.
    spec = importlib.util.find_spec("learn2learn")
    if spec is not None and "learn2learn" not in sys.modules:
        sys.modules["learn2learn"] = importlib.util.module_from_spec(spec)


def found(package: str) -> ModuleType | None:
    """The module that is used of a package; None if the package is not installed."""
    return importlib.import_module(PACKAGES[package]) if importlib.util.find_spec(package) else None


def missing(parts: Iterable[str]) -> str:
    """A sentence on packages that parts of `mbmrl bench` are compared with and that are not installed, if any."""
    absent = [package for part in parts for package in _COMPARED.get(part, ()) if found(package) is None]
    if not absent:
        return ""
    return f"not compared with {', '.join(absent)}: not installed; `make bench` installs what is compared with"
