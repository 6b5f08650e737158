"""How processes end: with the one that started them, and at once if they cannot end by themselves."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PARENT: Final = "MBMRL_PARENT"
"""Variable of the environment by which a launch has its nodes end with it: its process number."""
DIED: Final = "MBMRL_DIED"
"""Variable by which a launch says when the node died that it starts again, s of the monotonic clock."""
_ASKED: Final = (signal.SIGINT, signal.SIGTERM)
_SET_PARENT_DEATH_SIGNAL: Final = 1
"""PR_SET_PDEATHSIG of Linux."""
_THREAD: Final = 2
"""SIGEV_THREAD of Linux: a thread of the C library's, which needs no lock of Python's, calls a function."""


class _Event(ctypes.Structure):
    """``struct sigevent`` (POSIX 2.4.1)."""

    _fields_ = (
        ("value", ctypes.c_int64),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("padding", ctypes.c_char * 32),
    )


class _Time(ctypes.Structure):
    """``struct itimerspec``: period, and time until it goes off."""

    _fields_ = (("period", ctypes.c_long * 2), ("value", ctypes.c_long * 2))


def exit_within(seconds: float, code: int) -> None:
    """Exit with a code after a time, at once and without any more ado, unless the process has ended by then.

    Raises:
        OSError: If the system has no timer left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    exit_at_once = ctypes.cast(libc._exit, ctypes.c_void_p)
    event = _Event(value=code, notify=_THREAD, function=exit_at_once)
    timer = ctypes.c_void_p()
    whole, rest = divmod(seconds, 1.0)
    after = _Time(value=(int(whole), int(rest * 1e9)))
    if libc.timer_create(time.CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) or libc.timer_settime(
        timer, 0, ctypes.byref(after), None
    ):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@contextmanager
def signals_held() -> Iterator[Callable[[], None]]:
    """Hold SIGINT and SIGTERM back until the function that is given is called, or the end.

    For work in which an exception anywhere would be taken for an error of the work, as in what a C library calls.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda *which: came.append(which[0])) for number in _ASKED}

    def let_through() -> None:
        while came:
            number = came.pop()
            held = signal.signal(number, handlers[signal.Signals(number)])
            signal.raise_signal(number)
            signal.signal(number, held)

    try:
        yield let_through
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came.pop())


def end_with_parent() -> None:
    """Have SIGTERM sent to this process when its parent ends, if PARENT asks for it: who is killed stops nothing."""
    parent = os.environ.get(PARENT)
    if parent is None:  # started by hand: it may outlive its shell
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if not os.path.exists(f"/proc/{parent}/exe"):  # it has ended before, and may still wait to be reaped
        os.kill(os.getpid(), signal.SIGTERM)
