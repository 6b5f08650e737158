"""The policy of SROS2, config/sros2_policy.xml, gives each node what it has in the running graph, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pytest
from ament_index_python.packages import get_package_share_directory
from rclpy.node import Node

from mbmrl_base.toolkit.robot_topics import TFMessage
from mbmrl_base.toolkit.spin import OPERATOR
from mbmrl_control.bringup.graph import EMULATOR, EXPLORE, HARDWARE, SIM, TOPICS
from ros_testing import NodeProcess, Peer
from rover_testing import ROVER

CONFIG: Final = Path(get_package_share_directory("mbmrl_control")) / "config"
INCLUDE: Final = "{http://www.w3.org/2001/XInclude}include"
RIGHTS: Final = {
    "topics": ("publish", "subscribe"),
    "services": ("reply", "request"),
    "actions": ("execute", "call"),
}
ACTION: Final = {
    "execute": (("publish", ("feedback", "status")), ("reply", ("send_goal", "cancel_goal", "get_result"))),
    "call": (("subscribe", ("feedback", "status")), ("request", ("send_goal", "cancel_goal", "get_result"))),
}
OTHERS: Final = {"/robot_state_publisher", OPERATOR}
"""Enclaves of what the graphs do not start: one of ROS 2 itself, and people."""
LINE, ROVERS = "/line", "/mbmrl"
"""Namespaces of the robot on a serial line, and of the one that speaks ROS."""
RUNNING: Final = {
    **{f"/{spec.executable}": "/" for spec in SIM},
    **{f"{LINE}/{name}": LINE for name in ("serial_bridge_node", "emulator_node")},
    **{f"{ROVERS}/{name}": ROVERS for name in ("topic_bridge_node", "explorer_node")},
}
"""Nodes that the test starts, and their namespaces."""
CONDITIONAL: Final = {
    "/mbmrl/topic_bridge_node": {
        ("publish", "/mbmrl/battery_state"): "of the millirobot",
        ("publish", "/mbmrl/joint_states"): "the rover has no joints",
        ("publish", "/mbmrl/robot_description"): "the rover has no URDF",
    }
}
"""What a node has of some robots alone, and why not of these."""
BY_CONTRACT: Final = {"/mbmrl/topic_bridge_node": {("publish", "/cmd_vel"), ("subscribe", "/odom")}}
"""The robot's own topics, which users add to the policy."""

MONITOR_NODE: Final = "monitor_node"
MONITOR: Final = """
from functools import partial
from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.toolkit.spin import beside
from mbmrl_control.nodes.monitor_node import MonitorNode
with beside(partial(MonitorNode, "", load_robot("millirobot"))):
    input()
"""
"""What commands have of ROS beside their own work."""

Right = tuple[str, str]
"""What a node may do, and the name of a topic or service."""


def profiles() -> dict[str, ET.Element]:
    """The profile of each enclave, with what it includes in its place."""
    found = {}
    for enclave in ET.parse(CONFIG / "sros2_policy.xml").getroot().iterfind("enclaves/enclave"):
        (profile,) = enclave.iterfind("profiles/profile")
        for include in profile.findall(INCLUDE):
            assert include.get("xpointer") == "xpointer(/profile/*)"
            profile.extend(ET.parse(CONFIG / include.attrib["href"]).getroot())
            profile.remove(include)
        assert enclave.attrib["path"] not in found
        found[enclave.attrib["path"]] = profile
    return found


def rights(node: str, namespace: str) -> set[Right]:
    """What the policy allows a node that is started in a namespace."""
    profile = profiles()["/" + node.rpartition("/")[2]]
    space, found = namespace.rstrip("/"), set()
    for part in profile:
        for each in part:
            name = (each.text or "").replace("~", node)
            name = name if name.startswith("/") else f"{space}/{name}"
            for right in part.keys():  # noqa: SIM118
                if right in ACTION:
                    found |= {(way, f"{name}/_action/{end}") for way, ends in ACTION[right] for end in ends}
                else:
                    found.add((right, name))
    return found


def has(observer: Node, node: str, namespace: str) -> set[Right]:
    """What a node has in the graph that runs."""
    ways: dict[str, Callable[[str, str], Any]] = {
        "publish": observer.get_publisher_names_and_types_by_node,
        "subscribe": observer.get_subscriber_names_and_types_by_node,
        "reply": observer.get_service_names_and_types_by_node,
        "request": observer.get_client_names_and_types_by_node,
    }
    return {(right, name) for right, ask in ways.items() for name, _ in ask(node.rpartition("/")[2], namespace)}


def mistakes(observer: Node) -> list[str]:
    """Where the policy and the graph that runs differ."""
    found = []
    for node, namespace in RUNNING.items():
        try:
            there = has(observer, node, namespace) - BY_CONTRACT.get(node, set())
        except Exception as error:  # the node is not known yet
            found.append(f"{node}: {error}")
            continue
        allowed = rights(node, namespace)
        used = {right for right in allowed if any(fits(each, right) for each in there)}
        spare = allowed - used - set(CONDITIONAL.get(node, ()))
        if TFMessage is None:
            spare.discard(("publish", "/tf"))
        found += [
            f"{node}: has what is not allowed: {way} {name}"
            for way, name in sorted(there)
            if not any(fits((way, name), right) for right in allowed)
        ]
        found += [f"{node}: is allowed what it has not: {way} {name}" for way, name in sorted(spare)]
    return found


def fits(each: Right, allowed: Right) -> bool:
    """Whether something is allowed by a right, whose name may have wildcards."""
    return each[0] == allowed[0] and fnmatchcase(each[1], allowed[1])


def test_policy_is_one_that_sros2_takes() -> None:
    reader = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    root = ET.parse(CONFIG / "sros2_policy.xml", reader).getroot()
    # `ros2 security generate_artifacts` takes whatever is among the enclaves for one, comments too.
    (enclaves,) = root
    assert {each.tag for each in enclaves} == {"enclave"}
    assert (root.tag, root.get("version")) == ("policy", "0.2.0")
    for path, profile in profiles().items():
        assert (profile.get("ns"), profile.get("node")) == ("/", path[1:])
        seen = []
        for part in profile:
            assert set(part.attrib) <= set(RIGHTS[part.tag])
            assert set(part.attrib.values()) == {"ALLOW"}
            assert {each.tag for each in part} == {part.tag[:-1]}
            seen += [(right, each.text) for right in part.attrib for each in part]
        assert len(seen) == len(set(seen)), f"{path} has something twice"


def test_each_node_of_a_graph_has_an_enclave() -> None:
    specs = {spec for graph in (SIM, HARDWARE, TOPICS, EXPLORE, EMULATOR) for spec in graph}
    assert {spec.enclave({}) for spec in specs} == set(profiles()) - OTHERS
    assert SIM[3].enclave({"namespace": "/a/b"}) == SIM[3].enclave({"namespace": "a/b/"}) == "/a/b/mpc_node"
    assert TOPICS[0].enclave({"namespace": ROVERS}) == "/recorder_node"


def test_operator_may_ask_for_and_publish_what_some_node_takes() -> None:
    others = [right for node in profiles() if node not in OTHERS for right in rights(node, "/")]
    opposite = {"publish": "subscribe", "subscribe": "publish", "request": "reply"}
    for way, name in rights(OPERATOR, "/"):
        if way != "reply" and name not in ("/rosout", "/parameter_events"):
            takes = [other for other in others if other[0] == opposite[way] and other[1] != "/*"]
            assert any(fnmatchcase(other, name) for _, other in takes), f"nobody has the other end of {way} {name}"


@pytest.fixture
def running(
    start_command: Callable[..., subprocess.Popen[str]],
    start_node: Callable[..., NodeProcess],
    peer: Peer,
    tmp_path: Path,
) -> Peer:
    """A peer of nodes of all graphs, of each one."""
    (tmp_path / "rover.yaml").write_text(ROVER)
    start_node("emulator_node", "-r", f"__ns:={LINE}", tty=tmp_path / "tty")
    start_node("serial_bridge_node", "-r", f"__ns:={LINE}", port=tmp_path / "tty", autostart=False)
    rover = {"robot": tmp_path / "rover.yaml", "use_sim_time": True}
    start_node("topic_bridge_node", "-r", f"__ns:={ROVERS}", **rover)
    start_node("explorer_node", "-r", f"__ns:={ROVERS}", **rover)
    options = ("--camera-rate", "5", "--dashboard", "--page-port", "0", "--bag", str(tmp_path / "bag"))
    sim = start_command("sim", *options)
    names = {node.rpartition("/")[2] for node in RUNNING}
    peer.spin_until(lambda: sim.poll() is not None or names <= set(peer.node.get_node_names()))
    assert sim.poll() is None, sim.communicate()
    return peer


def test_nodes_have_what_the_policy_allows_and_nothing_else(running: Peer) -> None:
    # Discovery takes its time.
    with suppress(AssertionError):
        running.spin_until(lambda: not mistakes(running.node))
    found = mistakes(running.node)
    assert not found, "\n".join(found)
    enclaves = {node: enclave for node, _, enclave in running.node.get_node_names_and_namespaces_with_enclaves()}
    for spec in SIM:
        assert enclaves[spec.executable] == spec.enclave({})


def test_command_has_nothing_beyond_the_rights_of_the_operator(peer: Peer, domain: int, tmp_path: Path) -> None:
    environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", MONITOR], stdin=subprocess.PIPE, env=environment) as process:
        there: set[Right] = set()

        def all_there() -> bool:
            if MONITOR_NODE in peer.node.get_node_names():
                there.update(has(peer.node, f"/{MONITOR_NODE}", "/"))
            return process.poll() is not None or {("request", "/push"), ("subscribe", "/robot_state")} <= there

        peer.spin_until(all_there)
        enclaves = {node: enclave for node, _, enclave in peer.node.get_node_names_and_namespaces_with_enclaves()}
        process.communicate(b"\n")
    assert process.returncode == 0
    allowed = rights(OPERATOR, "/")
    assert sorted(each for each in there if not any(fits(each, right) for right in allowed)) == []
    assert enclaves[MONITOR_NODE] == OPERATOR
