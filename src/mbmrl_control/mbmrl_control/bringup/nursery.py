"""Starts programs as forks of a process that has loaded their modules: what takes seconds to load is loaded once.

A node that died is back without that time, and the first start loads what several nodes share only once.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil
from setproctitle import setproctitle, setthreadtitle
from typing_extensions import Self

from mbmrl_base.system.endings import PARENT, end_with_parent
from mbmrl_base.system.interpreter import command_of
from mbmrl_base.system.surroundings import open_streams

_SET_CHILD_SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER of Linux."""
_SHORT: Final = 10.0
"""Time within which a process that ends again is taken to end by what it loads, s."""
_LONGEST_TITLE: Final = 4000
"""Characters of a command line that a program may show."""


class NurseryError(RuntimeError):
    """No program can be started; the text says why."""


class Nursery:
    """A process that loads modules and is forked; the forks are children of who uses it, and outlive it."""

    def __init__(self, modules: Iterable[str] = ()) -> None:
        """Start the process, and have it load modules, while who uses it does something else."""
        self._loaded, self._stopped = dict.fromkeys(modules), False
        self._start()

    def _start(self) -> None:
        self._begun = time.monotonic()
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                # A title only has the place of the arguments, as what else a process may be known by stays.
                [*command_of(__name__), str(theirs.fileno()), " " * _LONGEST_TITLE],
                env=os.environ | {PARENT: str(os.getpid()), "SPT_NOENV": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the command
            )
        self._answers = self._channel.makefile()
        for module in self._loaded:
            self._ask(module=module)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def check(self) -> None:
        """Start the process again if it has ended, so that it has loaded all when a program is started again."""
        if self._stopped or self._process.poll() is None:
            return
        self._close()
        if time.monotonic() - self._begun < _SHORT:
            self._loaded.clear()
        self._start()

    def start(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], output: Path | None = None
    ) -> psutil.Process:
        """Start a module's ``main`` as a process in a session of its own, a child of this one.

        Args:
            module: The module.
            arguments: What it finds as its arguments.
            environment: Its environment; what libraries read of it when they are loaded is this process's.
            output: File to which what it prints is appended; None: where this process prints.

        Raises:
            NurseryError: If it cannot be started.
        """
        self._loaded[module] = None
        for _ in range(2):  # the process may just have ended
            self.check()
            with _adopting():
                self._ask(
                    module=module,
                    arguments=list(arguments),
                    environment=dict(environment),
                    output=None if output is None else str(output),
                )
                answer = ""
                with suppress(ConnectionResetError):  # it has ended
                    answer = self._answers.readline()
            if answer.strip().isdigit():
                return psutil.Process(int(answer))
            if answer:
                raise NurseryError(f"{module} cannot be started: {answer.strip()}")
            self._process.wait()
        raise NurseryError(f"{module} cannot be started: what starts it has ended twice")

    def _ask(self, **request: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # `check` sees that it has ended
            self._channel.sendall(json.dumps(request).encode() + b"\n")

    def _close(self) -> None:
        self._answers.close()
        self._channel.close()

    def stop(self) -> None:
        """End the process; what it has started goes on."""
        self._stopped = True
        self._close()
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        """Use as a context manager, which stops it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()


@contextmanager
def _adopting() -> Iterator[None]:
    """Become the parent of what descendants leave behind, such as a fork of a fork."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(_SET_CHILD_SUBREAPER, 0)


def _wait_for_births(channel: socket.socket) -> dict[str, Any] | None:
    """Load and fork as asked; returns in each fork, with what was asked for, and at the end of the asker: None."""
    for line in channel.makefile():
        request = json.loads(line)
        # What is wrong with a module is told by who is to run it.
        with suppress(Exception):
            importlib.import_module(request["module"])
        if "arguments" not in request:
            continue
        gc.freeze()  # a collection in a fork would copy every page of what is loaded
        try:
            child = os.fork()
            if child == 0:
                return request if _is_given_away(channel) else None
            if os.waitpid(child, 0)[1]:
                channel.sendall(b"the system has no room for a process\n")
        except OSError as error:
            channel.sendall(f"{error.strerror}\n".encode())
    return None


def _is_given_away(channel: socket.socket) -> bool:
    """Fork once more and end this process, so that who asked is the parent; whether it is."""
    between = os.getpid()
    try:
        child = os.fork()
    except OSError:  # must not go on as a second one that serves
        os._exit(1)
    if child:
        os._exit(0)
    while (parent := os.getppid()) == between:
        os.sched_yield()
    if parent != int(os.environ[PARENT]):  # who asked has ended
        return False
    channel.sendall(f"{os.getpid()}\n".encode())
    return True


def _live(request: dict[str, Any]) -> int:
    """Be what was asked for."""
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["output"] is not None:
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        for number in (1, 2):
            os.dup2(output, number)
        os.close(output)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    name = request["module"]
    setproctitle(" ".join([sys.executable, "-m", name, *request["arguments"]]))
    setthreadtitle(name.rpartition(".")[2])
    module = importlib.import_module(name)
    sys.argv = [str(module.__file__), *request["arguments"]]
    return int(module.main())


def main() -> int:
    """Serve who has started this process, or be what was asked for."""
    end_with_parent()
    open_streams()
    setproctitle(f"{sys.executable} -m {__spec__.name}")  # finds its place by the environment, as it is now
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=int(sys.argv[1]))
    request = _wait_for_births(channel)
    if request is None:
        return 0
    channel.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return _live(request)


if __name__ == "__main__":
    sys.exit(main())
