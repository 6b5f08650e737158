"""The robots that the command lists, and what it says of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mbmrl_base.robots.catalogue import ROBOTS, load_robot
from mbmrl_control.priors import shipped_learners, shipped_prior

Run = Callable[..., tuple[int, str, str]]
CART = {
    "name": "cart",
    "rate": 50.0,
    "states": [
        {"name": "x", "unit": "m", "seen": False},
        {"name": "speed", "unit": "m/s"},
        {"name": "tilt", "unit": "rad", "angle": True},
    ],
    "actions": [{"name": "force", "unit": "N", "low": -4.0, "high": 4.0, "planned_high": 2.0, "safe": -1.0}],
}


def test_robots_are_listed_with_their_priors(mbmrl: Run) -> None:
    code, output, errors = mbmrl("robots", "--json")
    assert code == 0
    told = {entry["name"]: entry for entry in json.loads(output)}
    assert tuple(told) == ROBOTS
    for name, entry in told.items():
        robot = load_robot(name)
        numbers = len(robot.state_names), len(robot.action_names), robot.rate
        assert (entry["states"], entry["actions"], entry["rate"]) == numbers
        assert all(shipped_prior(learner, name).is_file() for learner in entry["priors"])
        assert name in errors
    assert "bayes_replay" in told["millirobot"]["priors"]
    assert shipped_learners("unknown") == ()


@pytest.mark.parametrize("name", ROBOTS)
def test_robot_is_shown_in_full(mbmrl: Run, name: str) -> None:
    code, output, errors = mbmrl("robots", "show", name, "--json")
    assert code == 0
    told, robot = json.loads(output), load_robot(name)
    assert told["description"] == robot.description.as_json()
    assert told["safe_action"] == robot.safe_action().tolist()
    assert len(told["sees"]) == robot.features.input_size
    assert len(told["predicts"]) == robot.features.output_size
    assert all(text in errors for text in (*robot.state_names, *robot.action_names))


def test_robot_of_a_file_is_shown(mbmrl: Run, tmp_path: Path) -> None:
    (tmp_path / "cart.yaml").write_text(yaml.safe_dump(CART))
    code, output, errors = mbmrl("robots", "show", str(tmp_path / "cart.yaml"), "--json")
    assert code == 0
    told = json.loads(output)
    assert told["sees"] == ["speed", "cos tilt", "sin tilt", "force"]
    assert told["predicts"] == ["x", "speed", "tilt"]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in errors.splitlines()]
    assert ["force", "N", "-4 to 4", "-4 to 2", "1.5", "-1"] in rows
    assert ["x", "m", "not seen"] in rows
    assert ["tilt", "rad", "angle"] in rows
