"""Data to train on of recordings of a robot that knows nothing of this project."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mbmrl_base.robots.contract.sampler import Sampler
from mbmrl_base.robots.observation import Observation
from mbmrl_control.training.episodes import read_folder
from mbmrl_control.training.transitions import pieces_of
from rover_testing import ROVER, Timed, contract, drive, odom, record

MESSAGES = drive(70.0)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rover(folder: Path) -> Path:
    """The rover's contract, in the folder in which the command runs."""
    file = folder / "rover.yaml"
    file.write_text(ROVER)
    return file


def transitions_of(messages: list[Timed]) -> list[tuple[Observation, Observation]]:
    """Successive states with one known action between them, as a running robot would show them."""
    sampler = Sampler(contract())
    states = [state for time, topic, message in messages for state in sampler.take(topic, message, round(time * 1e9))]
    return [(before, after) for before, after in itertools.pairwise(states) if after.interval]


@pytest.mark.parametrize(("storage", "compressed"), [("mcap", False), ("sqlite3", False), ("sqlite3", True)])
def test_data_are_the_transitions_that_a_running_robot_shows(
    folder: Path, rover: Path, mbmrl: Run, storage: str, compressed: bool
) -> None:
    record(folder / "bag", MESSAGES, storage, compressed)
    arguments = ("from-bag", "bag", "--contract", "rover.yaml", "--out", "episodes", "--json")
    code, output, errors = mbmrl("dataset", *arguments)
    assert code == 0, errors
    assert "warning" not in errors
    told = json.loads(output.splitlines()[-1])
    data = read_folder(folder / "episodes")
    wanted = transitions_of(MESSAGES)
    assert told == {"episodes": 3, "transitions": len(wanted), "dropped": {"unknown_actions": 2}}
    assert data.robot == contract().robot
    assert data.rate == pytest.approx(20.0)
    pieces = [piece for episode in data.episodes for piece in pieces_of(episode, data.rate)]
    got = [row for piece in pieces for row in zip(piece.states, piece.states[1:], piece.actions, strict=False)]
    assert len(got) == len(wanted)
    for (before, after, action), (first, second) in zip(got, wanted, strict=True):
        # To the last bit: the same code samples both.
        assert np.array_equal(before, first.state)
        assert np.array_equal(after, second.state)
        assert np.array_equal(action, second.action)


def test_prior_is_trained_on_them(folder: Path, rover: Path, mbmrl: Run) -> None:
    for number in (1, 2):
        record(folder / f"bag{number}", drive(20.0, 1000.0 * number, number))
    code, _, errors = mbmrl("dataset", "from-bag", "bag1", "bag2", "--contract", str(rover), "--out", "episodes")
    assert code == 0, errors
    arguments = ("--learner", "mb", "--window", "8", "--future", "4", "--steps", "30", "--out", "rover.safetensors")
    code, _, errors = mbmrl("train", "--data", "episodes", *arguments)
    assert code == 0, errors
    assert (folder / "rover.safetensors").is_file()


def test_report_tells_of_topics_and_data(folder: Path, rover: Path, mbmrl: Run) -> None:
    record(folder / "bag", [each for each in MESSAGES if not 1020.0 < each[0] < 1021.5])
    arguments = ("--contract", str(rover), "--out", "episodes", "--report", "data.html")
    code, _, errors = mbmrl("dataset", "from-bag", "bag", *arguments)
    assert code == 0, errors
    page = (folder / "data.html").read_text()
    for cell in ("bag", "odom", "cmd_vel", "forward", "1.52", "jumps"):  # the gap in odometry, s
        assert f"<td>{cell}</td>" in page
    assert "longer than its max_age, 0.1 s" in page


def test_what_is_missing_in_a_recording_is_missing_in_the_data(folder: Path, rover: Path, mbmrl: Run) -> None:
    gap = [each for each in MESSAGES if not (each[1] == "odom" and 1010.0 < each[0] < 1010.5)]
    record(folder / "bag", gap)
    code, output, errors = mbmrl(
        "dataset", "from-bag", "bag", "--contract", "rover.yaml", "--out", "episodes", "--json"
    )
    assert code == 0, errors
    told = json.loads(output.splitlines()[-1])
    assert told["transitions"] == len(transitions_of(gap))
    assert told["dropped"]["missing"] == 10
    first = read_folder(folder / "episodes").episodes[0]
    missing = np.isnan(first.state).all(axis=1)
    assert missing.sum() == 10


def test_action_that_is_forgotten_parts_episodes(folder: Path, rover: Path, mbmrl: Run) -> None:
    """A command is in force for 0.2 s, and comes each 0.4 s."""
    rover.write_text(ROVER.replace("msg/Twist}", "msg/Twist, max_age: 0.2}"))
    record(folder / "bag", MESSAGES[:1000])
    code, output, errors = mbmrl(
        "dataset", "from-bag", "bag", "--contract", "rover.yaml", "--out", "episodes", "--json"
    )
    assert code == 0, errors
    data = read_folder(folder / "episodes")
    held = sum(len(piece.actions) for episode in data.episodes for piece in pieces_of(episode, 20.0))
    assert held == json.loads(output.splitlines()[-1])["transitions"] > 150


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("topics:", "rate: 5\ntopics:"), "rover.yaml is no YAML: 'rate' stands twice"),
        (("odom", "odometry"), "bag has no topic /odometry: it has /cmd_vel, /odom"),
        (
            ("nav_msgs/msg/Odometry", "sensor_msgs/msg/Imu"),
            "/odom is of nav_msgs/msg/Odometry, the contract has sensor_",
        ),
        (("pose.pose.position.x", "pose.position.x"), "/odom: 'pose.position.x': there is no 'position' in "),
    ],
)
def test_impossible_contract_is_refused(
    folder: Path, rover: Path, mbmrl: Run, change: tuple[str, str], sentence: str
) -> None:
    record(folder / "bag", MESSAGES[:50])
    rover.write_text(ROVER.replace(*change))
    code, _, errors = mbmrl("dataset", "from-bag", "bag", "--contract", "rover.yaml", "--out", "episodes")
    assert (code, sentence in errors, "Traceback" in errors) == (2, True, False), errors


def test_impossible_recording_is_refused(folder: Path, rover: Path, mbmrl: Run) -> None:
    def refused(bag: str, sentence: str, out: str = "episodes") -> None:
        code, _, errors = mbmrl("dataset", "from-bag", bag, "--contract", "rover.yaml", "--out", out)
        assert (code, sentence in errors, "Traceback" in errors) == (2, True, False), errors

    refused("none", "there is no recording none")
    (folder / "empty").mkdir()
    refused("empty", "empty has no metadata.yaml")
    booted = [(time, topic, odom(time - 999) if topic == "odom" else message) for time, topic, message in MESSAGES]
    record(folder / "booted", booted)
    refused("booted", "messages on cmd_vel came 0 s after their stamps, those on odom 999 s: their clocks are apart")
    (file,) = record(folder / "bag", MESSAGES).glob("*.mcap")
    os.truncate(file, file.stat().st_size // 2)
    refused("bag", f"bag cannot be read: {file.relative_to(folder)} is cut; `mcap recover ")
    os.truncate(file, 9)
    refused("bag", "is cut; `mcap recover ")
    file.write_bytes(b"no recording")
    refused("bag", "bag cannot be read: ")
    record(folder / "short", [(1000.0, "odom", odom(1000.0))])
    refused("short", "there is no transition")
    record(folder / "good", MESSAGES[:500])
    code, _, errors = mbmrl("dataset", "from-bag", "good", "short", "--contract", "rover.yaml", "--out", "episodes")
    assert code == 0, errors  # nothing of the second one
    code, _, errors = mbmrl("dataset", "from-bag", "good", "bag", "--contract", "rover.yaml", "--out", "others")
    assert (code, "bag cannot be read: " in errors) == (2, True)
    assert not (folder / "others").exists()
    refused("good", "is not empty: episodes of several contracts would be mixed", out=".")
