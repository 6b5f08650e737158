"""The nodes that run, in one place: the launch files and the ``mbmrl`` command both read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class NodeSpec:
    """A node: its package, its executable there, and the arguments of a launch that it takes.

    Attributes:
        package: Name of the package.
        executable: Name of the executable, and of the Python module and the node.
        parameters: Its parameters that launch arguments of the same name set.
        uses_sim_time: Whether the node follows /clock where there is one.
        optional_rate: Argument that sets the node's rate, Hz; where it is 0, its default, the node is not
            started. Empty: the node is always started.
        topics: Arguments that rename topics, and those topics.
    """

    package: str
    executable: str
    parameters: tuple[str, ...]
    uses_sim_time: bool = True
    optional_rate: str = ""
    topics: tuple[tuple[str, str], ...] = ()

    @property
    def arguments(self) -> dict[str, str]:
        """Arguments of a launch that set parameters of the node, and the parameter that each sets."""
        names = {name: name for name in self.parameters}
        return names | {self.optional_rate: "rate"} if self.optional_rate else names

    @property
    def module(self) -> str:
        """Python module whose ``main`` runs the node."""
        return f"{self.package}.nodes.{self.executable}"


_SIMULATOR: Final = NodeSpec(
    "mbmrl_sim",
    "simulator_node",
    ("seed", "rate", "real_time_factor", "publish_clock", "terrain", "sensors", "gui", "frame_prefix"),
    uses_sim_time=False,
)
_BRIDGE: Final = NodeSpec(
    "mbmrl_control",
    "serial_bridge_node",
    ("port", "protocol", "baud", "profile", "framing", "rate", "autostart", "reactivate", "frame_prefix"),
    uses_sim_time=False,
    topics=(("pose_topic", "motion_capture/pose"), ("odometry_topic", "motion_capture/odom")),
)
_EMULATOR: Final = NodeSpec(
    "mbmrl_control",
    "emulator_node",
    (
        *("tty", "protocol", "profile", "framing", "seed", "terrain", "sensors"),
        *("noise", "loss", "delay", "disconnects", "reboots"),
    ),
    uses_sim_time=False,
)
_ADAPTATION: Final = NodeSpec("mbmrl_control", "adaptation_node", ("learner", "checkpoint"))
_PLANNER: Final = NodeSpec(
    "mbmrl_control", "mpc_node", ("learner", "checkpoint", "path", "rate", "seed", "frame_prefix")
)
_CAMERA: Final = NodeSpec(
    "mbmrl_sim", "camera_node", ("frame_prefix",), uses_sim_time=False, optional_rate="camera_rate"
)

SIM: Final = (_SIMULATOR, _ADAPTATION, _PLANNER, _CAMERA)
"""Simulated robot, adaptation, planning, and pictures of the robot where they are wanted."""
HARDWARE: Final = (_BRIDGE, _ADAPTATION, _PLANNER)
"""Robot on a serial port, adaptation, planning."""
EMULATOR: Final = (_EMULATOR,)
"""A robot to be at the other end of the line."""

ARGUMENTS: Final[dict[str, tuple[type, str]]] = {
    "seed": (int, "Seed of leg phases, random faults and the planner's samples"),
    "rate": (float, "Control rate, Hz"),
    "real_time_factor": (float, "Simulated seconds per second"),
    "publish_clock": (bool, "Whether to publish /clock; false, with use_sim_time:=false, beside another simulator"),
    "frame_prefix": (str, "Prefix of all names of frames, such as robot1/"),
    "terrain": (str, "Ground: carpet, styrofoam, turf or gravel"),
    "sensors": (str, "Imperfections of the sensors: ideal, or real; exceptions follow it, as in real,delay=0"),
    "gui": (bool, "Whether to show the robot in a window"),
    "camera_rate": (float, "Images of the robot per second, Hz; 0: none"),
    "learner": (
        str,
        "Learner, how the model adapts each tick: bayes_replay, bayes_last_layer, grbal, rebal, attention, hybrid"
        " or mb_de; mb, which does not",
    ),
    "checkpoint": (str, "File of the prior, *.safetensors, in place of the shipped one"),
    "path": (str, "Path to follow: straight, left, right, zigzag or figure_eight"),
    "port": (str, "Serial port of the robot, such as /dev/ttyUSB0"),
    "protocol": (str, "Protocol on the line: mbmrl or velociroach"),
    "baud": (int, "Speed of the port, bit/s"),
    "profile": (str, "Firmware that speaks velociroach: millirobot or turner"),
    "framing": (str, "Frames of velociroach: wired or xbee"),
    "autostart": (bool, "Whether to enable the motors at the start"),
    "reactivate": (bool, "Whether to enable the motors again when a lost link to the same robot is there again"),
    "tty": (str, "Link to the pseudo-terminal, to be made"),
    "noise": (float, "Share of the bytes that are changed on the line"),
    "loss": (float, "Share of the bytes that are lost on the line"),
    "delay": (float, "Time that bytes take in each direction, s"),
    "disconnects": (float, "Cables pulled per minute"),
    "reboots": (float, "Resets of the board per minute"),
    "pose_topic": (str, "Topic of poses by motion capture, geometry_msgs/PoseStamped"),
    "odometry_topic": (str, "Topic of poses with velocity by motion capture, nav_msgs/Odometry"),
}
"""Launch arguments that set parameters of nodes, or rename topics: type and description."""
