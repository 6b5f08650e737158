"""What nodes find around them: they work, or end at once with one sentence that names the cause."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mbmrl_base.system.interpreter import command_of
from mbmrl_base.system.surroundings import _OWN_PROFILES, LEASE, SurroundingsError, domain, lost_logs, prepare

NODE = """
import os, signal, sys
from rclpy.node import Node
from mbmrl_base.toolkit.spin import beside, run
from mbmrl_base.toolkit.worker import Worker

class Short(Node):
    def __init__(self):
        super().__init__("short")
        self.worker = Worker(lambda: os.kill(os.getpid(), signal.SIGTERM), "short")

    def close(self):
        self.worker.join()

if sys.argv[1:] == ["beside"]:
    with beside(lambda: Node("beside")):
        sys.exit(0)
sys.exit(run(Short))
"""
VARIABLES = [
    *(("ROS_DOMAIN_ID", value, "allowed is 0 to 232") for value in ("abc", "-1", "233", "1.5", "0x10", "05", "9" * 20)),
    ("RMW_IMPLEMENTATION", "rmw_nonsense_cpp", "there is "),
    ("ROS_AUTOMATIC_DISCOVERY_RANGE", "nowhere", "allowed is SUBNET, LOCALHOST, SYSTEM_DEFAULT"),
    ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF", "allowed is SUBNET, LOCALHOST, SYSTEM_DEFAULT"),
    ("ROS_LOCALHOST_ONLY", "yes", "allowed is 0, 1"),
    ("ROS_SECURITY_ENABLE", "True", "allowed is true, false"),
    ("RCUTILS_LOGGING_USE_STDOUT", "yes", "allowed is 0, 1"),
    ("RCUTILS_COLORIZED_OUTPUT", "2", "allowed is 0, 1"),
    ("RCUTILS_LOGGING_BUFFERED_STREAM", "on", "allowed is 0, 1"),
    ("ROS_STATIC_PEERS", "127.0.0.1;no host", "has 'no host': there is no such host"),
    ("FASTRTPS_DEFAULT_PROFILES_FILE", "{folder}/none.xml", "it cannot be read as XML: No such file or directory"),
    ("FASTRTPS_DEFAULT_PROFILES_FILE", "{folder}/file", "it cannot be read as XML: "),
    ("ROS_LOG_DIR", "{folder}/file", "is no folder"),
    ("ROS_LOG_DIR", "/proc/logs", "/proc/logs cannot be written: "),
    ("ROS_HOME", "{folder}/file", "is no folder"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty file in it, and nothing in the environment that says where logs go."""
    (tmp_path / "file").touch()
    monkeypatch.delenv("ROS_LOG_DIR")
    return tmp_path


def run_node(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a node that ends at once."""
    return subprocess.run([sys.executable, "-c", NODE, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(("name", "value", "sentence"), VARIABLES)
def test_variable_that_ros_cannot_use_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    value = value.format(folder=folder)
    monkeypatch.setenv(name, value)
    with pytest.raises(SurroundingsError, match=sentence) as error:
        prepare()
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted({name for name, _, _ in VARIABLES}))
def test_variable_that_is_empty_is_not_there(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    prepare()


@pytest.mark.parametrize(("text", "number"), [("", 0), ("0", 0), ("42", 42), ("232", 232)])
def test_domain_is_a_number(monkeypatch: pytest.MonkeyPatch, text: str, number: int) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", text)
    assert domain() == number


def test_keystore_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ENABLE", "true"), ("STRATEGY", "Enforce"), ("KEYSTORE", "/none")):
        monkeypatch.setenv(f"ROS_SECURITY_{name}", value)
    with pytest.raises(SurroundingsError, match="ROS_SECURITY_KEYSTORE is '/none'"):
        prepare()


@pytest.mark.parametrize("strategy", ["", "Permissive"])
def test_security_that_is_not_enforced_is_refused(monkeypatch: pytest.MonkeyPatch, strategy: str) -> None:
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    monkeypatch.setenv("ROS_SECURITY_STRATEGY", strategy)
    with pytest.raises(SurroundingsError, match=f"STRATEGY is '{strategy}': .* run open to all, allowed is Enforce"):
        prepare()


RANGE, LOCAL, PROFILES = "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "FASTRTPS_DEFAULT_PROFILES_FILE"


@pytest.mark.parametrize("given", [{}, {RANGE: "SUBNET"}, {LOCAL: "0"}, {PROFILES: "own.xml"}])
def test_what_the_user_leaves_open_is_set_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.xml").write_text("<dds/>")
    for name in (RANGE, LOCAL, PROFILES, "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.setenv(name, given.get(name, ""))
    prepare()
    assert os.environ[RANGE] == given.get(RANGE, "" if LOCAL in given else "LOCALHOST")
    assert Path(os.environ[PROFILES]).name == given.get(PROFILES, "fastdds.xml")
    assert os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] == ("" if PROFILES in given else os.environ[PROFILES])


def test_lease_is_that_of_the_profiles() -> None:
    lease = ElementTree.parse(_OWN_PROFILES).find(".//{*}leaseDuration")
    assert lease is not None
    seconds, nanoseconds = (int(part.text or "") for part in lease)
    assert seconds + nanoseconds * 1e-9 == LEASE


@pytest.mark.parametrize("arguments", [(), ("beside",)], ids=["node", "beside"])
def test_node_ends_with_the_sentence(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "abc")
    result = run_node(*arguments)
    assert result.stderr.splitlines()[-1].endswith("ROS_DOMAIN_ID is 'abc': allowed is 0 to 232")
    if not arguments:  # the command tells that of the node beside it
        assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)


def test_what_is_seen_only_when_a_node_is_made_is_told_in_a_sentence(
    domain: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    result = run_node("--ros-args", "-r", "__ns:=/1robot")
    assert result.returncode == 2
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith("error: the ")
    assert "Traceback" not in result.stderr
    assert "/project" not in sentence


@pytest.mark.parametrize("home", [None, "", "/proc"])
@pytest.mark.parametrize("arguments", [(), ("beside",)], ids=["node", "beside"])
def test_without_a_home_that_can_be_written_nodes_work(
    domain: int, folder: Path, monkeypatch: pytest.MonkeyPatch, home: str | None, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("HOME", home or "")
    if home is None:
        monkeypatch.delenv("HOME")
    assert lost_logs()
    result = run_node(*arguments)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    assert arguments or "what is logged is not kept in a file: " in result.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_node_works_without_its_standard_streams(domain: int, folder: Path, closed: str) -> None:
    command = (
        f'exec env ROS_DOMAIN_ID={domain} {shlex.join(command_of("mbmrl_sim.nodes.simulator_node"))} "$@" {closed}'
    )
    refused = ["--ros-args", "-p", "rate:=0.0"]
    result = subprocess.run(["/bin/sh", "-c", command, "sh", *refused], capture_output=True, text=True)
    sentence = "error: parameter 'rate' is 0.0: input should be greater than or equal to 5\n"
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.endswith("" if "2>" in closed else sentence)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["RMW_IMPLEMENTATION", "ROS_DOMAIN_ID"])
def test_executable_ends_before_it_loads_ros(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A middleware that is not there would end the process while ROS is loaded."""
    monkeypatch.setenv(name, "nonsense")
    code = "from mbmrl_sim.nodes.entry import simulator_node; simulator_node()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {name} is 'nonsense': ")
    assert result.stderr.count("\n") == 1
