"""The command line says what it can do without loading it all."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from command_testing import parse
from mbmrl_control.cli.main import app

HELP = """
import sys
from mbmrl_control.cli.main import app
app(sys.argv[1:], prog_name="mbmrl", standalone_mode=False)
assert not {"torch", "numpy", "rclpy", "pybullet", "matplotlib"} & set(sys.modules), "loaded too much"
"""


def test_help_is_quick() -> None:
    result = subprocess.run([sys.executable, "-c", HELP, "--help"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    commands = ("demo", "sim", "hardware", "emulate", "robots", "fault", "clear", "collect", "train", "evaluate")
    assert all(command in result.stdout for command in commands)


def commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Names of a command and of all below it."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


ALL = list(commands(typer.main.get_command(app), ()))


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_command_shows_an_example_that_it_takes_within_80_columns(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        app([*command, "--help"], prog_name="mbmrl")
    assert end.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any(line.endswith("...") and not line.startswith("Usage:") for line in lines)
    assert [line for line in lines if "Example:" in line] == lines[-1:]
    example = shlex.split(lines[-1].removeprefix("  Example: "))
    assert example[: 1 + len(command)] == ["mbmrl", *command]
    parse(example[1:])


def test_example_with_an_option_that_is_not_there_would_be_seen() -> None:
    with pytest.raises(Exception, match="No such option: --colour"):
        parse(["sim", "--colour", "red"])


REPORTS = ["fault", "clear", "activate", "demo", "render", "robots", "robots show", "collect", "train", "join"]
REPORTS += ["model-error", "evaluate", "calibrate", "bench", "doctor"]


@pytest.mark.parametrize("command", REPORTS)
def test_command_that_reports_does_so_as_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app([*command.split(), "--help"], prog_name="mbmrl")
    assert "--json " in capsys.readouterr().out
