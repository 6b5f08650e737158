"""ROS parameters declared from a node's settings: their types, bounds and texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from pydantic import ValidationError
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_dict_from_yaml_file

from mbmrl_base.system.versions import check_version
from mbmrl_base.toolkit.settings import NodeSettings, bounds, choices_of, is_runtime, refusal

CHOICES: Final = "for example "
"""Beginning of the additional constraints of a parameter for which there are choices, which commas lie between."""
VERSION: Final = "parameters_version"
"""Parameter by which a file of parameters says what version it is of, for all nodes."""
_NOT_OURS = ("use_sim_time", "start_type_description_service", "qos_overrides")


class ParameterError(ValueError):
    """A parameter that was refused; its text names it and says why."""


Settings = TypeVar("Settings", bound=NodeSettings)


def _descriptor(settings: type[NodeSettings], name: str) -> ParameterDescriptor:
    field = settings.model_fields[name]
    descriptor = ParameterDescriptor(name=name, description=field.description or "", read_only=not is_runtime(field))
    if choices := choices_of(field):
        descriptor.additional_constraints = CHOICES + ", ".join(choices)
    low, high = bounds(field)
    if low is not None and high is not None:
        if field.annotation is int:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    return descriptor


def _names_of_all_nodes() -> set[str]:
    """Parameters of all nodes of this project, by the file of their defaults."""
    try:
        share = get_package_share_directory("mbmrl_control")
    except PackageNotFoundError:  # the simulator alone is installed
        return set()
    return set(parameter_dict_from_yaml_file(f"{share}/config/mbmrl.yaml"))


def read(settings: type[Settings], given: Mapping[str, Any]) -> Settings:
    """The settings of a node that parameters stand for; those of other nodes of the project are none of its own.

    Raises:
        ParameterError: If a parameter is unknown, of a wrong type, or out of bounds.
    """
    own = {name: value for name, value in given.items() if not name.startswith(_NOT_OURS)}
    try:
        check_version(own.pop(VERSION, 1), 1)
    except ValueError as error:
        raise ParameterError(f"{VERSION}: {error}") from None
    settings = settings.with_own(own)
    if others := own.keys() - settings.model_fields.keys():
        # A file whose keys stand under /** gives each node those of the others too.
        for name in others & _names_of_all_nodes():
            del own[name]
    try:
        return settings(**own)
    except ValidationError as error:
        text, allowed = refusal(error), ", ".join(settings.model_fields)
        raise ParameterError(f"{text}: allowed is {allowed}" if "unknown" in text else text) from None


def declare(node: Node, settings: type[Settings]) -> Settings:
    """Declare a node's parameters and read them; those of other nodes of the project are none of its own.

    The node must have been made with ``automatically_declare_parameters_from_overrides=True``, so that
    what a user set can be compared with what exists.

    Raises:
        ParameterError: If a parameter that the user set is unknown, of a wrong type, or out of bounds.
        ValueError: If what the values stand for cannot be had.
    """
    given = {name: parameter.value for name, parameter in node.get_parameters_by_prefix("").items()}
    values = read(settings, given).in_use()
    for name in given:
        if not name.startswith(_NOT_OURS):
            node.undeclare_parameter(name)
    for name, value in values.model_dump().items():
        node.declare_parameter(name, value, _descriptor(type(values), name), ignore_override=True)
    return values


def refuse_simulated_time(node: Node) -> None:
    """Have a node that a real robot depends on go by the machine's time alone.

    Raises:
        ParameterError: If it is to follow /clock.
    """
    sentence = "parameter 'use_sim_time' is True: what is at a serial line goes by the machine's time, allowed is False"

    def check(parameters: list[Parameter]) -> SetParametersResult:
        wrong = any(parameter.name == "use_sim_time" and parameter.value for parameter in parameters)
        return SetParametersResult(successful=not wrong, reason=sentence if wrong else "")

    if node.get_parameter("use_sim_time").value:
        raise ParameterError(sentence)
    node.add_on_set_parameters_callback(check)


def on_change(node: Node, settings: Settings, apply: Callable[[Settings], None]) -> None:
    """Check parameters that are set at run time, and hand the new settings to a function.

    A value of a wrong type, or out of bounds, is rejected with a reason; so is one for which the function raises a
    ValueError.
    """
    current = settings.model_dump()

    def callback(parameters: list[Parameter]) -> SetParametersResult:
        changed = current | {p.name: p.value for p in parameters if p.name in current}
        try:
            checked = type(settings)(**changed)
            apply(checked)
        except ValidationError as error:
            return SetParametersResult(successful=False, reason=refusal(error))
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for name in (name for name, value in changed.items() if value != current[name]):
            node.get_logger().info(f"{name} is {changed[name]!s:.200}")
        current.update(checked.model_dump(mode="json"))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(callback)
