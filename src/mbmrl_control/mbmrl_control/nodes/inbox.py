"""What waits for a node's worker."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Inbox(Generic[Item]):
    """Hands items to one worker in order; where they come faster than it works, the oldest are left out."""

    def __init__(self, size: int) -> None:
        """Take how many may wait."""
        self.left_out = 0
        """Items that were left out."""
        self._items: deque[Item] = deque(maxlen=size)
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: Item) -> None:
        """Add an item."""
        with self._changed:
            self.left_out += len(self._items) == self._items.maxlen
            self._items.append(item)
            self._changed.notify()

    def close(self) -> None:
        """Have `get` return None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def get(self, timeout: float | None = None) -> Item | None:
        """The oldest item; None once the inbox is closed.

        Args:
            timeout: Longest time to wait, s; None: until there is one.

        Raises:
            TimeoutError: If none came in that time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._items, timeout):
                raise TimeoutError
            return None if self._closed else self._items.popleft()
