"""Entry points of the nodes' executables."""

from __future__ import annotations

from functools import partial

from mbmrl_sim.entry import start

adaptation_node = partial(start, "mbmrl_control.adaptation_node")
emulator_node = partial(start, "mbmrl_control.emulator_node")
mpc_node = partial(start, "mbmrl_control.mpc_node")
serial_bridge_node = partial(start, "mbmrl_control.serial_bridge_node")
