"""Command lines of ``mbmrl`` that are read and not run."""

from __future__ import annotations

from typing import Any

import typer

from mbmrl_control.cli.main import app


def parse(arguments: list[str]) -> tuple[Any, ...]:
    """Contexts of a command line, from the whole command down; nothing is called."""
    context = typer.main.get_command(app).make_context("mbmrl", list(arguments))
    contexts = [context]
    while rest := [*context._protected_args, *context.args]:
        name, command, rest = context.command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        contexts.append(context)
    return tuple(contexts)
