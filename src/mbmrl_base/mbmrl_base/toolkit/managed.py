"""A managed (lifecycle) node that goes on after a transition that it refuses."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from mbmrl_base.toolkit.health import Level, Part

RCLError = rclpy_implementation.RCLError


class ManagedNode(LifecycleNode):
    """Says why a transition is refused, or raises it where the node is brought up at its start."""

    def __init__(self, name: str) -> None:
        """Take a name."""
        super().__init__(name, automatically_declare_parameters_from_overrides=True)
        self.reason = "the node has failed"
        """Why the last transition was refused."""
        self._starts = False
        self._kept: set[int] = set()
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

    def rests(self, name: str, meanwhile: str) -> Part:
        """Health of a node that is not active, and what happens meanwhile."""
        part = Part(name)
        text = f"the node is not active: {meanwhile}; `ros2 lifecycle set {self.get_fully_qualified_name()} activate`"
        part.check(True, Level.WARN, text)
        return part

    def keep_what_is_there(self) -> None:
        """Have `destroy_the_rest` spare the topics, services and timers that the node has now."""
        self._kept = {id(entity) for entities in self._entities() for entity in entities}

    def destroy_the_rest(self) -> None:
        """Destroy the topics, services and timers that came after `keep_what_is_there`."""
        destroy = (self.destroy_publisher, self.destroy_subscription, self.destroy_service, self.destroy_timer)
        for entities, one in zip(self._entities(), destroy, strict=True):
            for entity in [each for each in entities if id(each) not in self._kept]:
                one(entity)

    def _entities(self) -> tuple[list[Any], ...]:
        return list(self.publishers), list(self.subscriptions), list(self.services), list(self.timers)

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
