"""Who steers: paths, goals and velocities from topics and an action; each sets parameters, and the last one counts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Path as PathMessage
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter

from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.health import Level, Part
from mbmrl_base.toolkit.managed import ManagedNode
from mbmrl_base.toolkit.sole import LOG_PERIOD, SoleSubscription
from mbmrl_control.control.steering import Journey, Order, Progress, Report
from mbmrl_control.nodes import conversions
from mbmrl_control.nodes.settings import PlannerSettings
from mbmrl_control.tasks import Task, make_task
from mbmrl_control.tasks.goal import GoToGoal
from mbmrl_control.tasks.path import FollowPath
from mbmrl_control.tasks.velocity import TrackVelocity
from mbmrl_msgs.action import FollowPath as FollowPathAction

PARAMETERS: Final = "parameters"
PATH: Final = "path"
GOAL: Final = "goal_pose"
VELOCITY: Final = "cmd_vel"
ACTION: Final = "follow_path"
_AIMS: Final = ("task", "path", "goal", "forward_speed", "turn_rate")
"""Parameters that say where to go; others say how."""
_STAND: Final[dict[str, Any]] = {"task": TrackVelocity.name, "forward_speed": 0.0, "turn_rate": 0.0}
_FEEDBACK_PERIOD: Final = 0.1
"""Time between two feedbacks of the action, s."""

Result: Final[Any] = FollowPathAction.Result


class _Server(ActionServer):  # type: ignore[misc]
    """An action server whose goals end when `finish` is called: rclpy's executors would poll a coroutine that waits."""

    def notify_execute(self, goal_handle: ServerGoalHandle, execute_callback: Any) -> None:
        """The goal is under way."""

    def finish(self, handle: ServerGoalHandle, result: Any) -> None:
        """Send the result of a goal whose state is a last one."""
        super().notify_execute(handle, lambda _: result)


class Steering:
    """Keeps the newest order; callbacks make orders, the planning thread asks for the one in force and reports."""

    def __init__(self, node: ManagedNode, robot: Robot, settings: PlannerSettings, now: Callable[[], float]) -> None:
        """Take what the parameters say at first, and the time by which velocities grow old, s.

        Raises:
            ValueError: If the robot cannot do the task.
        """
        self._node, self._robot, self._settings, self._now = node, robot, settings, now
        self._order = Order(PARAMETERS, settings.make_task(robot))
        self._next: dict[str, Any] = {}
        """What is known of the order for which parameters are being set."""
        self._velocity: tuple[Task[Any], float] = (self._order.task, -math.inf)
        """The newest velocity's task, and when it arrived, s."""
        self._journey = Journey()
        self._report = Report(self._order, now(), Progress.UNDER_WAY)
        self._handle: ServerGoalHandle | None = None
        """The action's goal that is under way."""
        self._shown = self._report

    def listen(self) -> None:
        """Take commands from now on."""
        node = self._node
        self._inputs = (
            SoleSubscription(node, PathMessage, "path", self._take_path, qos.LATEST),
            SoleSubscription(node, PoseStamped, "goal_pose", self._take_goal, qos.LATEST, sole=False),
            SoleSubscription(node, Twist, "cmd_vel", self._take_velocity, qos.SENSOR),
        )
        self._server = _Server(
            node,
            FollowPathAction,
            "follow_path",
            lambda _: Result(),
            goal_callback=lambda _: GoalResponse.ACCEPT if node.is_active else GoalResponse.REJECT,
            handle_accepted_callback=self._follow,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )
        node.create_timer(_FEEDBACK_PERIOD, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Take no more goals of the action."""
        self._server.destroy()

    # What the planning thread asks for

    def order(self) -> Order:
        """The order in force."""
        order, velocity = self._order, self._velocity
        return replace(order, task=velocity[0]) if order.by == VELOCITY and self._is_fresh(velocity) else order

    def _is_fresh(self, velocity: tuple[Task[Any], float]) -> bool:
        # Time jumps back when /clock begins.
        return 0.0 <= self._now() - velocity[1] <= self._settings.velocity_timeout

    def observe(self, order: Order, task: Task[Any] | None, reason: str) -> Report:
        """Take in what a tick has done for an order, as of `Journey.observe`."""
        self._report = self._journey.observe(order, task, self._now(), self._settings.goal_tolerance, reason)
        return self._report

    # What the node asks for

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with each topic; empty: nothing."""
        return tuple(each.trouble for each in self._inputs)

    def health(self) -> Part:
        """Who steers, and how it goes."""
        report = self._report
        part = Part("steering", values={"by": report.order.by, "remaining, m": f"{report.remaining:.2f}"})
        silent = report.order.by == VELOCITY and not self._is_fresh(self._velocity)
        part.check(silent, Level.OK, f"no cmd_vel for {self._settings.velocity_timeout:g} s: the robot stands")
        part.check(report.progress is Progress.NOT_REACHED, Level.WARN, f"{report.why}: the robot stands")
        return part

    # Orders

    def set(self, settings: PlannerSettings) -> None:
        """Take other parameters.

        Raises:
            ValueError: If the robot cannot do what they say.
        """
        task, order = settings.make_task(self._robot), self._order
        other = any(getattr(settings, name) != getattr(self._settings, name) for name in _AIMS)
        self._settings = settings
        if not (self._next or other):
            self._order = replace(order, task=task)
            return
        self._order = Order(**({"by": PARAMETERS} | self._next), task=task, number=order.number + 1)
        if self._order.by != order.by:
            self._node.get_logger().info(f"{self._order.by} steers")
        if not self._order.ended:
            self._finish(Result.PREEMPTED, f"{self._order.by} steers")

    def _give(self, order: dict[str, Any], **values: Any) -> None:
        """Set parameters for an order of which this is known.

        Raises:
            ValueError: If they are refused.
        """
        self._next = order
        try:
            result = self._node.set_parameters_atomically(
                [Parameter(name, value=value) for name, value in values.items()]
            )
        finally:
            self._next = {}
        if not result.successful:
            raise ValueError(result.reason)

    def _way(self, by: str, **known: Any) -> dict[str, Any]:
        return {"by": by, "patience": self._settings.patience, **known}

    def _give_path(self, message: PathMessage, order: dict[str, Any]) -> None:
        points = conversions.from_path(message, self._settings.frame_prefix)
        self._give(order, path=json.dumps(points), task=FollowPath.name)

    def _take_path(self, message: PathMessage) -> None:
        self._give_path(message, self._way(PATH))

    def _take_goal(self, message: PoseStamped) -> None:
        goal = conversions.from_goal(message, self._settings.frame_prefix)
        self._give(self._way(GOAL), goal=goal, task=GoToGoal.name)

    def _take_velocity(self, message: Twist) -> None:
        forward, turn = conversions.from_twist(message)
        speeds = {"forward_speed": forward, "turn_rate": turn}
        task = make_task(TrackVelocity.name, self._robot, speeds, 1.0 / self._settings.rate)
        self._velocity = (task, self._now())
        if self._order.by != VELOCITY:
            # If no more come, the robot stands.
            self._give({"by": VELOCITY}, **_STAND)

    # The action

    def _follow(self, handle: ServerGoalHandle) -> None:
        try:
            self._give_path(handle.request.path, self._way(ACTION, one_lap=True))
        except ValueError as error:
            why = f"the path is refused: {error}"
            self._node.get_logger().error(f"a goal of follow_path: {why}", throttle_duration_sec=LOG_PERIOD)
            handle.execute()
            handle.abort()
            self._server.finish(handle, Result(error_code=Result.INVALID_PATH, error_msg=why))
            return
        self._handle = handle
        handle.execute()

    def _finish(self, code: int, why: str) -> None:
        """The action's goal, if one is under way, ends."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        if handle.is_cancel_requested:
            handle.canceled()
        elif code == Result.NONE:
            handle.succeed()
        else:
            handle.abort()
        self._server.finish(handle, Result(error_code=code, error_msg=why))

    def _watch(self) -> None:
        """End what has come to its end, else give feedback."""
        report, order, handle = self._report, self._order, self._handle
        if handle is not None and handle.is_cancel_requested:
            self._end(Progress.NOT_REACHED, "the goal was cancelled", Result.NONE)
        elif report.order.number != order.number or order.by == PARAMETERS or order.ended:
            return  # it has not been planned for yet, or need not be looked after
        elif report.progress is Progress.NOT_REACHED:
            self._end(report.progress, report.why, Result.NO_PROGRESS if report.remaining else Result.END_MISSED)
        elif handle is not None and report.progress is Progress.REACHED:
            self._end(report.progress, "", Result.NONE)
        elif handle is not None and report.time != self._shown.time:
            before, self._shown = self._shown, report
            came = before.remaining - report.remaining if before.order.number == order.number else math.nan
            handle.publish_feedback(
                FollowPathAction.Feedback(distance_to_goal=report.remaining, speed=came / (report.time - before.time))
            )

    def _end(self, ended: Progress, why: str, code: int) -> None:
        """The robot stands, since its order has ended."""
        by = self._order.by
        if ended is Progress.NOT_REACHED:
            self._node.get_logger().error(f"{by} has ended: {why}: the robot stands")
        self._give({"by": by, "ended": ended, "why": why}, **_STAND)
        self._finish(code, why)
