"""The bridge to a robot on a serial port; this version has none yet and says so."""

from __future__ import annotations

import sys

from pydantic import Field
from rclpy.node import Node

from mbmrl_sim.parameters import declare
from mbmrl_sim.settings import NodeSettings
from mbmrl_sim.spin import run


class BridgeSettings(NodeSettings):
    """Parameters of the serial bridge."""

    port: str = Field("", description="Serial port of the robot, such as /dev/ttyUSB0")


class SerialBridgeNode(Node):
    """Refuses to start."""

    def __init__(self) -> None:
        """Say that there is no bridge yet.

        Raises:
            ValueError: Always.
        """
        super().__init__("serial_bridge_node", automatically_declare_parameters_from_overrides=True)
        port = declare(self, BridgeSettings).port
        raise ValueError(f"the serial bridge is not there yet: the robot at {port or 'no port'} is not driven")


def main() -> None:
    """Entry point."""
    sys.exit(run(SerialBridgeNode))


if __name__ == "__main__":
    main()
