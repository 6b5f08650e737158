"""Entry points of the nodes' executables."""

from __future__ import annotations

from functools import partial

from mbmrl_base.toolkit.entry import start

adaptation_node = partial(start, "mbmrl_control.nodes.adaptation_node")
dashboard_node = partial(start, "mbmrl_control.nodes.dashboard_node")
emulator_node = partial(start, "mbmrl_control.nodes.emulator_node")
explorer_node = partial(start, "mbmrl_control.nodes.explorer_node")
mpc_node = partial(start, "mbmrl_control.nodes.mpc_node")
recorder_node = partial(start, "mbmrl_control.nodes.recorder_node")
serial_bridge_node = partial(start, "mbmrl_control.nodes.serial_bridge_node")
topic_bridge_node = partial(start, "mbmrl_control.nodes.topic_bridge_node")
