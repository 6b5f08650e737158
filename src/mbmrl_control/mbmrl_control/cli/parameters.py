"""Commands that start nodes: they take the parameters of those as options, as the nodes' settings declare them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

from mbmrl_control.bringup.graph import Argument, NodeSpec, arguments
from mbmrl_control.cli.completion import OF_PARAMETERS, remembered
from mbmrl_control.cli.options import Namespace, topic

ParamsFile = Annotated[
    Path | None,
    typer.Option(help="File of parameters, for what no option gives; config/mbmrl.yaml as installed if not given."),
]
_KINDS: Final = {kind.__name__: kind for kind in (bool, int, float, str)}
_SHORTER: Final = {"publish_clock": "clock"}
"""Flags that have a shorter name than the parameter."""


def flag(name: str, value: Any = None) -> str:
    """The option by which an argument is given; with its value, of which False has one of its own."""
    return f"--{'no-' if value is False else ''}{_SHORTER.get(name, name).replace('_', '-')}"


def takes_parameters(
    app: typer.Typer, nodes: tuple[NodeSpec, ...], example: str, only: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], None]:
    """Register a command that starts nodes, with an example of its use.

    Its function takes ``values`` first: `namespace`, `params_file`, and the arguments of the nodes, or some of them
    `only`; None for each that is not given. The settings of nodes take seconds to load, for which the list of commands
    has no time: `Commands` makes the options when the command is called.
    """

    def register(function: Callable[..., None]) -> None:
        def named() -> None:
            """Stand in for the command in the list of commands."""

        named.__doc__ = function.__doc__
        named.__dict__["complete"] = lambda: _complete(function, nodes, example, only)
        app.command(function.__name__, epilog=f"Example: {example}")(named)

    return register


def _arguments(nodes: tuple[NodeSpec, ...]) -> dict[str, Argument]:
    """As of `arguments`, remembered."""

    def find() -> dict[str, Any]:
        return {name: asdict(each) | {"kind": each.kind.__name__} for name, each in arguments(nodes).items()}

    kept = remembered(" ".join(node.executable for node in nodes), find)
    return {name: Argument(**each | {"kind": _KINDS[each["kind"]]}) for name, each in kept.items()}


def _complete(function: Callable[..., None], nodes: tuple[NodeSpec, ...], example: str, only: tuple[str, ...]) -> Any:
    """The command of a function, with an option for each argument."""
    hints = get_type_hints(function, include_extras=True)
    defaults = list(inspect.signature(function).parameters.values())[1:]
    own = [each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY) for each in defaults]
    options: dict[str, Any] = {"namespace": (Namespace, ""), "params_file": (ParamsFile, None)}
    for name, argument in _arguments(nodes).items():
        if not only or name in only:
            flags = f"{flag(name)}/{flag(name, False)}" if argument.kind is bool else flag(name)
            check = topic if argument.is_topic else None
            option = typer.Option(flags, help=argument.text, callback=check, autocompletion=OF_PARAMETERS.get(name))
            options[name] = (Annotated[argument.kind | None, option], None)

    def command(**given: Any) -> None:
        function({name: given.pop(name) for name in options}, **given)

    made = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]
    command.__doc__ = function.__doc__
    command.__dict__["__signature__"] = inspect.Signature([*own, *made])
    command.__annotations__ = {each.name: each.annotation for each in [*own, *made]}
    alone = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    alone.command(function.__name__, epilog=f"Example: {example}")(command)
    return typer.main.get_command(alone)
