"""Two processes that are to find each other by ROS 2: one says a word on a topic, the other one waits to hear it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Final

from mbmrl_base.system.interpreter import command_of

TIME: Final = 5.0
"""Longest time until the word is heard, s."""
UNHEARD: Final = 3
"""Exit code of who has not heard it; others are of ROS 2 that cannot be started."""


class UnheardError(RuntimeError):
    """A word that was not heard; the text is why ROS 2 could not be started, and empty if it could."""


def meet() -> float:
    """Start both processes.

    Returns:
        Time that the second one took to start ROS 2, find the first one, and hear it, s.

    Raises:
        UnheardError: If it has not.
    """
    command = command_of(__name__)
    topic = f"mbmrl_greeting_{os.getpid()}"
    with subprocess.Popen([*command, topic, "say"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL):  # until it ends
        heard = subprocess.run([*command, topic, "hear"], capture_output=True, text=True)
    if heard.returncode == 0:
        return float(heard.stdout)
    why = f"exit code {heard.returncode}" if heard.returncode != UNHEARD else ""
    raise UnheardError(why and (heard.stderr.strip().splitlines() or [why])[-1])


def _main(topic: str, part: str) -> int:
    import rclpy
    from std_msgs.msg import String

    from mbmrl_base.toolkit.qos import LATCHED

    start = time.monotonic()
    rclpy.init()
    node = rclpy.create_node(f"{topic}_{part}")
    if part == "say":
        node.create_publisher(String, topic, LATCHED).publish(String(data="hello"))
        sys.stdin.read()  # until who started it closes it
        return 0
    words: list[String] = []
    node.create_subscription(String, topic, words.append, LATCHED)
    while not words and (left := start + TIME - time.monotonic()) > 0:
        rclpy.spin_once(node, timeout_sec=left)
    print(time.monotonic() - start)
    return 0 if words else UNHEARD


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
