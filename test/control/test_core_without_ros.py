"""The core needs no ROS, and the command line says what it can do without loading it all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mbmrl_control

ROS = (
    *("rclpy", "mbmrl_msgs", "builtin_interfaces", "rcl_interfaces", "std_msgs", "std_srvs", "geometry_msgs"),
    *("nav_msgs", "ament_index_python", "launch", "launch_ros"),
)
WITH_ROS = ("benchmarks.handover", "benchmarks.loop", "conversions", "launching", "processes", "demo", "cli")
IMPORT_ALL = f"""
import importlib, sys
for name in {ROS!r}:
    sys.modules[name] = None
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
HELP = """
import sys
from mbmrl_control.cli import app
app(sys.argv[1:], prog_name="mbmrl", standalone_mode=False)
assert not {"torch", "numpy", "rclpy", "pybullet", "matplotlib"} & set(sys.modules), "loaded too much"
"""


def core_modules() -> list[str]:
    """All modules that may not use ROS."""
    folder = Path(mbmrl_control.__file__).parent
    modules = [".".join(path.relative_to(folder).with_suffix("").parts) for path in sorted(folder.rglob("*.py"))]
    core = [m for m in modules if not m.endswith("_node") and m not in WITH_ROS and not m.endswith("__init__")]
    assert {"learners.grbal", "planning.mppi", "training.pipeline", "evaluation.closed_loop", "settings"} <= set(core)
    return [f"mbmrl_control.{module}" for module in core]


def test_core_can_be_imported_without_ros() -> None:
    result = subprocess.run([sys.executable, "-c", IMPORT_ALL, *core_modules()], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_help_is_quick() -> None:
    result = subprocess.run([sys.executable, "-c", HELP, "--help"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    commands = ("demo", "sim", "fault", "clear", "collect", "train", "evaluate")
    assert all(command in result.stdout for command in commands)
