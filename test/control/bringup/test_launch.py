"""The graph, and the launch files that describe it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ament_index_python.packages import get_package_share_directory

from mbmrl_base.robots.catalogue import ROBOTS, load_robot
from mbmrl_base.toolkit.parameters import VERSION
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.bringup.graph import EMULATOR, EXPLORE, HARDWARE, SIM, TOPICS, NodeSpec, arguments
from mbmrl_control.learners import LEARNERS
from mbmrl_control.planning import PLANNERS
from mbmrl_control.priors import shipped_prior
from mbmrl_control.tasks.path import PATH_NAMES

ROOT = Path(__file__).resolve().parents[3]
SHARE = Path(get_package_share_directory("mbmrl_control"))
FILES = {"sim.launch.py": "real_time_factor", "hardware.launch.py": "port", "robot.launch.py": "contract"}
"""With an argument that no other one takes."""
NODES = tuple(dict.fromkeys(SIM + HARDWARE + EMULATOR + TOPICS[1:2] + EXPLORE[1:]))
SETTINGS: dict[str, type[NodeSettings]] = {node.executable: node.settings for node in NODES}
COMMON = {"namespace", "params_file", "use_sim_time", "log_level", "respawn", "rviz"}
# The folder launch/ of this workspace is no package, but would be found as one.
GENUINE = importlib.util.find_spec("launch_ros") is not None
needs_launch = pytest.mark.skipif(not GENUINE, reason="needs launch_ros: it runs where a ROS 2 is sourced")


# The graph


def test_graphs_differ_in_the_robot_and_its_pictures_alone() -> None:
    assert SIM[2:4] == HARDWARE[2:4]
    # The recorder is started first and stopped last.
    both = ["adaptation_node", "mpc_node"]
    assert [spec.executable for spec in SIM] == [
        *("recorder_node", "simulator_node", *both, "camera_node", "dashboard_node")
    ]
    assert [spec.executable for spec in HARDWARE] == [*("recorder_node", "serial_bridge_node", *both, "dashboard_node")]


@pytest.mark.parametrize("spec", NODES, ids=lambda spec: spec.executable)
def test_node_has_a_main_and_an_executable(spec: NodeSpec) -> None:
    assert callable(importlib.import_module(spec.module).main)
    executable = Path(get_package_share_directory(spec.package)).parents[1] / "lib" / spec.package / spec.executable
    assert executable.is_file()


@pytest.mark.parametrize("graph", [SIM, HARDWARE, TOPICS, EMULATOR], ids=["sim", "hardware", "topics", "emulator"])
def test_arguments_are_what_the_settings_of_the_nodes_declare(graph: tuple[NodeSpec, ...]) -> None:
    told = arguments(graph)
    topics = {name: topic for node in graph for name, topic, _ in node.topics}
    switches = {name for node in graph for name, _, _ in node.switches}
    assert set(told) == {name for node in graph for name in node.arguments} | set(topics) | switches
    for node in graph:
        for name, parameter in node.arguments.items():
            field = node.settings.model_fields[parameter]
            assert told[name].kind is field.annotation
    for name, argument in told.items():
        fields = [node.settings.model_fields[node.arguments[name]] for node in graph if name in node.arguments]
        assert not fields or argument.text.startswith(fields[0].description or "?")
    assert "(0.01 to 10.0)" in arguments(SIM)["real_time_factor"].text
    assert {name for name, argument in told.items() if argument.default is not None} == set(topics) | switches


# Parameters, where a user reads of them


def test_parameter_file_holds_all_parameters_with_their_defaults() -> None:
    assert (SHARE / "config" / "mbmrl.yaml").is_file()
    content = yaml.safe_load((ROOT / "config" / "mbmrl.yaml").read_text())
    assert list(content)[-1] == "/**"  # ROS takes what is given beside a file for more of this section
    assert content.pop("/**") == {"ros__parameters": {VERSION: 1}}
    assert set(content) == {f"/**/{name}" for name in SETTINGS}
    for name, settings in SETTINGS.items():
        assert content[f"/**/{name}"] == {"ros__parameters": settings().model_dump(mode="json")}, name


def test_learners_paths_planners_and_robots_are_named() -> None:
    """As `--show-args` prints them."""
    for argument, names in (("learner", LEARNERS), ("path", PATH_NAMES), ("planner", PLANNERS), ("robot", ROBOTS)):
        assert set(names) <= set(re.findall(r"\w+", arguments(SIM)[argument].text))


# What shows them


def topics_of(value: Any, key: str) -> set[str]:
    """Texts under a key anywhere in a tree."""
    if isinstance(value, list):
        return {text for each in value for text in topics_of(each, key)}
    if not isinstance(value, dict):
        return set()
    own = {value[key]} if isinstance(value.get(key), str) else set()
    return own | {text for each in value.values() for text in topics_of(each, key)}


def test_displays_name_topics_that_there_are() -> None:
    """Both show the robot, its reference, the path walked and the plan, and send goals."""
    table = (ROOT / "docs/reference/topics.md").read_text().partition("\n| topic |")[2].partition("\n\n")[0]
    known = {name.strip("`/") for line in table.splitlines() for name in re.findall(r"`[\w/]+`", line.split("|")[1])}
    paths = {"robot_description", "reference_path", "path_walked", "planned_path", "plan_markers", "fault_markers"}
    rviz = yaml.safe_load((SHARE / "config" / "mbmrl.rviz").read_text())["Visualization Manager"]
    assert topics_of(rviz["Displays"], "Value") == paths
    assert topics_of(rviz["Tools"], "Value") == {"goal_pose"}
    panels = json.loads((SHARE / "config" / "foxglove.json").read_text())["configById"]
    shown = panels["3D!robot"]
    assert {name.strip("/") for name, how in shown["topics"].items() if how["visible"]} == paths
    assert shown["publish"]["poseTopic"] == "/goal_pose"
    told = {text for key in ("topicPath", "value", "topicToRender") for text in topics_of(panels, key)}
    assert {path.strip("/").partition(".")[0] for path in told} <= known
    assert paths | {"goal_pose"} <= known


# The launch files


@pytest.mark.parametrize("name", FILES)
def test_launch_file_is_installed_and_compiles(name: str) -> None:
    tree = ast.parse((SHARE / "launch" / name).read_text())
    compile(tree, name, "exec")
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == ["generate_launch_description"]


def load(name: str) -> Any:
    """The launch description of a file."""
    spec = importlib.util.spec_from_file_location("launch_file", SHARE / "launch" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@needs_launch
@pytest.mark.parametrize(("name", "graph"), zip(FILES, (SIM, HARDWARE, TOPICS), strict=True), ids=FILES)
def test_arguments_are_described(name: str, graph: tuple[NodeSpec, ...]) -> None:
    arguments = {argument.name: argument for argument in load(name).get_launch_arguments()}
    topics = {argument for spec in graph for argument, _, _ in spec.topics}
    switches = {name for spec in graph for name, _, _ in spec.switches}
    assert set(arguments) == COMMON | topics | switches | {argument for spec in graph for argument in spec.arguments}
    assert all(len(argument.description) > 5 for argument in arguments.values())
    without_default = {name for name, argument in arguments.items() if argument.default_value is None}
    assert without_default == ({SIM: set(), HARDWARE: {"port"}, TOPICS: {"contract"}}[graph])


def actions(**given: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Package, command and parameter files of each node that sim.launch.py starts, given some arguments."""
    from launch.utilities import perform_substitutions
    from launch_ros.actions import Node

    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update(given)
    context.extend_locals({"ros_specific_arguments": {"name": "", "ns": ""}})  # as the action does when it runs
    entities = load("sim.launch.py").visit(context)
    while entities:
        entity = entities.pop(0)
        if not isinstance(entity, Node):
            entities += entity.visit(context) or []
            continue
        entity._perform_substitutions(context)
        words = [perform_substitutions(context, word) for word in entity.cmd]
        yield entity.node_package, words, [file for flag, file in itertools.pairwise(words) if flag == "--params-file"]


def read(files: list[str]) -> dict[str, Any]:
    """What files of parameters of one node hold together."""
    found: dict[str, Any] = {}
    for file in files:
        (content,) = yaml.safe_load(Path(file).read_text()).values()
        found |= content["ros__parameters"]
    return found


def launched(**given: str) -> dict[str, dict[str, Any]]:
    """Parameters with which sim.launch.py starts each of our nodes, given some arguments."""
    nodes: dict[str, dict[str, Any]] = {}
    for package, words, files in actions(**given):
        if package.startswith("mbmrl"):
            assert files.pop(0) == str(SHARE / "config" / "mbmrl.yaml")
            nodes[Path(words[0]).name] = read(files)
    return nodes


@needs_launch
def test_only_what_is_given_overrides_the_file() -> None:
    sim_time = {"use_sim_time": True}
    assert launched() == {"simulator_node": {}, "adaptation_node": sim_time, "mpc_node": sim_time}


@needs_launch
def test_arguments_are_values_of_their_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("8").write_bytes(shipped_prior("mb", "millirobot").read_bytes())
    given = {
        "seed": "7",
        "rate": "20",
        "publish_tf": "false",
        "learner": "mb",
        "checkpoint": "8",
        "use_sim_time": "false",
    }
    adaptation = {"learner": "mb", "checkpoint": "8", "use_sim_time": False}
    assert launched(**given) == {
        "simulator_node": {"seed": 7, "rate": 20.0, "publish_tf": False},
        "adaptation_node": adaptation,
        "mpc_node": adaptation | {"seed": 7, "rate": 20.0},
    }


@needs_launch
def test_camera_is_started_where_its_rate_is_given() -> None:
    assert launched(camera_rate="5")["camera_node"] == {"rate": 5.0}
    assert "camera_node" not in launched(camera_rate="0")


@needs_launch
def test_recorder_is_started_where_a_recording_is_wanted() -> None:
    assert launched(record="true")["recorder_node"] == {}
    assert launched(bag="folder")["recorder_node"] == {"bag": "folder"}
    assert "recorder_node" not in launched(record="false")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that sets which packages of others are there, each of one executable of its name."""
    from mbmrl_control.bringup import launching

    def install(*names: str) -> None:
        for name in names:
            for file in (tmp_path / "share/ament_index/resource_index/packages" / name, tmp_path / "lib" / name / name):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(mode=0o755)
        monkeypatch.setattr(launching, "_is_installed", names.__contains__)

    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path), prepend=os.pathsep)
    return install


def others(**given: str) -> dict[str, tuple[list[str], dict[str, Any]]]:
    """Command and parameters of each node of others that sim.launch.py starts."""
    started = [each for each in actions(**given) if not each[0].startswith("mbmrl")]
    return {package: (words, read(files)) for package, words, files in started}


@needs_launch
def test_state_publisher_is_started_where_it_is_installed_and_wanted(install: Callable[..., None]) -> None:
    install()
    assert others() == {}
    install("robot_state_publisher")
    assert others(publish_tf="false") == {}
    ((package, (words, parameters)),) = others(frame_prefix="r1/", robot="husky", namespace="r1").items()
    assert words[words.index("--enclave") + 1] == "/r1/robot_state_publisher"
    assert (package, parameters["frame_prefix"], parameters["use_sim_time"]) == ("robot_state_publisher", "r1/", True)
    assert parameters["robot_description"] == load_robot("husky").urdf()


@needs_launch
def test_rviz_is_started_where_it_is_wanted_and_installed(
    install: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    install("rviz2")
    assert others() == {}
    ((package, (words, parameters)),) = others(rviz="true", frame_prefix="r1/").items()
    assert (package, parameters) == ("rviz2", {"use_sim_time": True})
    assert Path(words[words.index("-d") + 1]).samefile(SHARE / "config" / "mbmrl.rviz")
    assert words[words.index("-f") + 1] == "r1/odom"
    install()
    assert others(rviz="true") == {}


@needs_launch
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rviz", "perhaps"),
        ("seed", "many"),
        ("camera_rate", "often"),
        ("record", "perhaps"),
        ("rate", "fast"),
        ("use_sim_time", "perhaps"),
        ("params_file", "none.yaml"),
    ],
)
def test_impossible_argument_is_refused_with_a_sentence(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^the argument {name} is '{value}': "):
        launched(**{name: value})


@needs_launch
def test_nodes_that_do_not_fit_together_are_not_started(tmp_path: Path) -> None:
    text = (SHARE / "config" / "mbmrl.yaml").read_text()
    for change, sentence in (
        (("rate: 20.0", "rate: 50.0"), "simulator_node runs at 50 Hz and mpc_node at 20 Hz"),
        (('learner: ""', "learner: mb"), "adaptation_node and mpc_node have different priors"),
    ):
        (file := tmp_path / "mine.yaml").write_text(text.replace(*change, 1))
        with pytest.raises(ValueError, match=sentence):
            list(actions(params_file=str(file)))


@pytest.mark.skipif(shutil.which("ros2") is None, reason="needs the ros2 command: it runs where a ROS 2 is sourced")
@pytest.mark.parametrize("name", FILES)
def test_ros2_launch_shows_the_arguments(name: str) -> None:
    command = ["ros2", "launch", "mbmrl_control", name, "--show-args"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "'params_file':" in result.stdout
    assert f"'{FILES[name]}':" in result.stdout
