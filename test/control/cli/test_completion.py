"""Completion of the command line: by the protocol of Typer, and in real shells."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from mbmrl_base.system.interpreter import command_of
from mbmrl_base.toolkit import qos
from mbmrl_control.cli import completion
from mbmrl_control.priors import shipped_learners
from mbmrl_msgs.msg import RobotState
from ros_testing import Peer

StartCommand = Callable[..., subprocess.Popen[str]]
Complete = Callable[[str], list[str]]
LIMIT = 60.0
"""Time within which a shell has to show something, s."""


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """A function that completes a line, as a shell's script asks for it; the cache is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(line: str) -> list[str]:
        asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_MBMRL_COMPLETE": "complete_bash"}
        command = command_of("mbmrl_control.cli.main")
        result = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True)
        assert result.stderr == ""
        return result.stdout.split()

    return run


def test_commands_options_and_names_are_completed(complete: Complete) -> None:
    assert complete("mbmrl de") == ["demo"]
    assert complete("mbmrl robots ") == ["show", "check"]
    assert complete("mbmrl robots show h") == ["husky", "half_cheetah"]
    assert complete("mbmrl sim --par") == ["--params-file"]
    assert complete("mbmrl sim --robot ") == ["millirobot", "husky", "half_cheetah", "ant"]
    assert complete("mbmrl sim --robot husky --learner ") == list(shipped_learners("husky"))
    assert complete("mbmrl demo --learner=bayes_l") == ["bayes_last_layer"]
    assert complete("mbmrl demo --path fig") == ["figure_eight"]
    assert complete("mbmrl sim --planner c") == ["cem"]
    assert complete("mbmrl sim --task go") == ["go_to_goal"]
    assert complete("mbmrl sim --terrain g") == ["gravel"]
    assert complete("mbmrl emulate --protocol v") == ["velociroach"]
    assert complete("mbmrl demo --fault leg") == ["leg_loss@10"]
    assert complete("mbmrl demo --fault leg_loss:left_m") == ["leg_loss:left_middle@10"]
    assert complete("mbmrl demo --fault slope@10+i") == []
    assert complete("mbmrl demo --robot husky --fault slope@10+i") == ["slope@10+ice@10"]
    assert complete("mbmrl evaluate --learners mb,gr") == ["mb,grbal"]
    assert complete("mbmrl evaluate --scenarios none,leg") == ["none,leg_loss"]
    assert complete("mbmrl train --learner com") == ["committee"]
    assert complete("mbmrl sim --params-file ") == []  # the shell completes files
    assert complete("mbmrl demo --robot x.py --fault ") == []
    assert complete("mbmrl completion z") == ["zsh"]


def test_faults_without_a_robot_are_those_of_all(complete: Complete) -> None:
    kinds = complete("mbmrl fault ")
    assert {"leg_loss", "wheel_dead", "slope"} <= set(kinds)
    assert complete("mbmrl fault leg_loss --part left_m") == ["left_middle"]
    assert "left_middle" not in complete("mbmrl fault wheel_dead --part ")
    assert "gravel" in complete("mbmrl fault --terrain ")


def test_faults_are_those_of_the_running_robot(
    start_command: StartCommand, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "ANSWER_TIME", 60.0)  # nobody waits at a keyboard
    states = peer.record(RobotState, "lab/robot_state", qos.STATE)
    sim = start_command("sim", "--robot", "husky", "--namespace", "lab")
    peer.spin_until(lambda: sim.poll() is not None or bool(states))
    kinds = completion.running_kinds({"namespace": "lab"})
    assert "wheel_dead" in kinds
    assert "leg_loss" not in kinds
    assert "leg_loss" in completion.running_kinds({})  # there none runs


def test_what_takes_long_to_find_is_remembered_until_sources_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[int] = []

    def find() -> list[int]:
        asked.append(0)
        return [len(asked)]

    assert [completion.remembered("x", find) for _ in range(3)] == [[1]] * 3
    (file,) = tmp_path.rglob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "stamp": "of other sources"}))
    assert completion.remembered("x", find) == [2]
    file.write_text("{")
    assert completion.remembered("x", find) == [3]
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    assert completion.remembered("x", find) == [4]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    assert completion.remembered("x", find) == [5]


class Shell:
    """An interactive shell on a terminal."""

    def __init__(self, command: list[str], folder: Path) -> None:
        """Start it; its prompt is ``$>``."""
        around = {**os.environ, "PS1": "$> ", "TERM": "dumb", "HOME": str(folder), "ZDOTDIR": str(folder)}
        self._process, self._terminal = 0, 0
        self._process, self._terminal = pty.fork()
        if self._process == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, around)
        self.shown = ""
        self.wait_for(r"\$> ")

    def type(self, text: str) -> None:
        """Press keys; what was shown before is forgotten."""
        self.shown = ""
        os.write(self._terminal, text.encode())

    def wait_for(self, pattern: str) -> None:
        """Wait until something is shown."""
        end = time.monotonic() + LIMIT
        while not re.search(pattern, self.shown):
            assert time.monotonic() < end, f"shown is {self.shown!r}, not {pattern!r}"
            if select.select([self._terminal], [], [], 1.0)[0]:
                self.shown += os.read(self._terminal, 4096).decode(errors="replace")

    def close(self) -> None:
        """End it."""
        os.close(self._terminal)
        with suppress(ProcessLookupError):
            os.kill(self._process, 9)
        os.waitpid(self._process, 0)


@contextmanager
def shell(command: list[str], folder: Path) -> Iterator[Shell]:
    """A shell in a folder with bin/mbmrl and a file, both of which it knows only by their paths."""
    (folder / "bin").mkdir(exist_ok=True)
    script = folder / "bin" / "mbmrl"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command_of("mbmrl_control.cli.main"))} "$@"\n')
    script.chmod(0o755)
    (folder / "walk.csv").touch()
    with ExitStack() as stack:
        started = Shell(command, folder)
        stack.callback(started.close)
        yield started


@pytest.mark.parametrize("command", [["bash", "--norc", "--noprofile", "-i"], ["zsh", "-f", "-i"]], ids=["bash", "zsh"])
def test_shell_completes(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with shell(command, tmp_path) as typed:
        typed.type(f'eval "$(bin/mbmrl completion {command[0]})"; echo rea""dy\n')
        typed.wait_for(r"ready\r?\n")
        for line, rest in (
            ("bin/mbmrl rob", "ots "),
            ("~/bin/mbmrl robots show hu", "sky "),
            ("bin/mbmrl train --learner=bayes_l", "ast_layer"),
            ("bin/mbmrl demo --fault leg_loss:left_m", "iddle@10"),
            ("bin/mbmrl demo --fault=payl", "oad@10"),
            ("bin/mbmrl evaluate --learners mb,gr", "bal"),
            ("bin/mbmrl sim --path walk", ".csv"),
        ):
            typed.type(f"{line}\t")
            typed.wait_for(re.escape(line + rest))
            typed.type("\x15")  # the line is cleared
        typed.type("bin/mbmrl robots show \t\t")
        typed.wait_for("millirobot")
        assert "husky" in typed.shown


def test_completion_of_an_unknown_shell_is_refused(mbmrl: Callable[..., tuple[int, str, str]]) -> None:
    assert mbmrl("completion", "tcsh") == (2, "", "error: no completion for the shell 'tcsh': allowed is bash, zsh\n")
