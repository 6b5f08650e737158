"""Files that commands write: seen before the work whether they can be, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_base.system.files import WriteError, check_file, check_folder, whole, write_text
from mbmrl_base.system.interpreter import command_of
from mbmrl_control.control.run_record import Record, Tick
from mbmrl_control.dynamics.prior import Prior
from robot_testing import FOLLOW, PLANNER, path_task

Run = Callable[..., tuple[int, str, str]]


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(file.name for file in folder.iterdir())


def test_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with whole(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
    assert (names(tmp_path), file.read_text()) == (["file"], "new")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_file_that_is_broken_off_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(error), whole(file) as part:
        part.write_text("half")
        raise error
    assert (names(tmp_path), file.read_text()) == (["file"], "old")


def test_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is a folder"),
        ("none/file", "there is no folder {folder}/none"),
        ("file/file", "there is no folder {folder}/file"),
        ("fifo", "it is no regular file"),
        ("loop", "symlink loop"),
        ("x" * 300, "file name too long"),
        ("/dev/null", "it is no regular file"),
        ("/proc/file", "no such file or directory"),
    ],
)
def test_file_that_cannot_be_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    before = names(tmp_path)
    with pytest.raises(WriteError, match=why.format(folder=tmp_path)):
        check_file(tmp_path / name)
    assert names(tmp_path) == before


@pytest.mark.parametrize("name", ["file", "file/folder", "/proc/folder", "/dev/null"])
def test_folder_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError):
        check_folder(tmp_path / name)


@pytest.mark.parametrize("name", ["", "new", "new/newer"])
def test_nothing_is_made_by_looking(tmp_path: Path, name: str) -> None:
    check_folder(tmp_path / name)
    check_file(tmp_path / name / "file", new_folder=True)
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can be another user")
def test_protected_file_and_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    code = f"""
import os
from pathlib import Path
from mbmrl_base.system.files import WriteError, check_file, check_folder
os.setuid(65534)
for name in ("mine", "mine/new", "file", "mine/file"):
    try:
        (check_file if "file" in name else check_folder)(Path({str(tmp_path)!r}, name))
    except WriteError as error:
        print(error)
"""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == 4
    assert all("cannot be written: permission denied" in line for line in told)


# The commands


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The record of a robot that walks for 2 s."""
    states = [
        pack_state((x, 0, 0.025), (0.2, 0, 0), (0, 0, 0), (0, 0, 0), (x, x), (20, 20), (1, 1), 3.9)
        for x in np.arange(41) / 100
    ]
    seen = [Observation(state, np.zeros(2), index / 20, index, 1, 0.05) for index, state in enumerate(states)]
    ticks = [Tick(each, commanded=True) for each in seen]
    record = Record(load_robot("millirobot"), "mb", FOLLOW, PLANNER, 0, 20.0, None, None, ticks)
    folder = tmp_path / "run"
    folder.mkdir()
    record.write(folder, record.track(path_task("straight")))
    return folder


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_film_for_which_there_is_no_space_is_not_written(run: Path, name: str) -> None:
    before = names(run)
    limited = ["prlimit", "--fsize=20000", *command_of("mbmrl_control.cli.main")]
    command = [*limited, "render", str(run), "--out", str(run / name)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert "written" not in result.stderr.replace("cannot be written", "")
    assert result.stderr.splitlines()[-1].startswith(f"error: {run / name} cannot be written: ")
    assert "Traceback" not in result.stderr
    assert names(run) == before


NAMES = ["[red].gif", ":fire:.gif", "a\nb.gif", "🤖 'é\".gif", "-x.gif", "~.gif", "x" * 100 + ".gif"]


@pytest.mark.parametrize("name", NAMES)
def test_file_of_any_name_is_written_and_told(mbmrl: Run, folder: Path, run: Path, name: str) -> None:
    code, output, errors = mbmrl("render", str(run), "--out", name)
    assert (code, output) == (0, "")
    assert f"written: {name}\n" in errors
    assert names(folder) == [name]


def test_name_with_a_new_line_is_told_in_one_line(mbmrl: Run, folder: Path) -> None:
    assert mbmrl("render", "a\nb")[2] == "error: a\\nb holds no run: there is no run.json\n"


def run_command(*arguments: str, **files: Any) -> subprocess.CompletedProcess[str]:
    """Run the command with streams that may be bad."""
    command = [*command_of("mbmrl_control.cli.main"), *arguments]
    return subprocess.run(command, text=True, **{"stderr": subprocess.PIPE} | files)


def test_output_that_the_system_does_not_take_is_told() -> None:
    with open("/dev/full", "w") as full:
        result = run_command("fault", "--help", stdout=full)
    assert (result.returncode, result.stderr) == (2, "error: No space left on device\n")


def test_command_ends_without_a_word_where_nobody_reads() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = run_command("fault", "--help", stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")


def test_space_that_is_not_there_for_a_prior_is_told(make_prior: Callable[..., Prior], tmp_path: Path) -> None:
    prior, file = make_prior(), tmp_path / "prior.safetensors"
    prior.save(file)
    before = file.read_bytes()
    with pytest.raises(WriteError, match="cannot be written: no space left on device"), full_disk():
        make_prior(seed=1).save(file)
    assert (names(tmp_path), file.read_bytes()) == (["prior.safetensors"], before)


@contextmanager
def full_disk() -> Iterator[None]:
    """Nothing that is written to a file is kept, as told by the system when it is asked to keep it."""

    def fail(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        yield
