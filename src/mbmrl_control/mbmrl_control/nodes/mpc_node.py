"""Plans with the newest adapted model and publishes motor commands at a fixed rate."""

from __future__ import annotations

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
from rclpy.node import Node
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from visualization_msgs.msg import MarkerArray

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.system.plugins import blame, blamed
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import (
    check_message,
    from_robot_state,
    to_diagnostics,
    to_motor_command,
    to_seconds,
    with_prefix,
)
from mbmrl_base.toolkit.health import Level
from mbmrl_base.toolkit.parameters import declare, on_change
from mbmrl_base.toolkit.sole import SoleSubscription, claim, dispute, full_name, topics
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.ticker import Pace, Ticker
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.control.controller import Controller, Decision, Outcome, Situation
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.learners import make_learner
from mbmrl_control.nodes import conversions
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


class Source:
    """A prior, and the models that are adapted from it."""

    def __init__(self, prior: Prior) -> None:
        """Take a prior."""
        self.hash, self.normalizer = prior.hash, prior.normalizer
        self.learner = make_learner(prior)
        self.prior = self.learner.adapted_model({})


class MpcNode(Node):
    """Callbacks keep the newest state and model; one worker plans in each tick."""

    def __init__(self) -> None:
        """Load the prior and start the worker.

        Raises:
            ValueError: If a parameter or the prior is refused.
        """
        super().__init__("mpc_node", automatically_declare_parameters_from_overrides=True)
        self._settings = declare(self, PlannerSettings)
        prior = self._settings.load_prior()
        prior.check_rate(self._settings.rate)
        self._settings.prepare(1)
        self._robot = prior.robot
        self._source = self._next_source = Source(prior)
        self._model: tuple[int, Model] = (0, self._source.prior)
        period = 1.0 / self._settings.rate
        self._steering = Steering(self, prior.robot, self._settings, self._now)
        self._order = self._steering.order()
        roll_outs = self._settings.roll_outs
        planner = make_planner(
            self._settings.planner, prior.robot, self._settings.sampling, period, self._settings.seed, roll_outs
        )
        self._controller = Controller(self._order.task, planner, prior.normalizer, self._settings.state_timeout)
        self._newest: Arrival | None = None
        self._newest_model: AdaptedModel | None = None
        self._taken_model: AdaptedModel | None = None
        self._model_came = 0.0
        """When the newest model did, s by which states grow old."""
        self._path: bytes | None = None
        self._poses: Array | None = None
        self._failure = ""
        self._stopped = False
        self._stop = threading.Event()
        with blamed():
            self._controller.warm_up(self._model[1])
        # By this time discovery has found who else is there.
        self._held = claim(self, "motor_command", "planner")
        self._command = self.create_publisher(MotorCommand, "motor_command", qos.LATEST)
        self._status = self.create_publisher(PlannerStatus, "planner_status", qos.STATE)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATE)
        self._reference = self.create_publisher(PathMessage, "reference_path", qos.LATCHED)
        self._insights = self.create_publisher(PlanInsight, "plan_insight", qos.LATEST)
        self._markers = self.create_publisher(MarkerArray, "plan_markers", qos.LATEST)
        self._planned = self.create_publisher(PathMessage, "planned_path", qos.STATE)
        self._walked_path = self.create_publisher(PathMessage, "path_walked", qos.STATE)
        self._walked: deque[Observation] = deque(maxlen=4000)
        self._states = SoleSubscription(self, RobotState, "robot_state", self._take_state, qos.STATE)
        self._models = SoleSubscription(self, AdaptedModel, "adapted_model", self._take_model, qos.LATEST)
        self._steering.listen()
        on_change(self, self._settings, self._set)
        self.create_service(SetBool, "stop", self._latch_stop)
        take_over_garbage()
        self._ticker, self._pace = Ticker(period), Pace()
        self._record = TickRecord(period)
        self.create_timer(1.0, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.worker = Worker(self._control, "planning")
        how = f"{roll_outs.threads} threads, {str(roll_outs.precision).removeprefix('torch.')}"
        self.get_logger().info(f"planning at {self._settings.rate:g} Hz, {how}, prior {prior.hash[:12]}")

    def close(self) -> None:
        """Stop the worker and, last, the robot."""
        if hasattr(self, "worker"):
            self._stop.set()
            self.worker.join()
            self._send(self._controller.safe(Outcome.STOPPED, "the node ends"))
            # A publisher that is destroyed at once may take its last message with it.
            self._command.wait_for_all_acked(Duration(seconds=LAST_COMMAND_TIME))
            self._held.close()

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
        before, source = self._settings, None
        if (settings.learner, settings.checkpoint) != (before.learner, before.checkpoint):
            with blamed(ValueError):
                prior = settings.load_prior()
                source = Source(prior)
            prior.check_rate(settings.rate)
        self._steering.set(settings)
        self._settings, self._next_source = settings, source or self._next_source

    def _take_model(self, message: AdaptedModel) -> None:
        check_message(message, self._robot.name)
        wanted = self._next_source.hash
        if message.prior_hash not in (self._source.hash, wanted):
            raise ValueError(f"it is of another prior, {message.prior_hash[:12]}, this one is {wanted[:12]}")
        self._newest_model, self._model_came = message, self._now()

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
                report = self._steering.observe(self._order, self._controller.task, decision.why)
            except Exception as error:  # a task and a planner are code of others too: whatever they raise, ticks go on
                self._failure = blame(error)
                self.get_logger().error(f"{self._failure}: the robot takes its safe action", throttle_duration_sec=5.0)
                decision = self._controller.safe(Outcome.NO_FINITE_PLAN, self._failure)
                report = self._steering.observe(self._order, None, self._failure)
            self._send(decision)
            self._show(decision, newest)
            now = time.monotonic()
            header = newest.message.header if newest and decision.state_sequence else Header()
            task = self._controller.task.name
            status = conversions.to_planner_status(task, decision, report, header, self._source.hash)
            status.planning_time = now - start
            status.start_delay = start - self._ticker.current
            status.lateness = now - self._ticker.current
            status.ticks, status.missed_ticks = self._ticker.ticks, self._ticker.missed
            status.candidate_budget = self._controller.planner.budget.count
            if newest and decision.state_sequence:
                status.state_to_command = now - newest.monotonic
            self._record.observe(status.start_delay, status.lateness, status.planning_time, status.candidates)
            status.late_ticks = self._record.late
            self._status.publish(status)
            self._explain(decision, header)
            collect(self._ticker.ticks)
            try:
                self._controller.prepare(self._adapted_model()[1])
            except Exception as error:  # of a learner's code; the next tick meets it too
                self._failure = blame(error)

    def _explain(self, decision: Decision, header: Header) -> None:
        """Publish what is behind a decision, in every other tick: it takes some ms that the loop has left."""
        asked, drawn = (each.get_subscription_count() for each in (self._insights, self._markers))
        if self._ticker.ticks % 2 or not (asked or drawn):
            return
        try:
            insight = self._controller.explain(decision, self._source.prior)
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
            self._controller.use(self._order.task)
        if rivals := dispute(self, "motor_command"):
            self.get_logger().error(f"{rivals}: the robot takes its safe action", throttle_duration_sec=5.0)
        sequence, model = self._adapted_model()
        usable = newest if newest and not self._states.contested else None
        decision = self._controller.decide(
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
        self._poses = self._controller.task.reference() if decision.began else None
        return decision

    def _diagnose(self) -> None:
        ticks = self._record.report(self._ticker.ticks, self._ticker.missed)
        ticks.check(bool(self._failure), Level.ERROR, self._failure)
        ticks.check(bool(late := self._late), Level.WARN, late)
        self._failure = ""
        troubles = (self._states.trouble, self._models.trouble, *self._steering.troubles)
        parts = [ticks, topics(*troubles, dispute(self, "motor_command")), self._steering.health()]
        now = to_seconds(self.get_clock().now().to_msg())
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

    @property
    def _late(self) -> str:
        """Since when no model has come, if one is missing; else empty."""
        age = self._now() - self._model_came
        longest = max(self._settings.model_timeout, MOST_INTERVALS / self._settings.rate)
        if self._newest_model is None or 0.0 <= age <= longest:
            return ""
        return f"no model has come for {age:.1f} s: the prior is planned with"

    def _adapted_model(self) -> tuple[int, Model]:
        """Number and model of what is planned with: the newest model, or the prior once none comes any more."""
        found = self._newest_usable()
        return (0, self._source.prior) if self._late else found

    def _newest_usable(self) -> tuple[int, Model]:
        """Number and model of the newest model that can be used, else of the last one that could."""
        message = self._newest_model
        if message is None or message is self._taken_model:
            return self._model
        self._taken_model, source = message, self._next_source
        if message.prior_hash == source.hash and source is not self._source:
            self._source = source
            self._controller.plan_with(self._source.normalizer)
            self._model = (0, self._source.prior)
            self.get_logger().info(f"planning with models of prior {source.hash[:12]}")
        elif message.prior_hash != self._source.hash:
            return self._model
        try:
            update = conversions.from_adapted_model(message)
            self._model = (message.sequence, self._source.learner.adapted_model(update))
        except ValueError as error:
            self.get_logger().error(f"a model is refused: {error}", throttle_duration_sec=5.0)
        return self._model

    def _send(self, decision: Decision) -> None:
        seconds = to_seconds(self.get_clock().now().to_msg())
        command = to_motor_command(self._robot, decision.action, seconds, decision.sequence, decision.state_sequence)
        self._command.publish(with_prefix(command, self._settings.frame_prefix))

    def _show(self, decision: Decision, newest: Arrival | None) -> None:
        if newest is None:
            return
        task, seconds = self._controller.task, to_seconds(newest.message.header.stamp)
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
