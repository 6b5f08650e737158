"""Adapts the dynamics model to the last M transitions each tick, and publishes what changed."""

from __future__ import annotations

import socket
import sys
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Final

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from std_srvs.srv import SetBool

from mbmrl_base.robots.features import TOLERANCE
from mbmrl_base.robots.observation import Observation
from mbmrl_base.system.plugins import blamed
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_robot_state, to_diagnostics, to_seconds
from mbmrl_base.toolkit.managed import ManagedNode
from mbmrl_base.toolkit.parameters import declare, on_change
from mbmrl_base.toolkit.sole import SoleSubscription, claim, full_name, topics
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.learners.change import ChangeDetector
from mbmrl_control.learners.online import OnlineAdapter
from mbmrl_control.nodes import conversions
from mbmrl_control.nodes.inbox import Inbox
from mbmrl_control.nodes.realtime import collect, take_over_garbage
from mbmrl_control.nodes.records import AdaptationRecord
from mbmrl_control.nodes.settings import AdaptationSettings
from mbmrl_msgs.msg import AdaptationStatus, AdaptedModel, RobotState

WARM_UP_AT: Final = 0.8
"""Share of the control interval, after an adaptation, at which the worker makes ready for the next one."""


class AdaptationNode(ManagedNode):
    """Takes each robot state; one worker adapts and publishes.

    Configured it has a prior; active it adapts it, and publishes models.
    """

    def __init__(self) -> None:
        """Declare parameters, and adapt if that is wanted.

        Raises:
            ValueError: If a parameter or the prior is refused, or another node publishes models.
        """
        super().__init__("adaptation_node")
        self._settings = declare(self, AdaptationSettings)
        self._settings.prepare(self._settings.threads)
        self._prior: Prior | None = None
        self._held: socket.socket | None = None
        self._frozen = False
        self.worker: Worker | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATE)
        self.create_service(SetBool, "freeze", self._freeze)
        self.create_timer(1.0, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))
        on_change(self, self._settings, self._set)
        self.keep_what_is_there()
        if self._settings.autostart:
            self.bring_up()

    def close(self) -> None:
        """Stop the worker."""
        self._rest()

    # The lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the prior."""
        try:
            with blamed(ValueError):
                self._prior = prior = self._settings.load_prior()
        except ValueError as error:
            return self.refuse(error)
        self._robot, self._interval = prior.robot, 1.0 / prior.settings.rate
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to adapt, from the prior on."""
        try:
            self._held = claim(self, "adapted_model", "adaptation")
        except ValueError as error:
            return self.refuse(error)
        assert self._prior is not None
        self._recent: deque[Observation] = deque(maxlen=self._prior.settings.window + 1)
        self._use(self._prior)
        self._inbox: Inbox[tuple[Observation, float]] = Inbox(self._recent.maxlen or 1)
        self._model = self.create_publisher(AdaptedModel, "adapted_model", qos.LATEST)
        self._status = self.create_publisher(AdaptationStatus, "adaptation_status", qos.STATE)
        self._subscription = SoleSubscription(self, RobotState, "robot_state", self._take_state, qos.STATE)
        take_over_garbage()
        self.worker = Worker(self._adapt, "adaptation")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Adapt no more; the planner then plans with the prior."""
        self._rest()
        self.destroy_the_rest()
        self.get_logger().info("not adapting")
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the prior."""
        self._rest()
        self.destroy_the_rest()
        self._prior = None
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As `on_cleanup`."""
        return self.on_cleanup(state)

    def _rest(self) -> None:
        """Stop the worker, and leave the topic of models to others."""
        if self.worker is not None and self._held is not None:
            self._inbox.close()
            self.worker.join()
            self._held.close()
            self._held = None

    def _set(self, settings: AdaptationSettings) -> None:
        """Take other parameters.

        Raises:
            ValueError: If they are refused.
        """
        with blamed(ValueError):
            prior = settings.load_prior()
        if self._prior is not None:
            prior.check_rate(self._prior.settings.rate)
            if prior.hash != self._prior.hash:
                self._prior = prior  # the worker takes it with the next state
        self._settings = settings

    def _use(self, prior: Prior) -> None:
        """Adapt a prior from now on, and at once to what was seen lately."""
        adapter = OnlineAdapter(prior)
        for observation in self._recent:
            adapter.observe(observation)
        self._adapter, self._record, self._surprise = adapter, AdaptationRecord(), ChangeDetector()
        adapter.frozen = self._frozen
        self._used = prior
        self.get_logger().info(f"adapting by {prior.settings.learner}, prior {prior.hash[:12]}")

    def _take_state(self, message: RobotState) -> None:
        self._inbox.put((from_robot_state(self._robot, message), time.monotonic()))

    def _next_item(self) -> tuple[Observation, float] | None:
        """The next observation and when it arrived; None when the node is to rest.

        Shortly before it is due, the worker adapts for nothing: after a pause of most of an interval, in which
        other processes had the processor, its caches are cold and the first adaptation takes twice as long.
        """
        with suppress(TimeoutError):
            return self._inbox.get(WARM_UP_AT * self._interval)
        self._adapter.warm_up()
        return self._inbox.get()

    def _adapt(self) -> None:
        while (item := self._next_item()) is not None:
            observation, arrival = item
            if (prior := self._prior) is not None and prior is not self._used:
                self._use(prior)
            # Of a state that is no transition, or not to be believed, it says nothing.
            if abs(observation.interval * self._used.settings.rate - 1.0) <= TOLERANCE:
                self._interval = observation.interval
            adaptation = self._adapter.observe(observation)
            self._recent.append(observation)
            self._surprise.update(adaptation.adapted_error)
            duration = time.monotonic() - arrival
            about = self._robot.name, adaptation, observation.time
            self._model.publish(conversions.to_adapted_model(*about, self._used.hash, self._used.settings.learner))
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
        if self.is_active:
            parts = [self._record.report(self._inbox.left_out), topics(self._subscription.trouble)]
        else:
            parts = [self.rests("adaptation", "the prior is planned with")]
        self._diagnostics.publish(to_diagnostics(parts, full_name(self), "", now))

    def _freeze(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._frozen = request.data
        if self._held is not None:
            self._adapter.frozen = request.data
        response.success = True
        response.message = "the adapted model is kept as it is" if request.data else "adapting each tick"
        self.get_logger().info(response.message)
        return response


main = partial(run, AdaptationNode)

if __name__ == "__main__":
    sys.exit(main())
