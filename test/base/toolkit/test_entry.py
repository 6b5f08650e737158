"""Entry points of executables."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

LOADING = """
import time
print("loading", flush=True)
while True:
    time.sleep(1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_node_that_is_stopped_while_it_loads_says_nothing(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "slow_module.py").write_text(LOADING)
    command = [sys.executable, "-c", "from mbmrl_sim.nodes.entry import start; start('slow_module')"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(number)
        assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    "name",
    ["simulator_node", "camera_node", "adaptation_node", "mpc_node", "serial_bridge_node", "emulator_node"],
)
def test_executables_run_the_main_function_of_their_node(name: str) -> None:
    found = {point.name: point for point in entry_points(group="console_scripts")}
    point = found[name].load()
    assert point.args[0].endswith(f".{name}")
    assert callable(import_module(point.args[0]).main)
