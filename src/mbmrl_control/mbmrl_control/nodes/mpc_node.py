"""Plans with the newest adapted model and publishes motor commands at a fixed rate."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Path as PathMessage
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.system.plugins import blame, blamed
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import (
    from_robot_state,
    to_diagnostics,
    to_motor_command,
    to_seconds,
    with_prefix,
)
from mbmrl_base.toolkit.health import Level
from mbmrl_base.toolkit.managed import ManagedNode
from mbmrl_base.toolkit.parameters import declare, on_change
from mbmrl_base.toolkit.sole import SoleSubscription, claim, dispute, full_name, topics
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.ticker import Pace, Ticker
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.control.controller import Controller, Decision, Outcome, Situation
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.nodes import conversions
from mbmrl_control.nodes.newest_model import NewestModel
from mbmrl_control.nodes.realtime import collect, take_over_garbage
from mbmrl_control.nodes.records import TickRecord
from mbmrl_control.nodes.settings import PlannerSettings
from mbmrl_control.nodes.steering import Steering
from mbmrl_control.planning import make_planner
from mbmrl_msgs.msg import AdaptedModel, MotorCommand, PlanInsight, PlannerStatus, RobotState

_WALKED: Final = 300
"""Poses of the path walked that are shown at most; more would hold up the next plan."""
_APART: Final = 4
"""States from one pose of the path walked to the next."""
MOST_INTERVALS: Final = 3
"""For which a model may be missing, however slow the rate."""
LAST_COMMAND_TIME: Final = 0.5
"""Longest time that the last command, the safe action, has to arrive when the node ends, s."""


@dataclass(frozen=True)
class Arrival:
    """A state that arrived, s of the monotonic clock, and s by which states grow old."""

    message: RobotState
    observation: Observation
    monotonic: float
    time: float


class MpcNode(ManagedNode):
    """Callbacks keep the newest state and model; one worker plans in each tick.

    Configured it listens to the robot and to who steers it; active it commands the robot.
    """

    def __init__(self) -> None:
        """Declare parameters, and command the robot if that is wanted.

        Raises:
            ValueError: If a parameter or the prior is refused, or another node commands the robot.
        """
        super().__init__("mpc_node")
        self._settings = declare(self, PlannerSettings)
        self._settings.prepare(1)
        self._controller: Controller | None = None
        self._held: socket.socket | None = None
        self._stopped = False
        self._stop = threading.Event()
        self.worker: Worker | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATE)
        self.create_service(SetBool, "stop", self._latch_stop)
        self.create_timer(1.0, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))
        on_change(self, self._settings, self._set)
        self.keep_what_is_there()
        if self._settings.autostart:
            self.bring_up()

    def close(self) -> None:
        """Stop the worker and, last, the robot."""
        self._rest()

    # The lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the prior, and listen."""
        try:
            self._prepare(self._settings.load_prior())
        except ValueError as error:
            return self.refuse(error)
        self._status = self.create_publisher(PlannerStatus, "planner_status", qos.STATE)
        self._reference = self.create_publisher(PathMessage, "reference_path", qos.LATCHED)
        self._insights = self.create_publisher(PlanInsight, "plan_insight", qos.LATEST)
        self._markers = self.create_publisher(MarkerArray, "plan_markers", qos.LATEST)
        self._planned = self.create_publisher(PathMessage, "planned_path", qos.STATE)
        self._walked_path = self.create_publisher(PathMessage, "path_walked", qos.STATE)
        self._states = SoleSubscription(self, RobotState, "robot_state", self._take_state, qos.STATE)
        self._models = SoleSubscription(self, AdaptedModel, "adapted_model", self._model.take, qos.LATEST)
        self._steering.listen()
        return TransitionCallbackReturn.SUCCESS

    def _prepare(self, prior: Prior) -> None:
        """Make ready to plan.

        Raises:
            ValueError: If a parameter or the prior is refused.
        """
        prior.check_rate(self._settings.rate)
        self._robot = prior.robot
        self._period = 1.0 / self._settings.rate
        self._steering = Steering(self, prior.robot, self._settings, self._now)
        self._order = self._steering.order()
        roll_outs = self._settings.roll_outs
        planner = make_planner(
            self._settings.planner, prior.robot, self._settings.sampling, self._period, self._settings.seed, roll_outs
        )
        controller = Controller(self._order.task, planner, prior.normalizer, self._settings.state_timeout)
        self._newest: Arrival | None = None
        longest = max(self._settings.model_timeout, MOST_INTERVALS * self._period)
        self._model = NewestModel(prior, longest, self._now)
        self._normalizer = prior.normalizer
        self._path: bytes | None = None
        self._poses: Array | None = None
        self._failure = ""
        self._walked: deque[Observation] = deque(maxlen=4000)
        self._ticker, self._pace = Ticker(self._period), Pace()
        self._record = TickRecord(self._period)
        with blamed():
            controller.warm_up(self._model.prior)
        self._controller = controller
        self._how = f"{roll_outs.threads} threads, {str(roll_outs.precision).removeprefix('torch.')}"

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to command the robot."""
        try:
            self._held = claim(self, "motor_command", "planner")
        except ValueError as error:
            return self.refuse(error)
        self._command = self.create_publisher(MotorCommand, "motor_command", qos.LATEST)
        take_over_garbage()
        self._ticker = Ticker(self._period)
        self._record = TickRecord(self._period)
        self._stop.clear()
        self.worker = Worker(self._control, "planning")
        what = f"{self._settings.rate:g} Hz, {self._how}, prior {self._model.hash[:12]}"
        self.get_logger().info(f"planning at {what}")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the robot, and command it no more."""
        self._rest()
        self.get_logger().info("the robot is not commanded")
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the prior, and listen no more."""
        self._rest()
        if self._controller is not None:
            self._steering.close()
            self._controller = None
        self.destroy_the_rest()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As `on_cleanup`."""
        return self.on_cleanup(state)

    def _rest(self) -> None:
        """Stop the worker and, last, the robot, and leave it to others."""
        if self.worker is None or self._held is None:
            return
        self._stop.set()
        self.worker.join()
        self._send(self._planning.safe(Outcome.STOPPED, "the node ends"))
        # A publisher that is destroyed at once may take its last message with it.
        self._command.wait_for_all_acked(Duration(seconds=LAST_COMMAND_TIME))
        self.destroy_publisher(self._command)
        self._held.close()
        self._held = None

    @property
    def _planning(self) -> Controller:
        """What plans, of a node that is configured."""
        assert self._controller is not None
        return self._controller

    def _take_state(self, message: RobotState) -> None:
        arrival = time.monotonic()
        observation = from_robot_state(self._robot, message)
        self._newest = Arrival(message, observation, arrival, self._now())
        if observation.sequence % _APART == 0:
            self._walked.append(observation)
        if self._time_is_simulated:
            self._pace.observe(to_seconds(message.header.stamp), arrival)
            self._ticker.period = self._record.period = 1.0 / (self._settings.rate * self._pace.rate)
        self._ticker.follow(arrival, self._settings.state_lead * self._ticker.period)

    @property
    def _time_is_simulated(self) -> bool:
        """Whether time is that of /clock, and any was published there."""
        clock = self.get_clock()
        return bool(clock.ros_time_is_active and clock.now().nanoseconds > 0)

    def _now(self) -> float:
        """Time by which states grow old, s: that of /clock where it is simulated, else the machine's steady one."""
        return self.get_clock().now().nanoseconds * 1e-9 if self._time_is_simulated else time.monotonic()

    def _set(self, settings: PlannerSettings) -> None:
        """Take other parameters; models of another prior are planned with from the first one on that comes.

        Raises:
            ValueError: If they are refused.
        """
        before, prior = self._settings, None
        if self._controller is None:
            with blamed(ValueError):
                settings.check()
            self._settings = settings
            return
        if (settings.learner, settings.checkpoint) != (before.learner, before.checkpoint):
            with blamed(ValueError):
                prior = settings.load_prior()
            prior.check_rate(settings.rate)
        self._steering.set(settings)
        self._settings = settings
        if prior is not None:
            self._model.use(prior)

    def _latch_stop(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._stopped = request.data
        response.success = True
        response.message = "the robot takes its safe action until released" if request.data else "the stop is released"
        self.get_logger().info(response.message)
        return response

    def _control(self) -> None:
        seen, then = None, -1.0
        while self._ticker.wait(self._stop):
            start = time.monotonic()
            newest = self._newest
            before, seen, then = (seen, then), newest, self._now()
            if self._time_is_simulated and seen is before[0] and then == before[1] and not self._stopped:
                continue  # time stands still: what was planned is for this moment
            try:
                decision = self._decide(newest)
                report = self._steering.observe(self._order, self._planning.task, decision.why)
            except Exception as error:  # a task and a planner are code of others too: whatever they raise, ticks go on
                self._failure = blame(error)
                self.get_logger().error(f"{self._failure}: the robot takes its safe action", throttle_duration_sec=5.0)
                decision = self._planning.safe(Outcome.NO_FINITE_PLAN, self._failure)
                report = self._steering.observe(self._order, None, self._failure)
            self._send(decision)
            self._show(decision, newest)
            now = time.monotonic()
            header = newest.message.header if newest and decision.state_sequence else Header()
            task = self._planning.task.name
            status = conversions.to_planner_status(task, decision, report, header, self._model.hash)
            status.planning_time = now - start
            status.start_delay = start - self._ticker.current
            status.lateness = now - self._ticker.current
            status.ticks, status.missed_ticks = self._ticker.ticks, self._ticker.missed
            status.candidate_budget = self._planning.planner.budget.count
            if newest and decision.state_sequence:
                status.state_to_command = now - newest.monotonic
            self._record.observe(status.start_delay, status.lateness, status.planning_time, status.candidates)
            status.late_ticks = self._record.late
            self._status.publish(status)
            self._explain(decision, header)
            collect(self._ticker.ticks)
            try:
                self._planning.prepare(self._adapted_model()[1])
            except Exception as error:  # of a learner's code; the next tick meets it too
                self._failure = blame(error)

    def _explain(self, decision: Decision, header: Header) -> None:
        """Publish what is behind a decision, in every other tick: it takes some ms that the loop has left."""
        asked, drawn = (each.get_subscription_count() for each in (self._insights, self._markers))
        if self._ticker.ticks % 2 or not (asked or drawn):
            return
        try:
            insight = self._planning.explain(decision, self._model.prior)
        except Exception as error:  # of a task's or a learner's code
            self._failure = blame(error)
            return
        if insight is not None and drawn:
            markers = conversions.to_plan_markers(insight, to_seconds(header.stamp))
            self._markers.publish(with_prefix(markers, self._settings.frame_prefix))
        if insight is not None and asked:
            period = 1.0 / self._settings.rate
            self._insights.publish(conversions.to_plan_insight(self._robot.name, decision, insight, header, period))

    def _decide(self, newest: Arrival | None) -> Decision:
        before, self._order = self._order, self._steering.order()
        if self._order.task is not before.task:
            self._planning.use(self._order.task)
        # By the clocks of two simulators in turn no age means anything.
        clocks = dispute(self, "/clock") if self._time_is_simulated else ""
        if rivals := dispute(self, "motor_command") or clocks:
            self.get_logger().error(f"{rivals}: the robot takes its safe action", throttle_duration_sec=5.0)
        sequence, model = self._adapted_model()
        usable = newest if newest and not self._states.contested else None
        decision = self._planning.decide(
            Situation(
                usable.observation if usable else None,
                model,
                sequence,
                age=self._now() - usable.time if usable else 0.0,
                command_sequence=usable.message.command_sequence if usable else 0,
                stop="the stop is latched" if self._stopped else rivals,
                deadline=self._ticker.current + self._settings.plan_share * self._ticker.period,
            )
        )
        self._poses = self._planning.task.reference() if decision.began else None
        return decision

    def _diagnose(self) -> None:
        now = to_seconds(self.get_clock().now().to_msg())
        if not self.is_active:
            rests = self.rests("ticks", "the robot is not commanded")
            self._diagnostics.publish(to_diagnostics([rests], full_name(self), "", now))
            return
        ticks = self._record.report(self._ticker.ticks, self._ticker.missed)
        ticks.check(bool(self._failure), Level.ERROR, self._failure)
        ticks.check(bool(late := self._model.late), Level.WARN, late)
        self._failure = ""
        troubles = (self._states.trouble, self._models.trouble, *self._steering.troubles)
        rivals = [dispute(self, topic) for topic in ("motor_command", "/clock")]
        parts = [ticks, topics(*troubles, *rivals), self._steering.health()]
        self._diagnostics.publish(to_diagnostics(parts, full_name(self), "", now))
        # Who reads without asking for what was latched comes to know it too.
        if self._path is not None:
            self._reference.publish(self._path)
        if self._walked_path.get_subscription_count():
            self._show_walked()

    def _show_walked(self) -> None:
        """The path walked in this episode, as far as it is known."""
        states = [seen for seen in self._walked if seen.episode == self._walked[-1].episode]
        states = states[:: -(-len(states) // _WALKED) or 1]
        if states and self._robot.features.position:
            poses = self._robot.features.pose(torch.from_numpy(np.array([seen.state for seen in states])))
            path = conversions.to_path(poses.numpy()[np.isfinite(poses.numpy()).all(1)], states[-1].time)
            self._walked_path.publish(with_prefix(path, self._settings.frame_prefix))

    def _adapted_model(self) -> tuple[int, Model]:
        """Number and model of what is planned with."""
        found = self._model.to_plan_with()
        if self._model.normalizer is not self._normalizer:
            self._normalizer = self._model.normalizer
            self._planning.plan_with(self._normalizer)
            self.get_logger().info(f"planning with models of prior {self._model.hash[:12]}")
        if self._model.refusal:
            self.get_logger().error(self._model.refusal, throttle_duration_sec=5.0)
        return found

    def _send(self, decision: Decision) -> None:
        seconds = to_seconds(self.get_clock().now().to_msg())
        command = to_motor_command(self._robot, decision.action, seconds, decision.sequence, decision.state_sequence)
        self._command.publish(with_prefix(command, self._settings.frame_prefix))

    def _show(self, decision: Decision, newest: Arrival | None) -> None:
        if newest is None:
            return
        task, seconds = self._planning.task, to_seconds(newest.message.header.stamp)
        if decision.began and self._poses is not None:
            path = conversions.to_path(self._poses[:: max(1, len(self._poses) // 1000)], seconds)
            # As bytes it costs the next tick nothing to send it again.
            self._path = serialize_message(with_prefix(path, self._settings.frame_prefix))
            self._reference.publish(self._path)
        planned = decision.plan.poses if decision.plan else None
        if planned is not None and self._planned.get_subscription_count():
            path = conversions.to_path(task.to_states(planned.numpy()), seconds)
            self._planned.publish(with_prefix(path, self._settings.frame_prefix))


main = partial(run, MpcNode)

if __name__ == "__main__":
    sys.exit(main())
