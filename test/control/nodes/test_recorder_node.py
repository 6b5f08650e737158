"""The recorder node as a process, over real DDS: the test is the robot, and reads back what was recorded."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader, make_reader
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader
from std_msgs.msg import String

from mbmrl_base.system.endings import PARENT
from mbmrl_base.system.interpreter import command_of
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_seconds
from mbmrl_control.nodes.message_definitions import Definitions, message_class
from mbmrl_control.nodes.recorder_node import fitting
from mbmrl_msgs.msg import RobotState
from ros_testing import NodeProcess, Peer, StartSimulator, free_domain, peer_in, start_simulator

__all__ = ["start_simulator"]

StartNode = Callable[..., NodeProcess]
EVERY_STATE = QoSProfile(depth=1000)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def read_whole(bag: Path) -> dict[str, list[Any]]:
    """Messages of a closed recording by topic, as rosbags reads them; mcap finds the same ones by the index."""
    found = defaultdict(list)
    with AnyReader([bag]) as reader:
        for connection, _, message in reader.messages():
            found[connection.topic].append(reader.deserialize(message, connection.msgtype))
    with (bag / f"{bag.name}.mcap").open("rb") as file:
        indexed = [channel.topic for _, channel, _ in make_reader(file).iter_messages()]
    assert {topic: indexed.count(topic) for topic in indexed} == {topic: len(each) for topic, each in found.items()}
    return found


def read_stream(bag: Path) -> dict[str, list[Any]]:
    """Messages of a recording by topic, as far as its file goes: of one that is being written, or was killed."""
    found = defaultdict(list)
    with (bag / f"{bag.name}.mcap").open("rb") as file, suppress(McapError):
        for schema, channel, message in NonSeekingReader(file).iter_messages(log_time_order=False):
            assert schema is not None
            found[channel.topic].append(deserialize_message(message.data, message_class(schema.name)))
    return found


class Talker:
    """Publishes texts that are numbers, one after the other."""

    def __init__(self, peer: Peer, recorder: NodeProcess, topic: str = "talk", profile: QoSProfile = qos.STATE) -> None:
        self._peer, self._recorder = peer, recorder
        self._publisher = peer.node.create_publisher(String, topic, profile)
        self.sent = 0
        peer.spin_until(self._publisher.get_subscription_count, recorder)

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            self._publisher.publish(String(data=str(self.sent)))
            self.sent += 1

    def send_until_read(self, bag: Path, topic: str = "/talk") -> int:
        """Send until some are in the file, which is no longer than a second behind; returns how many."""
        self._peer.spin_until(lambda: self.send() or read_stream(bag)[topic], self._recorder)
        return len(read_stream(bag)[topic])


def test_no_message_is_lost_and_each_is_described(
    start_node: StartNode, start_simulator: StartSimulator, peer: Peer, tmp_path: Path
) -> None:
    bag = tmp_path / "bag"
    recorder = start_node("recorder_node", bag=bag)
    peer.spin_until(bag.exists, recorder)
    simulator = start_simulator(seed=3)
    states = peer.record(RobotState, "robot_state", EVERY_STATE)
    topics = ("robot_state", "odom", "imu/data", "joint_states", "battery_state")
    peer.spin_until(lambda: all(read_stream(bag)[f"/{topic}"] for topic in topics), recorder)
    count = len(states)
    peer.spin_until(lambda: len(states) >= count + 100, simulator)
    hashes = {}
    for topic, _ in peer.node.get_topic_names_and_types():
        for info in peer.node.get_publishers_info_by_topic(topic):
            hashes[topic] = str(info.topic_type_hash)
    simulator.end()
    assert recorder.end(signal.SIGTERM) == 0
    found = read_whole(bag)
    # From the first one on that came, which depends on who found whom when.
    for topic in topics:
        stamps = [message.header.stamp for message in found[f"/{topic}"]]
        periods = [round(20 * (stamp.sec + stamp.nanosec * 1e-9)) for stamp in stamps]
        assert periods == list(range(periods[0], periods[0] + len(periods))), topic
        assert periods[0] <= round(20 * to_seconds(states[count].header.stamp))
        assert periods[-1] >= round(20 * to_seconds(states[-1].header.stamp))
    ticks = [round(100 * (message.clock.sec + message.clock.nanosec * 1e-9)) for message in found["/clock"]]
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks)))
    assert [message.robot for message in found["/robot"]] == ["millirobot"]
    assert found["/robot_description"][0].data.startswith("<?xml")
    assert found["/diagnostics"]
    assert any("recorder_node: recording" in each.name for m in found["/diagnostics"] for each in m.status)
    assert "simulating at 20 Hz, seed 3" in [message.msg for message in found["/rosout"]]
    parameters = {p.name: p.value for m in found["/parameter_events"] for p in m.new_parameters if "sim" in m.node}
    assert (parameters["seed"].integer_value, parameters["terrain"].string_value) == (3, "carpet")
    with Reader(bag) as reader:
        digests = {connection.topic: connection.digest for connection in reader.connections}
    assert {topic: hashes[topic] for topic in digests} == digests
    assert f"recorded {sum(map(len, found.values()))} messages of {len(found)} topics" in recorder.errors


def test_all_publishers_are_heard_that_were_there_before(start_node: StartNode, peer: Peer, tmp_path: Path) -> None:
    texts = {"old": qos.LATCHED, "plain": qos.STATE, "loose": BEST_EFFORT, "both": BEST_EFFORT}
    publishers = {topic: peer.node.create_publisher(String, topic, profile) for topic, profile in texts.items()}
    publishers["old"].publish(String(data="from before"))
    second = peer.node.create_publisher(String, "both", qos.LATCHED)
    for topic in ("adapted_model", "_hidden/text"):
        peer.node.create_publisher(String, topic, qos.LATCHED).publish(String(data="nothing"))
    bag = tmp_path / "bag"
    recorder = start_node("recorder_node", bag=bag)
    peer.spin_until(lambda: all(each.get_subscription_count() for each in (second, *publishers.values())), recorder)

    def heard() -> bool:
        for publisher in (second, *list(publishers.values())[1:]):
            publisher.publish(String(data="now"))
        found = read_stream(bag)
        return all(found[f"/{topic}"] for topic in texts) and len(found["/both"]) > len(found["/loose"])

    peer.spin_until(heard, recorder)
    assert recorder.end() == 0
    found = read_whole(bag)
    assert [message.data for message in found["/old"]] == ["from before"]
    assert not {"/adapted_model", "/_hidden/text"} & set(found)
    with Reader(bag) as reader:
        offered = {connection.topic: connection.ext.offered_qos_profiles for connection in reader.connections}
    (old,) = offered["/old"]
    assert (old.durability, old.reliability) == (QosDurability.TRANSIENT_LOCAL, QosReliability.RELIABLE)
    assert {profile.reliability for profile in offered["/both"]} == {
        QosReliability.RELIABLE,
        QosReliability.BEST_EFFORT,
    }


def test_reader_asks_for_no_more_than_all_publishers_offer() -> None:
    assert fitting([qos.LATCHED, qos.LATCHED]).durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert fitting([qos.LATCHED, qos.STATE]).durability == DurabilityPolicy.VOLATILE
    assert fitting([qos.LATCHED, qos.STATE]).reliability == ReliabilityPolicy.RELIABLE
    assert fitting([qos.STATE, BEST_EFFORT]).reliability == ReliabilityPolicy.BEST_EFFORT


def test_namespace_is_recorded_and_what_all_share(start_node: StartNode, peer: Peer, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    recorder = start_node("recorder_node", "-r", "__ns:=/robot1", bag=bag, exclude="secret")
    talker = Talker(peer, recorder, "robot1/talk")
    for topic in ("robot2/talk", "robot10/talk", "robot1/secret"):
        peer.node.create_publisher(String, topic, qos.LATCHED).publish(String(data="nothing"))
    talker.send_until_read(bag, "/robot1/talk")
    assert recorder.end() == 0
    assert set(read_whole(bag)) - {"/diagnostics", "/parameter_events", "/rosout"} == {"/robot1/talk"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_every_signal_closes_the_recording(
    start_node: StartNode, peer: Peer, tmp_path: Path, number: signal.Signals
) -> None:
    # What starts the tests in the background may have them ignore SIGHUP, and what they start too.
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    recorder = start_node("recorder_node", bag=tmp_path / "bag")
    signal.signal(signal.SIGHUP, hang_up)
    talker = Talker(peer, recorder)
    talker.send_until_read(tmp_path / "bag")
    assert recorder.end(number) == 0
    texts = [message.data for message in read_whole(tmp_path / "bag")["/talk"]]
    assert texts == [str(index) for index in range(len(texts))]


def test_what_was_written_before_a_kill_can_be_read(start_node: StartNode, peer: Peer, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    recorder = start_node("recorder_node", bag=bag)
    written = Talker(peer, recorder).send_until_read(bag)
    recorder.end(signal.SIGKILL)
    assert not (bag / "metadata.yaml").exists()
    texts = [message.data for message in read_stream(bag)["/talk"]]
    assert len(texts) >= written
    assert texts == [str(index) for index in range(len(texts))]


@pytest.fixture
def killed_launch(tmp_path: Path) -> Iterator[tuple[Peer, Path]]:
    """A peer beside a recorder whose launch has just been killed, and what it recorded."""
    bag = tmp_path / "bag"
    launch = f"""
import os, subprocess, sys
os.environ[{PARENT!r}] = str(os.getpid())
command = {command_of("mbmrl_control.nodes.recorder_node")}
subprocess.run([*command, "--ros-args", "-p", "bag:={bag}"], stderr=subprocess.DEVNULL)
"""
    with free_domain() as domain, peer_in(domain) as peer:
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain)}
        with subprocess.Popen([sys.executable, "-c", launch], env=environment) as process:
            peer.spin_until(bag.exists)
            process.kill()
        yield peer, bag


def test_recording_is_closed_where_its_launch_is_killed(killed_launch: tuple[Peer, Path]) -> None:
    peer, bag = killed_launch
    peer.spin_until((bag / "metadata.yaml").exists)
    read_whole(bag)


def test_full_disk_ends_the_recording_alone(start_node: StartNode, peer: Peer, tmp_path: Path) -> None:
    """Robot and node go on; what was written before can be read."""
    bag = tmp_path / "bag"
    recorder = start_node("recorder_node", bag=bag)
    diagnostics = peer.record(DiagnosticArray, "/diagnostics", EVERY_STATE)
    talker = Talker(peer, recorder)
    written = talker.send_until_read(bag)
    size = (bag / "bag.mcap").stat().st_size
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (size + 100, size + 100))
    sentence = f"the recording has ended, {bag} cannot be written: file too large"

    def ended() -> bool:
        talker.send()
        return any(sentence in each.message for message in diagnostics for each in message.status)

    peer.spin_until(ended, recorder)
    count = len(diagnostics)
    peer.spin_until(lambda: talker.send() or len(diagnostics) > count, recorder)
    assert recorder.end(signal.SIGTERM) == 0
    assert recorder.errors.count(f"{sentence}; the robot goes on") == 1
    assert "Traceback" not in recorder.errors
    assert len(read_stream(bag)["/talk"]) >= written


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (".", "{} cannot be written: it exists, and a recording makes a folder of its own"),
        ("file", "{} cannot be written: it exists, and a recording makes a folder of its own"),
        ("file/bag", "{}/bag cannot be written: {} is no folder"),
    ],
)
def test_folder_that_cannot_be_made_is_refused(start_node: StartNode, tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / name.removesuffix("/bag")
    start_node("recorder_node", bag=tmp_path / name).assert_refused(sentence.format(place, place))


def test_type_that_is_not_installed_is_named() -> None:
    definitions = Definitions()
    for ask in (definitions.add, message_class):
        with pytest.raises(ValueError, match="nowhere/msg/Thing is not installed"):
            ask("nowhere/msg/Thing")
    definitions.add("mbmrl_msgs/msg/FaultArray")
    text, _ = definitions.store.generate_msgdef("mbmrl_msgs/msg/FaultArray", ros_version=2)
    assert "MSG: mbmrl_msgs/Fault\n" in text
