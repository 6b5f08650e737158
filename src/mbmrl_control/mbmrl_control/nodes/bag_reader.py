"""Reads recordings, MCAP files in a rosbag2 folder, as runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from mcap.exceptions import InvalidMagic
from mcap.reader import NonSeekingReader
from rcl_interfaces.msg import Log, ParameterEvent
from rclpy.parameter import parameter_value_to_python
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.faults import FaultPlan
from mbmrl_base.system import surroundings
from mbmrl_base.system.endings import signals_held
from mbmrl_base.toolkit.conversions import check_message
from mbmrl_base.toolkit.parameters import read
from mbmrl_control.control.run_record import Record, RecordError
from mbmrl_control.nodes.message_definitions import Definitions
from mbmrl_control.nodes.run_messages import TOPICS, RunMessages
from mbmrl_control.nodes.settings import PlannerSettings
from mbmrl_control.training.chunks import MOST_BYTES, check_chunks
from mbmrl_msgs.msg import PlanInsight, RobotState

_STATES: Final = "robot_state"
_PARAMETERS: Final = "/parameter_events"
_LOG: Final = "/rosout"
_BESIDE: Final[dict[str, Any]] = {"plan_insight": PlanInsight, "joint_states": JointState, "robot_description": String}
"""Types of what is read beside the run, by topic."""
_READ: Final = {*TOPICS, *_BESIDE, _PARAMETERS[1:], _LOG[1:]}
"""Names of topics, without their namespaces."""


@dataclass
class RecordedRun:
    """A run that was recorded.

    Attributes:
        record: The run.
        errors: What nodes have logged as errors, each once, after the node's name.
        warnings: Sentences on what may be wrong with the recording.
        messages: Those of the robot in a recording, in order, each after the name of its topic.
    """

    record: Record
    errors: list[str]
    warnings: list[str]
    messages: list[tuple[str, Any]] = field(default_factory=list)


class _Message(NamedTuple):
    time: int
    topic: str
    type: str
    data: bytes

    def is_a(self, kind: Any) -> bool:
        """Whether it is of the type of a class."""
        return self.type == f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"

    def read(self, kind: Any) -> Any:
        """What was published; ValueError if it is damaged."""
        try:
            return deserialize_message(self.data, kind)
        except Exception as error:  # the middleware has errors of its own
            raise ValueError(f"a message on {self.topic} is damaged: {str(error).splitlines()[0]}") from None


def files_of(path: Path) -> list[Path]:
    """MCAP files of a recording, its folder or a file alone, in order; none if it is no recording."""
    if path.suffix == ".mcap" and path.is_file():
        return [path]
    # Those of a split one have the numbers 0, 1, ... 10 at the end of their names.
    return sorted(path.glob("*.mcap"), key=lambda file: (len(file.name), file.name)) if path.is_dir() else []


def read_run(path: Path) -> RecordedRun:
    """The run of a recording, or that in a folder, as `mbmrl demo` writes it.

    Raises:
        RecordError: If there is none.
    """
    if files_of(path):
        return read_bag(path)
    record, errors = Record.read(path), []
    with suppress(OSError, ValueError, KeyError, TypeError):  # a folder may have no summary
        errors = list(map(str, json.loads((path / "summary.json").read_text())["errors"]))
    return RecordedRun(record, errors, [])


def read_bag(path: Path) -> RecordedRun:
    """Read a recording; of one that is cut, what is there.

    Raises:
        RecordError: If it holds no run; its text names the recording and says why.
    """
    surroundings.prepare()  # the middleware reads the messages
    with signals_held() as let_through:
        return _read_bag(path, let_through)


def _read_bag(path: Path, let_through: Callable[[], None]) -> RecordedRun:
    """As `read_bag`; a function is called now and then, which may raise KeyboardInterrupt."""
    messages: list[_Message] = []
    definitions: dict[str, str] = {}
    warnings = [sentence for file in files_of(path) if (sentence := _collect(file, messages, definitions, let_through))]
    messages.sort(key=lambda message: message.time)
    try:
        namespace = _namespace(messages)
        parameters = _parameters(messages, f"{namespace}/mpc_node")
        run, own, refused = _play(messages, namespace, parameters.get("robot"), definitions, let_through)
        settings = read(PlannerSettings, {"robot": run.robot.name, "learner": "unknown"} | parameters)
        faults = run.first_faults
        record = run.record(settings, None, faults[0].since if faults else None)
        logs = (message.read(Log) for message in messages if message.topic == _LOG)
        errors = dict.fromkeys(f"{log.name}: {log.msg}" for log in logs if log.level >= Log.ERROR)
    except ValueError as error:
        raise RecordError("; ".join([f"{path} holds no run: {error}", *warnings])) from None
    # The planner sends a command in each tick: after the last one it had ended.
    if commanded := np.flatnonzero(record.array("commanded")).tolist():
        del record.ticks[commanded[-1] + 1 :]
    if record.fault_time is not None:
        record.fault_time = max(0.0, record.fault_time)  # it may have been there before
        record.fault = str(FaultPlan(faults, round(record.fault_time, 1)))
    warnings += [f"{path}: {sentence}" for sentence in refused]
    if not parameters:
        warnings.append(f"{path} holds no parameters of mpc_node: their defaults are assumed")
    return RecordedRun(record, list(errors), warnings, own)


def _collect(file: Path, messages: list[_Message], definitions: dict[str, str], let_through: Callable[[], None]) -> str:
    """Add what is read to messages, and to definitions of their types; returns a sentence if the file is cut."""
    try:
        check_chunks(file)
    except ValueError as error:
        raise RecordError(str(error)) from None
    try:
        with file.open("rb") as stream:
            reader = NonSeekingReader(stream, record_size_limit=MOST_BYTES)
            for schema, channel, message in reader.iter_messages(log_time_order=False):
                let_through()
                if schema is not None and channel.topic.rpartition("/")[2] in _READ:
                    messages.append(_Message(message.log_time, channel.topic, schema.name, message.data))
                    if schema.name not in definitions:
                        definitions[schema.name] = schema.data.decode()
    except InvalidMagic:
        raise RecordError(f"{file} is no MCAP file") from None
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except Exception:  # whatever the bytes at which it is cut stand for
        return f"{file} is cut: what was written before is read"
    return ""


def _namespace(messages: Iterable[_Message]) -> str:
    """Namespace of the robot, with its leading slash; ValueError if there is not one."""
    end = f"/{_STATES}"
    topics = dict.fromkeys(each.topic for each in messages if each.topic.endswith(end) and each.is_a(RobotState))
    if not topics:
        raise ValueError(f"no topic {_STATES} of mbmrl_msgs/msg/RobotState is in it")
    if len(topics) > 1:
        raise ValueError(f"it has several robots, {', '.join(topics)}: record one of them, by its --namespace")
    return next(iter(topics)).removesuffix(end)


def _parameters(messages: Iterable[_Message], node: str) -> dict[str, Any]:
    """Parameters that a node has declared."""
    found: dict[str, Any] = {}
    for event in (each.read(ParameterEvent) for each in messages if each.topic == _PARAMETERS):
        if event.node == node:
            for each in event.new_parameters:
                with suppress(RuntimeError):  # of a type that there is not, as damage makes it
                    found[each.name] = parameter_value_to_python(each.value)
    return found


def _play(
    messages: Iterable[_Message],
    namespace: str,
    robot: str | None,
    definitions: Mapping[str, str],
    let_through: Callable[[], None],
) -> tuple[RunMessages, list[tuple[str, Any]], list[str]]:
    """The run of the robot of a namespace, its messages, and a sentence for each topic of which one was refused.

    Raises:
        ValueError: If nothing of the robot can be taken.
    """
    kinds = _BESIDE | {name: kind for name, (kind, _) in TOPICS.items()}
    topics = {f"{namespace}/{name}": (name, kind) for name, kind in kinds.items()}
    own = [(each, *topics[each.topic]) for each in messages if each.topic in topics]
    if robot is None:
        robot = next(each.read(kind).robot for each, name, kind in own if name == _STATES)
    run, taken, refused = RunMessages(load_robot(robot)), [], {}
    installed = Definitions()
    types = {each.type for each, _, kind in own if each.is_a(kind)}
    known = {name for name in types if installed.agree(name, definitions.get(name, ""))}
    for message, name, kind in own:
        let_through()
        try:
            if message.type not in known:
                raise ValueError(f"its type {message.type} is not the one that is installed")
            content = message.read(kind)
            if name in TOPICS:
                run.take(name, content)
            elif kind is PlanInsight:
                check_message(content, run.robot.name)
            taken.append((name, content))
        except ValueError as error:
            refused[message.topic] = f"a message on {message.topic} is refused: {error}"
    if not run.ticks:
        raise ValueError(refused[f"{namespace}/{_STATES}"])
    return run, taken, list(refused.values())
