"""Robot that speaks ROS: ``ros2 launch mbmrl_control robot.launch.py contract:=robot.yaml checkpoint:=FILE``."""

from launch import LaunchDescription
from mbmrl_control.bringup.graph import NAMESPACE, TOPICS
from mbmrl_control.bringup.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Describe the graph with the topic bridge."""
    return describe(TOPICS, use_sim_time=False, required=("contract",), namespace=NAMESPACE)
