"""A managed (lifecycle) node that goes on after a transition that it refuses."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

RCLError = rclpy_implementation.RCLError


class ManagedNode(LifecycleNode):
    """Says why a transition is refused, or raises it where the node is brought up at its start."""

    def __init__(self, name: str) -> None:
        """Take a name."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.reason = "the node has failed"
        """Why the last transition was refused."""
        self._starts = False
        callbacks: dict[int, Callable[[LifecycleState], TransitionCallbackReturn]] = self.__dict__["_callbacks"]
        callbacks |= {state: self._telling(callback) for state, callback in callbacks.items()}

    def _telling(
        self, callback: Callable[[LifecycleState], TransitionCallbackReturn]
    ) -> Callable[[LifecycleState], TransitionCallbackReturn]:
        """A callback whose exceptions are logged: rclpy drops them."""

        def call(state: LifecycleState) -> TransitionCallbackReturn:
            try:
                return callback(state)
            except Exception as error:
                self.reason = f"the node has failed: {type(error).__name__}: {error}"
                self.get_logger().error(traceback.format_exc())
                raise

        return call

    def bring_up(self) -> None:
        """Configure and activate.

        Raises:
            ValueError: If it is refused; the node is closed then.
        """
        self._starts = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                self.close()
                raise ValueError(self.reason)
        self._starts = False

    def close(self) -> None:
        """End what the node has begun."""

    def refuse(self, error: Any) -> TransitionCallbackReturn:
        """What a transition returns that is refused for a reason."""
        self.reason = str(error)
        if not self._starts:
            self.get_logger().error(self.reason)
        return TransitionCallbackReturn.FAILURE

    @property
    def is_active(self) -> bool:
        """Whether the node is active."""
        return bool(self._state_machine.current_state[0] == State.PRIMARY_STATE_ACTIVE)

    def _LifecycleNodeMixin__on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        """Refuse a transition that is not possible now; rclpy would end the node, and with it the robot's run."""
        try:
            return super()._LifecycleNodeMixin__on_change_state(request, response)
        except RCLError:
            response.success = False
            return response
