"""Signals that wait until they may come."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from mbmrl_base.system.endings import signals_held


@pytest.fixture(autouse=True)
def interrupt() -> Iterator[None]:
    """Ctrl-C raises here, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_signal_waits_until_it_is_let_through() -> None:
    before = signal.getsignal(signal.SIGINT)
    with signals_held() as let_through:
        signal.raise_signal(signal.SIGINT)
        done = sum(range(1000))  # work goes on
        with pytest.raises(KeyboardInterrupt):
            let_through()
        let_through()  # once is enough
    assert done == 499500
    assert signal.getsignal(signal.SIGINT) is before


def test_signal_comes_at_the_end_if_not_before() -> None:
    with pytest.raises(KeyboardInterrupt), signals_held():
        signal.raise_signal(signal.SIGINT)
    with signals_held():
        pass


def test_other_threads_hold_nothing() -> None:
    came: list[str] = []

    def work() -> None:
        with signals_held() as let_through:
            let_through()
            came.append("done")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert came == ["done"]
