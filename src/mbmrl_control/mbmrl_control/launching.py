"""Launch descriptions of the graph, for the files in launch/."""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription
from mbmrl_control.graph import ARGUMENTS, NodeSpec


def describe(nodes: tuple[NodeSpec, ...], use_sim_time: bool, required: tuple[str, ...] = ()) -> LaunchDescription:
    """Describe the launch of nodes; when one of them ends, all end.

    Args:
        nodes: Nodes to start.
        use_sim_time: Default of the argument of that name.
        required: Arguments that have no default.
    """
    names = [name for name in ARGUMENTS if any(name in node.parameters for node in nodes)]
    params_file = PathJoinSubstitution([FindPackageShare("mbmrl_control"), "config", "mbmrl.yaml"])
    declarations = [
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of all nodes"),
        DeclareLaunchArgument("params_file", default_value=params_file, description="File of parameters"),
        DeclareLaunchArgument(
            "use_sim_time", default_value=str(use_sim_time).lower(), description="Whether time is /clock"
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal"),
    ]
    for name in names:
        text = ARGUMENTS[name][1]
        if name in required:
            declarations.append(DeclareLaunchArgument(name, description=text))
        else:
            declarations.append(
                DeclareLaunchArgument(name, default_value="", description=f"{text} (empty: as in params_file)")
            )
    return LaunchDescription([*declarations, *(OpaqueFunction(function=_start, args=[node]) for node in nodes)])


def _start(context: LaunchContext, node: NodeSpec) -> list[Node]:
    # Only what was given overrides the file of parameters.
    given = [name for name in node.parameters if LaunchConfiguration(name).perform(context)]
    overrides = {name: ParameterValue(LaunchConfiguration(name), value_type=ARGUMENTS[name][0]) for name in given}
    if node.uses_sim_time:
        overrides["use_sim_time"] = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    return [
        Node(
            package=node.package,
            executable=node.executable,
            name=node.executable,
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), overrides],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            output="screen",
            on_exit=Shutdown(reason=f"{node.executable} has ended"),
        )
    ]
