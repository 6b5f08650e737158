"""What version 1 of each kind of file held is read as it was; what a newer program wrote is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbmrl_base.robots.catalogue import load_robot, read_description
from mbmrl_base.robots.contract.contract import load_contract
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.versions import check_version
from mbmrl_control.bringup.graph import SIM
from mbmrl_control.bringup.parameters import check_settings
from mbmrl_control.control.run_record import Record, RecordError
from mbmrl_control.dynamics.prior import PriorError, load_prior
from mbmrl_control.nodes.bag_reader import read_run
from mbmrl_control.training.episodes import Episode, EpisodeError

OLD = Path(__file__).parent / "old"


def test_episode() -> None:
    episode = Episode.load(OLD / "episode-1.npz")
    assert episode.state.shape == (21, 24)
    assert episode.metadata["robot"] == "millirobot"
    assert np.isfinite(episode.state).all()


def test_prior() -> None:
    prior = load_prior(OLD / "prior-4.safetensors")
    assert (prior.settings.learner, prior.settings.window, prior.robot.name) == ("grbal", 8, "millirobot")
    assert prior.hash == "b742bc6e7e161bd9fd8514b67cf7a84451b1124ca7551d382a7e8f9c96ba26bf"


def test_description_of_a_robot() -> None:
    description = read_description(OLD / "robot-1.yaml")
    assert (description.name, description.version, len(description.states)) == ("ant", 1, 28)
    assert not load_robot("ant").difference(Robot(description, None))


def test_contract() -> None:
    contract = load_contract(OLD / "contract-1.yaml")
    assert [action.name for action in contract.actions] == ["speed", "turn_rate"]


def test_run() -> None:
    record = Record.read(OLD / "run-1")
    assert (record.robot.name, record.task["name"], len(record.ticks)) == ("millirobot", "follow_path", 42)


def test_recording_and_the_messages_in_it() -> None:
    recorded = read_run(OLD / "recording-1.mcap")
    assert (recorded.record.robot.name, recorded.record.task["name"]) == ("millirobot", "follow_path")
    assert len(recorded.record.ticks) > 30


def test_file_of_parameters() -> None:
    settings = check_settings(SIM, {"params_file": str(OLD / "parameters-1.yaml")})
    assert dict(settings["mpc_node"])["task"] == "follow_path"


@pytest.mark.parametrize("given", [0, 2, "1", None, True, 1.0])
def test_version_that_is_not_known_is_named(given: Any) -> None:
    with pytest.raises(ValueError, match=rf"^it is of version {given!r}: allowed is 1$"):
        check_version(given, 1)
    check_version(1, 1)


def test_what_a_newer_program_wrote_is_refused(tmp_path: Path) -> None:
    episode = Episode.load(OLD / "episode-1.npz")
    Episode(episode.state, episode.action, episode.time, episode.metadata | {"version": 2}).save(tmp_path / "e.npz")
    with pytest.raises(EpisodeError, match=r"e\.npz: it is of version 2: allowed is 1"):
        Episode.load(tmp_path / "e.npz")
    given = read_description(OLD / "robot-1.yaml").as_json()
    with pytest.raises(ValueError, match=r"version: it is of version 2: allowed is 1"):
        describe(given | {"version": 2})
    shutil.copytree(OLD / "run-1", tmp_path / "run")
    header = json.loads((OLD / "run-1" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(header | {"version": 2}))
    with pytest.raises(RecordError, match=r"run\.json holds no run: .*it is of version 2: allowed is 1"):
        Record.read(tmp_path / "run")
    (tmp_path / "new.yaml").write_text("/**: {ros__parameters: {parameters_version: 2}}")
    with pytest.raises(ValueError, match="parameters_version: it is of version 2: allowed is 1"):
        check_settings(SIM, {"params_file": str(tmp_path / "new.yaml")})
    content = (OLD / "prior-4.safetensors").read_bytes()
    (tmp_path / "p.safetensors").write_bytes(content.replace(b"mbmrl-prior-4", b"mbmrl-prior-9"))
    with pytest.raises(PriorError, match="mbmrl-prior-9"):
        load_prior(tmp_path / "p.safetensors")
