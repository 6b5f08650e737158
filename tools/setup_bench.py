#!/usr/bin/env python3
"""Installs what the benchmarks compare with into an environment of its own, .venv-bench; only what is missing.

Runs with the standard library and the pip of the workspace's environment, after its set-up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from host import ROOT, SetupError
from setup_workspace import VENV_PYTHON, digest, run, step

LOCK = ROOT / "requirements" / "bench.txt"
FOLDER = ROOT / ".venv-bench"
STAMP = FOLDER / "setup.txt"

# Its wheel does not build on Python 3.11, whose C interface its generated sources do not know; the part that is
# compared with is pure Python.
LEARN2LEARN = "learn2learn==0.2.0"


def set_up() -> None:
    """Do what is missing."""
    wanted = digest(LOCK.read_text(), LEARN2LEARN, VENV_PYTHON.resolve())
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    env = dict(os.environ) | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    pip = [str(VENV_PYTHON), "-m", "pip"]
    with step("packages to compare with, in .venv-bench ..."):
        shutil.rmtree(FOLDER, ignore_errors=True)
        run([str(VENV_PYTHON), "-m", "venv", "--without-pip", str(FOLDER)], env)
        (FOLDER / "COLCON_IGNORE").touch()
        # Without what they depend on: torch and numpy are those of the workspace, the same for all contenders.
        python = str(FOLDER / "bin" / "python")
        run([*pip, "--python", python, "install", "--quiet", "--no-deps", "-r", str(LOCK)], env)
        with tempfile.TemporaryDirectory() as place:
            run([*pip, "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", place, LEARN2LEARN], env)
            (archive,) = Path(place).glob("*.tar.gz")
            with tarfile.open(archive) as files:
                files.extractall(place, filter="data")
            (package,) = Path(place).glob("*/learn2learn")
            question = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
            packages = subprocess.run([python, "-c", question], capture_output=True, text=True, check=True).stdout
            shutil.move(package, Path(packages.strip()) / package.name)
    STAMP.write_text(wanted)


def main() -> int:
    """Set up; returns the exit code."""
    try:
        set_up()
    except SetupError as error:
        print(f"{error}", file=sys.stderr)
        return 1
    except OSError as error:  # such as a full disk
        print(f"{error.filename or ROOT}: {error.strerror or error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next set-up starts anew.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
