"""The command line says what it can do without loading it all."""

from __future__ import annotations

import subprocess
import sys

HELP = """
import sys
from mbmrl_control.cli.main import app
app(sys.argv[1:], prog_name="mbmrl", standalone_mode=False)
assert not {"torch", "numpy", "rclpy", "pybullet", "matplotlib"} & set(sys.modules), "loaded too much"
"""


def test_help_is_quick() -> None:
    result = subprocess.run([sys.executable, "-c", HELP, "--help"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    commands = ("demo", "sim", "hardware", "emulate", "robots", "fault", "clear", "collect", "train", "evaluate")
    assert all(command in result.stdout for command in commands)
