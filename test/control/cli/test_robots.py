"""The robots that the command lists, and what it says of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from mbmrl_base.robots.catalogue import ROBOTS, load_robot
from mbmrl_control.priors import load_shipped, shipped_learners

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
        assert all(load_shipped(learner, robot) for learner in entry["priors"])
        assert name in errors
    assert "bayes_replay" in told["millirobot"]["priors"]
    assert shipped_learners("unknown") == ()


@pytest.mark.parametrize("name", ROBOTS)
def test_robot_is_shown_in_full(mbmrl: Run, name: str, tmp_path: Path) -> None:
    code, output, _ = mbmrl("robots", "show", name, "--json")
    assert code == 0
    told, robot = json.loads(output), load_robot(name)
    assert told["description"] == robot.description.as_json()
    assert told["safe_action"] == robot.safe_action().tolist()
    assert len(told["sees"]) == robot.features.input_size
    assert len(told["predicts"]) == robot.features.output_size
    # What is printed is a file to begin one's own with.
    code, output, _ = mbmrl("robots", "show", name)
    assert code == 0
    (tmp_path / "own.yaml").write_text(output.replace(f"name: {name}", "name: own"))
    assert load_robot(str(tmp_path / "own.yaml")).description.as_json() == robot.description.as_json() | {"name": "own"}


def test_robot_of_a_file_is_shown(mbmrl: Run, tmp_path: Path) -> None:
    (tmp_path / "cart.yaml").write_text(yaml.safe_dump(CART))
    code, output, _ = mbmrl("robots", "show", str(tmp_path / "cart.yaml"))
    assert code == 0
    assert yaml.safe_load(output)["actions"] == CART["actions"]
    comments = [line for line in output.splitlines() if line.startswith("#")]
    assert comments == [
        "# safe_action: -1.0",
        "# sees: speed, cos tilt, sin tilt, force",
        "# predicts: x, speed, tilt",
    ]
