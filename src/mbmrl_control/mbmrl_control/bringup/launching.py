"""Launch descriptions of the graph, for the files in launch/."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import Action, LaunchContext, LaunchDescription
from mbmrl_base.system.endings import DIED, PARENT
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.bringup.graph import NodeSpec, Values, arguments, enclave
from mbmrl_control.bringup.parameters import check_settings, implied, overrides
from mbmrl_control.bringup.respawn import Respawn


def describe(
    nodes: tuple[NodeSpec, ...], use_sim_time: bool, required: tuple[str, ...] = (), namespace: str = ""
) -> LaunchDescription:
    """Describe the launch of nodes; when one of them ends, it is started again, or all end.

    Args:
        nodes: Nodes to start.
        use_sim_time: Default of the argument of that name.
        required: Arguments that have no default.
        namespace: Default of the argument of that name.
    """
    params_file = PathJoinSubstitution([FindPackageShare("mbmrl_control"), "config", "mbmrl.yaml"])
    declarations = [
        DeclareLaunchArgument("namespace", default_value=namespace, description="Namespace of all nodes"),
        DeclareLaunchArgument("params_file", default_value=params_file, description="File of parameters"),
        DeclareLaunchArgument(
            "use_sim_time", default_value=str(use_sim_time).lower(), description="Whether time is /clock"
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            description="Least severe messages that are logged",
            choices=["debug", "info", "warn", "error", "fatal"],
        ),
        DeclareLaunchArgument(
            "respawn", default_value="false", description="Whether a node that dies is started again; else all end"
        ),
        DeclareLaunchArgument("rviz", default_value="false", description="Whether RViz shows the robot and its plans"),
    ]
    for name, argument in arguments(nodes).items():
        if name in required:
            declarations.append(DeclareLaunchArgument(name, description=argument.text))
            continue
        given, hint = (
            ("", " (not given: as in params_file)") if argument.default is None else (str(argument.default), "")
        )
        declarations.append(DeclareLaunchArgument(name, default_value=given, description=argument.text + hint))
    # What a node prints is shown when it is printed.
    unbuffered = SetEnvironmentVariable("PYTHONUNBUFFERED", "1")
    return LaunchDescription([*declarations, unbuffered, OpaqueFunction(function=_start, args=[nodes])])


_KINDS: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _argument(context: LaunchContext, name: str, value_type: type) -> ParameterValue:
    value = ParameterValue(LaunchConfiguration(name), value_type=value_type)
    try:
        value.evaluate(context)
    except ValueError:
        text = LaunchConfiguration(name).perform(context)
        raise ValueError(f"the argument {name} is {text!r}: allowed is {_KINDS[value_type]}") from None
    return value


def _start(context: LaunchContext, nodes: tuple[NodeSpec, ...]) -> list[Action]:
    # A launch that fails half-way leaves the nodes that it has started: all arguments are looked at before.
    params_file = Path(LaunchConfiguration("params_file").perform(context))
    if not params_file.is_file():
        raise ValueError(f"the argument params_file is {str(params_file)!r}: there is no such file")
    use_sim_time, rviz, respawn = (_argument(context, name, bool) for name in ("use_sim_time", "rviz", "respawn"))
    # Only what was given overrides the file of parameters.
    given = {
        name: _argument(context, name, argument.kind)
        for name, argument in arguments(nodes).items()
        if LaunchConfiguration(name).perform(context)
    }
    values = {name: value.evaluate(context) for name, value in given.items()}
    values |= {name: LaunchConfiguration(name).perform(context) for name in ("namespace", "params_file")}
    more = implied(values)
    settings = check_settings(nodes, values | more)
    again = bool(respawn.evaluate(context))
    start = _Start(values | more, use_sim_time, Respawn(again))
    return [
        *(start.action(node, start.values) for node in nodes if node.is_started(values)),
        *_state_publisher(nodes, settings, use_sim_time, again, values),
        *(_rviz(use_sim_time) if rviz.evaluate(context) else ()),
    ]


def _is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def _state_publisher(
    nodes: tuple[NodeSpec, ...],
    settings: dict[str, NodeSettings],
    use_sim_time: ParameterValue,
    respawn: bool,
    values: Values,
) -> Iterator[Action]:
    """What publishes the frames of the robot's links, if it is installed, and the robot's own is published."""
    used = next((settings[node.executable] for node in nodes if "publish_tf" in node.parameters), None)
    if used is None or not _is_installed("robot_state_publisher"):
        return
    robot, own = used.check(), dict(used)
    if not own["publish_tf"] or robot is None or robot.urdf() is None:
        return
    yield Node(
        package="robot_state_publisher",
        executable="robot_state_publisher",
        arguments=["--ros-args", "--enclave", enclave("robot_state_publisher", values)],
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            {
                "robot_description": ParameterValue(robot.urdf(), value_type=str),
                "frame_prefix": own["frame_prefix"],
                "use_sim_time": use_sim_time,
            }
        ],
        # The robot's own node publishes it.
        remappings=[("robot_description", "robot_state_publisher/robot_description")],
        respawn=respawn,
        output="screen",
    )


def _rviz(use_sim_time: ParameterValue) -> Iterator[Action]:
    """RViz, whose end ends nothing else, or a sentence."""
    if not _is_installed("rviz2"):
        yield LogInfo(msg="RViz is not installed: see `sudo apt install ros-jazzy-rviz2`; the robot is started without")
        return
    config = PathJoinSubstitution([FindPackageShare("mbmrl_control"), "config", "mbmrl.rviz"])
    # Topics in the file are relative: they are those of the namespace.
    yield Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", config, "-f", [LaunchConfiguration("frame_prefix"), "odom"]],
        parameters=[{"use_sim_time": use_sim_time}],
        output="log",
    )


@dataclass(frozen=True)
class _Start:
    """Starts nodes, and starts them again."""

    values: Values
    use_sim_time: ParameterValue
    respawn: Respawn

    def action(self, node: NodeSpec, values: Values, **environment: str) -> Node:
        """What starts a node, with this beside the rest of the environment."""
        given = overrides(node, values)
        parameters = {name: ParameterValue(value, value_type=type(value)) for name, value in given.items()}
        if node.uses_sim_time:
            parameters["use_sim_time"] = self.use_sim_time
        return Node(
            package=node.package,
            executable=node.executable,
            name=node.executable,
            namespace=LaunchConfiguration("namespace") if node.in_namespace else "",
            parameters=[LaunchConfiguration("params_file"), parameters],
            remappings=[(topic, LaunchConfiguration(name)) for name, topic, _ in node.topics],
            additional_env={PARENT: str(os.getpid()), **environment},
            arguments=[
                *("--ros-args", "--enclave", node.enclave(values)),
                *("--log-level", LaunchConfiguration("log_level")),
            ],
            output="screen",
            on_exit=partial(self._end, node),
        )

    def _end(self, node: NodeSpec, event: ProcessExited, context: LaunchContext) -> list[Action] | Shutdown | None:
        """A node that has died is started again, or all end with it if all end with such a one.

        Raises:
            RuntimeError: If it failed by itself: `Shutdown` alone would have the launch end with exit code 0.
        """
        if context.is_shutdown:
            return None
        ended = f"{event.action.node_executable} has ended"
        again = self.respawn.again(node, self.values, event.returncode)
        if again is not None:
            sentence = f"{ended} with exit code {event.returncode}: it is started again"
            return [LogInfo(msg=sentence), self.action(node, again, **{DIED: str(time.monotonic())})]
        if not node.ends_all(event.returncode):
            return None
        if event.returncode:
            raise RuntimeError(f"{ended} with exit code {event.returncode}")
        return Shutdown(reason=ended)
