"""The core needs no ROS: simulation, training and evaluation run without it."""

from __future__ import annotations

import subprocess
import sys

CORE = (
    "bullet",
    "state",
    "robot",
    "drive",
    "faults",
    "world",
    "render",
    "settings",
    "ticker",
    "exclusive",
    "worker",
    "files",
    "surroundings",
)
ROS = ("rclpy", "mbmrl_msgs", "builtin_interfaces", "rcl_interfaces", "std_msgs", "geometry_msgs")
CODE = f"""
import importlib, sys
for name in {ROS!r}:
    sys.modules[name] = None
for name in {CORE!r}:
    importlib.import_module(f"mbmrl_sim.{{name}}")
import numpy as np
from mbmrl_sim.world import World
print(World(seed=1).step(np.zeros(2)).sequence)
"""


def test_core_runs_where_ros_cannot_be_imported() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert result.stderr == ""
    assert result.stdout == "1\n"
