"""Parameters of the dashboard node."""

from __future__ import annotations

from pydantic import Field

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.toolkit.settings import ROBOT, NodeSettings


class DashboardSettings(NodeSettings):
    """Parameters of the dashboard node."""

    robot: str = Field(DEFAULT_ROBOT, description=ROBOT)
    simulator: str = Field("", description="File, *.py, of the robot's simulator, if it has one; empty: its own")
    rate: float = Field(20.0, ge=1.0, le=60.0, description="Pictures per second, Hz")
    host: str = Field("127.0.0.1", description="Address at which the page is served; 0.0.0.0: all of this machine's")
    token: str = Field(
        "", description="What a browser of another machine has to know; empty: made up, and logged with the address"
    )
    page_port: int = Field(8080, ge=0, le=65535, description="Port of the page; 0: any that is free")
