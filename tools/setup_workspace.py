#!/usr/bin/env python3
"""Makes the workspace ready to run: environment, pinned packages, colcon build, launchers.

Does only what is missing, and nothing where nothing is. Runs with any Python 3.9 or newer and the
standard library; the Python of the environment is chosen here, or by the variable PYTHON.

Where a ROS 2 Jazzy is sourced in the caller's shell it is used, else ROS 2 comes as wheels.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host import (
    FOREIGN,
    ROOT,
    VENV,
    Environment,
    Python,
    Ros,
    SetupError,
    check_tools,
    choose_python,
    inside,
    own_environment,
)

VENV_PYTHON = VENV / "bin" / "python"
TORCH, PYBULLET = (ROOT / "requirements" / name for name in ("torch.txt", "pybullet.txt"))
STAMP = VENV / "setup.json"
LOG = VENV / "setup.log"
MAIN = "mbmrl_control.cli.main"

# What ros-env sets: the paths of ROS 2 and of the workspace.
EXPORTED = [
    "AMENT_PREFIX_PATH",
    "CMAKE_PREFIX_PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "RMW_IMPLEMENTATION",
    "ROS_DISTRO",
    "ROS_PYTHON_VERSION",
    "ROS_VERSION",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
]


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show a step and the time it took."""
    print(f"  {title} ", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"({time.monotonic() - start:.1f} s)", flush=True)


def run(command: list[str], env: Environment) -> str:
    """Run a command with its output in the log; returns that output."""
    with LOG.open("a+") as log:
        log.write(f"\n$ {shlex.join(command)}\n")
        log.flush()
        start = log.seek(0, os.SEEK_END)
        code = subprocess.run(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        ).returncode
        log.seek(start)
        output = log.read()
    if code != 0:
        name = command[2] if command[1] == "-m" else command[0]
        tail = "\n".join(f"    {line[:300]}" for line in output.splitlines()[-25:])
        raise SetupError(f"{name} ended with code {code}; its last lines:\n{tail}\nAll of it is in {LOG}.")
    return output


def remove_old() -> None:
    """Drop an earlier environment and what was built with it."""
    for folder in ("build", "install", "log"):
        if (ROOT / folder / "COLCON_IGNORE").exists():  # colcon marks its folders so
            shutil.rmtree(ROOT / folder)
    if VENV.exists():
        shutil.rmtree(VENV)


def make_venv(python: Python, ros: Ros) -> None:
    """Make an empty virtual environment."""
    VENV.mkdir()
    (VENV / "COLCON_IGNORE").touch()
    options = ["--system-site-packages"] if ros.sourced else []
    run([python.executable, "-m", "venv", *options, str(VENV)], own_environment())


def pip(*arguments: str) -> None:
    """Install with pip, as the user has configured it."""
    # A user-wide installation is of no use here, whatever pip's configuration says.
    env = own_environment() | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    run([str(VENV_PYTHON), "-m", "pip", "install", "--quiet", *arguments], env)


def install_packages(ros: Ros) -> None:
    """Install the pinned packages."""
    locks = [part for lock in ros.locks for part in ("-r", str(lock))]
    pip("--no-deps", "--require-hashes", *locks)
    pip("-r", str(TORCH))


def install_pybullet() -> None:
    """Install PyBullet, from source where it has no wheel: it then takes the numpy that is there."""
    pip("--no-deps", "--require-hashes", "--no-build-isolation", "-r", str(PYBULLET))


def rewrite_include_paths() -> None:
    """Let the wheels' CMake targets name this machine's include folders.

    The exported targets name those of the machine that built them, which stops CMake.
    """
    code = "import numpy, sysconfig; print(sysconfig.get_paths()['include']); print(numpy.get_include())"
    python_include, numpy_include = run([str(VENV_PYTHON), "-c", code], own_environment()).splitlines()
    for file in VENV.glob("share/*/cmake/*.cmake"):
        text = file.read_text()
        new = re.sub(r'/opt/python/[^;"]*/site-packages/numpy/_core/include', lambda _: numpy_include, text)
        new = re.sub(r'/opt/python/[^;"/]*/include/python3\.\d+', lambda _: python_include, new)
        if new != text:
            file.write_text(new)


def build(ros: Ros) -> None:
    """Build the packages of the workspace with colcon."""
    run([str(VENV_PYTHON), "-m", "colcon", "build", "--symlink-install"], ros.environment())


def write_launchers(ros: Ros) -> None:
    """Write ros-env and mbmrl into the environment, with all variables worked out."""
    # Sourced once, here: at run time that would take longer than many a command.
    command = ["/bin/sh", "-c", ". install/local_setup.sh && env -0"]
    answer = subprocess.run(command, cwd=ROOT, env=ros.environment(), capture_output=True, text=True)
    if answer.returncode != 0:
        raise SetupError(f"install/local_setup.sh cannot be sourced: {answer.stderr.strip()}")
    env = dict(line.split("=", 1) for line in answer.stdout.split("\0") if line)
    exports = "\n".join(f"export {name}={shlex.quote(env[name])}" for name in EXPORTED if env.get(name))
    bins = [path for path in env["PATH"].split(os.pathsep) if inside(path, str(ROOT), *ros.prefixes)]
    unset = [name for name in FOREIGN if name not in EXPORTED or not env.get(name)]
    write_script(
        "ros-env",
        f"""
# Runs a command in the environment of ROS 2 and of this workspace; written by {Path(__file__).name}.
[ $# -gt 0 ] || {{ echo "usage: ros-env COMMAND [ARGUMENT ...]" >&2; exit 2; }}
unset {" ".join(unset)}
{exports}
export PATH={shlex.quote(os.pathsep.join(bins))}:"${{PATH:-{os.defpath}}}"
# Robots nearby are not meant unless the user says so.
export ROS_AUTOMATIC_DISCOVERY_RANGE="${{ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}}"
exec "$@"
""",
    )
    code = "import shlex; from mbmrl_base.system.interpreter import command_of as c; print(shlex.join(c(%r)))"
    main = run([str(VENV / "bin" / "ros-env"), str(VENV_PYTHON), "-c", code % MAIN], own_environment()).strip()
    write_script(
        "mbmrl",
        f"""
# The mbmrl command; written by {Path(__file__).name}.
exec {shlex.quote(str(VENV / "bin" / "ros-env"))} {main} "$@"
""",
    )


def write_script(name: str, text: str) -> None:
    """Write an executable of the environment, whole or not at all."""
    new = VENV / "bin" / f".{name}.new"
    new.write_text(f"#!/bin/sh{text}")
    new.chmod(0o755)
    new.replace(VENV / "bin" / name)


# --- what is done already --------------------------------------------------------------------------


def digest(*parts: object) -> str:
    """Hash of the parts' texts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def build_inputs() -> Iterator[object]:
    """What colcon has to be run again for: interfaces, build files, this tool, and a new file to install.

    Python files, launch files and the like are linked, so their contents need no build.
    """
    contents = ("package.xml", "setup.*", "CMakeLists.txt", "msg/*", "srv/*", "action/*")
    for file in sorted(file for pattern in contents for file in ROOT.glob(f"src/*/{pattern}")):
        yield from (file.relative_to(ROOT), file.read_bytes())
    yield from (file.read_bytes() for file in sorted(ROOT.glob("tools/*.py")))
    for pattern in ("launch/*.launch.py", "config/*", "src/*/*/priors/*/*.safetensors"):
        yield from (file.relative_to(ROOT) for file in sorted(ROOT.glob(pattern)))


def what_is_done() -> dict[str, str]:
    """Read the stamp; empty where there is no whole environment."""
    try:
        return dict(json.loads(STAMP.read_text())) if VENV_PYTHON.exists() else {}
    except (OSError, ValueError):
        return {}


def set_up() -> None:
    """Do what is missing."""
    ros = Ros.of_the_caller()
    wanted = os.environ.get("PYTHON", "")
    if odd := "".join(sorted(set(re.sub(r"[A-Za-z0-9/._+-]", "", str(ROOT))))):
        raise SetupError(f"CMake and the linker do not know a folder with {odd!r} in its name: move {str(ROOT)!a}.")
    done = what_is_done()
    keys = {"venv": digest(ROOT, ros.home)}
    keys["packages"] = digest(keys["venv"], *(lock.read_text() for lock in [*ros.locks, TORCH, PYBULLET]))
    keys["build"] = digest(keys["packages"], *ros.prefixes, *build_inputs())
    fresh = done.get("venv") == keys["venv"] and wanted in ("", done.get("python"))
    if fresh and keys.items() <= done.items() and (ROOT / "install/local_setup.sh").exists():
        return

    start = time.monotonic()
    python = Python.probe(str(VENV_PYTHON)) if fresh else choose_python(ros)
    if python is None:  # the environment's base was removed or replaced
        fresh, python = False, choose_python(ros)
    check_tools(python, ros)
    print(f"Setting up the workspace with {ros.title}, Python {python.version}", flush=True)

    def finished(key: str) -> None:
        done[key] = keys[key]
        STAMP.write_text(json.dumps(done, indent=2))

    if not fresh:
        done = {}
        if any((ROOT / name).exists() for name in (".venv", "build", "install")):
            with step("removing the earlier environment ..."):
                remove_old()
        with step("virtual environment .venv"):
            make_venv(python, ros)
        done["python"] = wanted
        finished("venv")
    if done.get("packages") != keys["packages"]:
        with step("pinned packages, some minutes the first time ..."):
            install_packages(ros)
            if not ros.sourced:
                rewrite_include_paths()
        try:
            with step("PyBullet; without a wheel for this Python it is built, for some minutes ..."):
                install_pybullet()
        except SetupError as error:
            print(f"{error}\nWithout PyBullet all works but the simulated robots.", flush=True)
        finished("packages")
    with step("colcon build ..."):
        build(ros)
    with step("launchers .venv/bin/ros-env and .venv/bin/mbmrl"):
        write_launchers(ros)
    finished("build")
    print(f"Ready in {time.monotonic() - start:.0f} s", flush=True)


def main() -> int:
    """Set up, one at a time; returns the exit code."""
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another set-up of this workspace", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        set_up()
    except SetupError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except OSError as error:  # such as a full disk
        print(f"{error.filename or ROOT}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next set-up goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
