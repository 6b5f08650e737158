"""What users add by a Python file: a robot, a simulator, a task, a planner, a learner."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

Kind = TypeVar("Kind")
_FILES: Final[set[str]] = set()
"""Files of users that were loaded."""


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
    _FILES.add(str(spec.origin))
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, name):
            raise PluginError(f"it has no {name}()")
        return getattr(module, name)(*arguments, **named)
    except (Exception, SystemExit) as error:  # code of others: whatever it raises, it gives nothing
        text = " ".join(str(error).split())
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise PluginError(f"{path} gives no {name}: {kind}{text}") from None


def blame(error: BaseException) -> str:
    """One sentence on an error that was raised: file, line, class and function, and the error; a user's file if any."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if frame.f_code.co_filename in _FILES]
    place = (own or frames)[-1]
    text = " ".join(str(error).split())
    function = getattr(place.f_code, "co_qualname", place.f_code.co_name)  # Python 3.10 does not know the class
    where = f"{place.f_code.co_filename}, line {place.f_lineno}, {function}"
    return f"{where}: {type(error).__name__}: {text}"


@contextmanager
def blamed(refusal: type[Exception] = PluginError) -> Iterator[None]:
    """Turn what code of users raises into one sentence; a refusal is one already.

    Raises:
        PluginError: If it raises another error.
    """
    try:
        yield
    except refusal:
        raise
    except Exception as error:
        raise PluginError(blame(error)) from error


@cache
def _loaded(path: Path, what: str, changed: int) -> Any:
    """What a file gives, the same one until it is changed: so a task of it can take other settings."""
    del changed
    return from_file(path, what)


def class_of(given: str, what: str, known: Mapping[str, type[Kind]], base: type[Kind]) -> type[Kind]:
    """A class by its name, or by the Python file whose function returns it.

    Args:
        given: A name of ``known``, or a file, ``*.py``.
        what: What it is, such as ``planner``, which is the name of the function too.
        known: Classes by their names.
        base: What it has to be a subclass of.

    Raises:
        ValueError: If there is none.
    """
    if given in known:
        return known[given]
    if not given.endswith(".py"):
        raise ValueError(f"unknown {what} {given!r}: allowed is {', '.join(known)}, or a file, *.py")
    path = Path(given).expanduser()
    found = _loaded(path.absolute(), what, path.stat().st_mtime_ns) if path.is_file() else from_file(path, what)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise PluginError(f"{given}: {what}() returns {found!r}, wanted is a subclass of {base.__name__}")
    return found
