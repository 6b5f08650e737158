"""The nodes that run, in one place: the launch files and the ``mbmrl`` command both read it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mbmrl_base.toolkit.settings import NodeSettings, bounds

Values = Mapping[str, Any]
"""Arguments of nodes by name, ``namespace`` and ``params_file`` among them; None for what is not given."""


REFUSED: Final = 2
"""Exit code of a node that refuses what it is to do."""


def _as_before(values: Values, number: int) -> Values:
    del number
    return values


def _at_rest(values: Values, number: int) -> Values:
    """Motors of a real robot that were switched off are on again only when somebody asks for it."""
    del number
    return {**values, "autostart": False}


def _into_another_folder(values: Values, number: int) -> Values:
    return {**values, "bag": f"{values['bag']}_{number}"} if values.get("bag") else values


def enclave(node: str, values: Values) -> str:
    """A node's enclave of SROS2, by which its keys and permissions are found: its name, with its namespace."""
    return "/".join(("", *filter(None, (str(values.get("namespace") or "").strip("/"), node))))


@dataclass(frozen=True)
class NodeSpec:
    """A node: its executable, and the arguments of a launch that it takes.

    Attributes:
        executable: Name of the executable, and of the Python module and the node.
        settings_place: Module, in the node's package, and class of its settings, which is loaded when it is asked for.
        parameters: Its parameters that launch arguments of the same name set.
        uses_sim_time: Whether the node follows /clock, if there is one.
        switches: Arguments of which one must be given, other than 0, false or empty, for the node to be started;
            without any it always is. With each, the parameter that it sets, or empty, and then its description.
        essential: Whether all nodes end with it; without, they do if it refuses what it is to do, see `ends_all`.
        topics: Arguments that rename topics, those topics, and descriptions.
        renamed: Arguments of a launch with other names than the parameters that they set, and these.
        in_namespace: Whether it is in the namespace of the others, or in none.
        again: Its arguments where it is started for the second time, or a later one, after it died.
    """

    executable: str
    settings_place: str
    parameters: tuple[str, ...]
    uses_sim_time: bool = True
    switches: tuple[tuple[str, str, str], ...] = ()
    essential: bool = True
    topics: tuple[tuple[str, str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    in_namespace: bool = True
    again: Callable[[Values, int], Values] = _as_before

    def ends_all(self, code: int) -> bool:
        """Whether all nodes end as this one has ended with an exit code."""
        return self.essential or code == REFUSED

    def is_started(self, values: Values) -> bool:
        """Whether it is wanted."""
        return not self.switches or any(values.get(name) for name, _, _ in self.switches)

    @property
    def package(self) -> str:
        """Name of its package."""
        return self.settings_place.partition(".")[0]

    def enclave(self, values: Values) -> str:
        """Its enclave of SROS2."""
        return enclave(self.executable, values if self.in_namespace else {})

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of a launch that set parameters of the node, and the parameter that each sets."""
        switches = {name: sets for name, sets, _ in self.switches if sets}
        return {name: name for name in self.parameters} | dict(self.renamed) | switches

    @property
    def module(self) -> str:
        """Python module whose ``main`` runs the node."""
        return f"{self.package}.nodes.{self.executable}"

    @property
    def settings(self) -> type[NodeSettings]:
        """Its settings, which declare its parameters."""
        module, _, name = self.settings_place.partition(":")
        settings: type[NodeSettings] = getattr(importlib.import_module(module), name)
        return settings


_RECORDER: Final = NodeSpec(
    "recorder_node",
    "mbmrl_control.nodes.recorder_node:RecorderSettings",
    (),
    uses_sim_time=False,
    switches=(
        ("record", "", "Whether all topics are recorded; they are too if a folder, bag, is given"),
        ("bag", "bag", ""),
    ),
    essential=False,
    again=_into_another_folder,
)
_SIMULATOR: Final = NodeSpec(
    "simulator_node",
    "mbmrl_sim.nodes.simulator_node:SimulatorSettings",
    (
        *("robot", "simulator", "seed", "rate", "real_time_factor", "publish_clock", "terrain", "sensors", "gui"),
        *("frame_prefix", "publish_tf"),
    ),
    uses_sim_time=False,
)
_BRIDGE: Final = NodeSpec(
    "serial_bridge_node",
    "mbmrl_control.hardware.settings:BridgeSettings",
    (
        *("robot", "port", "protocol", "baud", "profile", "framing", "rate", "autostart", "reactivate"),
        *("frame_prefix", "publish_tf"),
    ),
    uses_sim_time=False,
    topics=(
        ("pose_topic", "motion_capture/pose", "Topic of poses by motion capture, geometry_msgs/PoseStamped"),
        ("odometry_topic", "motion_capture/odom", "Topic of poses with velocity by motion capture, nav_msgs/Odometry"),
    ),
    again=_at_rest,
)
_EMULATOR: Final = NodeSpec(
    "emulator_node",
    "mbmrl_control.nodes.emulator_node:EmulatorSettings",
    (
        *("tty", "protocol", "profile", "framing", "seed", "terrain", "sensors"),
        *("noise", "loss", "delay", "disconnects", "reboots"),
    ),
    uses_sim_time=False,
)
_ADAPTATION: Final = NodeSpec(
    "adaptation_node", "mbmrl_control.nodes.settings:AdaptationSettings", ("robot", "learner", "members", "checkpoint")
)
_PLANNER: Final = NodeSpec(
    "mpc_node",
    "mbmrl_control.nodes.settings:PlannerSettings",
    ("robot", "learner", "members", "checkpoint", "task", "path", "planner", "rate", "seed", "frame_prefix"),
)
_CAMERA: Final = NodeSpec(
    "camera_node",
    "mbmrl_sim.nodes.camera_node:CameraSettings",
    ("frame_prefix",),
    uses_sim_time=False,
    switches=(("camera_rate", "rate", ""),),
    essential=False,
)
_DASHBOARD: Final = NodeSpec(
    "dashboard_node",
    "mbmrl_control.dashboard.settings:DashboardSettings",
    ("robot", "simulator", "host", "page_port"),
    switches=(("dashboard", "", "Whether to show the robot on a page in the browser"),),
    essential=False,
)

# Nodes are started in order and stopped in reverse order: a recording has all that the others send.
SIM: Final = (_RECORDER, _SIMULATOR, _ADAPTATION, _PLANNER, _CAMERA, _DASHBOARD)
"""Simulated robot, adaptation, planning, and a recording, pictures of the robot and a page if they are wanted."""
HARDWARE: Final = (
    _RECORDER,
    _BRIDGE,
    _ADAPTATION,
    _PLANNER,
    replace(_DASHBOARD, parameters=("robot", "host", "page_port")),
)
"""Robot on a serial port, adaptation, planning, and a recording and a page if they are wanted."""
_BY_CONTRACT: Final = (("contract", "robot"),)
TOPICS: Final = (
    replace(_RECORDER, in_namespace=False),  # the robot's own topics are in no namespace of this stack
    NodeSpec(
        "topic_bridge_node",
        "mbmrl_control.nodes.topic_bridge_node:TopicBridgeSettings",
        ("autostart",),
        renamed=_BY_CONTRACT,
        again=_at_rest,
    ),
    replace(_ADAPTATION, parameters=_ADAPTATION.parameters[1:], renamed=_BY_CONTRACT),
    replace(_PLANNER, parameters=_PLANNER.parameters[1:], renamed=_BY_CONTRACT),
    replace(_DASHBOARD, parameters=("host", "page_port"), renamed=_BY_CONTRACT),
)
"""Robot that speaks ROS by its own topics, adaptation, planning, and a recording and a page if they are wanted."""
EXPLORE: Final = (
    replace(TOPICS[0], essential=True),
    replace(TOPICS[1], parameters=()),
    NodeSpec(
        "explorer_node",
        "mbmrl_control.nodes.explorer_node:ExplorerSettings",
        ("seed", "reach", "longest_hold"),
        renamed=_BY_CONTRACT,
    ),
)
"""Robot that speaks ROS by its own topics, random actions, and a recording if it is wanted."""
NAMESPACE: Final = "/mbmrl"
"""Of the stack beside a robot that speaks ROS, whose own names are taken."""
RECORDER: Final = (replace(_RECORDER, parameters=("bag", "exclude"), switches=(), essential=True),)
"""A recording alone, of nodes that others have started."""
EMULATOR: Final = (_EMULATOR,)
"""A robot to be at the other end of the line."""


@dataclass(frozen=True)
class Argument:
    """What a launch, or a command, takes: parameters of nodes, or the new name of a topic.

    Attributes:
        kind: Type of its value.
        text: Description, with units and bounds.
        default: What it is if it is not given; None: as in the file of parameters.
        is_topic: Whether it renames a topic.
    """

    kind: type
    text: str
    default: Any = None
    is_topic: bool = False


def arguments(nodes: tuple[NodeSpec, ...]) -> dict[str, Argument]:
    """What the nodes of a graph take, by name, as the fields of their settings declare it."""
    found: dict[str, Argument] = {}
    for node in nodes:
        for name, parameter in node.arguments.items():
            field = node.settings.model_fields[parameter]
            kind: Any = field.annotation
            assert field.description is not None
            low, high = bounds(field)
            text = field.description if low is None or high is None else f"{field.description} ({low} to {high})"
            switched = name in (switch for switch, _, _ in node.switches)
            hint = "; 0: none" if switched and kind is float else ""
            # Of several nodes the first one says what it is.
            found.setdefault(name, Argument(kind, text + hint, kind() if switched else None))
        found |= {name: Argument(bool, text, False) for name, parameter, text in node.switches if not parameter}
    topics = {name: Argument(str, text, topic, True) for node in nodes for name, topic, text in node.topics}
    return found | topics
