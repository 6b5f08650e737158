"""The set-up of the workspace: what it refuses at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def set_up(workspace: Path) -> subprocess.CompletedProcess[str]:
    """Run the set-up of a workspace that has the tools and lock files of this one."""
    for folder in ("tools", "requirements"):
        shutil.copytree(ROOT / folder, workspace / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-B", "-E", "-s", "-S", "tools/setup_workspace.py"]
    return subprocess.run(command, cwd=workspace, capture_output=True, text=True)


@pytest.mark.parametrize(
    "name", ["größer", "a b", "a:b", "a,b", "a$b", "a'b", "🤖", b"a\xff".decode(errors="surrogateescape")]
)
def test_folder_that_the_build_does_not_know_is_refused_at_once(tmp_path: Path, name: str) -> None:
    result = set_up(tmp_path / name)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("CMake and the linker do not know a folder with ")
    assert result.stderr.count("\n") == 1
    assert {file.name for file in (tmp_path / name).iterdir()} == {"tools", "requirements"}


def test_folder_that_cannot_be_written_is_told_without_a_trace_back(tmp_path: Path) -> None:
    (tmp_path / ".venv").touch()  # where a folder is to be
    result = set_up(tmp_path)
    assert result.returncode == 1
    assert result.stderr == f"{tmp_path / '.venv'}: Not a directory.\n"
