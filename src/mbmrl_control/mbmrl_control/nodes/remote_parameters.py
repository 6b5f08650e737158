"""Parameters of other nodes that can be set while these run: what they are, how they change, and how to set them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Final

from rcl_interfaces.msg import ParameterDescriptor, ParameterEvent
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import qos_profile_parameter_events

from mbmrl_base.toolkit.parameters import CHOICES
from mbmrl_control.dashboard.settings_panel import Setting

SHARED: Final = {"learner": "adaptation_node", "checkpoint": "adaptation_node"}
"""Parameters that this node has to have as well. It is asked last: the planner takes the models of the old prior until
the first one of the other prior comes."""
_TRIAL_PERIOD: Final = 2.0
"""Time after which a node that has not answered is asked again, s."""


class RemoteParameters:
    """Asks nodes which parameters can be set; again when they come back."""

    def __init__(
        self,
        node: Node,
        names: Sequence[str],
        offer: Callable[[str, list[Setting]], None],
        note: Callable[[str, str, Any], None],
    ) -> None:
        """Ask.

        Args:
            node: Asks.
            names: Names of the nodes.
            offer: Is called with a node's name and its parameters.
            note: Is called with a node's name, a parameter's, and the value that it has.
        """
        self._offer, self._note = offer, note
        self._namespace = node.get_namespace().rstrip("/")
        self._names = names
        self._clients = {name: AsyncParameterClient(node, name) for name in {*names, *SHARED.values()}}
        self._known: set[str] = set()
        node.create_subscription(ParameterEvent, "/parameter_events", self._take, qos_profile_parameter_events)
        node.create_timer(_TRIAL_PERIOD, self._look)

    def _look(self) -> None:
        for name in self._names:
            client = self._clients[name]
            if not client.services_are_ready():
                self._known.discard(name)
            elif name not in self._known:
                self._list(name, client)

    def _list(self, name: str, client: AsyncParameterClient) -> None:
        def listed(done: Any) -> None:
            response: ListParameters.Response = done.result()
            client.describe_parameters(response.result.names).add_done_callback(described)

        def described(done: Any) -> None:
            response: DescribeParameters.Response = done.result()
            free = [each for each in response.descriptors if not each.read_only and each.description]
            client.get_parameters([each.name for each in free]).add_done_callback(lambda done: got(free, done))

        def got(free: list[ParameterDescriptor], done: Any) -> None:
            response: GetParameters.Response = done.result()
            self._known.add(name)
            values = map(parameter_value_to_python, response.values)
            self._offer(name, [_setting(name, *each) for each in zip(free, values, strict=True)])

        client.list_parameters().add_done_callback(listed)

    def _take(self, event: ParameterEvent) -> None:
        name = event.node.removeprefix(f"{self._namespace}/")
        if name in self._known:
            for parameter in event.changed_parameters:
                self._note(name, parameter.name, parameter_value_to_python(parameter.value))

    def set(self, setting: Setting, value: Any) -> Future[tuple[bool, str]]:
        """Set a parameter, also of who shares it; whether it was, and a sentence."""
        answer: Future[tuple[bool, str]] = Future()
        nodes = [setting.node]
        if setting.name in SHARED:
            nodes.append(SHARED[setting.name])
        for node in nodes:
            if not self._clients[node].services_are_ready():
                answer.set_result((False, f"{node} is not there"))
                return answer

        def ask() -> None:
            client = self._clients[nodes.pop(0)]
            client.set_parameters([Parameter(setting.name, value=value)]).add_done_callback(done)

        def done(given: Any) -> None:
            response: SetParameters.Response = given.result()
            result = response.results[0]
            if result.successful and nodes:
                ask()
            else:
                with suppress(InvalidStateError):  # it may have come too late
                    answer.set_result((result.successful, result.reason or f"{setting.name} is {value}"))

        ask()
        return answer


def _setting(node: str, descriptor: ParameterDescriptor, value: Any) -> Setting:
    low = high = None
    for bounds in (*descriptor.floating_point_range, *descriptor.integer_range):
        low, high = bounds.from_value, bounds.to_value
    text = descriptor.additional_constraints
    choices = tuple(text.removeprefix(CHOICES).split(", ")) if text.startswith(CHOICES) else ()
    return Setting(node, descriptor.name, value, descriptor.description, low, high, choices)
