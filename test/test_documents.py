"""Code in README.md and docs: commands, parameters and messages are such as there are, Python and YAML are run.

Nothing that a shell block says is started here: each command is read as the program reads it that it is for.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import yaml

import ros_testing  # noqa: F401 (before any message: a field of a wrong type is an error)
from command_testing import parse
from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.contract.contract import load_contract
from mbmrl_base.system.surroundings import CHOICES
from mbmrl_base.toolkit.settings import bounds, is_runtime
from mbmrl_control.bringup.graph import HARDWARE, SIM, TOPICS, arguments
from mbmrl_control.training.episodes import Episode
from mbmrl_sim.catalogue import SIMULATED, fault_kinds
from reference import NODES, context_of, every_command, parameters

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GRAPHS = {"sim.launch.py": SIM, "hardware.launch.py": HARDWARE, "robot.launch.py": TOPICS}
OF_LAUNCH = {"namespace", "params_file", "use_sim_time", "log_level", "rviz"}
AS_EVERYWHERE = (
    "pip install -r requirements/base.txt -r requirements/pybullet.txt",
    *("pip install -r requirements/torch.txt", "colcon build", "source install/setup.bash"),
    *(".venv/bin/pip install --no-deps -r requirements/cluster.txt", ".venv/bin/ros-env ray start --head"),
    ".venv/bin/ros-env python examples/husky.py",
    ".venv/bin/ros-env python examples/ant.py",
)
"""What any workspace is built and used with: CI does it by `make setup`; a cluster and the examples, by their tests."""
RUN_ELSEWHERE = {
    "docs/extending/learner.md": "control/learners/test_own_models.py",
    "docs/extending/planner.md": "control/planning/test_any_robot.py",
    "docs/extending/robot.md": "control/bringup/test_own_robot.py",
    "docs/extending/simulator.md": "sim/test_catalogue.py",
    "docs/extending/task.md": "control/tasks/test_tasks.py",
}
"""Tests that run the Python code of a page."""


def fenced(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block of code of a page."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def blocks(*languages: str) -> Iterator[Any]:
    """Page and text of each block of code in one of some languages."""
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for number, (language, text) in enumerate(fenced(page)):
            if language in languages:
                yield pytest.param(name, text, id=f"{name}-{number}")


def commands(text: str) -> Iterator[list[str]]:
    """Words of each command of a shell block, with its variables filled in."""
    known = {"UID": "0"}
    line = ""
    for part in text.splitlines(keepends=True):
        line += part
        try:
            words = shlex.split(string.Template(line).safe_substitute(known), comments=True)
        except ValueError:  # a quotation that goes on in the next line
            continue
        line = ""
        if words and (variable := re.fullmatch(r"(\w+)=(.*)", words[0])):
            known[variable[1]] = variable[2]
            continue
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            yield words[:end]
            words = words[end + 1 :]
    assert not line, text


def check_make(target: str, *given: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    options = shlex.split(" ".join(given).removeprefix("ARGS="))
    if target == "demo" and options != ["--help"]:
        parse([target, *options])


def check_launch(package: str, file: str, *given: str) -> None:
    names = {word.partition(":=")[0] for word in given if word != "--show-args"}
    assert package == "mbmrl_control"
    assert (ROOT / "launch" / file).is_file()
    assert names <= OF_LAUNCH | set(arguments(GRAPHS[file]))


def check_parameter(how: str, node: str, name: str, *value: str) -> None:
    settings = NODES[node.removeprefix("/")].settings
    field = settings.model_fields[name]
    if how == "set":
        assert is_runtime(field)
        settings(**{name: yaml.safe_load(*value)})


def interface(kind: str) -> Any:
    """Class of a type such as std_msgs/msg/String."""
    package, *folder, name = kind.split("/")
    return getattr(importlib.import_module(".".join((package, *(folder or ["msg"])))), name)


def fill(message: Any, values: dict[str, Any]) -> Any:
    """A message with fields as the `ros2` command reads them."""
    kinds = message.get_fields_and_field_types()
    for name, value in values.items():
        if isinstance(value, dict):
            value = fill(getattr(message, name), value)
        elif isinstance(value, list):
            of = interface(re.sub(r"sequence<(.*)>", r"\1", kinds[name]))
            value = [fill(of(), each) for each in value]
        setattr(message, name, value)
    return message


def check_message(name: str, kind: str, *values: str, part: str = "") -> None:
    table = (ROOT / "docs/reference/topics.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith(f"| `{name.removeprefix('/')}` |"))
    assert kind.replace("/msg/", "/") in row.split("|")[2]
    found = interface(kind)
    fill(getattr(found, part)() if part else found(), yaml.safe_load(*values) if values else {})


def check_security(verb: str, *given: str) -> None:
    match verb, *given:
        case ["create_keystore", "keys"]:
            pass
        case ["create_enclave", "keys", enclave] | ["create_permission", "keys", enclave, "config/sros2_policy.xml"]:
            assert NODES[enclave.removeprefix("/")].enclave({}) == enclave
        case _:
            assert given == ("-k", "keys", "-p", "config/sros2_policy.xml")
            assert verb == "generate_artifacts"


def check(words: list[str]) -> None:
    """See that a command is one that there is, with options, names and values that it takes."""
    match words:
        case ["mbmrl" | ".venv/bin/mbmrl", *given]:
            parse(given)
        case ["make", target, *given]:
            check_make(target, *given)
        case ["ros2", "launch", *given]:
            check_launch(*given)
        case ["ros2", "param", *given]:
            check_parameter(*given)
        case ["ros2", "run", package, executable, "--ros-args", *_]:
            assert NODES[executable].package == package
        case ["ros2", "lifecycle", "set", "/mpc_node" | "/adaptation_node" | "/standby", transition]:
            assert transition in ("configure", "activate", "deactivate", "cleanup")
        case ["ros2", "service", "call", *given]:
            check_message(*given, part="Request")
        case ["ros2", "topic", "pub", "--once", *given] | ["ros2", "topic", "pub", "--rate", _, *given]:
            check_message(*given)
        case ["ros2", "action", "send_goal", "--feedback", *given]:
            check_message(*given, part="Goal")
        case ["ros2", "security", *given]:
            check_security(*given)
        case ["export", assignment]:
            name, _, value = assignment.partition("=")
            assert value in CHOICES.get(name, (value,)), assignment
            assert name in CHOICES or name in ("ROS_DOMAIN_ID", "ROS_SECURITY_KEYSTORE", "ROS_SECURITY_STRATEGY")
        case _:
            assert " ".join(words) in AS_EVERYWHERE


@pytest.mark.parametrize(("page", "text"), blocks("sh", "bash"))
def test_commands_are_such_as_there_are(page: str, text: str) -> None:
    for words in commands(text):
        check(words)


def spans() -> Iterator[Any]:
    """Page and text of each `mbmrl` command within a sentence."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        for span in dict.fromkeys(re.findall(r"`(?:\.venv/bin/)?mbmrl\s([a-z][^`]+)`", text)):
            yield pytest.param(span, id=f"{page.stem}-{span}")


@pytest.mark.parametrize("span", spans())
def test_commands_within_sentences_have_such_options(span: str) -> None:
    """Values stand for others there, such as N."""
    words = span.split()
    command = context_of(words[:2] if " ".join(words[:2]) in every_command() else words[:1]).command
    options = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts, "--help")}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize(
    "line",
    [
        "mbmrl sim --colour red",
        "mbmrl dance",
        "make coffee",
        "make demo ARGS=--colour",
        "ros2 launch mbmrl_control sim.launch.py colour:=red",
        "ros2 param set /mpc_node rate 10.0",
        "ros2 param set /mpc_node speed fast",
        "ros2 service call /inject_fault mbmrl_msgs/srv/InjectFault '{colour: red}'",
        "ros2 service call /clear_faults std_srvs/srv/Trigger",
        "ros2 security create_enclave keys /planner",
        "export ROS_SECURITY_ENABLE=yes",
        "ros2 topic pub --once /goal nav_msgs/msg/Path '{}'",
        "rm -r docs",
    ],
)
def test_another_command_would_be_seen(line: str) -> None:
    with pytest.raises((Exception, SystemExit)):
        check(*commands(line))


def test_blocks_have_a_language_that_is_tested_here() -> None:
    tested = {"sh", "bash", "python", "yaml", "json", "text"}  # text is no code
    found = {language for page in PAGES for language, _ in fenced(page)}
    assert found <= tested


@pytest.mark.parametrize(("page", "text"), blocks("yaml"))
def test_yaml_is_taken(page: str, text: str, tmp_path: Path) -> None:
    for name, content in yaml.safe_load(text).items():
        if not name.startswith("/"):
            break
        NODES[name.rpartition("/")[2]].settings(**content["ros__parameters"])
    else:
        return
    (tmp_path / "robot.yaml").write_text(text)
    if page == "docs/extending/contract.md" or page.startswith("docs/examples/"):
        load_contract(tmp_path / "robot.yaml")
    else:
        load_robot(str(tmp_path / "robot.yaml"))


@pytest.mark.parametrize(("page", "text"), blocks("json"))
def test_json_can_be_read(page: str, text: str) -> None:
    json.loads(text)


@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_is_run(page: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page in RUN_ELSEWHERE:
        test = (ROOT / "test" / RUN_ELSEWHERE[page]).read_text()
        name = Path(page).stem
        assert f'example("{name}"' in test or f'"{name}.md"' in test
        return
    assert page == "docs/data.md"
    (tmp_path / "episodes").mkdir()
    monkeypatch.chdir(tmp_path)
    rows = {"state": numpy.zeros((5, 4)), "action": numpy.zeros((4, 1)), "time": 0.1 * numpy.arange(5)}
    exec(compile(text, page, "exec"), {"numpy": numpy, "json": json, **rows})
    episode = Episode.load(tmp_path / "episodes" / "0001.npz")
    assert episode.robot.state_names == ("x", "velocity", "angle", "rate")


def cells(line: str) -> list[str]:
    """Of a line of a table."""
    return [cell.strip() for cell in line.split(" | ")]


@pytest.mark.parametrize("name", NODES)
def test_reference_has_all_parameters_with_their_defaults_bounds_and_arguments(name: str) -> None:
    rows = [cells(line.strip("| ")) for line in parameters(name).splitlines()[2:]]
    settings = NODES[name].settings
    fields = settings.model_fields
    assert [row[0].strip("`") for row in rows] == list(fields)
    arguments = dict(map(reversed, NODES[name].arguments.items()))
    for (parameter, default, allowed, ways, text), field in zip(rows, fields.values(), strict=True):
        value = parameter.strip("`")
        assert yaml.safe_load(default.strip("`")) == settings().model_dump(mode="json")[value]
        argument = {None: "", value: "argument"}.get(arguments.get(value), f"argument `{arguments.get(value)}`")
        assert ways == ", ".join(filter(None, (argument, "running" if is_runtime(field) else "")))
        assert text.replace("\\|", "|") == field.description
        low, high = bounds(field)
        assert (low, high) == (None, None) or f"{high:.10g}" in allowed.split()
        assert low is None or allowed.startswith(f"{low:.10g} to ")


def test_reference_leaves_out_no_node_and_no_command() -> None:
    folder = ROOT / "docs" / "reference"
    markers = re.findall(r"<!-- reference: (.+?) -->", "".join(file.read_text() for file in folder.glob("*.md")))
    assert sorted(markers) == sorted(
        [*(f"parameters {node}" for node in NODES), *(f"command {command}" for command in every_command())]
    )
    reference = importlib.import_module("reference")
    for marker in markers:
        kind, *names = marker.split()
        assert len(getattr(reference, kind)(*names).splitlines()) > 3


@pytest.mark.parametrize("robot", SIMULATED)
def test_faults_are_those_that_the_simulator_has(robot: str) -> None:
    section = (ROOT / "docs" / "faults.md").read_text().lower().partition(f"\n## of the {robot.replace('_', '-')}\n")[2]
    table = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    kinds = fault_kinds(robot)
    assert [row[0].strip("`") for row in rows] == list(kinds)
    for (_, values, allowed, default, _), kind in zip(rows, kinds.values(), strict=True):
        assert all(f"`{name}`" in values for name in (*kind.parts, *kind.takes))
        numbers = [float(number) for number in re.findall(r"-?\d[\d.]*", allowed)]
        assert not kind.grows or numbers[:2] == [kind.low, kind.high]
        assert {high for _, high in kind.takes.values()} <= set(numbers)
        assert not kind.grows or f"{kind.default:g}" in default


def test_each_row_of_what_is_watched_has_a_test() -> None:
    table = (ROOT / "docs/safety.md").read_text().partition("What is watched, and")[2].partition("\n\nOn a")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 20
    for row in rows:
        *cells, link = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 5
        assert all(cells[:2]), row
        file, name = re.fullmatch(r'\[test\]\((\S+) "(\w+)"\)', link).groups()  # type: ignore[union-attr]
        assert f"\ndef {name}(" in (ROOT / "docs" / file).read_text(), name
