"""Imports go one way: pyproject.toml says which, and import-linter reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = """
import importlib, sys
sys.modules.update(dict.fromkeys(sys.argv[2].split(",")))
importlib.import_module(sys.argv[1])
"""


def test_imports_go_one_way() -> None:
    command = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
    result = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        ("mbmrl_control.nodes.adaptation_node", "pybullet,serial,cobs"),
        ("mbmrl_control.nodes.mpc_node", "pybullet,serial,cobs"),
        ("mbmrl_control.nodes.serial_bridge_node", "pybullet"),
        ("mbmrl_control.training.pipeline", "rclpy,mbmrl_msgs,serial"),
        ("mbmrl_control.evaluation.comparison", "rclpy,mbmrl_msgs,serial"),
        ("mbmrl_sim.millirobot.world", "rclpy,mbmrl_msgs,torch"),
    ],
)
def test_module_is_loaded_where_others_are_missing(module: str, missing: str) -> None:
    result = subprocess.run([sys.executable, "-c", WITHOUT, module, missing], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
