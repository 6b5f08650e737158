"""The robots there are: those that come with the package, and those of files."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mbmrl_base.system.plugins import PluginError, from_file

# What takes its time to load, a command line is not to wait for that only names robots.
if TYPE_CHECKING:
    from mbmrl_base.robots.description import RobotDescription
    from mbmrl_base.robots.robot import Robot

DEFAULT_ROBOT: Final = "millirobot"


class RobotError(ValueError):
    """A robot that is not there, or a description that cannot be used; its text says why."""


def _yaml(text: str) -> Any:
    """What a YAML text holds; a key stands once in a mapping (YAML 1.2.2, section 3.2.1.1)."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", node.start_mark)
            return super().construct_mapping(node, deep)

    return yaml.load(text, Loader)


def read_description(path: Path) -> RobotDescription:
    """The description in a YAML file.

    Raises:
        RobotError: If it is none.
    """
    import yaml

    from mbmrl_base.robots.description import describe

    try:
        return describe(_yaml(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RobotError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RobotError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    except ValueError as error:
        raise RobotError(f"{path}: {error}") from None


def _own(name: str) -> Path:
    return Path(str(resources.files("mbmrl_base.robots"))) / name / f"{name}.yaml"


def _described(path: Path) -> Robot:
    """The robot of a description; a file beside it that differs in its suffix, ``.urdf``, is its URDF."""
    from mbmrl_base.robots.robot import Robot

    urdf = path.with_suffix(".urdf")
    return Robot(read_description(path), urdf.read_text(encoding="utf-8") if urdf.is_file() else None)


def _millirobot() -> Robot:
    from mbmrl_base.robots.millirobot.robot import Millirobot

    return Millirobot(read_description(_own("millirobot")))


_ROBOTS: Final[dict[str, Callable[[], Robot]]] = {
    "millirobot": _millirobot,
    "husky": lambda: _described(_own("husky")),
}
ROBOTS: Final = tuple(_ROBOTS)
"""Names of those that come with the package."""


def _of_python(path: Path) -> Any:
    try:
        return from_file(path, "robot")
    except PluginError as error:
        raise RobotError(str(error)) from None


def load_robot(given: str) -> Robot:
    """A robot by its name, or by its file.

    Args:
        given: A name of `ROBOTS`; a description, ``*.yaml``; or a Python file, ``*.py``, whose ``robot()`` returns
            a `Robot`.

    Raises:
        RobotError: If there is none.
    """
    from mbmrl_base.robots.robot import Robot

    if given in _ROBOTS:
        return _ROBOTS[given]()
    path = Path(given).expanduser()
    if path.suffix not in (".yaml", ".yml", ".py"):
        raise RobotError(f"unknown robot {given!r}: allowed is {', '.join(ROBOTS)}, or a file, *.yaml or *.py")
    if not path.is_file():
        raise RobotError(f"there is no robot's file {given}")
    robot = _of_python(path) if path.suffix == ".py" else _described(path)
    if not isinstance(robot, Robot):
        raise RobotError(f"{path}: robot() returns {type(robot).__name__}, wanted is a Robot")
    if not robot.name:
        raise RobotError(f"{given}: name is missing: messages, priors and episodes name the robot")
    if robot.name in _ROBOTS:
        raise RobotError(f"{given}: {robot.name} comes with the package: another robot needs another name")
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
        raise RobotError("robot is missing: wanted is the name of a robot, or its description")
    if not isinstance(given, str):
        return Robot(describe(given))
    if given not in ROBOTS:  # a file could hold code, which data must not choose
        raise RobotError(f"unknown robot {given!r}: allowed is {', '.join(ROBOTS)}, or a description")
    return load_robot(given)
