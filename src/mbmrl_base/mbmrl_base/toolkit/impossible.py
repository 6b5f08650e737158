"""Messages that hold no possible value, such as a time before 0: rclpy would end the node, whoever sent them."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from rclpy.parameter_service import ParameterService
from rclpy.time import Time
from rclpy.time_source import TimeSource

_set_time = TimeSource.clock_callback
_set_each = ParameterService._set_parameters_callback
_set_all = ParameterService._set_parameters_atomically_callback


def _refusal(request: Any) -> SetParametersResult | None:
    """The answer to a request that holds a parameter of no type that there is; else None."""
    try:
        for parameter in request.parameters:
            Parameter.from_parameter_msg(parameter)
    except ValueError as error:
        return SetParametersResult(successful=False, reason=f"nothing is set: {error}")
    return None


def _clock_callback(source: Any, message: Any) -> None:
    try:
        Time.from_msg(message.clock)
    except ValueError:  # the last time goes on to count
        return
    _set_time(source, message)


def _set_parameters_callback(service: Any, request: Any, response: Any) -> Any:
    if (refusal := _refusal(request)) is None:
        return _set_each(service, request, response)
    response.results = [refusal] * len(request.parameters)
    return response


def _set_parameters_atomically_callback(service: Any, request: Any, response: Any) -> Any:
    if (refusal := _refusal(request)) is None:
        return _set_all(service, request, response)
    response.result = refusal
    return response


def refuse_impossible() -> None:
    """Have the nodes of this process refuse them, and go on."""
    TimeSource.clock_callback = _clock_callback
    ParameterService._set_parameters_callback = _set_parameters_callback
    ParameterService._set_parameters_atomically_callback = _set_parameters_atomically_callback
