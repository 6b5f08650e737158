"""What waits for a worker."""

from __future__ import annotations

import threading

import pytest

from mbmrl_control.nodes.inbox import Inbox


def test_oldest_are_left_out_where_more_come_than_may_wait() -> None:
    inbox: Inbox[int] = Inbox(3)
    for number in range(5):
        inbox.put(number)
    assert [inbox.get() for _ in range(3)] == [2, 3, 4]
    assert inbox.left_out == 2
    with pytest.raises(TimeoutError):
        inbox.get(0.0)


def test_worker_that_waits_gets_what_comes_and_then_the_end() -> None:
    inbox: Inbox[int] = Inbox(3)
    found: list[int | None] = []

    def work() -> None:
        while not found or found[-1] is not None:
            found.append(inbox.get())

    worker = threading.Thread(target=work)
    worker.start()
    inbox.put(7)
    inbox.put(8)
    while len(found) < 2:
        pass
    inbox.close()
    worker.join()
    assert found == [7, 8, None]
