"""From an adaptation to a model that can be planned with: size of the message, delay over DDS, time to apply it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from mbmrl_base.toolkit import qos
from mbmrl_control.benchmarks.adaptation import INPUT_SIZE, OUTPUT_SIZE
from mbmrl_control.benchmarks.loop import LoopCase, random_prior
from mbmrl_control.benchmarks.timing import in_ms, interleaved
from mbmrl_control.learners import LEARNER_TYPES, NetworkLearner, Update, make_learner
from mbmrl_control.learners.base import Learner, to_update
from mbmrl_control.learners.mb import DynamicEvaluation
from mbmrl_control.learners.online import Adaptation
from mbmrl_control.nodes import conversions
from mbmrl_msgs.msg import AdaptedModel

LEARNERS: Final = tuple(
    name for name, kind in LEARNER_TYPES.items() if kind.adapts and issubclass(kind, NetworkLearner)
)
WHOLE: Final = "whole network"
_RATE: Final = 50.0
"""Messages per second."""
_TOPIC: Final = "handover_benchmark"
_TIME_LIMIT: Final = 60.0


def updates(width: int, window: int) -> dict[str, tuple[Learner, Update]]:
    """What learners change in a network of two hidden layers, by name, and the whole network."""
    case = LoopCase(_RATE, 2, 1, width, window)
    generator = torch.Generator().manual_seed(1)
    inputs, targets = (torch.randn(window, size, generator=generator) for size in (INPUT_SIZE, OUTPUT_SIZE))
    measured = {}
    for name in LEARNERS:
        prior = random_prior(case, name)
        learner = make_learner(prior)
        measured[name] = (learner, learner.adapt(inputs, targets))
    replacing = DynamicEvaluation(learner.layers, {"rate": torch.zeros(1)})
    return measured | {WHOLE: (replacing, to_update(replacing.layers))}


def _publish(messages: list[bytes], count: int) -> None:
    """Publish each of some serialised messages a number of times, stamped with the monotonic clock."""
    rclpy.init()
    node = Node("handover_publisher")
    publisher = node.create_publisher(AdaptedModel, _TOPIC, qos.LATEST)
    while not publisher.get_subscription_count():
        time.sleep(0.01)
    for index, content in enumerate(messages):
        message = AdaptedModel(sequence=index)
        message.update.frombytes(content)
        for _ in range(count):
            now = time.monotonic_ns()
            message.header.stamp.sec, message.header.stamp.nanosec = now // 10**9, now % 10**9
            publisher.publish(message)
            time.sleep(1.0 / _RATE)
    node.destroy_node()
    rclpy.shutdown()


def _delays(messages: list[bytes], count: int) -> list[list[float]]:
    """Time from each message's publication in another process to its arrival, s; lost ones are left out."""
    rclpy.init()
    node, executor = Node("handover_listener"), SingleThreadedExecutor()
    executor.add_node(node)
    delays: list[list[float]] = [[] for _ in messages]

    def take(message: AdaptedModel) -> None:
        now = time.monotonic_ns()
        delays[message.sequence].append((now - message.header.stamp.sec * 10**9 - message.header.stamp.nanosec) * 1e-9)

    node.create_subscription(AdaptedModel, _TOPIC, take, qos.LATEST)
    process = multiprocessing.get_context("spawn").Process(target=_publish, args=(messages, count))
    process.start()
    try:
        end = time.monotonic() + _TIME_LIMIT + len(messages) * count / _RATE
        while process.is_alive() and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)
    finally:
        process.terminate()
        process.join()
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
    if not all(delays):
        raise TimeoutError("models that were published did not arrive")
    return delays


def measure(width: int = 512, window: int = 32, count: int = 200) -> Iterator[tuple[str, dict[str, Any]]]:
    """Hand over what each learner changes, and the whole network.

    Yields:
        Name of the learner, and its figures: ``bytes`` of the update, ``delay_ms`` from one process to another over
        DDS, ``lost`` messages, and ``apply_ms``, from the message to layers.
    """
    given = updates(width, window)
    messages = {
        name: conversions.to_adapted_model("millirobot", Adaptation(1, 1, update, 0.0, 0.0, window, 0), 0.0, "", name)
        for name, (_, update) in given.items()
    }

    def apply(name: str) -> object:
        return given[name][0].adapted_model(conversions.from_adapted_model(messages[name]))

    torch.set_num_threads(1)
    applied = interleaved({name: lambda name=name: apply(name) for name in messages}, 100)  # type: ignore[misc]
    delays = _delays([bytes(message.update) for message in messages.values()], count)
    for (name, message), taken in zip(messages.items(), delays, strict=True):
        yield (
            name,
            {
                "bytes": len(message.update),
                "delay_ms": in_ms(np.array(taken)),
                "lost": count - len(taken),
                "apply_ms": in_ms(applied[name]),
            },
        )
