"""The robot on a serial port as a lifecycle node: the same topics and state as the simulator's.

Configured it has opened the port and shaken hands; active its motors are enabled. Where they are switched off
though nobody asked for it, since the link was lost or the robot did so, the node is inactive again: to activate it
is what lets the robot move.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from std_srvs.srv import Trigger

from mbmrl_base.robots.millirobot.body import JOINT_NAMES, of_joints
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_motor_command, to_diagnostics, to_seconds
from mbmrl_base.toolkit.health import Level
from mbmrl_base.toolkit.managed import ManagedNode
from mbmrl_base.toolkit.parameters import declare, refuse_simulated_time
from mbmrl_base.toolkit.robot_topics import RobotTopics
from mbmrl_base.toolkit.sole import SoleSubscription, claim, dispute, full_name, topics
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.hardware.health import Health
from mbmrl_control.hardware.link.command_book import CommandGate
from mbmrl_control.hardware.link.link import Link
from mbmrl_control.hardware.link.link_data import Sample
from mbmrl_control.hardware.link.port import DisobeyedError, LinkError
from mbmrl_control.hardware.measured import Measured
from mbmrl_control.hardware.news import News
from mbmrl_control.hardware.pose import DeadReckoning, PoseFilter
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.hardware.settings import BridgeSettings
from mbmrl_control.hardware.state_builder import StateBuilder
from mbmrl_control.nodes import hardware_conversions
from mbmrl_msgs.msg import MotorCommand

DIAGNOSTICS_PERIOD = 1.0
"""s (REP 107)."""
REACTIVATION_PERIOD = 0.1
"""Time between two looks whether a lost link is there again, s."""


class SerialBridgeNode(ManagedNode):
    """Callbacks hand commands and poses to the link's thread, which publishes each state when it is there."""

    def __init__(self) -> None:
        """Declare parameters and topics, and bring the robot up if that is wanted.

        Raises:
            ValueError: If a parameter is refused, or the robot cannot be brought up.
        """
        super().__init__("serial_bridge_node")
        self._settings = declare(self, BridgeSettings)
        refuse_simulated_time(self)
        self._codec = self._settings.codec("host")
        self._held = claim(self, "robot_state", "robot")
        self.worker = Worker(lambda: None, "link")
        self._link: Link | None = None
        self._health: Health | None = None
        self._news: News | None = None
        self._source = ""
        self._fell = threading.Event()
        self._lost = self._comes_back = False
        self._gate = CommandGate(MILLIROBOT, self._settings.command_timeout)
        self._poses = PoseFilter(self._settings.pose_window, self._settings.pose_timeout)
        frames = self._settings.frame_prefix, self._settings.publish_tf
        self._topics = RobotTopics(self, MILLIROBOT, JOINT_NAMES, *frames)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._commands = SoleSubscription(self, MotorCommand, "motor_command", self._take_command, qos.LATEST)
        self.create_subscription(PoseStamped, "motion_capture/pose", self._take_pose, qos.SENSOR)
        self.create_subscription(Odometry, "motion_capture/odom", self._take_pose, qos.SENSOR)
        self.create_service(Trigger, "emergency_stop", self._stop_at_once)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD, self._diagnose, clock=steady)
        self.create_timer(REACTIVATION_PERIOD, self._look, clock=steady)
        if self._settings.autostart:
            self.bring_up()

    def close(self) -> None:
        """Stop the robot and close the port."""
        if self._link is not None:
            self._link.close()
            self.worker.join()
            self._link = None
        self._held.close()

    # The lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the port and shake hands."""
        settings = self._settings
        measured = Measured(settings.nominal_voltage)
        self._builder = StateBuilder(settings.rate, self._poses, DeadReckoning(settings.path_per_turn), measured)
        link = Link(settings, self._codec, self._take_sample, self._fall)
        worker = Worker(link.run, "link")
        try:
            robot = link.wait_open()
            made_up = measured.require()
        except LinkError as error:
            link.close()
            worker.join()
            return self.refuse(error)
        self._link, self.worker = link, worker
        self._health = Health(link, self._poses, self._builder.clock, measured.missing, self._gate.refused)
        self.get_logger().info(
            f"{robot.firmware} on {settings.port}, telemetry at {link.telemetry_rate:g} Hz,"
            f" {f'dead-man of {settings.dead_man:g} s' if robot.dead_man else 'no dead-man on board'}"
        )
        for sentence in made_up:
            self.get_logger().warning(sentence)
        remedy = (
            f"activate the bridge (`mbmrl activate`, `ros2 lifecycle set {self.get_fully_qualified_name()} activate`)"
        )
        self._news = News(link, f"{remedy} to let the robot move")
        if settings.reactivate and link.status.doubt:
            self.get_logger().warning(
                f"reactivate has no effect, since after a lost link {link.status.doubt}: it needs a device id, or an"
                " adapter with a serial number"
            )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Enable the motors."""
        assert self._link is not None
        if hindrance := self._hindrance():
            return self.refuse(hindrance)
        self._fell.clear()
        self._comes_back = False
        try:
            self._link.enable()
        except LinkError as error:
            return self.refuse(error)
        self._builder.begin_episode()
        self.get_logger().info("the motors are enabled")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the motors; without a link the robot has done so by itself."""
        if self._link is not None and self._link.status.state == "enabled":
            try:
                self._link.disable()
                self.get_logger().info("the motors are off")
            except LinkError as error:
                self.get_logger().warning(f"the motors stop by the robot's dead-man: {error}")
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the motors and close the port."""
        if self._link is not None:
            self._link.close()
            self.worker.join()
            self._link = self._health = self._news = None
        self._comes_back = False
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As `on_cleanup`."""
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to the state before `on_configure`: motors off, port closed."""
        self.get_logger().error("a transition has failed: the motors are off, the port is closed")
        return self.on_cleanup(state)

    def _hindrance(self) -> str:
        """Why the motors must be off: others command, or states are of another time; empty: they need not."""
        now = time.monotonic()
        return self._commands.dispute or self._builder.clock.fault(now) or self._poses.clock.fault(now)

    def _fall(self, reason: str, lost: bool) -> None:
        """The motors are off though nobody asked for it; called in the link's thread."""
        self.reason, self._lost = reason, lost
        self._fell.set()

    def _look(self) -> None:
        """Let the lifecycle follow what became of the link and the clocks, and of who commands."""
        if self.is_active and (hindrance := self._hindrance()):
            self._fall(hindrance, lost=False)
        logged = ""
        if self._fell.is_set():
            self._fell.clear()
            if self.is_active:
                logged = self.reason
                self.get_logger().error(f"the motors are off: {logged}", throttle_duration_sec=1.0)
                self.trigger_deactivate()
                # A robot that has switched itself off had a reason.
                self._comes_back = self._settings.reactivate and self._lost
        if self._link is None or self._news is None:
            return
        ready = self._link.status.state == "ready"
        # Nothing but a person enables a robot that was stopped, or may be another one.
        held = self._link.is_stopped or self._link.status.doubt or self._link.rest.wrong
        self._comes_back &= not (ready and held)
        for level, sentence in self._news.look(logged, self._comes_back):
            self._tell(level, sentence)
        if self._comes_back and ready:
            self.trigger_activate()

    def _tell(self, level: Level, sentence: str) -> None:
        """Log a sentence; a line of code that logs has one level in rclpy."""
        if level == Level.ERROR:
            self.get_logger().error(sentence)
        elif level == Level.WARN:
            self.get_logger().warning(sentence)
        else:
            self.get_logger().info(sentence)

    # The robot's state; in the link's thread

    def _take_sample(self, sample: Sample) -> None:
        if (reading := self._builder.take(sample)) is None:
            return
        observation, telemetry = reading.observation, reading.telemetry
        observation = replace(observation, time=observation.time + self._clock_offset())
        self._source = reading.source
        if reading.cause and self._health is not None:  # a robot that is refused gets one sentence
            self.get_logger().info(f"episode {observation.episode} begins: {reading.cause}")
        phases = (math.remainder(phase, 2 * math.pi) for phase in telemetry.phases)
        joints = of_joints(*phases), of_joints(*telemetry.speeds)
        amend = partial(hardware_conversions.amend, reading)
        self._topics.publish(observation, reading.command, joints, amend)

    def _clock_offset(self) -> float:
        """ROS time less the monotonic clock's, s."""
        return float(self.get_clock().now().nanoseconds * 1e-9 - time.monotonic())

    # What arrives

    def _take_command(self, message: MotorCommand) -> None:
        if self._link is None or not self.is_active:
            return
        issued = to_seconds(message.header.stamp)
        command = from_motor_command(MILLIROBOT, message)
        if refusal := self._gate.refusal(command, issued, self.get_clock().now().nanoseconds * 1e-9):
            self.get_logger().warning(refusal, throttle_duration_sec=5.0)
            return
        left, right = command.tolist()
        self._link.command(left, right, message.sequence)

    def _take_pose(self, message: PoseStamped | Odometry) -> None:
        now = time.monotonic()
        taken = to_seconds(message.header.stamp) - self._clock_offset()
        self._poses.add(hardware_conversions.from_pose(message, taken), now)
        if self._poses.clock.is_another:
            self.get_logger().warning(
                "motion capture's stamps are of another clock than this machine's: the time of arrival counts",
                once=True,
            )

    def _stop_at_once(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._comes_back = False
        if self._link is None:
            response.message = "there is no link"
            return response
        try:
            self._link.emergency_stop()
            response.success, response.message = True, "stopped: activate the bridge to let the robot move again"
            self.get_logger().warning("emergency stop: the motors are off until the bridge is activated")
        except LinkError as error:
            response.message = f"{error}: cut the robot's power"
            missing = "obey" if isinstance(error, DisobeyedError) else "acknowledge"
            self.get_logger().error(f"emergency stop: the robot did not {missing} it: {response.message}")
        if self.is_active:
            self.trigger_deactivate()
        return response

    def _diagnose(self) -> None:
        if self._health is not None:
            parts = self._health.look(self._source, self.is_active)
            parts.append(topics(self._commands.trouble, dispute(self, "robot_state")))
            now = self.get_clock().now().nanoseconds * 1e-9
            self._diagnostics.publish(to_diagnostics(parts, full_name(self), self._settings.port, now))


def main() -> int:
    """Entry point."""
    # Before other processes, if the system allows it: a robot waits for what this one does.
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return run(SerialBridgeNode)


if __name__ == "__main__":
    sys.exit(main())
