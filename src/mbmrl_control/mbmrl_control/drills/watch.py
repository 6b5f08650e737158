"""Watches a robot: when it was last commanded, and when it goes on."""

from __future__ import annotations

import time
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node
from rclpy.task import Future

from mbmrl_base.toolkit import qos
from mbmrl_msgs.msg import AdaptedModel, PlannerStatus, RobotState

_ANEW = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
_FOUND = 1.0
"""Longest time until a service is found, s."""


class Watch(Node):
    """Keeps when what came last, s of the monotonic clock."""

    def __init__(self, namespace: str = "") -> None:
        """Listen in a namespace."""
        super().__init__("drill", namespace=namespace, start_parameter_services=False)
        self.commanded = 0.0
        """When a state came at the end of an interval in which a command moved the robot."""
        self.stood = 0.0
        """When one came at the end of an interval in which none did."""
        self.lost: list[tuple[float, float]] = []
        """Each time when one came so, and for how long none had moved the robot then, s."""
        self.planned = 0.0
        """When a plan was last made."""
        self.adapted = 0.0
        """When a model came."""
        self.bridge = ""
        """Name of the bridge, where there is one."""
        self._asked: dict[str, Any] = {}
        self.create_subscription(RobotState, "robot_state", self._take_state, qos.STATE)
        self.create_subscription(PlannerStatus, "planner_status", self._take_status, qos.STATE)
        self.create_subscription(AdaptedModel, "adapted_model", self._take_model, qos.LATEST)

    def _take_state(self, message: RobotState) -> None:
        if message.command_sequence and any(message.action):
            self.commanded = time.monotonic()
        else:
            self.stood = time.monotonic()
            self.lost.append((self.stood, self.stood - self.commanded))

    def _take_status(self, message: PlannerStatus) -> None:
        if message.outcome == PlannerStatus.PLANNED:
            self.planned = time.monotonic()

    def _take_model(self, _: AdaptedModel) -> None:
        self.adapted = time.monotonic()

    def paused(self, since: float) -> float:
        """Longest time for which no command has moved the robot since a time, s."""
        return max((gap for when, gap in self.lost if when > since), default=0.0)

    def works(self, since: float) -> bool:
        """Whether the robot has walked by a plan, and adapted, since a time."""
        return min(self.commanded, self.planned, self.adapted) > since

    def call(self, service_type: Any, name: str, **fields: Any) -> Future:
        """Call a service, once it is found; the future holds its response, if one comes."""
        if name not in self._asked:
            self._asked[name] = self.create_client(service_type, name)
            self._asked[name].wait_for_service(_FOUND)
        return self._asked[name].call_async(service_type.Request(**fields))

    def activate(self, anew: bool) -> None:
        """Have the bridge made active; where it does not answer, nothing comes.

        Args:
            anew: Whether another robot may be at the line, which only who configures anew takes.
        """
        change = f"{self.bridge}/change_state"
        if change not in self._asked:
            self._asked[change] = self.create_client(ChangeState, change)
        inactive = (Transition.TRANSITION_CLEANUP, *_ANEW) if anew else _ANEW[1:]
        steps = {State.PRIMARY_STATE_UNCONFIGURED: _ANEW, State.PRIMARY_STATE_INACTIVE: inactive}
        asked = self.call(GetState, f"{self.bridge}/get_state")
        asked.add_done_callback(lambda answer: self._step(change, steps.get(answer.result().current_state.id, ())))

    def _step(self, change: str, transitions: tuple[int, ...]) -> None:
        def follow(answer: Future) -> None:
            if answer.result().success:
                self._step(change, transitions[1:])

        for number in transitions[:1]:
            self.call(ChangeState, change, transition=Transition(id=number)).add_done_callback(follow)
