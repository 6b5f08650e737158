"""Completion of the command line in a shell: what can stand for an option, and the ``mbmrl completion`` command."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, ROBOTS
from mbmrl_base.system import surroundings
from mbmrl_base.system.exclusive import hold
from mbmrl_base.system.files import WriteError, write_text
from mbmrl_control.cli.options import refuse
from mbmrl_control.priors import shipped_learners

if TYPE_CHECKING:
    from mbmrl_base.robots.faults import FaultKind

app = typer.Typer()
Given = Mapping[str, Any]
"""Options and arguments on the line so far, by name; ``rest`` holds those without."""
ANSWER_TIME: Final = 2.0
"""Longest time until a running simulator is found, and then until it answers, s: somebody waits at a keyboard."""
ATTEMPTS: Final = 4
"""How often it is asked in that time."""

# Bash ends words at = and : too: the line is split anew, and what is before the end of its last word is cut off.
_BASH: Final = r"""
_mbmrl_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$' \t\n' words last answer
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    last="${words[-1]#--*=}"
    answer="$(COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) _MBMRL_COMPLETE=complete_bash \
        "${1/#\~/$HOME}" 2> /dev/null)"
    IFS=$'\n'
    COMPREPLY=($answer)
    [[ "$2" == "=" ]] || last="${last%"$2"}"
    COMPREPLY=("${COMPREPLY[@]#"$last"}")
}
complete -o default -F _mbmrl_completion mbmrl
"""
_ZSH: Final = r"""
#compdef mbmrl
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_mbmrl_completion() {
    local answer
    local -a found
    answer="$(_TYPER_COMPLETE_ARGS="${words[1,CURRENT]}" _TYPER_COMPLETE_FISH_ACTION=get-args \
        _MBMRL_COMPLETE=complete_fish "${words[1]/#\~/$HOME}" 2> /dev/null)"
    compset -P '--*='
    found=("${(@f)answer}")
    found=("${(@)found//:/\\:}")
    found=("${(@)found/$'\t'/:}")
    if [[ -n "$answer" ]]; then _describe -V mbmrl found; else _files; fi
}
compdef _mbmrl_completion mbmrl
"""
SCRIPTS: Final = {"bash": _BASH, "zsh": _ZSH}


def remembered(name: str, find: Callable[[], Any]) -> Any:
    """What takes seconds to find, as JSON: kept in the user's cache until a source file changes."""
    home = os.environ.get("HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
    specs = map(find_spec, ("mbmrl_base", "mbmrl_control", "mbmrl_sim"))
    folders = [Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ()]
    sources = [file.stat().st_mtime_ns for folder in folders for file in folder.rglob("*.py")]
    stamp = [len(sources), max(sources)]
    file = Path(cache or "", "mbmrl", f"{zlib.crc32(str(folders).encode()):08x}.json")
    kept = {}
    with suppress(OSError, ValueError):
        kept = dict(json.loads(file.read_text()))
    if kept.get("stamp") != stamp:
        kept = {"stamp": stamp}
    if name not in kept:
        kept[name] = find()
        with suppress(OSError, WriteError):
            if cache:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_text(file, json.dumps(kept))
    return kept[name]


def words(find: Callable[[Given], Iterable[str]], many: bool = False) -> Callable[[typer.Context, str], list[str]]:
    """A completion for Typer.

    Args:
        find: Returns what can stand there; if it raises an error nothing can.
        many: Whether several can, with commas between.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        before, comma, _ = incomplete.rpartition(",") if many else ("", "", "")
        try:
            found = list(find(_given(ctx)))
        except Exception:  # half a line may name anything
            return []
        return [f"{before}{comma}{word}" for word in found if word not in before.split(",") or not many]

    return complete


def _given(ctx: typer.Context) -> Given:
    # Arguments before an option that has no value yet are none of the parameters.
    return {"rest": ctx.args, **{name: value for name, value in ctx.params.items() if value is not None}}


def _learners(given: Given) -> Iterable[str]:
    return shipped_learners(given.get("robot") or DEFAULT_ROBOT)


def _names() -> dict[str, list[str]]:
    """Names for which torch has to be loaded."""
    from mbmrl_control.hardware.codecs import CODEC_TYPES
    from mbmrl_control.planning import PLANNERS, PRECISIONS
    from mbmrl_control.tasks import TASKS
    from mbmrl_control.tasks.path import PATH_NAMES
    from mbmrl_sim.millirobot.terrain import TERRAINS

    found = {"task": TASKS, "path": PATH_NAMES, "planner": PLANNERS, "precision": PRECISIONS, "terrain": TERRAINS}
    return {name: list(names) for name, names in {**found, "protocol": CODEC_TYPES}.items()}


def _named(kind: str) -> Callable[[Given], Iterable[str]]:
    return lambda _: remembered("names", _names)[kind]


def _ports(_: Given) -> Iterable[str]:
    from mbmrl_control.hardware.link.port import port_names

    return port_names()


def kinds_of(given: Given) -> dict[str, FaultKind]:
    """Kinds of faults of the robot, or simulator, that is named."""
    from mbmrl_sim.catalogue import fault_kinds

    return dict(fault_kinds(given.get("simulator") or given.get("robot") or DEFAULT_ROBOT))


def running_kinds(given: Given) -> dict[str, FaultKind]:
    """Kinds of faults of the robot that runs on this machine in a namespace; if none answers, of all robots."""
    from mbmrl_sim.catalogue import SIMULATED, fault_kinds

    name = given.get("namespace", "").strip("/")
    namespace = f"/{name}" if name else ""
    held = hold(f"{namespace}/robot_state@{surroundings.domain()}")
    if held is None and (simulated := _ask(namespace)):
        return dict(fault_kinds(simulated))
    return {name: kind for robot in SIMULATED for name, kind in fault_kinds(robot).items()}


def _ask(namespace: str) -> str:
    """The robot, or file of a simulator, that a running simulator has; empty if none answers."""
    import rclpy
    from rcl_interfaces.srv import GetParameters

    with ExitStack() as stack:
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        node = rclpy.create_node(f"completion_{os.getpid()}")
        client = node.create_client(GetParameters, f"{namespace}/simulator_node/get_parameters")
        client.wait_for_service(ANSWER_TIME)
        for _ in range(ATTEMPTS):  # a server loses its answer to a client that it does not know yet
            answer = client.call_async(GetParameters.Request(names=["simulator", "robot"]))
            rclpy.spin_until_future_complete(node, answer, timeout_sec=ANSWER_TIME / ATTEMPTS)
            if answer.done():
                return str(next(value.string_value for value in answer.result().values if value.string_value))
    return ""


def running_parts(field: str) -> Callable[[Given], Iterable[str]]:
    """Parts, or terrains, of the kind of fault on the line, or of all kinds."""

    def find(given: Given) -> Iterable[str]:
        kinds = running_kinds(given)
        chosen = [kinds[name] for name in (given.get("kind"), *given["rest"]) if name in kinds] or kinds.values()
        return dict.fromkeys(name for kind in chosen for name in getattr(kind, field))

    return find


def plans(ctx: typer.Context, incomplete: str) -> list[str]:
    """Faults of a run, at 10 s: kinds, with a part or terrain after a colon; after a plus another one."""
    before, plus, last = incomplete.rpartition("+")
    kind, colon, _ = last.partition(":")
    try:
        kinds = kinds_of(_given(ctx))
    except Exception:  # as above
        return []
    if colon and kind in kinds:
        found = [f"{kind}:{name}" for name in (*kinds[kind].parts, *kinds[kind].terrains)]
    else:
        found = [*kinds]
    return [f"{before}{plus}{word}@10" for word in found] + ["none"]


robots: Final = words(lambda _: ROBOTS)
OF_PARAMETERS: Final = {
    **{name: words(_named(name)) for name in ("task", "path", "planner", "terrain", "protocol")},
    "robot": robots,
    "learner": words(_learners),
    "members": words(_learners, many=True),
    "sensors": words(lambda _: ("ideal", "real")),
    "port": words(_ports),
}
"""Completions of options by their names."""


def several(name: str, *others: str) -> Callable[[typer.Context, str], list[str]]:
    """Completion of a list with commas, of names as of `_names`, and others."""
    return words(lambda _: (*remembered("names", _names)[name], *others), many=True)


@app.command(epilog="Example: mbmrl completion bash")
def completion(
    shell: Annotated[
        str,
        typer.Argument(help="bash or zsh; that of SHELL if not given.", autocompletion=words(lambda _: SCRIPTS)),
    ] = "",
) -> None:
    """Print what makes a shell complete this command.

    Also names: of robots, learners, planners, tasks, paths, faults. In ~/.bashrc: eval "$(mbmrl completion bash)"
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    if name not in SCRIPTS:
        refuse(f"no completion for the shell {name!r}: allowed is {', '.join(SCRIPTS)}")
    print(SCRIPTS[name].strip())
