"""What the packages import is what they declare: in package.xml, in setup.py and in the requirements."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"mbmrl_base": "base", "mbmrl_sim": "sim", "mbmrl_control": "control"}
KEYS = {
    "PIL": "python3-pil",
    "hypothesis": "python3-hypothesis",
    "joblib": "python3-joblib",
    "psutil": "python3-psutil",
    "matplotlib": "python3-matplotlib",
    "numpy": "python3-numpy",
    "pydantic": "python3-pydantic",
    "pytest": "python3-pytest",
    "rich": "python3-rich",
    "serial": "python3-serial",
    "setproctitle": "python3-setproctitle",
    "websockets": "python3-websockets",
    "typing_extensions": "python3-typing-extensions",
    "yaml": "python3-yaml",
}
"""rosdep's key for a module of Python; modules that are not here are ROS packages, or one of PIP_ONLY."""
PIP_ONLY = {
    *(
        "cobs",
        "imageio_ffmpeg",
        "mcap",
        "msgspec",
        "optuna",
        "pyarrow",
        "pybullet",
        "pybullet_utils",
        "rosbags",
        "safetensors",
        "selenium",
        "tensorboard",
    ),
    *("torch", "trimesh", "typer", "urdf_parser_py", "viser"),
}
"""No rosdep key of these could be resolved by apt."""
IMPLIED = {"torch.utils.tensorboard": "tensorboard"}


def imported(folders: Iterable[Path]) -> set[str]:
    """Top-level modules that the sources in some folders import, wherever in them; none of the standard library."""
    modules: set[str] = set()
    for file in (file for folder in folders for file in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module)
    modules |= {IMPLIED[module] for module in modules if module in IMPLIED}
    return {module.partition(".")[0] for module in modules} - sys.stdlib_module_names


def of_the_package(package: str) -> set[str]:
    """Modules that a package imports, other than its own."""
    launch = [ROOT / "launch"] if package == "mbmrl_control" else []
    return imported([ROOT / "src" / package / package, *launch]) - {package}


def of_its_tests(package: str) -> set[str]:
    """Modules that only the tests of a package import, other than the tests' own."""
    own = {file.stem for file in (ROOT / "test").glob("*.py")} | set(PACKAGES)
    return imported([ROOT / "test" / PACKAGES[package]]) - of_the_package(package) - own


def declared(package: str, *tags: str) -> list[str]:
    """What package.xml declares."""
    tree = ElementTree.parse(ROOT / "src" / package / "package.xml")
    return [element.text or "" for tag in tags for element in tree.iter(tag)]


def keywords(package: str) -> dict[str, ast.expr]:
    """What setup.py gives to ``setup``."""
    (call,) = [
        node
        for node in ast.walk(ast.parse((ROOT / "src" / package / "setup.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "setup"
    ]
    return {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}


def normalized(name: str) -> str:
    """A name of PyPI's without its version, as all ways to write it are the same there (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split("[=<>]", name)[0]).lower()


def distributions(modules: set[str]) -> list[str]:
    """Names on PyPI of what provides modules; those of ROS packages are left out."""
    known = packages_distributions()
    return sorted({normalized(known[module][0]) for module in modules & (set(KEYS) | PIP_ONLY)})


@pytest.mark.parametrize("package", PACKAGES)
def test_package_xml_declares_what_is_imported(package: str) -> None:
    wanted = {KEYS.get(module, module) for module in of_the_package(package) - PIP_ONLY}
    told = declared(package, "depend", "exec_depend")
    assert sorted(told) == sorted(wanted)
    assert sorted(declared(package, "test_depend")) == sorted(
        KEYS.get(module, module) for module in of_its_tests(package) - PIP_ONLY
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_setup_py_declares_what_is_imported(package: str) -> None:
    told = keywords(package)
    required = map(normalized, ast.literal_eval(told["install_requires"]))
    assert sorted(required) == sorted(["setuptools", *distributions(of_the_package(package))])
    assert ast.literal_eval(told["extras_require"]) == {"test": distributions(of_its_tests(package))}


def test_requirements_hold_what_is_imported() -> None:
    """Those at run time are in the first part of base.in, up to the first empty line."""
    folder = ROOT / "requirements"
    text = re.sub(
        r"(?m)^-r (.*)$", lambda found: (folder / found[1]).read_text().strip(), (folder / "base.in").read_text()
    )
    first, _, others = text.partition("\n\n")
    run_time, tools = (
        {normalized(line) for line in part.splitlines() if line and line[0] != "#"} for part in (first, others)
    )
    assert run_time == set(distributions(set().union(*map(of_the_package, PACKAGES))))
    assert tools >= set(distributions(set().union(*map(of_its_tests, PACKAGES)))) - run_time


def test_wheels_hold_the_ros_packages() -> None:
    """Those of launch and tf2 are not among the wheels: what needs them runs where a ROS 2 is sourced."""
    wheels = (ROOT / "requirements" / "ros-jazzy.in").read_text().split()
    modules = set().union(*map(of_the_package, PACKAGES)) - set(KEYS) - PIP_ONLY - {"launch", "launch_ros", "tf2_msgs"}
    wanted = {f"ros-jazzy-{module.replace('_', '-')}" for module in modules if not module.startswith("mbmrl_")}
    assert wanted - set(wheels) == set()
    assert {wheel for wheel in wheels if wheel.endswith("-msgs")} - wanted == {"ros-jazzy-action-msgs"}
