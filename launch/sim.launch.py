"""Simulated millirobot, adaptation and planning: ``ros2 launch mbmrl_control sim.launch.py``."""

from launch import LaunchDescription
from mbmrl_control.bringup.graph import SIM
from mbmrl_control.bringup.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Describe the graph with the simulator."""
    return describe(SIM, use_sim_time=True)
