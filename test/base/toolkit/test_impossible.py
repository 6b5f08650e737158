"""Messages that hold no possible value, sent to a node that uses parameters and /clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters, SetParametersAtomically
from rosgraph_msgs.msg import Clock

from mbmrl_base.toolkit import qos
from ros_testing import NodeProcess, Peer

NODE = "mbmrl_control.nodes.adaptation_node"


@pytest.fixture
def node(domain: int, tmp_path: Path) -> NodeProcess:
    return NodeProcess(NODE, domain, "-p", "use_sim_time:=true", folder=tmp_path)


def test_parameter_of_no_type_is_refused(node: NodeProcess, peer: Peer) -> None:
    given = [
        Parameter(name="learner", value=ParameterValue(type=4, string_value="mb")),
        Parameter(name="threads", value=ParameterValue(type=255)),
    ]
    with node:
        results = peer.call(SetParameters, "adaptation_node/set_parameters", node, parameters=given).results
        assert [result.successful for result in results] == [False, False]
        assert results[0].reason == "nothing is set: 255 is not a valid Parameter.Type"
        name = "adaptation_node/set_parameters_atomically"
        assert not peer.call(SetParametersAtomically, name, node, parameters=given).result.successful
        values = peer.call(GetParameters, "adaptation_node/get_parameters", node, names=["learner"]).values
        assert [value.string_value for value in values] == ["committee"]


def test_time_before_zero_ends_nothing(node: NodeProcess, peer: Peer) -> None:
    clock = peer.node.create_publisher(Clock, "/clock", qos.LATEST)
    ask: Callable[[], object] = lambda: peer.call(GetParameters, "adaptation_node/get_parameters", node, names=[])  # noqa: E731
    with node:
        peer.spin_until(clock.get_subscription_count, node)
        ask()
        message = Clock()
        message.clock.sec = -5
        clock.publish(message)
        clock.wait_for_all_acked()
        ask()
        assert node.running
        assert "Traceback" not in node.errors
