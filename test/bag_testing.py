"""Recordings for tests: a walk of the millirobot, written as a rosbag2 folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rcl_interfaces.msg import Log, Parameter, ParameterEvent
from rclpy.parameter import Parameter as RosParameter
from std_msgs.msg import Header

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_base.toolkit.conversions import to_robot_state
from mbmrl_control.nodes.bag_writer import BagWriter
from mbmrl_control.nodes.conversions import to_path
from mbmrl_msgs.msg import AdaptationStatus, PlannerStatus, RobotState
from mbmrl_sim.nodes.conversions import to_fault_array
from robot_testing import MILLIROBOT

Timed = tuple[float, str, Any]
COUNT = 40
LOST = (Fault("leg_loss", "right_front", since=101.0), Fault("leg_loss", "right_rear", since=101.2))
LATER = Fault("payload", magnitude=15.0, since=102.05)


def state(index: int, **changed: Any) -> RobotState:
    """State number `index` of a robot that walks ahead; from number 5 on, a new command is in force."""
    x = 0.01 * index
    values = pack_state((x, 0, 0.025), (0.2, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0), (20, 20), (1, 1), 3.9)
    observation = Observation(values, np.full(2, 20.0), 100 + index / 20, index, 1, 0.05)
    message = to_robot_state(MILLIROBOT, observation, max(0, index - 4))
    for name, value in changed.items():
        setattr(message, name, value)
    return message


def parameters(node: str, **values: Any) -> ParameterEvent:
    """What a node declares."""
    given = [
        Parameter(name=name, value=RosParameter(name, value=value).get_parameter_value())
        for name, value in values.items()
    ]
    return ParameterEvent(node=node, new_parameters=given)


def walk(namespace: str = "") -> list[Timed]:
    """Messages of a walk that loses two legs."""
    poses = np.stack([np.linspace(0.0, 1.0, 50), np.zeros(50), np.zeros(50)], axis=1)
    own = {"learner": "mb", "path": "straight", "task": "follow_path", "seed": 3, "speed": 0.3, "use_sim_time": True}
    messages: list[Timed] = [
        (0.0, "/parameter_events", parameters("/other/mpc_node", learner="grbal")),
        (0.0, "/parameter_events", parameters(f"{namespace}/mpc_node", **own)),
        (0.0, f"{namespace}/reference_path", to_path(poses, 100.0)),
        (1.0, f"{namespace}/faults", to_fault_array(LOST[:1], 101.0)),
        (1.2, f"{namespace}/faults", to_fault_array(LOST, 101.2)),
        (1.9, f"{namespace}/faults", to_fault_array((*LOST, LATER), 101.9)),
        (1.1, "/rosout", Log(level=Log.ERROR, name="mpc_node", msg="no finite plan")),
        (1.2, "/rosout", Log(level=Log.ERROR, name="mpc_node", msg="no finite plan")),
        (1.3, "/rosout", Log(level=Log.INFO, name="mpc_node", msg="planning")),
    ]
    for index in range(COUNT):
        time = index / 20 + 0.001
        status = AdaptationStatus(robot="millirobot", state_sequence=index, prior_error=1.0 * index, adapted_error=0.5)
        plan = PlannerStatus(header=Header(), state_sequence=index, planning_time=0.02)
        messages += [
            (time, f"{namespace}/robot_state", state(index)),
            (time + 0.001, f"{namespace}/adaptation_status", status),
            (time + 0.002, f"{namespace}/planner_status", plan),
        ]
    return messages


def write(
    folder: Path, messages: Iterable[Timed], chunk: float = 0.5, close: bool = True, old: Iterable[str] = ()
) -> Path:
    """Record messages, each at a time in s, with a chunk for each time span; types of some topics are old ones."""
    bag = BagWriter(folder)
    known: set[str] = set()
    flushed = 0.0
    for time, topic, message in sorted(messages, key=lambda each: each[0]):
        if topic not in known:
            known.add(topic)
            kind = type(message)
            name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
            if topic in old:
                bag._definitions.add(name)
                definition = {"msgdef": "uint16 version\n", "rihs01": "RIHS01_0"}
                bag._connections[topic] = bag._writer.add_connection(topic, name, **definition)
            else:
                bag.add(topic, name, [])
        bag.write_message(topic, round(time * 1e9), message)
        if time - flushed > chunk:
            flushed = time
            bag._flush_at = 0.0
            bag.flush()
    (bag.close if close else bag.abort)()
    return folder
