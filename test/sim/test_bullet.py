"""Worlds of PyBullet: who forgets one need not close it, and nothing is done at that moment."""

from __future__ import annotations

import pytest

from mbmrl_sim import bullet


def is_open(number: int) -> bool:
    return bool(bullet.pybullet.getConnectionInfo(number)["isConnected"])


def test_world_that_is_forgotten_is_closed_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C would be lost in what Python calls as it forgets an object."""
    world = bullet.connect()
    number = world._client

    def interrupted(**_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bullet.pybullet, "disconnect", interrupted)
        del world
    assert is_open(number)
    following = bullet.connect()
    assert following._client == number  # the lowest one that is free
    following.disconnect()
    assert not is_open(number)
