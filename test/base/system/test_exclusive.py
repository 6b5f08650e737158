"""Names that only one process holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mbmrl_base.system.exclusive import hold

CODE = "import sys; from mbmrl_base.system.exclusive import hold; sys.exit(hold(sys.argv[1]) is None)"


def is_held(name: str) -> bool:
    """Whether another process finds the name held."""
    return subprocess.run([sys.executable, "-c", CODE, name]).returncode == 1


def test_name_is_held_until_it_is_given_back(tmp_path: Path) -> None:
    name = str(tmp_path)  # no other test's
    held = hold(name)
    assert held is not None
    assert hold(name) is None
    assert is_held(name)
    assert not is_held(name + "/another")
    held.close()
    assert not is_held(name)


def test_name_may_be_as_long_as_a_topic(tmp_path: Path) -> None:
    held = hold(str(tmp_path) + "/namespace" * 30)
    assert held is not None
    held.close()
