"""Lifecycle nodes: what is unexpected in a transition is told."""

from __future__ import annotations

import pytest
import rclpy
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from mbmrl_base.toolkit.managed import ManagedNode


class Faulty(ManagedNode):
    """Fails in a way that nobody has thought of."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        raise KeyError("nothing there")


def test_failure_that_nobody_thought_of_is_told(domain: int, capfd: pytest.CaptureFixture[str]) -> None:
    rclpy.init(args=[], domain_id=domain)
    node = Faulty("faulty")
    with pytest.raises(ValueError, match="the node has failed: KeyError: 'nothing there'"):
        node.bring_up()
    assert 'raise KeyError("nothing there")' in capfd.readouterr().err
    node.destroy_node()
    rclpy.shutdown()
