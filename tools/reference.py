"""What nodes and commands declare of themselves, as Markdown for the pages of docs/reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import typer
from pydantic.fields import FieldInfo

from mbmrl_base.toolkit.settings import bounds, is_runtime
from mbmrl_control.bringup.graph import EMULATOR, EXPLORE, HARDWARE, SIM, TOPICS, NodeSpec
from mbmrl_control.cli.main import app

NODES = {node.executable: node for node in (*TOPICS, *EXPLORE, *HARDWARE, *SIM, *EMULATOR)}
"""Nodes by their names."""


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles), *(["".join(cell).replace("|", "\\|") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return str(value) or '""'


def _range(field: FieldInfo) -> str:
    low, high = bounds(field)
    if high is None:
        return ""
    return f"at most {high:.10g}" if low is None else f"{low:.10g} to {high:.10g}"


def parameters(name: str) -> str:
    """Table of a node's parameters, with the ways to set each beside a file of parameters."""
    node: NodeSpec = NODES[name]
    sets = {parameter: argument for argument, parameter in node.arguments.items()}

    def ways(parameter: str, field: FieldInfo) -> Iterator[str]:
        if (argument := sets.get(parameter)) is not None:
            yield "argument" if argument == parameter else f"argument `{argument}`"
        if is_runtime(field):
            yield "running"

    return _table(
        ("parameter", "default", "allowed", "set by", ""),
        (
            (f"`{each}`", f"`{_default(field)}`", _range(field), ", ".join(ways(each, field)), field.description or "")
            for each, field in node.settings.model_fields.items()
        ),
    )


def every_command() -> Iterator[str]:
    """Names of all commands, of those below one with that one's before them."""
    yield from _below(typer.main.get_command(app), ())


def _below(group: Any, path: tuple[str, ...]) -> Iterator[str]:
    for name, command in getattr(group, "commands", {}).items():
        yield " ".join((*path, name))
        yield from _below(command, (*path, name))


def context_of(words: Iterable[str]) -> Any:
    """Click's context of a command, with the options of nodes if it has such."""
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="mbmrl")
    for word in words:
        name, command, _ = context.command.resolve_command(context, [word])
        context = command.context_class(command, parent=context, info_name=name)
    return context


def command(*words: str) -> str:
    """A command: what it does, an example, its options."""
    context = context_of(words)
    example = (context.command.epilog or "").removeprefix("Example: ")
    text = [f"### mbmrl {' '.join(words)}", context.command.help or "", f"```sh\n{example}\n```"]
    records = [each.get_help_record(context) for each in context.command.params if each.name != "help"]
    options = _table(("option", ""), ((f"`{name}`", text) for name, text in records))
    return "\n\n".join([*text, *([options] if records else []), ""])
