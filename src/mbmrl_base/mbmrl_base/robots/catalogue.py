"""The robots there are: those that come with the package, and those of files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mbmrl_base.system.plugins import from_file
from mbmrl_base.system.yaml_text import YamlError, parse, read_text

# What takes its time to load, a command line is not to wait for that only names robots.
if TYPE_CHECKING:
    from mbmrl_base.robots.description import Described, RobotDescription
    from mbmrl_base.robots.robot import Robot

DEFAULT_ROBOT: Final = "millirobot"
ROBOTS: Final = (DEFAULT_ROBOT, "husky", "half_cheetah", "ant")
"""Names of those that come with the package."""


def _line(text: str, place: tuple[str | int, ...]) -> int:
    """Line of a YAML text, from 1 on, at which what keys and numbers of items lead to begins, as far as they do."""
    import yaml

    node: Any = yaml.compose(text, yaml.SafeLoader)
    for step in place:
        items = node.value if isinstance(node, yaml.CollectionNode) else []
        found = [value for key, value in items if key.value == step] if isinstance(node, yaml.MappingNode) else []
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(items):
            found = [items[step]]
        if not found:
            break
        node = found[0]
    return int(node.start_mark.line) + 1


def read_yaml(path: Path, kind: type[Described]) -> Described:
    """The description in a YAML file.

    Args:
        path: The file.
        kind: What it is a description of.

    Raises:
        ValueError: If it is none.
    """
    from mbmrl_base.robots.description import DescriptionError, describe_as

    text = ""
    try:
        text = read_text(path)
        return describe_as(kind, parse(text))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except YamlError as error:
        raise ValueError(f"{path} is no YAML: {error}") from None
    except DescriptionError as error:
        where = f", line {_line(text, error.place)}" if error.place else ""
        raise ValueError(f"{path}{where}: {error}") from None


def read_description(path: Path) -> RobotDescription:
    """The description of a robot in a YAML file, see `read_yaml`; that of a robot in ROS may be in its contract."""
    from mbmrl_base.robots.contract.contract import load_contract
    from mbmrl_base.robots.description import RobotDescription

    if is_contract(path):
        return load_contract(path).robot.description
    return read_yaml(path, RobotDescription)


def is_contract(path: Path) -> bool:
    """Whether a YAML file says in which topics the numbers of a robot are."""
    try:
        return any(line.startswith("topics:") for line in read_text(path).splitlines())
    except (OSError, YamlError):
        return False


def _described(path: Path) -> Robot:
    """The robot of a description; a file beside it that differs in its suffix, ``.urdf``, is its URDF."""
    from mbmrl_base.robots.robot import Robot

    urdf = path.with_suffix(".urdf")
    return Robot(read_description(path), urdf.read_text(encoding="utf-8") if urdf.is_file() else None)


def _shipped(name: str) -> Robot:
    path = Path(str(resources.files("mbmrl_base.robots"))) / name / f"{name}.yaml"
    if name != DEFAULT_ROBOT:
        return _described(path)
    from mbmrl_base.robots.millirobot.robot import Millirobot

    return Millirobot(read_description(path))


def load_robot(given: str) -> Robot:
    """A robot by its name, or by its file.

    Args:
        given: A name of `ROBOTS`; a description, ``*.yaml``; or a Python file, ``*.py``, whose ``robot()`` returns
            a `Robot`.

    Raises:
        ValueError: If there is none.
    """
    from mbmrl_base.robots.robot import Robot

    if given in ROBOTS:
        return _shipped(given)
    path = Path(given).expanduser()
    if path.suffix not in (".yaml", ".yml", ".py"):
        raise ValueError(f"unknown robot {given!r}: allowed is {', '.join(ROBOTS)}, or a file, *.yaml or *.py")
    if not path.is_file():
        raise ValueError(f"there is no robot's file {given}")
    robot = from_file(path, "robot") if path.suffix == ".py" else _described(path)
    if not isinstance(robot, Robot):
        raise ValueError(f"{path}: robot() returns {type(robot).__name__}, wanted is a Robot")
    if not robot.name:
        raise ValueError(f"{given}: name is missing: messages, priors and episodes name the robot")
    if robot.name in ROBOTS:
        raise ValueError(f"{given}: {robot.name} comes with the package: another robot needs another name")
    return robot


def as_metadata(robot: Robot) -> Any:
    """How files name a robot, for JSON: by its name if it comes with the package, else by its description."""
    return robot.name if robot.name in ROBOTS else robot.description.as_json()


def of_metadata(given: Any) -> Robot:
    """The robot that a file names or describes.

    Raises:
        ValueError: If it does neither.
    """
    from mbmrl_base.robots.description import describe
    from mbmrl_base.robots.robot import Robot

    if given is None:
        raise ValueError("robot is missing: wanted is the name of a robot, or its description")
    if not isinstance(given, str):
        return Robot(describe(given))
    if given not in ROBOTS:  # a file could hold code, which data must not choose
        raise ValueError(f"unknown robot {given!r}: allowed is {', '.join(ROBOTS)}, or a description")
    return load_robot(given)
