"""Robots by name and by file, and one sentence for what is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mbmrl_base.robots.catalogue import ROBOTS, load_robot
from mbmrl_base.robots.robot import Robot

CART = "name: cart\nstates: [x, {name: v, unit: m/s}]\nactions: [{name: force, low: -1.0, high: 1}]\n"


def refusal(given: str | Path) -> str:
    with pytest.raises(ValueError) as error:
        load_robot(str(given))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_robots_of_the_package_are_found_by_name() -> None:
    assert "millirobot" in ROBOTS
    for name in ROBOTS:
        robot = load_robot(name)
        assert robot.name == name
        assert robot == load_robot(name)
        assert (robot.planned[0] < robot.planned[1]).all()
        assert robot.features.input_size > 0


def test_yaml_file_is_a_robot(tmp_path: Path) -> None:
    file = tmp_path / "cart.yaml"
    file.write_text(CART)
    robot = load_robot(str(file))
    assert (robot.name, robot.state_names, robot.state_units) == ("cart", ("x", "v"), ("", "m/s"))
    assert (robot.low.tolist(), robot.high.tolist(), robot.urdf()) == ([-1.0], [1.0], None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [", " is no YAML: while parsing"),
        (f"rate: {'9' * 5000}", " is no YAML: a number has more than 1000 digits"),
        (CART + "name: other\n", " is no YAML: 'name' stands twice"),
        (CART.replace("unit: m/s", "name: w"), " is no YAML: 'name' stands twice"),
        ("? [a]\n: 1\n", " is no YAML: "),
        ("", ": wanted are values by their names: allowed is name, states"),
        ("name: cart\n", ", line 1: states: it is missing"),
        (CART + "wheels: 4\n", ": there is no 'wheels': allowed is name, states, actions"),
        (CART + "pairs: 5\n", ", line 4: pairs: wanted is a list"),
        (CART + f"pairs: {'[' * 2000 + ']' * 2000}\n", " is no YAML: maximum recursion depth exceeded"),
        (CART.replace("name: cart", r'name: "a\nb"'), r", line 1: name: the name 'a\nb' cannot be shown as it is"),
        (CART.replace("name: cart", "name: husky"), ": husky comes with the package: another robot needs another name"),
        (CART.replace("high: 1", "high: -2"), ", line 3: actions.0: the action 'force' has low -1 and high -2"),
        (CART.replace("name: cart\n", ""), ": name is missing: messages, priors and episodes name the robot"),
    ],
)
def test_yaml_file_that_is_no_robot_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "cart.yaml"
    file.write_text(text)
    assert refusal(file).startswith(f"{file}{sentence}")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "cart.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert refusal(file).startswith(f"{file} is no YAML: ")


def test_python_file_gives_a_robot_with_features_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "cart.py"
    file.write_text(
        "from mbmrl_base.robots.description import describe\n"
        "from mbmrl_base.robots.features import Features\n"
        "from mbmrl_base.robots.robot import Robot\n"
        "class Squares(Features):\n"
        "    def inputs(self, states, actions):\n"
        "        return super().inputs(states, actions).square()\n"
        "class Cart(Robot):\n"
        "    features = property(lambda self: Squares(self.description))\n"
        "def robot():\n"
        "    return Cart(describe({'name': 'cart', 'states': ['x']}))\n"
    )
    robot = load_robot(str(file))
    assert isinstance(robot, Robot)
    assert type(robot.features).__name__ == "Squares"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("robot = ", " gives no robot: SyntaxError: "),
        ("import a_module_that_is_not_there", " gives no robot: ModuleNotFoundError: No module named 'a_module_that"),
        ("", " gives no robot: it has no robot()"),
        ("def robot():\n    raise OSError('no port')\n", " gives no robot: OSError: no port"),
        ("def robot():\n    raise ValueError('a\\nb')\n", " gives no robot: a b"),
        ("raise SystemExit(3)", " gives no robot: SystemExit: 3"),
        ("def robot():\n    return 3\n", ": robot() returns int, wanted is a Robot"),
    ],
)
def test_python_file_that_gives_no_robot_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "cart.py"
    file.write_text(text)
    assert refusal(file).startswith(f"{file}{sentence}")


def test_what_is_neither_a_name_nor_a_file_is_refused(tmp_path: Path) -> None:
    names = re.escape(", ".join(ROBOTS))
    assert re.fullmatch(rf"unknown robot 'dog': allowed is {names}, or a file, \*\.yaml or \*\.py", refusal("dog"))
    assert refusal(tmp_path / "dog.yaml") == f"there is no robot's file {tmp_path / 'dog.yaml'}"
    (tmp_path / "folder.yaml").mkdir()
    assert refusal(tmp_path / "folder.yaml").startswith("there is no robot's file ")
