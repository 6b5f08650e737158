"""Topics, services and actions of the running nodes are those of docs/reference/topics.md."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from mbmrl_base.toolkit.robot_topics import TFMessage
from ros_testing import NodeProcess, Peer

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "topics.md"
NODES = {
    "simulator": "simulator_node",
    "bridge": "serial_bridge_node",
    "adaptation": "adaptation_node",
    "MPC": "mpc_node",
    "camera": "camera_node",
    "recorder": "recorder_node",
}
YOURS = {"you": "mpc_node", "your motion capture": "serial_bridge_node"}
"""Who listens to what others publish."""
LINE = "/line"
"""Namespace of the bridge."""
OF_ROS = {"/parameter_events", "/rosout"}
# Tooling that each node has.
SERVICES_OF_ROS = r".*/(\w+_parameters?(_\w+)?|get_type_description|\w+_state|get_\w+_(states|transitions|graph))"

Row = tuple[str, str, str, str]


def rows(title: str) -> list[list[str]]:
    """Cells of the table below a title."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n\n## ")[0]
    table = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line] for line in table]


def quality(profile: QoSProfile) -> str:
    if profile.durability is DurabilityPolicy.TRANSIENT_LOCAL:
        return "latched"
    return "reliable" if profile.reliability is ReliabilityPolicy.RELIABLE else "best effort"


def documented() -> Iterator[Row]:
    """Topic, type, node and quality of service of each end that a node has."""
    for topic, kind, by, service in rows("Topics"):
        for name in by.split(" or "):
            where = re.sub(r"^(?!/)", "/", topic.strip("`"))
            yield where, kind.split(":")[0].split(",")[0].split(" ")[0], (NODES | YOURS)[name], service.split(",")[0]


def documented_services() -> set[tuple[str, str]]:
    """Name and type of each service or action, once for each node that has it."""
    return {(f"/{row[0].strip('`')}", row[1]) for row in rows("Services and actions")}


@pytest.fixture
def running(
    start_command: Callable[..., subprocess.Popen[str]],
    start_node: Callable[..., NodeProcess],
    peer: Peer,
    tmp_path: Path,
) -> Peer:
    """A peer of the stack with recorder and camera, and of a bridge without a robot."""
    # Two robots are not in one namespace.
    start_node("serial_bridge_node", "-r", f"__ns:={LINE}", autostart=False)
    sim = start_command("sim", "--camera-rate", "5", "--bag", str(tmp_path / "bag"))

    def all_there() -> bool:
        return sim.poll() is not None or set(NODES.values()) <= set(peer.node.get_node_names())

    peer.spin_until(all_there)
    assert sim.poll() is None, sim.communicate()
    return peer


def ends(peer: Peer) -> set[Row]:
    """As of `documented`, of the nodes that run: all publishers, and the subscriptions that are documented."""
    heard = {(topic, node) for topic, _, node, _ in documented() if node in YOURS.values()}
    found = set()
    for topic, _ in peer.node.get_topic_names_and_types():
        name = topic.removeprefix(LINE)
        if name in OF_ROS or "/_action/" in name or name.endswith("/transition_event"):
            continue
        listeners = peer.node.get_subscriptions_info_by_topic(topic)
        both = [*peer.node.get_publishers_info_by_topic(topic)]
        both += [end for end in listeners if (name, end.node_name) in heard]
        found |= {(name, end.topic_type.replace("/msg/", "/"), end.node_name, quality(end.qos_profile)) for end in both}
    return {row for row in found if row[2] in NODES.values()}


def services(peer: Peer) -> set[tuple[str, str]]:
    """Name and type of each service and action of the nodes that run."""
    found = set()
    for node in NODES.values():
        space = LINE if node == "serial_bridge_node" else "/"
        ends = peer.node.get_service_names_and_types_by_node(node, space)
        ends += get_action_server_names_and_types_by_node(peer.node, node, space)
        found |= {(name.removeprefix(LINE), kind) for name, (kind, *_) in ends if "/_action/" not in name}
    return {each for each in found if not re.fullmatch(SERVICES_OF_ROS, each[0])}


def test_topics_services_and_actions_are_those_of_the_page(running: Peer) -> None:
    wanted = {row for row in documented() if row[0] != "/tf" or TFMessage is not None}
    # Discovery takes its time.
    with suppress(AssertionError):
        running.spin_until(lambda: wanted <= ends(running) and documented_services() <= services(running))
    assert sorted(ends(running) ^ wanted) == []
    assert sorted(services(running) ^ documented_services()) == []
