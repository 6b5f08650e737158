#!/usr/bin/env python3
"""Writes requirements/*.txt, the locks, of the *.in beside them: versions, and the hashes of their files.

For all versions of Python at once. What is locked stays as it is as long as it fits; packages that are named are taken
in their newest version. Needs .venv-lock, which setup_more.py makes.
"""

from __future__ import annotations

import re
import subprocess
import sys

from host import ROOT, VERSIONS

REQUIREMENTS = ROOT / "requirements"
OLDEST = ["--python-version", min(VERSIONS)]
RESOLVED = {"base": OLDEST, "ros-jazzy": [*OLDEST, "--constraint", "base.txt"], "audit": OLDEST}
"""What has its dependencies found, with what else uv is told."""
FLAT = ["--python-version", "3.11", "--no-deps"]
"""What the other lists are told, which name all themselves: they are for developers."""
APART = r"^(torch|pybullet|triton|nvidia-\S+|cuda-\S+)=="
"""What base.txt leaves to steps of their own, and torch to choose."""


def lock(name: str, renewed: list[str]) -> None:
    """Write one lock."""
    text = compiled(name, renewed, [])
    if apart := sorted(set(re.findall(APART, text, re.MULTILINE))) if name == "base" else []:
        text = compiled(name, renewed, apart)
    head = f"# Lock of {name}.in, which says what for; written by `make lock`.\n"
    (REQUIREMENTS / f"{name}.txt").write_text(head + text)


def compiled(name: str, renewed: list[str], apart: list[str]) -> str:
    """Text of a lock without some packages."""
    command = [str(ROOT / ".venv-lock/bin/uv"), "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["--universal", "--generate-hashes", *RESOLVED.get(name, FLAT)]
    command += [part for package in renewed for part in ("--upgrade-package", package)]
    command += [part for package in apart for part in ("--no-emit-package", package)]
    lock = f"{name}.txt"
    subprocess.run([*command, f"{name}.in", "--output-file", lock], cwd=REQUIREMENTS, check=True)
    return (REQUIREMENTS / lock).read_text()


def main() -> int:
    """Write all locks; returns the exit code."""
    try:
        for file in sorted(REQUIREMENTS.glob("*.in"), key=lambda file: file.stem not in RESOLVED):
            print(f"  {file.stem}.txt", flush=True)
            lock(file.stem, sys.argv[1:])
    except subprocess.CalledProcessError as error:  # uv has said why
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
