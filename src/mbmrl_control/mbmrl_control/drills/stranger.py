"""A second participant that sends garbage: on topics of the stack, or to all its services."""

from __future__ import annotations

import importlib
import re
import sys
import time
from functools import partial
from typing import Any, Final

import numpy as np
from rclpy.node import Node

from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.spin import beside

SERVICES: Final = "services"
"""Stands for all services, where topics are named."""
PERIOD: Final = 0.02
"""Time between two messages, s."""
_FOUND: Final = 1.0
"""Time in which the stack's services are found, s."""
_ANSWER: Final = 0.3
"""Longest time to wait for an answer, s."""
_LONGEST: Final = 40
"""Most items of a sequence, and letters of a text."""
_ODD: Final = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e308, -1e-308)
_WHOLE: Final = re.compile(r"(u?)int(\d+)")
_SEQUENCE: Final = re.compile(r"sequence<(.+?)(?:, (\d+))?>")
_ARRAY: Final = re.compile(r"(.+)\[(\d+)\]")


class Garbage:
    """Draws values of any type of a message."""

    def __init__(self, seed: int) -> None:
        """Take a seed."""
        self._random = np.random.default_rng(seed)

    def fill(self, message: Any) -> Any:
        """A message with arbitrary values in all fields."""
        for name, kind in message.get_fields_and_field_types().items():
            setattr(message, name, self._value(kind))
        return message

    def _value(self, kind: str) -> Any:
        draw = self._random
        if found := _SEQUENCE.fullmatch(kind):
            most = min(_LONGEST, int(found[2] or _LONGEST))
            return [self._value(found[1]) for _ in range(draw.integers(most + 1))]
        if found := _ARRAY.fullmatch(kind):
            return [self._value(found[1]) for _ in range(int(found[2]))]
        if found := _WHOLE.fullmatch(kind):
            bits = int(found[2]) - (not found[1])
            low, high = 0 if found[1] else -(2**bits), 2**bits - 1
            return [low, high, 0, 1, int(draw.integers(2**16)) % (high + 1)][draw.integers(5)]
        if kind in ("float", "double"):
            value = _ODD[draw.integers(len(_ODD))] if draw.random() < 0.5 else draw.normal() * 10.0 ** draw.integers(6)
            return value if kind == "double" else float(np.float32(np.clip(value, -3e38, 3e38)))
        if kind == "boolean":
            return bool(draw.integers(2))
        if kind == "octet":
            return bytes([draw.integers(256)])
        if kind.startswith(("string", "wstring")):
            return "".join(map(chr, draw.integers(32, 0x2FF, draw.integers(_LONGEST))))
        package, name = kind.split("/")
        return self.fill(getattr(importlib.import_module(f"{package}.msg"), name)())


def _class_of(kind: str) -> Any:
    package, part, name = kind.split("/")
    return getattr(importlib.import_module(f"{package}.{part}"), name)


def send(node: Node, topics: list[str], seconds: float, garbage: Garbage) -> None:
    """Publish garbage on topics that there are, for a time in s."""
    kinds = dict(node.get_topic_names_and_types())
    publishers = [
        (publisher, _class_of(kinds[topic][0]))
        for topic in topics
        if topic in kinds
        for publisher in [node.create_publisher(_class_of(kinds[topic][0]), topic, qos.STATE)]
    ]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for publisher, kind in publishers:
            publisher.publish(garbage.fill(kind()))
        time.sleep(PERIOD)


def ask(node: Node, garbage: Garbage) -> None:
    """Call each service that there is with garbage, but for those that change the state of a managed node."""
    for name, kinds in node.get_service_names_and_types():
        if name.startswith(f"/{node.get_name()}/") or name.endswith("/change_state") or "/_action/" in name:
            continue
        kind = _class_of(kinds[0])
        client = node.create_client(kind, name)
        if client.wait_for_service(_ANSWER):
            done = client.call_async(garbage.fill(kind.Request()))
            end = time.monotonic() + _ANSWER
            while not done.done() and time.monotonic() < end:
                time.sleep(0.01)


def main(arguments: list[str]) -> int:
    """Send garbage: a seed, a time in s, and topics, or SERVICES."""
    seed, seconds, *topics = arguments
    garbage = Garbage(int(seed))
    with beside(partial(Node, "stranger")) as node:
        time.sleep(_FOUND)
        print("here", flush=True)
        if topics == [SERVICES]:
            ask(node, garbage)
        else:
            send(node, topics, float(seconds), garbage)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
