"""Programs as forks: loaded once, children of who asks, and as they would be if they had been started alone."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mbmrl_control.bringup.nursery import Nursery, NurseryError
from ros_testing import TIME_LIMIT

PROGRAM = """
import os, pathlib, sys, time
with pathlib.Path(__file__).with_name("loads").open("a") as file:
    file.write(".")
def main():
    print(sys.argv[1:], os.environ.get("WORD"), os.getsid(0) == os.getpid(), flush=True)
    while "stay" in sys.argv:
        time.sleep(0.01)
    return 7
"""
ASKER = """
import os, pathlib, signal, sys
from mbmrl_control.bringup.nursery import Nursery
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
nursery = Nursery()
print(nursery.pid, flush=True)
try:
    nursery.start("program", ["stay"], os.environ | {"MBMRL_PARENT": str(os.getpid())}, pathlib.Path("log"))
except KeyboardInterrupt:
    nursery.stop()
    print("stopped")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a module, program, is found."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def nursery(folder: Path) -> Iterator[Nursery]:
    """One that is stopped at the end."""
    nursery = Nursery()
    yield nursery
    nursery.stop()


def wait_for(text: str, path: Path) -> None:
    """Wait until a file has a text in it."""
    end = time.monotonic() + TIME_LIMIT
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < end
        time.sleep(0.005)


def test_program_is_as_if_it_had_been_started_alone(nursery: Nursery, folder: Path) -> None:
    child = nursery.start("program", ["a", "b c"], os.environ | {"WORD": "grün"}, folder / "log")
    assert child.ppid() == os.getpid()
    assert child.wait(TIME_LIMIT) == 7
    assert (folder / "log").read_text() == "['a', 'b c'] grün True\n"


def test_module_is_loaded_once(nursery: Nursery, folder: Path) -> None:
    children = [nursery.start("program", [], os.environ, folder / "log") for _ in range(3)]
    assert [child.wait(TIME_LIMIT) for child in children] == [7, 7, 7]
    assert (folder / "loads").read_text() == "."


def test_program_is_found_by_its_module_its_arguments_and_its_mark(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_MARK", "here")
    nursery = Nursery()
    child = nursery.start("program", ["stay"], os.environ, folder / "log")
    wait_for("stay", folder / "log")
    assert child.name() == "program"
    assert " ".join(child.cmdline()).rstrip("\0 ").endswith("-m program stay")
    assert child.environ()["A_MARK"] == "here"
    child.terminate()
    assert child.wait(TIME_LIMIT) == -signal.SIGTERM
    nursery.stop()


def test_programs_outlive_it_and_it_is_started_again(nursery: Nursery, folder: Path) -> None:
    first, before = nursery.start("program", ["stay"], os.environ, folder / "log"), nursery.pid
    wait_for("stay", folder / "log")
    os.kill(before, signal.SIGKILL)
    second = nursery.start("program", [], os.environ, folder / "log")
    assert nursery.pid != before
    assert second.wait(TIME_LIMIT) == 7
    assert first.is_running()
    first.terminate()
    first.wait(TIME_LIMIT)


def test_it_loads_again_what_it_had_loaded_before_anybody_asks(nursery: Nursery, folder: Path) -> None:
    nursery.start("program", [], os.environ, folder / "log").wait(TIME_LIMIT)
    nursery._begun = 0.0  # long ago
    os.kill(nursery.pid, signal.SIGKILL)
    end = time.monotonic() + TIME_LIMIT
    while (folder / "loads").read_text() != "..":
        nursery.check()
        assert time.monotonic() < end
        time.sleep(0.005)


def test_module_that_cannot_be_loaded_says_so_where_the_program_would(nursery: Nursery, folder: Path) -> None:
    (folder / "broken.py").write_text("raise RuntimeError('there is no leg 9')")
    assert nursery.start("broken", [], os.environ, folder / "log").wait(TIME_LIMIT) == 1
    assert (folder / "log").read_text().endswith("RuntimeError: there is no leg 9\n")
    assert nursery.start("program", [], os.environ, folder / "log").wait(TIME_LIMIT) == 7


def test_what_the_system_refuses_is_said(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery, "_answers", io.StringIO("Resource temporarily unavailable\n"))
    with pytest.raises(NurseryError, match=r"^program cannot be started: Resource temporarily unavailable$"):
        nursery.start("program", [], os.environ)


def test_module_that_ends_the_process_is_not_loaded_in_it_for_ever(nursery: Nursery, folder: Path) -> None:
    (folder / "deadly.py").write_text("import os\nos._exit(3)")
    with pytest.raises(NurseryError, match=r"^deadly cannot be started"):
        nursery.start("deadly", [], os.environ)
    assert nursery.start("program", [], os.environ, folder / "log").wait(TIME_LIMIT) == 7
    pid = nursery.pid
    nursery.check()
    assert nursery.pid == pid


def test_once_stopped_it_is_not_started_again(folder: Path) -> None:
    nursery = Nursery()
    nursery.stop()
    nursery.check()
    assert not psutil.pid_exists(nursery.pid)


def test_ctrl_c_while_a_module_loads_leaves_nothing(folder: Path) -> None:
    (folder / "program.py").write_text(f"{PROGRAM}\ntime.sleep(1000)")
    with subprocess.Popen(
        [sys.executable, "-c", ASKER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as asker:
        assert asker.stdout is not None
        pid = int(asker.stdout.readline())
        wait_for(".", folder / "loads")
        asker.send_signal(signal.SIGINT)
        assert asker.communicate(timeout=TIME_LIMIT) == ("stopped\n", "")
    assert not psutil.pid_exists(pid)


def test_it_ends_with_who_has_started_it(folder: Path) -> None:
    (folder / "program.py").write_text(f"{PROGRAM}\ntime.sleep(1000)")
    with subprocess.Popen([sys.executable, "-c", ASKER], stdout=subprocess.PIPE, text=True) as asker:
        assert asker.stdout is not None
        nursery = psutil.Process(int(asker.stdout.readline()))
        wait_for(".", folder / "loads")
        asker.kill()
    psutil.wait_procs([nursery], TIME_LIMIT)
    assert not nursery.is_running() or nursery.status() == psutil.STATUS_ZOMBIE
