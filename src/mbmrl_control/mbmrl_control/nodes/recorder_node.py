"""Records all topics of a namespace, in a process of its own: a slow disk must not hold up the others."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from diagnostic_msgs.msg import DiagnosticArray
from pydantic import Field
from rcl_interfaces.msg import Parameter, ParameterEvent, ParameterValue
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from typing_extensions import Self

from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_diagnostics, to_seconds
from mbmrl_base.toolkit.health import Level, Part
from mbmrl_base.toolkit.parameters import declare
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_base.toolkit.sole import full_name
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.nodes.bag_writer import BagWriter, check_new, reason
from mbmrl_control.nodes.message_definitions import message_class

OF_ALL: Final = ("/clock", "/diagnostics", "/parameter_events", "/rosout", "/tf", "/tf_static")
"""Topics that robots of all namespaces share."""
_PARAMETERS: Final = "/parameter_events"
LOOK_PERIOD: Final = 0.1
"""Time between two looks for new topics, s."""
ASK_PERIOD: Final = 1.0
"""Time after which a node is asked for its parameters, and asked again if it has not answered, s."""
DEPTH: Final = 100
"""Messages of a topic that wait for the recorder at most."""


class RecorderSettings(NodeSettings):
    """Parameters of the recorder."""

    bag: str = Field(
        "", description="Folder to record in, which is made; empty: rosbag2_ and date and time, in the current folder"
    )
    exclude: str = Field("adapted_model,plan_markers", description="Topics that are not recorded, with commas between")

    @property
    def folder(self) -> Path:
        """Folder to record in."""
        return Path(self.bag).expanduser()

    def in_use(self) -> Self:
        """The same, with the folder that an empty name stands for."""
        return self.model_copy(update={"bag": self.bag or f"{datetime.now():rosbag2_%Y_%m_%d-%H_%M_%S}"})

    def check(self) -> None:
        """As of `NodeSettings`."""
        check_new(self.in_use().folder)


def fitting(profiles: Iterable[QoSProfile]) -> QoSProfile:
    """Quality of service of a reader that hears all publishers, of each all that it can have.

    Args:
        profiles: Those of the publishers.
    """
    offered = list(profiles)
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in offered)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in offered)
    return QoSProfile(
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class RecorderNode(Node):
    """Callbacks queue serialised messages, as they come; one worker writes them.

    When a message cannot be written, the recording ends, and nothing else does.
    """

    def __init__(self) -> None:
        """Make the folder and start the worker.

        Raises:
            ValueError: If a parameter is refused, or the folder cannot be made.
        """
        super().__init__("recorder_node", automatically_declare_parameters_from_overrides=True)
        settings = declare(self, RecorderSettings)
        self._excluded = [f"/{name.strip('/ ')}" for name in settings.exclude.split(",") if name.strip("/ ")]
        self._bag = BagWriter(settings.folder)
        self._failure = ""
        self._seen: set[str] = set()
        self._questions: dict[str, _Question] = {}
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATE)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_PERIOD, self._look, clock=steady)
        self.create_timer(1.0, self._diagnose, clock=steady)
        self._look()
        self.worker = Worker(self._record, "recording")
        self.get_logger().info(f"recording to {self._bag.folder}")

    def close(self) -> None:
        """Write what is left, and the index."""
        self._queue.put(None)
        self.worker.join()

    def _is_wanted(self, topic: str) -> bool:
        if topic in OF_ALL:
            return True
        hidden = any(part.startswith("_") for part in topic.split("/"))  # as ROS 2 hides those of actions
        return self._is_within(topic) and not hidden and not topic.endswith(tuple(self._excluded))

    def _is_within(self, name: str) -> bool:
        """Whether a topic's or a node's full name is in the namespace of this node."""
        return name.startswith(f"{self.get_namespace().rstrip('/')}/")

    def _look(self) -> None:
        """Subscribe to topics, and ask nodes for their parameters, that are new."""
        if self._failure:
            for subscription in list(self.subscriptions):
                self.destroy_subscription(subscription)
            return
        for topic, types in self.get_topic_names_and_types():
            if topic in self._seen or not self._is_wanted(topic):
                continue
            # Where there are only readers, nobody says yet what a reader may ask for.
            if offered := [info.qos_profile for info in self.get_publishers_info_by_topic(topic)]:
                self._seen.add(topic)
                self._subscribe(topic, types[0], offered)
        for name, namespace in self.get_node_names_and_namespaces():
            full = f"{namespace.rstrip('/')}/{name}"
            if full not in self._questions and self._is_within(full) and not name.startswith("_"):
                self._questions[full] = _Question(self, full, partial(self._take_parameters, full))
        for question in self._questions.values():
            question.ask()

    def _subscribe(self, topic: str, message_type: str, offered: list[QoSProfile]) -> None:
        try:
            kind = message_class(message_type)
        except ValueError as error:
            self.get_logger().warning(f"{topic} is not recorded: {error}")
            return
        self._queue.put(partial(self._add, topic, message_type, offered))

        def take(message: bytes) -> None:
            self._queue.put(partial(self._bag.write, topic, time.time_ns(), message))

        self.create_subscription(kind, topic, take, fitting(offered), raw=True)

    def _take_parameters(self, node: str, parameters: list[Parameter]) -> None:
        """Write a node's parameters as if it had just declared them: what it then changes follows by itself."""
        now = self.get_clock().now()
        event = ParameterEvent(stamp=now.to_msg(), node=node, new_parameters=parameters)
        self._queue.put(partial(self._bag.write_message, _PARAMETERS, now.nanoseconds, event))

    def _add(self, topic: str, message_type: str, offered: list[QoSProfile]) -> None:
        try:
            self._bag.add(topic, message_type, offered)
        except ValueError as error:
            self.get_logger().warning(f"{topic} is not recorded: {error}")

    def _record(self) -> None:
        try:
            self._write()
            self._bag.close()
            size = f"{self._bag.size / 1e6:.1f} MB"
            self.get_logger().info(
                f"recorded {self._bag.messages} messages of {self._bag.topics} topics, {size}: {self._bag.folder}"
            )
        except OSError as error:
            self._failure = f"the recording has ended, {self._bag.folder} cannot be written: {reason(error)}"
            self.get_logger().error(f"{self._failure}; the robot goes on")
            self._bag.abort()
            while self._queue.get() is not None:
                pass

    def _write(self) -> None:
        """Write what is queued, until the node ends."""
        wait = 0.0
        while True:
            with suppress(queue.Empty):
                if (item := self._queue.get(timeout=wait)) is None:
                    return
                item()
            wait = self._bag.flush()

    def _diagnose(self) -> None:
        part = Part("recording", values={"messages": self._bag.messages, "topics": self._bag.topics})
        part.check(bool(self._failure), Level.ERROR, self._failure)
        now = to_seconds(self.get_clock().now().to_msg())
        self._diagnostics.publish(to_diagnostics([part], full_name(self), "", now))


class _Question:
    """Asks a node for its parameters until it answers.

    A node that does not know the client yet waits for it, and then loses the response: it is given time to.
    """

    def __init__(self, node: Node, name: str, take: Callable[[list[Parameter]], None]) -> None:
        self._take = take
        self._list = node.create_client(ListParameters, f"{name}/list_parameters")
        self._get = node.create_client(GetParameters, f"{name}/get_parameters")
        self._ask_at = time.monotonic() + ASK_PERIOD
        self._answered = False

    def ask(self) -> None:
        """Ask, if it is time to."""
        if self._answered or time.monotonic() < self._ask_at or not self._get.service_is_ready():
            return
        self._ask_at = time.monotonic() + ASK_PERIOD
        self._list.call_async(ListParameters.Request()).add_done_callback(self._take_names)

    def _take_names(self, future: Future) -> None:
        names = future.result().result.names
        answer = self._get.call_async(GetParameters.Request(names=names))
        answer.add_done_callback(lambda future: self._take_values(names, future.result().values))

    def _take_values(self, names: list[str], values: list[ParameterValue]) -> None:
        if not self._answered:
            self._answered = True
            self._take([Parameter(name=name, value=value) for name, value in zip(names, values, strict=True)])


main = partial(run, RecorderNode)

if __name__ == "__main__":
    sys.exit(main())
