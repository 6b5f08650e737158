#!/usr/bin/env python3
"""Installs requirements/NAME.txt into an environment of its own, .venv-NAME; only what is missing.

Its packages are found after those of the workspace, so that torch, numpy and others are there once, and the same for
all. Runs with the standard library and the pip of the workspace's environment, after its set-up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from host import ROOT, Environment, SetupError
from setup_workspace import VENV_PYTHON, digest, run, step

# Its wheel does not build on Python 3.11, whose C interface its generated sources do not know; the part that is
# compared with is pure Python.
LEARN2LEARN = "learn2learn==0.2.0"


def set_up(name: str) -> None:
    """Do what is missing."""
    lock, folder = ROOT / "requirements" / f"{name}.txt", ROOT / f".venv-{name}"
    source = LEARN2LEARN if name == "bench" else ""
    stamp, wanted = folder / "setup.txt", digest(lock.read_text(), source, VENV_PYTHON.resolve())
    if stamp.exists() and stamp.read_text() == wanted:
        return
    env = dict(os.environ) | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    python = str(folder / "bin" / "python")
    with step(f"packages in {folder.name} ..."):
        shutil.rmtree(folder, ignore_errors=True)
        run([str(VENV_PYTHON), "-m", "venv", "--without-pip", str(folder)], env)
        (folder / "COLCON_IGNORE").touch()
        pip = [str(VENV_PYTHON), "-m", "pip", "--python", python]
        run([*pip, "install", "--quiet", "--no-deps", "--require-hashes", "-r", str(lock)], env)
        if source:
            install_from_source(source, python, env)
    stamp.write_text(wanted)


def install_from_source(package: str, python: str, env: Environment) -> None:
    """Copy a package that is pure Python out of its source archive."""
    with tempfile.TemporaryDirectory() as place:
        pip = [str(VENV_PYTHON), "-m", "pip"]
        run([*pip, "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", place, package], env)
        (archive,) = Path(place).glob("*.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(place, filter="data")
        (found,) = Path(place).glob(f"*/{package.partition('==')[0]}")
        question = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
        packages = subprocess.run([python, "-c", question], capture_output=True, text=True, check=True).stdout
        shutil.move(found, Path(packages.strip()) / found.name)


def main() -> int:
    """Set up; returns the exit code."""
    try:
        set_up(sys.argv[1])
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
