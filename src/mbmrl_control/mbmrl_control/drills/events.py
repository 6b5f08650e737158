"""What is done to a stack, and what has to follow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import psutil
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from mbmrl_base.system.interpreter import command_of
from mbmrl_control.drills.stack import Stack
from mbmrl_control.drills.stranger import SERVICES
from mbmrl_control.tasks.path import PATH_NAMES
from mbmrl_msgs.srv import ClearFaults, InjectFault

STOP_LIMIT: Final = {"sim": 0.1, "serial": 0.1, "topics": 0.15}
"""Time within which the robot stands where it must, s, after which the interval in force ends."""
RESUME_LIMIT: Final = 3.0
"""Time within which it goes on, s: from when a node is started again, or from when somebody asks."""
STANDS: Final = 0.25
"""Time without a command in force after which the robot has stopped, s."""
PAUSE_LIMIT: Final = 0.075
"""Longest time without a command of a robot that walks on, s: where processors are short one may be late, not two."""
_PATIENCE: Final = 30.0
"""Time after which a robot that does not go on is given up, s."""
_ASK: Final = 0.5
"""Time after which it is asked again to go on, s."""
_CONTESTED: Final = ("robot_state", "motor_command")
"""Topics of which a second publisher stops the robot."""
_STEERS: Final = ("path", "cmd_vel", "goal_pose")
"""Topics on which whoever publishes may steer it, where what comes is possible."""
_HARMLESS: Final = ("adapted_model", "joint_states", "faults", "/diagnostics")
"""Topics that do not stop it, whoever publishes them."""
RATE: Final = 20.0
"""Control rate of the stacks, Hz."""


@dataclass(frozen=True)
class Outcome:
    """What followed.

    Attributes:
        kind: What was done, and to whom.
        stop: Time until the robot stood, s; None where it need not, or there was none to stand.
        resume: Time until it went on, s.
        wrong: What was not as documented; empty: all was.
    """

    kind: str
    stop: float | None
    resume: float | None
    wrong: str = ""


Play = Callable[[Stack, np.random.Generator], Outcome]


def _goes_on(stack: Stack, kind: str, since: float, asks: bool, stop: float | None = None, wrong: str = "") -> Outcome:
    """Wait until the robot works again, asking for it where somebody has to."""
    asked, anew = -np.inf, kind == "kill emulator_node"
    start = time.monotonic() if asks else since

    def works() -> bool:
        nonlocal asked
        if asks and time.monotonic() - asked > _ASK:
            asked = time.monotonic()
            _ask_to_go_on(stack, anew)
        return stack.watch.works(since)

    resume, stands = 0.0, True
    while stands:
        if not stack.wait(works, start + _PATIENCE - time.monotonic()):
            return Outcome(kind, stop, None, wrong or f"the robot did not go on within {_PATIENCE:g} s")
        resume = time.monotonic() - start
        # What is just being lost, such as a link, shows soon.
        stands = stack.wait(lambda: time.monotonic() - stack.watch.commanded > STANDS, 2 * STANDS)
        since = time.monotonic()
    if resume > RESUME_LIMIT:
        wrong = wrong or f"it went on after {resume:.2f} s"
    return Outcome(kind, stop, resume, wrong)


def _ask_to_go_on(stack: Stack, anew: bool) -> None:
    """Undo what only somebody undoes: a stop, an order that has ended, motors that are off."""
    watch = stack.watch
    watch.call(SetBool, "stop", data=False)
    watch.call(ClearFaults, "clear_faults")
    _set(stack, path=PATH_NAMES[int(time.monotonic()) % len(PATH_NAMES)], task="follow_path")
    if watch.bridge:
        watch.activate(anew)
    else:
        watch.call(SetBool, "pause", data=False)
        watch.call(Trigger, "reset")


def _set(stack: Stack, **values: str | float) -> Future:
    given = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    return stack.watch.call(SetParameters, "mpc_node/set_parameters", parameters=given)


def _stop(stack: Stack, since: float) -> tuple[float, str]:
    """Time until the robot stood, s, and what is wrong with it."""
    watch = stack.watch
    stack.wait(lambda: time.monotonic() - max(watch.commanded, since) > STANDS, 1.0)
    took = max(0.0, watch.commanded - since)
    limit = STOP_LIMIT[stack.name] + 1.0 / RATE
    return took, "" if took <= limit else f"the robot stood after {1e3 * took:.0f} ms"


def _stopped_by(stack: Stack, answer: Future) -> tuple[float, str]:
    """As `_stop`, from the answer of a service on."""
    answered = stack.wait(answer.done, RESUME_LIMIT)
    took, wrong = _stop(stack, time.monotonic())
    return took, wrong if answered else "it did not answer"


def _walks_on(stack: Stack, since: float, seconds: float) -> str:
    """What is wrong where the robot has to walk on; empty: it does."""
    stack.rest(seconds)
    return _paused(stack, since)


def _paused(stack: Stack, since: float) -> str:
    """What is wrong where the robot has had to walk since a time; empty: it has."""
    pause = stack.watch.paused(since)
    stack.pauses.append(pause)
    return "" if pause < PAUSE_LIMIT else f"the robot stood for {1e3 * pause:.0f} ms"


def kill(name: str) -> Play:
    """SIGKILL to a node."""

    def play(stack: Stack, random: np.random.Generator) -> Outcome:
        kind, since = f"kill {name}", time.monotonic()
        os.kill(stack.nodes.pids[name], signal.SIGKILL)
        stop, wrong = None, ""
        if name == "mpc_node" or name == stack.watch.bridge:
            stop, wrong = _stop(stack, since)
        elif name in ("adaptation_node", "recorder_node"):
            wrong = _walks_on(stack, since, 1.0)
        stack.wait(lambda: psutil.pid_exists(stack.nodes.pids[name]), RESUME_LIMIT)
        asks = bool(stack.watch.bridge) and name in (stack.watch.bridge, "emulator_node")
        if asks:  # what was started is there to be asked
            stack.rest(RESUME_LIMIT)
        return _goes_on(stack, kind, time.monotonic() if asks else since, asks, stop, wrong)

    return play


def kill_nursery(stack: Stack, random: np.random.Generator) -> Outcome:
    """SIGKILL to the process from which nodes are started."""
    since = time.monotonic()
    os.kill(stack.nodes.nursery, signal.SIGKILL)
    wrong = _walks_on(stack, since, 1.0)
    return _goes_on(stack, "kill the nursery", time.monotonic(), False, None, wrong)


def freeze(name: str) -> Play:
    """SIGSTOP to a node, for longer than others take for a pause."""

    def play(stack: Stack, random: np.random.Generator) -> Outcome:
        kind, since, number = f"freeze {name}", time.monotonic(), stack.nodes.pids[name]
        os.kill(number, signal.SIGSTOP)
        stop, wrong = None, ""
        if name == "mpc_node":
            stop, wrong = _stop(stack, since)
        elif name in ("adaptation_node", "recorder_node"):
            wrong = _walks_on(stack, since, 0.1)
        stack.rest(random.uniform(0.3, 3.0))
        released = time.monotonic()
        os.kill(number, signal.SIGCONT)
        # Whoever sends to a process that holds a lock of shared memory waits for it too, bridges as well.
        return _goes_on(stack, kind, released, bool(stack.watch.bridge), stop, wrong)

    return play


def hold(name: str) -> Play:
    """SIGSTOP to a node for some milliseconds: its messages come late."""

    def play(stack: Stack, random: np.random.Generator) -> Outcome:
        since = time.monotonic()
        for _ in range(5):
            os.kill(number := stack.nodes.pids[name], signal.SIGSTOP)
            time.sleep(random.uniform(0.005, 0.06))
            os.kill(number, signal.SIGCONT)
            stack.rest(0.1)
        return _goes_on(stack, f"delay {name}", since, asks=False)

    return play


def garbage(topic: str) -> Play:
    """A second participant publishes garbage on a topic of the stack."""

    def play(stack: Stack, random: np.random.Generator) -> Outcome:
        since = time.monotonic()
        wrong = _let_in(stack, random, topic)
        contested = [*_CONTESTED, "/cmd_vel" if stack.name == "topics" else "/clock"]
        if topic in contested and stack.watch.stood < since:
            wrong = wrong or "the robot did not stand"
        if topic in _HARMLESS:
            wrong = wrong or _paused(stack, since)
        return _goes_on(stack, f"garbage on {topic}", time.monotonic(), topic not in _HARMLESS, None, wrong)

    return play


def ask_services(stack: Stack, random: np.random.Generator) -> Outcome:
    """A second participant calls all services with garbage."""
    wrong = _let_in(stack, random, SERVICES)
    return _goes_on(stack, "garbage to services", time.monotonic(), True, None, wrong)


def _let_in(stack: Stack, random: np.random.Generator, topic: str) -> str:
    """Run the second participant to its end; what was wrong with it."""
    name = topic if topic == SERVICES else stack.watch.resolve_topic_name(topic)
    command = [*command_of("mbmrl_control.drills.stranger"), str(random.integers(2**31)), "1.0", name]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as stranger:
        if not stack.wait(lambda: stranger.poll() is not None, _PATIENCE):
            stranger.kill()
        assert stranger.stderr is not None
        text = stranger.stderr.read()
    return "" if stranger.returncode == 0 else f"the stranger failed: {text.strip().splitlines()[-1:]}"


def stop(stack: Stack, random: np.random.Generator) -> Outcome:
    """The service `stop`, and its release."""
    took, wrong = _stopped_by(stack, stack.watch.call(SetBool, "stop", data=True))
    released = time.monotonic()
    stack.watch.call(SetBool, "stop", data=False)
    return _goes_on(stack, "stop", released, False, took, wrong)


def emergency_stop(stack: Stack, random: np.random.Generator) -> Outcome:
    """The service `emergency_stop`."""
    took, wrong = _stopped_by(stack, stack.watch.call(Trigger, "emergency_stop"))
    return _goes_on(stack, "emergency_stop", time.monotonic(), True, took, wrong)


def fault(stack: Stack, random: np.random.Generator) -> Outcome:
    """A fault of the robot, which is then undone."""
    since = time.monotonic()
    kind = str(random.choice(["leg_loss", "payload", "motor_weak", "terrain", "slope"]))
    stack.watch.call(InjectFault, "inject_fault", kind=kind)
    wrong = _walks_on(stack, since, 2.0)
    stack.watch.call(ClearFaults, "clear_faults")
    return _goes_on(stack, "fault", time.monotonic(), False, None, wrong)


def parameter(stack: Stack, random: np.random.Generator) -> Outcome:
    """A parameter that may change while the node runs."""
    since = time.monotonic()
    answer = _set(stack, path=str(random.choice(PATH_NAMES)))
    answered = stack.wait(answer.done, RESUME_LIMIT)
    wrong = "" if answered and answer.result().results[0].successful else "it was not taken"
    return _goes_on(stack, "parameter", time.monotonic(), False, None, wrong or _walks_on(stack, since, 0.3))


def impossible_parameter(stack: Stack, random: np.random.Generator) -> Outcome:
    """A parameter that is read-only, or out of its bounds."""
    since = time.monotonic()
    values: list[dict[str, str | float]] = [{"task": "fly"}, {"rate": 50.0}, {"velocity_timeout": float("nan")}]
    answer = _set(stack, **values[random.integers(len(values))])
    answered = stack.wait(answer.done, RESUME_LIMIT)
    refused = answered and not answer.result().results[0].successful and answer.result().results[0].reason
    wrong = "" if refused else "it was not refused with a reason"
    return _goes_on(stack, "impossible parameter", time.monotonic(), False, None, wrong or _walks_on(stack, since, 0.3))


def full_disk(stack: Stack, random: np.random.Generator) -> Outcome:
    """The recorder cannot write any more; after that it is ended, and started again."""
    since, recorder = time.monotonic(), psutil.Process(stack.nodes.pids["recorder_node"])
    largest = max((file.stat().st_size for file in stack.folder.glob("bag*/*")), default=0)
    recorder.rlimit(psutil.RLIMIT_FSIZE, (largest, largest))
    wrong = _walks_on(stack, since, 2.0)
    recorder.terminate()
    return _goes_on(stack, "full disk", time.monotonic(), False, None, wrong)


def busy(stack: Stack, random: np.random.Generator) -> Outcome:
    """Other processes want all processors."""
    count = 2 * (os.cpu_count() or 1)
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    stack.rest(2.0)
    for hog in hogs:
        hog.kill()
        hog.wait()
    return _goes_on(stack, "busy processors", time.monotonic(), bool(stack.watch.bridge))


def little_memory(stack: Stack, random: np.random.Generator) -> Outcome:
    """Another process takes much memory."""
    size = min(2**30, psutil.virtual_memory().available // 4)
    with subprocess.Popen([sys.executable, "-c", f"held = bytearray({size}); input()"], stdin=subprocess.PIPE) as hog:
        stack.rest(1.0)
        hog.kill()
    return _goes_on(stack, "little memory", time.monotonic(), False)


def all_for(stack: Stack) -> list[Play]:
    """What may be done to a stack."""
    names = list(stack.nodes.pids)
    there = {name for name, _ in stack.watch.get_topic_names_and_types()}
    topics = [*_CONTESTED, *_STEERS, *_HARMLESS, "/clock", *(["/cmd_vel"] if stack.name == "topics" else [])]
    one_by_one = [
        kill_nursery,
        ask_services,
        stop,
        emergency_stop,
        parameter,
        impossible_parameter,
        full_disk,
        busy,
        little_memory,
    ]
    return [
        *(make(name) for make in (kill, freeze, hold) for name in names),
        *(garbage(topic) for topic in topics if stack.watch.resolve_topic_name(topic) in there),
        *one_by_one,
        *([] if stack.name == "topics" else [fault]),
    ]
