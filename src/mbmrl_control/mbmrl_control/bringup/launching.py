"""Launch descriptions of the graph, for the files in launch/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription
from mbmrl_base.system.endings import PARENT
from mbmrl_control.bringup.graph import NodeSpec, arguments
from mbmrl_control.bringup.parameters import is_started


def describe(nodes: tuple[NodeSpec, ...], use_sim_time: bool, required: tuple[str, ...] = ()) -> LaunchDescription:
    """Describe the launch of nodes; when one of them ends, all end.

    Args:
        nodes: Nodes to start.
        use_sim_time: Default of the argument of that name.
        required: Arguments that have no default.
    """
    params_file = PathJoinSubstitution([FindPackageShare("mbmrl_control"), "config", "mbmrl.yaml"])
    declarations = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes"),
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


def _start(context: LaunchContext, nodes: tuple[NodeSpec, ...]) -> list[Node]:
    # A launch that fails half-way leaves the nodes that it has started: all arguments are looked at before.
    params_file = Path(LaunchConfiguration("params_file").perform(context))
    if not params_file.is_file():
        raise ValueError(f"the argument params_file is {str(params_file)!r}: there is no such file")
    use_sim_time = _argument(context, "use_sim_time", bool)
    # Only what was given overrides the file of parameters.
    given = {
        name: _argument(context, name, argument.kind)
        for name, argument in arguments(nodes).items()
        if LaunchConfiguration(name).perform(context)
    }
    values = {name: value.evaluate(context) for name, value in given.items()}
    return [_action(node, given, use_sim_time) for node in nodes if is_started(node, values)]


def _end(event: ProcessExited, context: LaunchContext) -> Shutdown | None:
    """All nodes end with one.

    Raises:
        RuntimeError: If it failed by itself: `Shutdown` alone would have the launch end with exit code 0.
    """
    if context.is_shutdown:
        return None
    if event.returncode:
        raise RuntimeError(f"{event.action.node_executable} has ended with exit code {event.returncode}")
    return Shutdown(reason=f"{event.action.node_executable} has ended")


def _action(node: NodeSpec, given: dict[str, ParameterValue], use_sim_time: ParameterValue) -> Node:
    overrides = {name: given[argument] for argument, name in node.arguments.items() if argument in given}
    if node.uses_sim_time:
        overrides["use_sim_time"] = use_sim_time
    return Node(
        package=node.package,
        executable=node.executable,
        name=node.executable,
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), overrides],
        remappings=[(topic, LaunchConfiguration(name)) for name, topic, _ in node.topics],
        additional_env={PARENT: str(os.getpid())},
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
        on_exit=_end,
    )
