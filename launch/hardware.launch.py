"""Robot on a serial port: ``ros2 launch mbmrl_control hardware.launch.py port:=/dev/ttyUSB0``."""

from launch import LaunchDescription
from mbmrl_control.bringup.graph import HARDWARE
from mbmrl_control.bringup.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Describe the graph with the serial bridge."""
    return describe(HARDWARE, use_sim_time=False, required=("port",))
