"""Adapts the dynamics model to the last M transitions each tick, and publishes what changed."""

from __future__ import annotations

import queue
import sys
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Final

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import SetBool

from mbmrl_base.robots.features import TOLERANCE
from mbmrl_base.robots.observation import Observation
from mbmrl_base.system.plugins import blamed
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_robot_state, to_diagnostics, to_seconds
from mbmrl_base.toolkit.parameters import declare, on_change
from mbmrl_base.toolkit.sole import SoleSubscription, claim, full_name, topics
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.learners.change import ChangeDetector
from mbmrl_control.learners.online import OnlineAdapter
from mbmrl_control.nodes import conversions
from mbmrl_control.nodes.realtime import collect, take_over_garbage
from mbmrl_control.nodes.records import AdaptationRecord
from mbmrl_control.nodes.settings import AdaptationSettings
from mbmrl_msgs.msg import AdaptationStatus, AdaptedModel, RobotState

WARM_UP_AT: Final = 0.8
"""Share of the control interval, after an adaptation, at which the worker makes ready for the next one."""


class AdaptationNode(Node):
    """Takes each robot state; one worker adapts and publishes."""

    def __init__(self) -> None:
        """Load the prior and start the worker.

        Raises:
            ValueError: If a parameter or the prior is refused.
        """
        super().__init__("adaptation_node", automatically_declare_parameters_from_overrides=True)
        settings = declare(self, AdaptationSettings)
        prior = settings.load_prior()
        settings.prepare(settings.threads)
        self._robot = prior.robot
        self._rate, self._frozen = prior.settings.rate, False
        self._wanted = prior.hash
        """Hash of the prior that is used, or will be when the worker comes to it."""
        self._recent: deque[Observation] = deque(maxlen=prior.settings.window + 1)
        self._use(prior)
        self._states: queue.SimpleQueue[tuple[Observation, float] | Prior | None] = queue.SimpleQueue()
        self._held = claim(self, "adapted_model", "adaptation")
        self._model = self.create_publisher(AdaptedModel, "adapted_model", qos.LATEST)
        self._status = self.create_publisher(AdaptationStatus, "adaptation_status", qos.STATE)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATE)
        self._subscription = SoleSubscription(self, RobotState, "robot_state", self._take_state, qos.STATE)
        self.create_service(SetBool, "freeze", self._freeze)
        take_over_garbage()
        self._interval = self._nominal = 1.0 / self._rate
        self.create_timer(1.0, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.worker = Worker(self._adapt, "adaptation")
        on_change(self, settings, self._set)
        self._say()

    def close(self) -> None:
        """Stop the worker."""
        self._states.put(None)
        self.worker.join()
        self._held.close()

    def _set(self, settings: AdaptationSettings) -> None:
        """Take other parameters.

        Raises:
            ValueError: If they are refused.
        """
        with blamed(ValueError):
            prior = settings.load_prior()
        prior.check_rate(self._rate)
        if prior.hash != self._wanted:
            self._wanted = prior.hash
            self._states.put(prior)

    def _use(self, prior: Prior) -> None:
        """Adapt a prior from now on, and at once to what was seen lately."""
        adapter = OnlineAdapter(prior)
        for observation in self._recent:
            adapter.observe(observation)
        self._adapter, self._record, self._surprise = adapter, AdaptationRecord(), ChangeDetector()
        adapter.frozen = self._frozen
        self._hash, self._learner = prior.hash, prior.settings.learner

    def _say(self) -> None:
        self.get_logger().info(f"adapting by {self._learner}, prior {self._hash[:12]}")

    def _take_state(self, message: RobotState) -> None:
        self._states.put((from_robot_state(self._robot, message), time.monotonic()))

    def _next_item(self) -> tuple[Observation, float] | Prior | None:
        """The next observation and when it arrived, or another prior to adapt; None when the node ends.

        Shortly before it is due, the worker adapts for nothing: after a pause of most of an interval, in which
        other processes had the processor, its caches are cold and the first adaptation takes twice as long.
        """
        with suppress(queue.Empty):
            return self._states.get(timeout=WARM_UP_AT * self._interval)
        self._adapter.warm_up()
        return self._states.get()

    def _adapt(self) -> None:
        while (item := self._next_item()) is not None:
            if isinstance(item, Prior):
                self._use(item)
                self._say()
                continue
            observation, arrival = item
            # Of a state that is no transition, or not to be believed, it says nothing.
            if abs(observation.interval / self._nominal - 1.0) <= TOLERANCE:
                self._interval = observation.interval
            adaptation = self._adapter.observe(observation)
            self._recent.append(observation)
            self._surprise.update(adaptation.adapted_error)
            duration = time.monotonic() - arrival
            about = self._robot.name, adaptation, observation.time
            self._model.publish(conversions.to_adapted_model(*about, self._hash, self._learner))
            surprise = self._surprise.deviations
            self._status.publish(conversions.to_adaptation_status(*about, self._adapter, surprise, duration))
            self._record.observe(adaptation)
            if adaptation.failure:
                self.get_logger().error(
                    f"the learner failed, the prior takes its place: {adaptation.failure}", throttle_duration_sec=5.0
                )
            collect(adaptation.sequence)

    def _diagnose(self) -> None:
        now = to_seconds(self.get_clock().now().to_msg())
        parts = [self._record.report(), topics(self._subscription.trouble)]
        self._diagnostics.publish(to_diagnostics(parts, full_name(self), "", now))

    def _freeze(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._adapter.frozen = self._frozen = request.data
        response.success = True
        response.message = "the adapted model is kept as it is" if request.data else "adapting each tick"
        self.get_logger().info(response.message)
        return response


main = partial(run, AdaptationNode)

if __name__ == "__main__":
    sys.exit(main())
