"""The set-up of the workspace: what it refuses at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"


@pytest.mark.parametrize(
    "name", ["größer", "a b", "a:b", "a,b", "a$b", "a'b", "🤖", b"a\xff".decode(errors="surrogateescape")]
)
def test_folder_that_the_build_does_not_know_is_refused_at_once(tmp_path: Path, name: str) -> None:
    workspace = tmp_path / name
    shutil.copytree(TOOLS, workspace / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-B", "-E", "-s", "-S", "tools/setup_workspace.py"]
    result = subprocess.run(command, cwd=workspace, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("CMake and the linker do not know a folder with ")
    assert result.stderr.count("\n") == 1
    assert [file.name for file in workspace.iterdir()] == ["tools"]
