"""Recordings, read back as runs."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from std_msgs.msg import String

from bag_testing import COUNT, Timed, parameters, state, walk, write
from mbmrl_base.robots.contract.contract import load_contract
from mbmrl_base.robots.faults import Fault
from mbmrl_control.control.run_record import Record, RecordError
from mbmrl_control.evaluation import film
from mbmrl_control.nodes.bag_reader import read_bag, read_run
from mbmrl_control.nodes.replay_reader import read_replay
from mbmrl_control.training.episodes import EpisodeError
from mbmrl_control.training.from_bag import check_bag
from mbmrl_sim.nodes.conversions import to_fault_array

Run = Callable[..., tuple[int, str, str]]


def test_recording_is_read_as_the_run_that_it_is_of(tmp_path: Path) -> None:
    run = read_bag(write(tmp_path / "bag", walk()))
    record = run.record
    assert (run.errors, run.warnings) == (["mpc_node: no finite plan"], [])
    assert (record.robot.name, record.learner, record.seed, record.rate) == ("millirobot", "mb", 3, 20.0)
    settings = record.task["settings"]
    assert (record.task["name"], settings["path"], settings["speed"]) == ("follow_path", "straight", 0.3)
    assert record.planner["name"] == "mppi"
    assert record.origin == pytest.approx([0, 0, 0])
    # It begins with the last state before a command was in force.
    assert [tick.observation.sequence for tick in record.ticks] == list(range(4, COUNT))
    assert [tick.commanded for tick in record.ticks] == [False] + [True] * (COUNT - 5)
    assert record.states[:, 0] == pytest.approx(0.01 * np.arange(4, COUNT))
    assert record.array("prior_error") == pytest.approx(np.arange(4, COUNT))
    assert record.array("planning_time") == pytest.approx(0.02)
    # What came within a second is the fault that it is of.
    assert (record.fault, record.fault_time) == ("leg_loss:right_front+leg_loss:right_rear@0.8", pytest.approx(0.8))
    counts = [len(tick.faults) for tick in record.ticks]
    assert counts == [0] * 16 + [1] * 4 + [2] * 14 + [3] * 2


def test_messages_of_another_version_are_left_out(tmp_path: Path) -> None:
    """As a recording made before a message was changed has them."""
    bag = write(tmp_path / "bag", walk(), old=["/planner_status"])
    run = read_bag(bag)
    sentence = "a message on /planner_status is refused: its type mbmrl_msgs/msg/PlannerStatus is not the one that is"
    assert run.warnings == [f"{bag}: {sentence} installed"]
    assert np.isnan(run.record.array("planning_time")).all()
    assert not np.isnan(run.record.array("prior_error")).any()


def test_status_may_overtake_its_state(tmp_path: Path) -> None:
    """They are messages of different topics, from different nodes."""
    early = {"/adaptation_status": 0.003, "/planner_status": 0.004}
    messages = [(time - early.get(topic, 0.0) + 0.01, topic, message) for time, topic, message in walk()]
    record = read_bag(write(tmp_path / "bag", messages)).record
    assert record.array("prior_error") == pytest.approx(np.arange(4, COUNT))
    assert record.array("planning_time") == pytest.approx(0.02)


def test_run_ends_with_its_last_command(tmp_path: Path) -> None:
    """The planner ends before the robot does, and before the recorder."""
    late = [(2.1 + index / 20, "/robot_state", state(COUNT + index, command_sequence=COUNT - 5)) for index in range(9)]
    record = read_bag(write(tmp_path / "bag", [*walk(), *late])).record
    assert record.ticks[-1].observation.sequence == COUNT - 1


def test_run_without_a_command_is_read_whole(tmp_path: Path) -> None:
    states = [(index / 20, "/robot_state", state(index, command_sequence=0)) for index in range(COUNT)]
    assert len(read_bag(write(tmp_path / "bag", states)).record.ticks) == COUNT


def test_robot_of_a_namespace_is_found(tmp_path: Path) -> None:
    record = read_bag(write(tmp_path / "bag", walk("/lab/robot1"))).record
    assert (record.learner, len(record.ticks)) == ("mb", COUNT - 4)


def test_files_of_a_split_recording_are_read_in_order(tmp_path: Path) -> None:
    whole = read_bag(write(tmp_path / "whole", walk())).record
    messages = walk()
    (tmp_path / "split").mkdir()
    for part, (low, high) in {2: (-1.0, 0.7), 9: (0.7, 1.3), 10: (1.3, 9.0)}.items():
        folder = write(tmp_path / f"part{part}", [each for each in messages if low <= each[0] < high])
        (folder / f"part{part}.mcap").rename(tmp_path / "split" / f"split_{part}.mcap")
    record = read_bag(tmp_path / "split").record
    assert np.array_equal(record.states, whole.states)
    assert (record.fault, record.fault_time) == (whole.fault, whole.fault_time)
    assert [tick.faults for tick in record.ticks] == [tick.faults for tick in whole.ticks]


def test_faults_that_were_there_before_are_of_the_beginning(tmp_path: Path) -> None:
    old = (0.0, "/faults", to_fault_array([Fault("leg_loss", "left_rear", since=42.0)], 42.0))
    messages = [old, *(each for each in walk() if each[1] != "/faults")]
    record = read_bag(write(tmp_path / "bag", messages)).record
    assert (record.fault, record.fault_time) == ("leg_loss:left_rear@0", 0.0)


def test_without_parameters_the_defaults_are_assumed(tmp_path: Path) -> None:
    """As `ros2 bag record` leaves them out."""
    bag = write(tmp_path / "bag", [each for each in walk() if each[1] != "/parameter_events"])
    run = read_bag(bag)
    assert run.warnings == [f"{bag} holds no parameters of mpc_node: their defaults are assumed"]
    assert (run.record.learner, run.record.task["settings"]["path"]) == ("unknown", "figure_eight")


def test_recording_that_was_killed_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", walk(), close=False)
    run = read_run(bag)
    assert run.warnings == [f"{bag / 'bag.mcap'} is cut: what was written before is read"]
    assert 25 < len(run.record.ticks) < COUNT - 4  # the last chunk is lost
    assert not (bag / "metadata.yaml").exists()


def test_cut_at_any_byte_is_no_trace_back(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", walk())
    file = bag / "bag.mcap"
    content = file.read_bytes()
    lengths = []
    for size in range(8, len(content) - 8, 97):
        file.write_bytes(content[:size])
        try:
            run = read_bag(bag)
        except RecordError as error:
            lengths.append(0)
            assert str(error).startswith((f"{bag} holds no run: ", f"{file} has a chunk of "))
            assert str(error).endswith(f"; {file} is cut: what was written before is read")
        else:
            lengths.append(len(run.record.ticks))
            assert run.warnings
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (0, COUNT - 4)


@pytest.mark.parametrize("seed", range(20))
def test_damage_is_no_trace_back(tmp_path: Path, seed: int) -> None:
    bag = write(tmp_path / "bag", walk())
    file = bag / "bag.mcap"
    content = np.frombuffer(file.read_bytes(), dtype=np.uint8).copy()
    rng = np.random.default_rng(seed)
    content[rng.integers(8, len(content), 20)] = rng.integers(0, 256, 20)
    file.write_bytes(content.tobytes())
    try:
        read_bag(bag)
    except RecordError as error:
        assert str(error).startswith(f"{bag} holds no run: ")


def test_parameter_of_no_type_is_left_out(tmp_path: Path) -> None:
    damaged = parameters("/mpc_node", rate=20.0)
    damaged.new_parameters[0].value.type = 110
    run = read_bag(write(tmp_path / "bag", [*walk(), (3.0, "/parameter_events", damaged)]))
    assert run.warnings == []


TALK = [(0.0, "/talk", String(data="hello"))]
REFUSED: list[tuple[list[Timed], str]] = [
    (TALK, "no topic robot_state of mbmrl_msgs/msg/RobotState is in it"),
    ([(0.0, "/robot_state", String(data="hello"))], "no topic robot_state of mbmrl_msgs/msg/RobotState is in it"),
    ([], "no topic robot_state of mbmrl_msgs/msg/RobotState is in it"),
    (
        [(0.0, "/robot_state", state(1, version=7))],
        "a message on /robot_state is refused: it is of version 7, allowed is 1",
    ),
    (
        [(0.0, "/robot_state", state(1, robot="tank"))],
        "unknown robot 'tank': allowed is millirobot, husky, half_cheetah, ant, or a file",
    ),
    (
        [(0.0, "/a/robot_state", state(1)), (0.0, "/b/robot_state", state(1))],
        "it has several robots, /a/robot_state, /b/robot_state: record one of them, by its --namespace",
    ),
    ([*walk(), (3.0, "/parameter_events", parameters("/mpc_node", planner="lqr"))], "unknown planner 'lqr'"),
    ([*walk(), (3.0, "/parameter_events", parameters("/mpc_node", rate=500.0))], "parameter 'rate' is 500.0"),
]


@pytest.mark.parametrize(("messages", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_recording_of_no_run_is_refused_with_a_sentence(
    mbmrl: Run, tmp_path: Path, messages: list[Timed], sentence: str
) -> None:
    bag = write(tmp_path / "bag", messages)
    code, output, errors = mbmrl("render", str(bag), "--out", "walk.gif")
    assert (code, output) == (2, "")
    assert errors.splitlines()[-1].startswith(f"error: {bag} holds no run: {sentence}")
    assert errors.count("\n") == 1


def test_file_that_is_no_recording_is_refused(mbmrl: Run, folder: Path) -> None:
    (folder / "bag.mcap").write_text("hello, this is text")
    assert mbmrl("render", "bag.mcap", "--out", "walk.gif")[::2] == (2, "error: bag.mcap is no MCAP file\n")


def test_film_of_a_recording_is_that_of_the_run(
    mbmrl: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(film, "WIDTH", 160)
    monkeypatch.setattr(film, "HEIGHT", 112)
    bag = write(tmp_path / "bag", walk())
    record = read_bag(bag).record
    (tmp_path / "run").mkdir()
    record.write(tmp_path / "run", {})
    assert Record.read(tmp_path / "run").fault == record.fault
    for name in ("bag", "run"):
        code, _, errors = mbmrl("render", str(tmp_path / name), "--out", f"{name}.gif")
        assert (code, errors.splitlines()[-1]) == (0, f"written: {name}.gif")
    assert (folder / "bag.gif").read_bytes() == (folder / "run.gif").read_bytes()


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1)), min_size=1, max_size=4))
def test_any_damage_is_a_run_or_refused(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[float, bytes]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.mcap"
    content = bytearray(sound(tmp_path_factory.getbasetemp()))
    for place, data in damage:
        start = int(place * len(content))
        content[start : start + len(data)] = data
    file.write_bytes(content)
    try:
        run, _ = read_replay(file)
    except ValueError as error:
        assert str(error).startswith(str(file))
    else:
        assert np.isfinite(run.record.states).all()


@functools.cache
def sound(folder: Path) -> bytes:
    """A recording."""
    return (write(folder / "sound", walk()) / "sound.mcap").read_bytes()


@pytest.mark.parametrize("claimed", ["record", "frame"])
def test_chunk_that_claims_to_be_too_large_is_not_made_room_for(tmp_path: Path, claimed: str) -> None:
    """By its record, or by the frame of zstd in it: a megabyte of these can stand for a terabyte of zeros."""
    frame = b"\x28\xb5\x2f\xfd\xe0" + (10**12).to_bytes(8, "little") + bytes(8)
    file, size = tmp_path / "bag.mcap", 10**12 if claimed == "record" else 100
    with file.open("wb") as stream:
        stream.write(b"\x89MCAP0\r\n")
        chunk = struct.pack("<QQQII4sQ", 0, 0, size, 0, 4, b"zstd", len(frame)) + frame
        stream.write(b"\x06" + struct.pack("<Q", len(chunk)) + chunk)
    with pytest.raises(RecordError, match=rf"^{file} has a chunk of 1e\+03 GB: allowed are 1.07$"):
        read_bag(file)
    with pytest.raises(EpisodeError, match=rf"{file} has a chunk of 1e\+03 GB: allowed are 1.07$"):
        check_bag(file, load_contract(Path(__file__).parents[2] / "old" / "contract-1.yaml"))
