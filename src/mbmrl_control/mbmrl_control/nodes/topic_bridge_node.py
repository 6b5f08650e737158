"""A robot that speaks ROS by topics of its own, as a managed node: the same states and commands as the simulator's.

Configured it listens to the robot, and states are published. Active it commands: from each tick on the newest command
is in force, or the safe action. Inactive others may command the robot; what they do is listened to.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Final

from diagnostic_msgs.msg import DiagnosticArray
from pydantic import Field
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from std_srvs.srv import Trigger

from mbmrl_base.robots.contract.contract import Contract, Reliability, load_contract
from mbmrl_base.robots.contract.fields import FieldError
from mbmrl_base.robots.contract.sampler import SECOND, Sampler
from mbmrl_base.robots.contract.writer import Writer
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_motor_command, to_diagnostics, to_seconds
from mbmrl_base.toolkit.health import Level, Part
from mbmrl_base.toolkit.managed import ManagedNode
from mbmrl_base.toolkit.parameters import declare
from mbmrl_base.toolkit.robot_topics import RobotTopics
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_base.toolkit.sole import DISCOVERY_TIME, SoleSubscription, claim, dispute, full_name, topics
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.hardware.link.command_book import CommandGate
from mbmrl_control.nodes.contract_topics import absolute, classes_of, profile_of
from mbmrl_msgs.msg import MotorCommand

LOOK_PERIOD: Final = 0.1
"""Time between two looks whether somebody else commands the robot, s."""
POLL: Final = 0.002
"""Longest time between two looks at a clock that is simulated, s."""
APART: Final = 1.0
"""Time from a stamp to its arrival from which on a state is of another time, s."""
LAST_COMMAND_TIME: Final = 0.5
"""Longest time that the safe action has to arrive where the node stops to command, s."""
OWN_TOPICS: Final = ("robot_state", "motor_command", "cmd_vel", "goal_pose", "path", "robot")
"""Topics of the stack that no topic of the contract may be."""


class TopicBridgeSettings(NodeSettings):
    """Parameters of the topic bridge."""

    robot: str = Field("", description="Contract, *.yaml: which fields of which topics the robot's numbers are")
    autostart: bool = Field(True, description="Whether to command the robot from the start on")
    command_timeout: float = Field(
        0.0,
        ge=0.0,
        le=2.0,
        description="Age from which a command is in force no more, s; more than a control interval; 0: three",
    )

    def contract(self) -> Contract:
        """The contract.

        Raises:
            ValueError: If it cannot be used here.
        """
        if not self.robot:
            raise ValueError("a contract is missing: wanted is its file, *.yaml")
        contract = load_contract(Path(self.robot).expanduser())
        if not contract.actions:
            raise ValueError(f"{self.robot}: actions are missing: there would be nothing to command")
        try:
            classes_of(contract)
        except ValueError as error:
            raise ValueError(f"{self.robot}: {error}") from None
        if 0.0 < self.command_timeout <= 1.0 / contract.rate:
            raise ValueError(
                f"parameter 'command_timeout' is {self.command_timeout:g}: wanted is more than a control interval,"
                f" {1.0 / contract.rate:g} s"
            )
        return contract

    def check(self) -> Robot:
        """As of `NodeSettings`."""
        return self.contract().robot


class TopicBridgeNode(ManagedNode):
    """Callbacks make states of messages; a thread publishes the command that is in force at the start of each tick."""

    def __init__(self) -> None:
        """Declare parameters and topics, and command the robot if that is wanted.

        Raises:
            ValueError: If a parameter or the contract is refused, or somebody else commands the robot.
        """
        super().__init__("topic_bridge_node")
        self._settings = declare(self, TopicBridgeSettings)
        self._contract = self._settings.contract()
        self._robot = self._contract.robot
        kinds = classes_of(self._contract)
        self._heard, self._said = (
            {part.topic: kinds[part.topic] for part in parts}
            for parts in (self._contract.states, self._contract.actions)
        )
        own = {self.resolve_topic_name(name): name for name in OWN_TOPICS}
        if clash := next((name for name in self._contract.topics if absolute(name) in own), None):
            raise ValueError(
                f"the robot's topic {absolute(clash)} is one of this stack's too: give it another namespace"
            )
        self._keeps = any(isinstance(action.safe, str) for action in self._contract.actions)
        self._writers = {name: Writer(self._contract, name, kind) for name, kind in self._said.items()}
        self._held = [claim(self, "robot_state", "robot")]
        self._made = time.monotonic()
        self._timeout = self._settings.command_timeout or 3.0 / self._contract.rate
        self._gate = CommandGate(self._robot, self._timeout)
        self._lock = threading.Lock()
        self._sampler = Sampler(self._contract)
        self._stop = threading.Event()
        self._overheard: list[Subscription[Any]] = []
        self._outputs: dict[str, Publisher[Any]] = {}
        self._newest: tuple[Observation, float] | None = None
        """The newest state, and when it was published, s of the steady clock."""
        self._command: tuple[Array, int, float] | None = None
        """The newest command, its number, and when it arrived, s of the steady clock."""
        self._sent: deque[tuple[int, int]] = deque(maxlen=200)
        """Ticks since the robot is commanded, and numbers of the commands that are in force from then on."""
        self._last_sent = math.inf
        """When the last command was published, s of the steady clock."""
        self._trouble = ""
        self._missing = 0
        """States that were left out, by the last time that diagnostics were told."""
        # The robot's own transform from odom to base_link is all that there may be.
        taken = [absolute(name) for name in self._contract.topics]
        self._topics = RobotTopics(self, self._robot, publish_tf=False, taken=taken)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._commands = SoleSubscription(self, MotorCommand, "motor_command", self._take_command, qos.LATEST)
        self.create_service(Trigger, "emergency_stop", self._stop_at_once)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._diagnose, clock=steady)
        self.create_timer(LOOK_PERIOD, self._look, clock=steady)
        self.worker = Worker(self._tick, "commands")
        if self._settings.autostart:
            self.bring_up()
        self.get_logger().info(
            f"{self._robot.name} at {self._contract.rate:g} Hz, by {', '.join(self._contract.topics)}"
        )

    def close(self) -> None:
        """Stop the robot."""
        self._stop.set()
        self.worker.join()
        self._release()
        self._held[0].close()

    # The lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the robot."""
        self._sampler = Sampler(self._contract)
        for name, kind in self._heard.items():
            profile = profile_of(self._contract, name, Reliability.BEST_EFFORT)
            self.create_subscription(kind, absolute(name), partial(self._take, name), profile)
        self._listen()
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to command."""
        # Whoever commands already is found by then.
        time.sleep(max(0.0, self._made + DISCOVERY_TIME - time.monotonic()))
        if self._commands.dispute:
            return self.refuse(self._commands.dispute)
        try:
            for name in self._said:
                self._held.append(claim(self, absolute(name), "controller", "or let it publish elsewhere"))
        except ValueError as error:
            self._let_go()
            return self.refuse(error)
        self._ignore()
        with self._lock:
            for name, kind in self._said.items():
                profile = profile_of(self._contract, name, Reliability.RELIABLE)
                self._outputs[name] = self.create_publisher(kind, absolute(name), profile)
        self.get_logger().info("the robot is commanded")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take the safe action, and leave the robot to others."""
        self._release()
        self._listen()
        self.get_logger().info("the robot is not commanded")
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop to listen."""
        self._release()
        self._ignore()
        for subscription in [each for each in self.subscriptions if each.topic_name in map(absolute, self._heard)]:
            self.destroy_subscription(subscription)
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As `on_cleanup`."""
        return self.on_cleanup(state)

    def _listen(self) -> None:
        """Listen to what others command."""
        for name, kind in self._said.items():
            profile = profile_of(self._contract, name, Reliability.BEST_EFFORT)
            self._overheard.append(self.create_subscription(kind, absolute(name), partial(self._take, name), profile))

    def _ignore(self) -> None:
        while self._overheard:
            self.destroy_subscription(self._overheard.pop())

    def _release(self) -> None:
        """Take the safe action last, and command no more."""
        if not self._outputs:
            return
        with self._lock:
            publishers, self._outputs = self._outputs, {}
            was_commanded, self._last_sent = bool(self._sent), math.inf
            self._sent.clear()
        for name, publisher in publishers.items() if was_commanded else ():
            publisher.publish(self._writers[name].message(self._safe_action(), self._now()))
        for publisher in publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=LAST_COMMAND_TIME))
            self.destroy_publisher(publisher)
        self._let_go()

    def _let_go(self) -> None:
        """Leave the names of the topics of actions to others."""
        while len(self._held) > 1:
            self._held.pop().close()

    def _hindrance(self) -> str:
        """Why the robot must not be commanded: others do; empty: it may be."""
        found = (dispute(self, absolute(name)) for name in self._said)
        return self._commands.dispute or next(filter(None, found), "")

    def _look(self) -> None:
        if self.is_active and (hindrance := self._hindrance()):
            self.get_logger().error(f"the robot is not commanded: {hindrance}")
            self.trigger_deactivate()

    # States

    def _take(self, topic: str, message: Any) -> None:
        try:
            with self._lock:
                observations = self._sampler.take(topic, message, self._now())
            for observation in observations:
                self._publish(observation)
            self._trouble = ""
        except FieldError as error:
            self._trouble = f"{absolute(topic)}: {error}"

    def _publish(self, observation: Observation) -> None:
        self._newest = (observation, time.monotonic())
        begun = round(observation.time * self._contract.rate) - 1
        with self._lock:
            numbers = [number for tick, number in self._sent if tick <= begun]
        self._topics.publish(observation, numbers[-1] if numbers and self._outputs else 0)

    def _now(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    # Commands

    def _take_command(self, message: MotorCommand) -> None:
        action = from_motor_command(self._robot, message)
        if refusal := self._gate.refusal(action, to_seconds(message.header.stamp), self._now() / SECOND):
            raise ValueError(refusal)
        self._command = (self._robot.clip(action), message.sequence, time.monotonic())

    def _safe_action(self) -> Array:
        newest = self._newest
        return self._robot.safe_action(newest[0].state if newest else None)

    def _in_force(self) -> tuple[Array, int]:
        """The action that is to be in force, and the number of its command; 0: none."""
        now, newest, command = time.monotonic(), self._newest, self._command
        is_known = newest is not None and now - newest[1] <= self._contract.timeout and not self._clocks_apart()
        if command is None or not is_known or now - command[2] > self._timeout:
            return self._safe_action(), 0
        return (self._safe_action(), 0) if self._commands.contested else command[:2]

    def _clocks_apart(self) -> str:
        """What there is to say of states whose stamps are of another time than they come at; empty: nothing."""
        worst = max(self._sampler.apart.items(), key=lambda each: abs(each[1]), default=("", 0.0))
        if abs(worst[1]) <= APART:
            return ""
        return (
            f"messages on {absolute(worst[0])} come {worst[1]:.4g} s after their stamps: they are late, or of another"
            " clock, for which there is `clock: received` in the contract"
        )

    def _tick(self) -> None:
        """Publish at the start of each tick what is in force from then on."""
        tick, rate = 0, self._contract.rate
        while not self._stop.is_set():
            now = self._now()
            following = math.floor(now * rate / SECOND) + 1
            # A clock that is read a moment too early would have the same tick twice.
            tick = following + (following == tick)
            while (left := round(tick * SECOND / rate) - self._now()) > 0 and left <= 2 * SECOND / rate:
                simulated = self.get_clock().ros_time_is_active
                if self._stop.wait(min(left / SECOND, POLL) if simulated else left / SECOND):
                    return
                # The machine's own clock goes on: there it was this process that was held up.
                if simulated and time.monotonic() - self._last_sent > max(2.0 / rate, self._timeout):
                    self._halt()
            if left <= 0:
                self._send(tick)

    def _send(self, tick: int) -> None:
        """Publish what is in force from a tick on."""
        with self._lock:
            # What is to stay as it is cannot be known before the first state.
            if not self._outputs or (self._newest is None and self._keeps):
                return
            self._last_sent = time.monotonic()
            action, number = self._in_force()
            self._sent.append((tick, number))
            start = round(tick * SECOND / self._contract.rate)
            for name, publisher in self._outputs.items():
                message = self._writers[name].message(action, start)
                publisher.publish(message)
                self._sampler.take(name, message, start)

    def _halt(self) -> None:
        """Take the safe action where the clock, by which commands are published, stands still."""
        with self._lock:
            self._last_sent = math.inf
            for name, publisher in self._outputs.items():
                publisher.publish(self._writers[name].message(self._safe_action(), self._now()))
        self.get_logger().warning("time stands still: the robot takes its safe action")

    def _stop_at_once(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.is_active:
            self.trigger_deactivate()
        response.success, response.message = True, "stopped: activate the bridge to let the robot move again"
        self.get_logger().warning(f"emergency stop: {response.message}")
        return response

    # Health

    def _diagnose(self) -> None:
        with self._lock:
            sampler = self._sampler
            silent, counts, late = sampler.silent, dict(sampler.counts), dict(sampler.late)
            lacking, apart = list(sampler.lacking.values()), self._clocks_apart()
        age = time.monotonic() - self._newest[1] if self._newest else math.inf
        states = Part("states")
        states.check(bool(self._trouble), Level.ERROR, self._trouble)
        states.check(bool(apart), Level.ERROR, apart)
        several = next(filter(None, (dispute(self, absolute(name)) for name in self._heard)), "")
        states.check(bool(several), Level.WARN, several)
        states.check(bool(silent), Level.ERROR, f"nothing has come on {', '.join(map(absolute, silent))}")
        what = f"no state for {age:.1f} s"
        states.check(not silent and age > self._contract.timeout, Level.ERROR, "; ".join([what, *lacking]))
        before, self._missing = self._missing, counts.get("missing", 0)
        missing = self._missing - before
        states.check(missing > 0, Level.WARN, f"{missing} states were left out, for want of {', '.join(late)}")
        states.values = {f"{name} (so far)": count for name, count in counts.items()}
        motors = Part("motors")
        motors.check(not self.is_active, Level.WARN, "the robot is not commanded: activate the bridge")
        parts = [states, motors, topics(self._commands.trouble, dispute(self, "robot_state"))]
        seconds = self._now() / SECOND
        self._diagnostics.publish(to_diagnostics(parts, full_name(self), self._robot.name, seconds))


main = partial(run, TopicBridgeNode)

if __name__ == "__main__":
    sys.exit(main())
