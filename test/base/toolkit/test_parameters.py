"""Parameters of a node: declared once, checked at the start and at run time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import rclpy
from pydantic import Field
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from mbmrl_base.toolkit.parameters import ParameterError, declare, on_change
from mbmrl_base.toolkit.settings import RUNTIME, NodeSettings, runtime_field


class Settings(NodeSettings):
    """Parameters of one kind each."""

    gain: float = runtime_field(1.0, 0.0, 10.0, "Gain of the loop")
    lead: float = runtime_field(0.5, 0.0, 1.0, "Time ahead")
    count: int = Field(3, ge=1, le=9, description="How many")
    path: str = Field("straight", description="Which path")
    goal: tuple[float, ...] = Field((0.0,), description="Where to go", json_schema_extra=RUNTIME)


MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(domain: int) -> Iterator[MakeNode]:
    """Makes nodes whose user has set some parameters."""
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    with ExitStack() as cleanup:
        cleanup.callback(rclpy.try_shutdown, context=context)

        def make(**given: Any) -> Node:
            node = Node(
                "settings_test",
                context=context,
                parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
                automatically_declare_parameters_from_overrides=True,
            )
            cleanup.callback(node.destroy_node)
            return node

        yield make


def test_what_is_not_set_has_its_default(make_node: MakeNode) -> None:
    node = make_node()
    assert declare(node, Settings) == Settings(gain=1.0, count=3, path="straight")
    assert node.get_parameter("count").value == 3


def test_what_is_set_is_taken(make_node: MakeNode) -> None:
    node = make_node(gain=2.5, path="zigzag", use_sim_time=False)
    assert declare(node, Settings) == Settings(gain=2.5, count=3, path="zigzag")
    assert node.get_parameter("gain").value == 2.5


def test_whole_number_does_for_a_real_one(make_node: MakeNode) -> None:
    node = make_node(gain=2)
    assert declare(node, Settings).gain == 2.0
    assert node.get_parameter("gain").type_ == Parameter.Type.DOUBLE


def test_parameters_of_other_nodes_are_none_of_its_own(make_node: MakeNode) -> None:
    """A file whose keys stand under /** gives them to each node."""
    node = make_node(gain=2.0, distance_weight=40.0, port="/dev/ttyUSB0")
    assert declare(node, Settings) == Settings(gain=2.0)
    assert [name for name in ("gain", "distance_weight", "port") if node.has_parameter(name)] == ["gain"]
    with pytest.raises(ParameterError, match=r"^unknown parameter 'distance_weigth': allowed is gain, lead"):
        declare(make_node(port="/dev/ttyUSB0", distance_weigth=40.0), Settings)


class OpenSettings(Settings):
    """One whose path may be left open."""

    def in_use(self) -> OpenSettings:
        return self.model_copy(update={"path": self.path or "straight"})


def test_parameter_is_what_is_in_use(make_node: MakeNode) -> None:
    node = make_node(path="")
    assert declare(node, OpenSettings).path == "straight"
    assert node.get_parameter("path").value == "straight"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"colour": 1}, "unknown parameter 'colour': allowed is gain, lead, count, path"),
        ({"gain": "high"}, "parameter 'gain' is 'high': input should be a valid number"),
        ({"gain": 11.0}, "parameter 'gain' is 11.0: input should be less than or equal to 10"),
        ({"gain": -0.5}, "parameter 'gain' is -0.5: input should be greater than or equal to 0"),
        ({"gain": float("nan")}, "parameter 'gain' is nan: "),
        ({"gain": True}, "parameter 'gain' is True: input should be a valid number"),
        ({"count": 2.5}, "parameter 'count' is 2.5: input should be a valid integer"),
        ({"count": 0}, "parameter 'count' is 0: input should be greater than or equal to 1"),
        ({"path": 3}, "parameter 'path' is 3: input should be a valid string"),
        ({"gain.left": 1.0}, "unknown parameter 'gain.left'"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(make_node: MakeNode, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParameterError) as refusal:
        declare(make_node(**given), Settings)
    assert str(refusal.value).startswith(sentence)
    assert "\n" not in str(refusal.value)


def test_descriptors_say_what_is_allowed(make_node: MakeNode) -> None:
    node = make_node()
    declare(node, Settings)
    gain, count, path = node.describe_parameters(["gain", "count", "path"])
    (reals,), (integers,) = gain.floating_point_range, count.integer_range
    assert (reals.from_value, reals.to_value) == (0.0, 10.0)
    assert (integers.from_value, integers.to_value) == (1, 9)
    assert (gain.description, count.description, path.description) == (
        "Gain of the loop",
        "How many",
        "Which path",
    )
    assert (gain.read_only, count.read_only, path.read_only) == (False, True, True)


def test_changes_at_run_time_are_handed_over(make_node: MakeNode) -> None:
    node, changes = make_node(count=5), []
    on_change(node, declare(node, Settings), changes.append)
    for name, value in (("gain", 4.0), ("lead", 0.25)):
        (result,) = node.set_parameters([Parameter(name, value=value)])
        assert result.successful
        assert node.get_parameter(name).value == value
    assert changes == [
        Settings(gain=4.0, lead=0.5, count=5, path="straight"),
        Settings(gain=4.0, lead=0.25, count=5, path="straight"),
    ]


def test_list_that_is_set_is_logged_as_a_list(make_node: MakeNode, capfd: pytest.CaptureFixture[str]) -> None:
    node = make_node()
    on_change(node, declare(node, Settings), lambda _: None)
    node.set_parameters([Parameter("goal", value=[1.0, 0.5])])
    assert "goal is [1.0, 0.5]" in capfd.readouterr().err


@pytest.mark.parametrize(("name", "value"), [("gain", 99.0), ("gain", "high"), ("count", 4), ("colour", 1)])
def test_impossible_change_is_rejected_with_a_reason(make_node: MakeNode, name: str, value: Any) -> None:
    node, changes = make_node(), []
    on_change(node, declare(node, Settings), changes.append)
    try:
        (result,) = node.set_parameters([Parameter(name, value=value)])
    except rclpy.exceptions.ParameterNotDeclaredException:  # a remote caller gets it as the reason
        assert name == "colour"
    else:
        assert not result.successful
        assert result.reason
    assert changes == []
    assert node.get_parameter("gain").value == 1.0
