"""Files that commands write: whether they can be is seen before the work, and they are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


class WriteError(ValueError):
    """A file or folder that cannot be written; its text names it and says why."""


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell in one sentence why a path cannot be written."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # pathlib raises the latter for links that lead to each other
        why = error.strerror if isinstance(error, OSError) else None
        raise WriteError(f"{path} cannot be written: {(why or str(error)).lower()}") from None


@contextmanager
def _part(folder: Path) -> Iterator[Path]:
    part = folder / f".{os.getpid()}.partial"
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def check_file(file: Path, new_folder: bool = False) -> None:
    """See whether a file can be written; what is there stays as it is.

    Args:
        file: The file.
        new_folder: Whether its folder will be made if it is not there.

    Raises:
        WriteError: If it cannot, or what is there is no regular file.
    """
    with _told(file):
        target = file.resolve()
        if target.exists() and not target.is_file():
            raise WriteError(f"{file} cannot be written: it is {'a folder' if target.is_dir() else 'no regular file'}")
        if target.exists() and not os.access(target, os.W_OK):
            raise WriteError(f"{file} cannot be written: permission denied")
        if target.parent.is_dir():
            with _part(target.parent) as part:
                part.touch()
        elif new_folder:
            check_folder(target.parent)
        else:
            raise WriteError(f"{file} cannot be written: there is no folder {file.parent}")


def check_folder(folder: Path) -> None:
    """See whether files can be written in a folder that is there, or is to be made; nothing is made.

    Raises:
        WriteError: If they cannot.
    """
    with _told(folder):
        there = folder.resolve()
        while not os.path.lexists(there):
            there = there.parent
        if not there.is_dir():
            raise WriteError(f"{folder} cannot be written: {there} is no folder")
        with _part(there) as part:
            part.touch()


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A file to write, which takes the place of another when it is whole; if that fails, the other stays.

    Raises:
        WriteError: If the system does not keep what is written.
    """
    with _told(file):
        target = file.resolve()  # what a link points to is replaced, and not the link
        with _part(target.parent) as part:
            yield part
            with part.open("rb+") as written:
                os.fsync(written.fileno())  # here some file systems report that there is no space left
            part.replace(target)


def write_text(file: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Raises:
        WriteError: If it cannot be written.
    """
    with whole(file) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A place to write files into, which are in a folder, new or empty, if all goes well, and else nowhere.

    Raises:
        WriteError: If it holds anything, or cannot be written.
    """
    check_folder(folder)
    with _told(folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise WriteError(f"{folder} is not empty: its files would be mixed with others")
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    with place as name:
        yield Path(name)
        with _told(folder):
            folder.mkdir(exist_ok=True)
            for file in sorted(Path(name).iterdir()):
                file.rename(folder / file.name)
