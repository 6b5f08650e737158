"""The file of a robot that speaks ROS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mbmrl_base.robots.catalogue import of_metadata
from mbmrl_base.robots.contract.contract import load_contract
from rover_testing import ROVER, contract


def test_contract_is_a_robot_and_where_its_numbers_are(tmp_path: Path) -> None:
    file = tmp_path / "rover.yaml"
    file.write_text(ROVER)
    rover = load_contract(file)
    assert rover == contract()
    assert rover.robot.state_names == ("x", "y", "yaw", "forward")
    assert rover.robot.features.position
    assert of_metadata(rover.robot.description.as_json()) == rover.robot  # data name it so
    assert "topic" not in str(rover.robot.description.as_json())
    assert (rover.max_age("odom"), contract(rate=50.0).max_age("odom")) == (0.1, 0.04)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("type: nav_msgs/msg/Odometry", "type: Odometry", r", line 4: topics.odom.type: 'Odometry' is no type of mess"),
        ("nav_msgs/msg/Odometry", "nav_msgs/srv/Odometry", ", line 4: topics.odom.type: 'nav_msgs/srv/Odometry' is no"),
        ("sampling: interpolate", "sampling: cubic", ", line 4: topics.odom.sampling: input should be 'newest' or"),
        ("sampling: interpolate", "max_age: 0.0", ", line 4: topics.odom.max_age: input should be greater than 0"),
        (
            "sampling: interpolate",
            "quality: good",
            ", line 4: topics.odom: there is no 'quality': allowed is type, reliab",
        ),
        (
            "topic: odom, field: twist",
            "topic: odometry, field: twist",
            ": 'forward' is of the topic 'odometry': allowed",
        ),
        ("field: linear.x", "field: linear x", ", line 12: actions.0.field: 'linear x' is no path in a message"),
        ("field: linear.x", "scale: 1.0", ", line 12: actions.0.field: it is missing"),
        (
            "field: linear.x",
            "field: linear.x, scale: 0.0",
            ", line 12: actions.0.scale: it is 0: nothing would be left",
        ),
        ("name: rover\n", "", ": name is missing"),
        ("name: rover", "name: husky", ": husky comes with the package: another robot needs another name"),
        ("rate: 20.0", "rate: 1.0e+9", ", line 2: rate: input should be less than or equal to 1000"),
        ("topics:\n", "topics:\n  /odom: {type: nav_msgs/msg/Odometry}\n", "'odom' stands in topics twice"),
        ("topic: cmd_vel, field: angular.z", "topic: odom, field: angular.z", "is both of states and of actions"),
        (
            "states:\n",
            "  imu: {type: sensor_msgs/msg/Imu}\nstates:\n",
            ": the topic 'imu' is of no state and no action",
        ),
        (
            "odom: {type",
            f"{300 * 'a'}: {{type",
            f": the topic {20 * 'a'}... has 300 characters: allowed are at most 246",
        ),
        ("low: -1.0", "low: 2.0", ", line 12: actions.0: the action 'speed' has low 2 and high 1: low must be less"),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_rule(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    file = tmp_path / "rover.yaml"
    assert old in ROVER
    file.write_text(ROVER.replace(old, new))
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}.*{re.escape(sentence)}"):
        load_contract(file)


@pytest.mark.parametrize(
    ("last", "told"), [(3, ["to: data[1] is no action: it is sent as 0, as are 1 others"]), (1, [])]
)
def test_items_that_are_no_actions_are_told(last: int, told: list[str]) -> None:
    topics = {"odom": {"type": "nav_msgs/msg/Odometry"}, "to": {"type": "std_msgs/msg/Float64MultiArray"}}
    bounds = {"topic": "to", "low": -1.0, "high": 1.0}
    actions = [{"name": f"to_{place}", "field": f"data[{place}]", **bounds} for place in (0, last)]
    assert list(contract(topics=topics, actions=actions).gaps()) == told
