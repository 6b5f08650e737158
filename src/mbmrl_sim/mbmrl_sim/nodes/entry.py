"""Entry points of the nodes' executables."""

from __future__ import annotations

from functools import partial

from mbmrl_base.toolkit.entry import start

camera_node = partial(start, "mbmrl_sim.nodes.camera_node")
simulator_node = partial(start, "mbmrl_sim.nodes.simulator_node")
