"""What users add by a Python file: a robot, a simulator, a task, a planner, a learner."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any


class PluginError(ValueError):
    """A file that does not give what it should; its text says why."""


def from_file(path: Path, name: str, *arguments: Any, **named: Any) -> Any:
    """What a function of a Python file returns.

    Args:
        path: The file.
        name: Name of the function, which is that of what it returns, such as ``robot``.
        arguments: What it is called with.
        named: The same by name.

    Raises:
        PluginError: If there is no such file or function, or it raises an error.
    """
    if not path.is_file():
        raise PluginError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return getattr(module, name)(*arguments, **named)
    except (Exception, SystemExit) as error:  # code of others: whatever it raises, it gives nothing
        text = " ".join(str(error).split())
        raise PluginError(f"{path} gives no {name}: {type(error).__name__}: {text}") from None
