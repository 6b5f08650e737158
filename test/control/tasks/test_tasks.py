"""Each task drives the simulated millirobot, by the shipped prior; what cannot be done is refused."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic._internal._decorators import DecoratorInfos

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_control.control.closed_loop import walk
from mbmrl_control.dynamics.prior import load_prior
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.nodes.settings import PlannerSettings
from mbmrl_control.priors import shipped_prior
from mbmrl_control.tasks import TASKS, Task, make_task, usual_task
from mbmrl_sim.millirobot.world import World
from pages import example

RATE = 20.0


def do(name: str, seconds: float, settings: Mapping[str, Any]) -> tuple[Task[Any], Array]:
    """The task, and the poses that the robot had, shape (n, 3): x, y in m, yaw in rad, unwrapped."""
    prior, world = load_prior(shipped_prior("grbal")), World(3, RATE)
    task = make_task(name, prior.robot, settings, 1.0 / RATE)
    ticks = islice(walk(world, prior, task, 3), round(seconds * RATE))
    states = np.array([tick.observation.state for tick in ticks])
    world.close()
    poses = prior.features.pose(torch.from_numpy(states)).numpy()
    poses[:, 2] = np.unwrap(poses[:, 2])
    return task, poses


@pytest.mark.parametrize(
    ("robot", "task"),
    [
        ("millirobot", "follow_path"),
        ("husky", "follow_path"),
        ("half_cheetah", "move_forward"),
        ("ant", "move_forward"),
    ],
)
def test_task_where_none_is_named_is_that_of_the_description(robot: str, task: str) -> None:
    assert usual_task(load_robot(robot)) == task
    settings = PlannerSettings(robot=robot)
    assert settings.make_task(load_robot(robot)).name == settings.in_use().task == task
    assert PlannerSettings(robot=robot, task="track_velocity").in_use().task == "track_velocity"


@pytest.mark.parametrize("goal", [(0.6, 0.4), (-0.4, 0.3)], ids=["ahead", "behind"])
def test_robot_goes_to_the_goal_and_stands_there(goal: tuple[float, float]) -> None:
    task, poses = do("go_to_goal", 7.0, {"goal": goal, "goal_tolerance": 0.05})
    distances = np.linalg.norm(poses[:, :2] - goal, axis=1)
    assert distances[0] > 0.4
    assert distances[-20:].max() < 0.07
    assert task.stands
    assert np.ptp(poses[-20:, :2], axis=0).max() < 0.005


@pytest.mark.parametrize(("speed", "turn"), [(0.25, 0.6), (0.2, -0.8)])
def test_robot_keeps_speed_and_turn_rate(speed: float, turn: float) -> None:
    _, poses = do("track_velocity", 8.0, {"forward_speed": speed, "turn_rate": turn})
    walked = poses[20:]
    elapsed = (len(walked) - 1) / RATE
    way = np.linalg.norm(np.diff(walked[:, :2], axis=0), axis=1).sum()
    assert way / elapsed == pytest.approx(speed, rel=0.3)
    assert (walked[-1, 2] - walked[0, 2]) / elapsed == pytest.approx(turn, rel=0.3)


def test_example_of_the_page_turns_to_its_heading_and_holds_it(tmp_path: Path) -> None:
    _, poses = do(str(example("task", tmp_path / "hold_heading.py")), 6.0, {})
    assert abs(poses[0, 2]) < 0.3
    assert np.abs(poses[-20:, 2] - 1.57).max() < 0.3


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("x = 1", "gives no task: it has no task"), ("task = dict", "wanted is a subclass of Task")],
)
def test_file_that_gives_no_task_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "none.py"
    file.write_text(content)
    with pytest.raises(ValueError, match=sentence):
        make_task(str(file), load_robot("millirobot"))


def test_robot_stands_if_no_velocity_is_wanted() -> None:
    _, poses = do("track_velocity", 1.0, {})
    assert np.ptp(poses, axis=0).max() < 5e-3


def test_robot_moves_forward_and_slower_the_more_effort_costs() -> None:
    fast, slow = (do("move_forward", 3.0, {"effort_weight": weight})[1] for weight in (0.05, 5.0))
    assert fast[-1, 0] - fast[0, 0] > 0.8
    assert abs(fast[-1, 1] - fast[0, 1]) < 0.5 * (fast[-1, 0] - fast[0, 0])
    assert 0.0 < slow[-1, 0] - slow[0, 0] < 0.5 * (fast[-1, 0] - fast[0, 0])


def test_tilt_costs_as_much_as_its_weight_says() -> None:
    ant = load_robot("ant")
    task, plain = (make_task("move_forward", ant, {"upright_weight": weight}) for weight in (2.0, 0.0))
    states = torch.zeros(1, 4, len(ant.state_names))
    states[0, 1, ant.state("roll")] = torch.pi / 2
    states[0, 2, ant.state("pitch")] = torch.pi
    given = Trajectories(states, torch.zeros(1, 3, 8), torch.zeros(1, 4, 3))
    np.testing.assert_allclose(task.costs(3)(given)[0], [2.0, 4.0, 0.0], atol=1e-5)
    assert not plain.costs(3)(given).any()
    assert (task.sees_states, plain.sees_states) == (True, False)


@pytest.mark.parametrize("name", TASKS)
def test_task_of_a_robot_that_does_not_move_on_a_plane_is_refused(name: str) -> None:
    pendulum = Robot(
        describe({"name": "pendulum", "states": ["angle"], "actions": [{"name": "torque", "low": -1.0, "high": 1.0}]})
    )
    with pytest.raises(ValueError, match=f"pendulum does not move on a plane, as the task {name} needs it"):
        make_task(name, pendulum)


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        (
            "dance",
            {},
            "unknown task 'dance': allowed is follow_path, go_to_goal, track_velocity, move_forward, or a file, *.py",
        ),
        (
            "go_to_goal",
            {"goal": array("d", [1.0])},
            "parameter 'goal' is [1.0]: it has 1 values, allowed are at least 2",
        ),
        ("go_to_goal", {"goal": (1.0, np.nan)}, "parameter 'goal.1' is nan"),
        ("go_to_goal", {"goal": (1e300, 0.0)}, "parameter 'goal.0' is 1e+300: input should be less than or equal to"),
        ("go_to_goal", {"speed": 0.05}, "parameter 'speed' is 0.05: millirobot cannot go as slowly, allowed is 0, to"),
        ("follow_path", {"speed": 0.5}, "parameter 'speed' is 0.5: millirobot cannot go as fast, allowed is 0, to"),
        ("follow_path", {"path": "spiral"}, "unknown path 'spiral'"),
        (
            "track_velocity",
            {"forward_speed": -0.2},
            "parameter 'forward_speed' is -0.2: millirobot cannot go",
        ),
        (
            "track_velocity",
            {"turn_rate": -5.0},
            "parameter 'turn_rate' is -5: millirobot cannot turn as fast, allowed is -3.2 to 3.2 rad/s",
        ),
        ("move_forward", {"colour": 1.0}, "unknown parameter 'colour'"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_a_sentence(
    name: str, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError) as refused:
        make_task(name, load_robot("millirobot"), settings)
    assert str(refused.value).startswith(sentence)


def test_settings_of_the_same_name_are_the_same_in_all_tasks() -> None:
    """They are one parameter of the MPC node."""
    fields: dict[str, Any] = {}
    for kind in TASKS.values():
        for name, field in kind.settings_type.model_fields.items():
            assert repr(fields.setdefault(name, field)) == repr(field)


def test_no_validator_of_a_parameter_hides_another() -> None:
    """In a class that inherits several settings, a validator takes the place of another of its name."""
    found: dict[str, object] = {}
    for kind in PlannerSettings.__mro__:
        for name, validator in getattr(kind, "__pydantic_decorators__", DecoratorInfos()).field_validators.items():
            function = validator.func.__func__
            assert found.setdefault(name, function) is function, f"{kind.__name__}.{name}"
