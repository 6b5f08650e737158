"""Helpers of the tests that talk to real nodes; import it before any message, as a conftest does.

Each test has a ROS domain of its own, so tests that run at the same time do not hear each other. A node
under test is a process; the test itself is a peer in the same domain, and owns the executor that spins it.
Everything is waited for by its event: a time limit only ends a test that would wait for ever.
"""

from __future__ import annotations

import fcntl
import itertools
import math
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

# Messages read it when they are imported: a field of a wrong type is then an error. Nodes inherit both.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future

from mbmrl_base.system.interpreter import command_of

TIME_LIMIT: Final = 60.0
"""Longest wait for an event, s; far longer than a loaded machine takes."""
DOMAINS: Final = range(1, 102)
"""ROS domains whose ports are below the system's range of temporary ports; 0 is left to the user."""
_first_domain = itertools.count(os.getpid())


@contextmanager
def free_domain() -> Iterator[int]:
    """A ROS domain that no other test of this machine uses meanwhile.

    It is held by a file lock, which ends with this process, so parallel runs of the tests share the domains.
    """
    start = next(_first_domain)
    for offset in range(len(DOMAINS)):
        domain = DOMAINS[(start + offset) % len(DOMAINS)]
        try:
            file = (Path(tempfile.gettempdir()) / f"mbmrl-test-domain-{domain}.lock").open("w")
        except PermissionError:  # another user's
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain
            return
    raise RuntimeError("all ROS domains for tests are in use")


class NodeProcess:
    """A node that runs in a process of its own, and is ended with this context manager."""

    def __init__(self, module: str, domain: int, *ros_arguments: str, folder: Path) -> None:
        """Start a node.

        Args:
            module: Python module whose main function runs the node, which has the module's name.
            domain: ROS domain.
            ros_arguments: What follows ``--ros-args``.
            folder: Where its output and its log go.
        """
        given = dict(text.split(":=", 1) for text in ros_arguments if text.startswith("__"))
        name = given.get("__node", module.rpartition(".")[2])
        self.name = "/".join(filter(None, (given.get("__ns", ""), name)))
        # The process shares the files' position, which reading moves: it appends instead.
        self._output = tempfile.TemporaryFile("a+", dir=folder)  # noqa: SIM115
        self._errors = tempfile.TemporaryFile("a+", dir=folder)  # noqa: SIM115
        command = [*command_of(module), "--ros-args", *ros_arguments]
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(folder)}
        self._process = subprocess.Popen(
            command, env=environment, stdout=self._output, stderr=self._errors, stdin=subprocess.DEVNULL
        )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # In order where possible: what DDS keeps in shared memory outlives a process that is killed.
        self._process.terminate()
        try:
            self.wait()
        finally:
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._errors.close()

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def output(self) -> str:
        """What it has written on the standard output."""
        self._output.seek(0)
        return self._output.read()

    @property
    def errors(self) -> str:
        """What it has written on the error output; ROS logs there."""
        self._errors.seek(0)
        return self._errors.read()

    def send(self, signal_number: int) -> None:
        """Send a signal."""
        self._process.send_signal(signal_number)

    def end(self, signal_number: int = signal.SIGINT) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.send(signal_number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        return self._process.wait(TIME_LIMIT)

    def assert_refused(self, *words: str) -> None:
        """The node ends by itself with exit code 2 and one sentence that has these words."""
        code = self.wait()
        *logs, sentence = self.errors.splitlines() or [""]
        assert code == 2, self.errors
        assert sentence.startswith("error: ")
        assert all(word in sentence for word in words), sentence
        # What rcl itself logs before it gives up is not ours.
        assert not [line for line in logs if "[rcl]" not in line], self.errors
        assert self.output == ""


class Peer:
    """The test's own ROS context, node and executor."""

    def __init__(self, domain: int) -> None:
        """Join a domain."""
        self._context = Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = Node(f"test_{os.getpid()}", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Client] = {}

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def record(self, message_type: type, topic: str, qos: QoSProfile | int) -> list[Any]:
        """Subscribe to a topic; returns the list to which its messages are appended."""
        messages: list[Any] = []
        self.node.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def spin_until(
        self, predicate: Callable[[], Any], process: NodeProcess | None = None, limit: float = TIME_LIMIT
    ) -> None:
        """Spin until a predicate holds; fail when it does not in time, or when the process ends before."""
        end = time.monotonic() + limit
        while not predicate():
            if process is not None and not process.running:
                raise AssertionError(f"the node has ended:\n{process.errors}")
            if time.monotonic() > end:
                said = process.errors if process is not None else ""
                raise AssertionError(f"waited for {limit:g} s in vain\n{said}")
            self._executor.spin_once(timeout_sec=0.1)

    def call(self, service_type: Any, name: str, process: NodeProcess, **fields: Any) -> Any:
        """Call a service of a node, once it is there, with a request of these fields; returns the response."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(service_type, name)
            self._wait_until_known_to(process)
        client = self._clients[name]
        self.spin_until(client.service_is_ready, process)
        future = client.call_async(service_type.Request(**fields))
        self.spin_until(future.done, process)
        return future.result()

    def change(self, transition: int, process: NodeProcess) -> bool:
        """Have a lifecycle node make a transition; returns whether it has."""
        request = Transition(id=transition)
        return bool(self.call(ChangeState, f"{process.name}/change_state", process, transition=request).success)

    def _wait_until_known_to(self, process: NodeProcess) -> None:
        """Wait until a node has discovered all that this peer has made so far.

        A service drops its response where it does not know the client yet, although the client knows the
        service. Discovery keeps the order, so a node that answers a newer client knows the older ones; and
        this question may be asked again and again.
        """
        client = self.node.create_client(GetParameters, f"{process.name}/get_parameters")
        self.spin_until(client.service_is_ready, process)
        futures: list[Future] = []
        asked = -math.inf

        def answered() -> bool:
            nonlocal asked
            if time.monotonic() - asked > 0.5:
                asked = time.monotonic()
                futures.append(client.call_async(GetParameters.Request()))
            return any(future.done() for future in futures)

        self.spin_until(answered, process)
        self.node.destroy_client(client)


def number_of(message: Any, name: str) -> float:
    """A number of a RobotState or MotorCommand, by the name of its state or action."""
    for part in ("state", "action"):
        if name in (names := getattr(message, f"{part}_names", [])):
            return float(getattr(message, part)[names.index(name)])
    raise KeyError(name)


STRANGE: Final[dict[str, dict[str, Any]]] = {
    "it is of version 7, allowed is 1": {"version": 7},
    "it is of the robot 'husky', this one is 'millirobot'": {"robot": "husky"},
    "its action has 1 numbers, wanted are 2": {"action": [1.0]},
}
"""Fields that make a RobotState or MotorCommand one that is refused, by what it is refused for."""


def changed(message: Any, fields: dict[str, Any]) -> Any:
    """A message with other fields."""
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@contextmanager
def peer_in(domain: int) -> Iterator[Peer]:
    """A peer in a domain, which leaves it at the end."""
    peer = Peer(domain)
    try:
        yield peer
    finally:
        peer.close()


def processes(mark: str, word: str = "") -> dict[int, str]:
    """Command lines of the processes with a mark in their environment, but for this one, and with a word in it."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has ended, or is another user's
                continue
    return {number: line for number, line in found.items() if word in line}


# Fixtures, which each conftest names


@pytest.fixture(autouse=True)
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ROS logs of this process go where the test's files go."""
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path))


@pytest.fixture
def domain() -> Iterator[int]:
    """A ROS domain of the test's own."""
    with free_domain() as number:
        yield number


@pytest.fixture
def peer(domain: int) -> Iterator[Peer]:
    """The test's ROS node."""
    with peer_in(domain) as peer:
        yield peer


StartSimulator = Callable[..., NodeProcess]


@pytest.fixture
def start_simulator(domain: int, tmp_path: Path) -> Iterator[StartSimulator]:
    """A function that starts a simulator node in the test's domain with parameters like ``rate=50.0``."""
    with ExitStack() as processes:

        def start(*ros_arguments: str, **parameters: object) -> NodeProcess:
            given = [text for name, value in parameters.items() for text in ("-p", f"{name}:={value}")]
            process = NodeProcess("mbmrl_sim.nodes.simulator_node", domain, *ros_arguments, *given, folder=tmp_path)
            return processes.enter_context(process)

        yield start
