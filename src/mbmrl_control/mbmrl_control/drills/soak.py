"""The stack for a long time, with faults, goals and other parameters at random: what grows, and what gets lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from mcap.reader import make_reader
from rcl_interfaces.srv import SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from std_msgs.msg import Header

from mbmrl_base.toolkit import qos
from mbmrl_control.benchmarks.loop import LoopCase, run_loop
from mbmrl_control.nodes.bag_reader import files_of
from mbmrl_control.tasks.path import PATH_NAMES
from mbmrl_msgs.msg import PlannerStatus, RobotState
from mbmrl_msgs.srv import ClearFaults, InjectFault

CASE: Final = LoopCase(50.0, 150, 10, 192)
"""What two processors do with time to spare."""
PAUSE: Final = (1.0, 5.0)
"""Least and greatest time between two events, s."""
MISSED: Final = 1e-3
"""Largest share of ticks that may be missed."""
GROWTH: Final = 0.01
"""Largest growth of a node's memory from the first to the last tenth of the time."""
_FAULTS: Final = ("leg_loss", "payload", "motor_weak", "terrain", "slope")
_FRAME: Final = "odom"


class _Disturber(Node):
    """Asks the stack for something else now and then, and counts what it did."""

    def __init__(self, seed: int) -> None:
        super().__init__("soak", start_parameter_services=False)
        self._random = np.random.default_rng(seed)
        self._goal = self.create_publisher(PoseStamped, "goal_pose", qos.LATEST)
        self._inject = self.create_client(InjectFault, "inject_fault")
        self._clear = self.create_client(ClearFaults, "clear_faults")
        self._set = self.create_client(SetParameters, "mpc_node/set_parameters")
        self.events = 0

    def disturb(self, end: threading.Event) -> None:
        """Go on until something is set."""
        plays = (self._fault, self._steer_to_a_goal, self._other_path, self._other_speed)
        while not end.wait(self._random.uniform(*PAUSE)):
            plays[self._random.integers(len(plays))]()
            self.events += 1

    def _fault(self) -> None:
        self._clear.call_async(ClearFaults.Request())
        self._inject.call_async(InjectFault.Request(kind=str(self._random.choice(_FAULTS))))

    def _steer_to_a_goal(self) -> None:
        goal = PoseStamped(header=Header(frame_id=_FRAME))
        goal.pose.position.x, goal.pose.position.y = self._random.uniform(-2.0, 2.0, 2).tolist()
        self._goal.publish(goal)

    def _other_path(self) -> None:
        self._change("path", str(self._random.choice(PATH_NAMES)))

    def _other_speed(self) -> None:
        self._change("speed", float(self._random.uniform(0.1, 0.45)))

    def _change(self, name: str, value: str | float) -> None:
        task = Parameter("task", value="follow_path").to_parameter_msg()
        given = Parameter(name, value=value).to_parameter_msg()
        self._set.call_async(SetParameters.Request(parameters=[task, given]))


@contextmanager
def _disturbed(seed: int, events: list[int]) -> Iterator[None]:
    """A robot that is disturbed meanwhile; how often is added to a list."""
    node, end = _Disturber(seed), threading.Event()
    executor = rclpy.executors.SingleThreadedExecutor()
    executor.add_node(node)
    threads = [
        threading.Thread(target=node.disturb, args=(end,)),
        threading.Thread(target=_spin, args=(executor, end)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()
        executor.shutdown()
        node.destroy_node()
        events.append(node.events)


def _spin(executor: Any, end: threading.Event) -> None:
    while not end.is_set():
        executor.spin_once(timeout_sec=0.1)


def soak(duration: float, seed: int, folder: Path, threads: int) -> dict[str, Any]:
    """Run the simulated stack with a recording, and see what happens to it.

    Args:
        duration: s.
        seed: Of what is asked for.
        folder: Where the recording goes.
        threads: Of the planner.

    Returns:
        The figures of `run_loop`, the number of ``events``, of messages ``lost`` in the recording by topic, and what is
        ``wrong``, sentences.

    Raises:
        NodeEndedError: If a node ended by itself, or nothing was planned.
    """
    events: list[int] = []
    bag = folder / "bag"
    found = run_loop(CASE, duration, threads, more={"bag": str(bag)}, watched=partial(_disturbed, seed, events))
    found |= {"events": events[0], "lost": lost(bag)}
    return found | {"wrong": list(_wrong(found))}


def lost(bag: Path) -> dict[str, int]:
    """States and statuses that are missing in a recording between the first and the last one of each, by topic."""
    kinds: dict[str, tuple[Any, str]] = {
        "/robot_state": (RobotState, "sequence"),
        "/planner_status": (PlannerStatus, "command_sequence"),
    }
    numbers: dict[str, set[int]] = {topic: set() for topic in kinds}
    for file in files_of(bag):
        with file.open("rb") as stream:
            for _, channel, message in make_reader(stream).iter_messages(topics=list(kinds)):
                kind, name = kinds[channel.topic]
                numbers[channel.topic].add(getattr(deserialize_message(message.data, kind), name))
    return {topic: max(found) - min(found) + 1 - len(found) for topic, found in numbers.items()}


def _wrong(found: dict[str, Any]) -> Iterator[str]:
    if found["missed_share"] > MISSED:
        yield f"{100 * found['missed_share']:.2f} % of the ticks were missed, allowed is {100 * MISSED:g} %"
    for name, node in found["nodes"].items():
        if node["memory_growth"] > GROWTH:
            yield f"the memory of {name} grew by {100 * node['memory_growth']:.1f} %, allowed is {100 * GROWTH:g} %"
        for what in ("files", "threads"):
            if node[what][1] > node[what][0]:
                yield f"{name} had {node[what][0]:g} {what} at first, and {node[what][1]:g} at the end"
    for topic, count in found["lost"].items():
        if count:
            yield f"{count} messages of {topic} are not in the recording"
