"""Drills: what is done to the stack, and how it is summed up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Imu, JointState

from mbmrl_control.drills import rover
from mbmrl_control.drills.drill import Drill
from mbmrl_control.drills.events import Outcome
from mbmrl_control.drills.stack import STACKS
from mbmrl_control.drills.stranger import Garbage
from mbmrl_msgs.msg import AdaptedModel, FaultArray, MotorCommand, RobotState
from mbmrl_msgs.srv import InjectFault
from rover_testing import ROVER

StartCommand = Callable[..., subprocess.Popen[str]]
KINDS = [
    *(AdaptedModel, DiagnosticArray, FaultArray, Imu, JointState, MotorCommand, PoseStamped, RobotState),
    *(ChangeState.Request, InjectFault.Request, SetParameters.Request),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_garbage_is_a_message_of_its_type(kind: type) -> None:
    garbage = Garbage(3)
    sent = [garbage.fill(kind()) for _ in range(50)]
    for message in sent:
        assert type(deserialize_message(serialize_message(message), kind)) is kind
    assert len(set(map(repr, sent))) > 10
    assert repr(Garbage(3).fill(kind())) == repr(sent[0])


def test_what_followed_is_summed_up() -> None:
    outcomes = [
        Outcome("kill mpc_node", 0.08, 2.0),
        Outcome("kill mpc_node", 0.3, 2.5, "the robot stood after 300 ms"),
        Outcome("full disk", None, 0.1),
    ]
    assert Drill(outcomes, [0.0, 0.0, 0.05], orphans=1).as_json() == {
        "events": 3,
        "as_documented": 2,
        "stop_ms": {"p50": 190.0, "max": 300.0},
        "resume_s": {"p50": 2.0, "max": 2.5},
        "pause_ms": {"p50": 0.0, "max": 50.0},
        "orphans": 1,
        "tracebacks": 0,
        "by_kind": {"full disk": [1, 1], "kill mpc_node": [1, 2]},
    }
    assert Drill().as_json()["stop_ms"] == {"p50": None, "max": None}


@pytest.mark.parametrize("stack", STACKS)
def test_stack_lives_through_a_short_drill(stack: str, start_command: StartCommand) -> None:
    """Times are for a drill on a machine that does nothing else."""
    drill = start_command("drill", "--events", "6", "--stack", stack, "--seed", "5", "--json")
    output, errors = drill.communicate(timeout=110)
    assert drill.returncode in (0, 1), errors
    found = json.loads(output.splitlines()[-1])
    assert (found["events"], found["orphans"], found["tracebacks"]) == (6, 0, 0)
    assert sum(count for _, count in found["by_kind"].values()) == 6
    assert "did not go on" not in errors
    assert (drill.returncode == 0) == (found["as_documented"] == 6)


def test_rover_is_that_of_the_page_on_contracts() -> None:
    assert rover.CONTRACT == ROVER


def test_stack_that_there_is_not_is_refused(start_command: StartCommand) -> None:
    drill = start_command("drill", "--stack", "tank")
    output, errors = drill.communicate(timeout=60)
    assert (drill.returncode, output) == (2, "")
    assert errors == "error: unknown stack 'tank': allowed is sim, serial, topics, all\n"


def test_short_soak_loses_nothing(start_command: StartCommand) -> None:
    """Shares of ticks and of memory are for an hour on a machine that does nothing else."""
    soak = start_command("soak", "--minutes", "0.4", "--starts", "2", "--seed", "7", "--json")
    output, errors = soak.communicate(timeout=110)
    assert soak.returncode in (0, 1), errors
    found = json.loads(output.splitlines()[-1])
    assert found["lost"] == {"/robot_state": 0, "/planner_status": 0}
    assert found["starts"]["count"] == 2
    assert not [sentence for sentence in found["wrong"] if "Ctrl-C" in sentence and "to end" not in sentence]
    assert found["events"] >= 3 and found["outcomes"]["PLANNED"] > 500
    for node in found["nodes"].values():
        assert node["files"][1] <= node["files"][0] and node["threads"][1] <= node["threads"][0]
