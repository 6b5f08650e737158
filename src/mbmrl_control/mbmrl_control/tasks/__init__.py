"""What a robot is to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.plugins import blamed, class_of
from mbmrl_base.toolkit.settings import NodeSettings, part_of
from mbmrl_control.tasks.base import Task
from mbmrl_control.tasks.forward import MoveForward
from mbmrl_control.tasks.goal import GoToGoal
from mbmrl_control.tasks.path import FollowPath
from mbmrl_control.tasks.velocity import TrackVelocity

TASKS: Final[dict[str, type[Task[Any]]]] = {
    kind.name: kind for kind in (FollowPath, GoToGoal, TrackVelocity, MoveForward)
}
DEFAULT_TASK: Final = FollowPath.name

__all__ = ["DEFAULT_TASK", "TASKS", "Task", "load_task", "make_task", "read_settings", "usual_task"]


def load_task(given: str) -> type[Task[Any]]:
    """A task by its name, or by its file.

    Args:
        given: A name of `TASKS`, or a Python file, ``*.py``, whose ``task()`` returns a subclass of `Task`.

    Raises:
        ValueError: If there is none.
    """
    return class_of(given, "task", TASKS, Task)  # type: ignore[type-abstract]


def usual_task(robot: Robot) -> str:
    """Name of what a robot does where no task is named."""
    return robot.description.task or DEFAULT_TASK


def read_settings(name: str, options: Sequence[str]) -> dict[str, Any]:
    """Settings of a task that are given as ``NAME=VALUE``.

    Raises:
        ValueError: If there is no such task, or it has no such setting; values are for `make_task` to refuse.
    """
    task = load_task(name)
    fields = task.settings_type.model_fields
    for option in options:
        key, equals, _ = option.partition("=")
        if key not in fields:
            raise ValueError(
                f"{task.name} has no setting {key!r}: allowed is NAME=VALUE of {', '.join(fields) or 'none'}"
            )
        if not equals:
            raise ValueError(f"the setting {key} of {task.name} has no value: wanted is {key}=VALUE")

    def value(key: str, text: str) -> Any:
        try:
            return text if fields[key].annotation is str else json.loads(text)
        except ValueError:
            return text

    return {key: value(key, text) for key, _, text in (option.partition("=") for option in options)}


def make_task(
    name: str, robot: Robot, settings: NodeSettings | Mapping[str, Any] | None = None, interval: float | None = None
) -> Task[Any]:
    """A task by its name, or by its file.

    Args:
        name: As of `load_task`.
        robot: The robot that is to do it.
        settings: Its settings, or settings that have those of the task among others, or values by name; its defaults
            for what is not given.
        interval: Control interval, s; the robot's own if None.

    Raises:
        ValueError: If there is no such task, a value is refused, or the robot cannot do it.
    """
    found = load_task(name)
    # Those of a file that is named while a node runs are no parameters of it: they keep their defaults.
    own = part_of(settings or {}, found.settings_type)
    with blamed(ValueError):
        return found(robot, own, 1.0 / robot.rate if interval is None else interval)
