"""What the parts of the ``mbmrl`` command share: options, the console, and how bad input is refused."""

from __future__ import annotations

import errno
import inspect
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from mbmrl_base.system.files import WriteError
from mbmrl_base.system.surroundings import SurroundingsError

console = Console(stderr=True, markup=False, emoji=False, highlight=False)  # what is printed holds paths


Seed = Annotated[int, typer.Option(help="Seed of leg phases, random faults and samples.", min=0, max=2**31 - 1)]
Rate = Annotated[float, typer.Option(help="Control rate, Hz.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was found or done as JSON, as the last line.")]
Respawn = Annotated[bool, typer.Option("--respawn", help="Start a node again that has died, rather than end all.")]
Cluster = Annotated[str, typer.Option(help="Ray cluster that does the work: auto, or HOST:PORT; empty: this machine.")]
Workers = Annotated[int, typer.Option(help="Processes.", min=1)]


class Commands(TyperGroup):
    """The commands; what the system does not do for them, such as to write to a full disk, gets one sentence."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """Read the command line."""
        try:
            here = os.getcwd()
        except OSError as error:
            refuse(f"the current folder cannot be used: {error.strerror}")
        for what, text in (("current folder", here), *(("argument", text) for text in arguments)):
            if os.fsencode(text).decode(errors="replace") != text:
                refuse(f"the {what} {os.fsencode(text)!r} is no UTF-8")
        # A shell leaves the ~ of ``--out=~/file`` as it is.
        words = (argument.rpartition("=") for argument in arguments)
        return super().parse_args(context, ["".join((*start, os.path.expanduser(end))) for *start, end in words])

    def resolve_command(self, context: Any, arguments: list[str]) -> Any:
        """Find a command; one with options of nodes is completed, see `takes_parameters`."""
        name, command, others = super().resolve_command(context, arguments)
        assert command is not None and command.callback is not None
        if complete := getattr(inspect.unwrap(command.callback), "complete", None):
            command = complete()
        return name, command, others

    def invoke(self, context: Any) -> Any:
        """Run a command."""
        try:
            result = super().invoke(context)
            print(end="", flush=True)
        except typer.BadParameter as error:
            from pydantic import ValidationError

            if isinstance(error.__cause__, ValidationError):
                # It is on neither side of a bound.
                (first, *_) = error.__cause__.errors()
                if first["type"].endswith("_than_equal") and str(first["input"]).strip().lower() in (
                    "nan",
                    "-nan",
                    "+nan",
                ):
                    error.message = "Input should be a finite number"
            raise
        except (WriteError, SurroundingsError) as error:
            refuse(error)
        except ImportError as error:
            refuse(f"a part is missing or broken, {error}: `mbmrl doctor` says what to do")
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads has gone
                raise
            # What cannot be written would be tried again at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            refuse(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
        return result


def refuse(error: Exception | str) -> NoReturn:
    """End with one sentence and the exit code of a usage error."""
    # A path may have a new line in it.
    text = str(error).translate({number: ascii(chr(number))[1:-1] for number in range(ord(" "))})
    console.print(f"error: {text}", soft_wrap=True)
    raise typer.Exit(2)


@contextmanager
def refusing(kind: type[Exception] = ValueError, *others: type[Exception]) -> Iterator[None]:
    """Have errors of some kinds end the command, see `refuse`."""
    try:
        yield
    except (kind, *others) as error:
        refuse(error)


def refuse_path(option: str, path: str | None, task: str, settings: Sequence[str] = ()) -> None:
    """End with one sentence where a path is given for a task that follows none, or has one by its settings."""
    named = next((setting for setting in settings if setting.startswith("path=")), None)
    if path is not None and (task != "follow_path" or named):
        refuse(f"{option} {path} changes nothing with {named or f'--task {task}'}: leave it out")


@contextmanager
def stoppable(result: str) -> Iterator[None]:
    """Let Ctrl-C end the work with a sentence that says with what result, and the exit code of a shell."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"stopped: {result}", soft_wrap=True)
        raise typer.Exit(130) from None


def _within(width: int, block: str) -> str:
    """A table that is wider than a page, with rows for columns; another block as it is."""
    lines = block.strip().splitlines()
    if not block.startswith("|") or max(map(len, lines)) <= width:
        return block
    rows = [line.strip("|").split("|") for line in lines if set(line) - set("|-: ")]
    titles, *others = zip(*rows, strict=True)
    return "\n".join(f"|{'|'.join(cells)}|" for cells in (titles, ["---"] * len(titles), *others))


def show(markdown: str) -> None:
    """Show what is written in Markdown: on a terminal so that it fits, elsewhere as it is."""
    if console.is_terminal:
        from rich.markdown import Markdown

        console.print(Markdown("\n\n".join(_within(console.width, block) for block in markdown.split("\n\n"))))
    else:
        console.print(markdown, soft_wrap=True)


def warn(text: str) -> None:
    """Show one sentence on what may be wrong, and go on."""
    console.print(f"warning: {text}", soft_wrap=True)


_NAMES = r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*"
"""Names of ROS, with slashes between."""
LONGEST_NAME = 120
"""Characters of a namespace, or of a topic: both together, with a slash between, are within the 247 of ROS 2."""


def _check_length(what: str, name: str) -> None:
    if len(name) > LONGEST_NAME:
        refuse(f"the {what} {name[:20]}... has {len(name)} characters: allowed are at most {LONGEST_NAME}")


def topic(value: str | None) -> str | None:
    """The name of a topic."""
    if value is not None and not re.fullmatch(f"(/|~/)?{_NAMES}", value, re.ASCII):
        refuse(f"{value!r} is no topic: allowed are letters, digits and _, as in /vrpn/robot/pose")
    _check_length("topic", value or "")
    return value


def _namespace(value: str) -> str:
    """A namespace with its leading slash; empty if none is wanted."""
    name = value.strip("/")
    if name and not re.fullmatch(_NAMES, name, re.ASCII):
        refuse(f"{value!r} is no namespace: allowed are letters, digits and _, no digit first, as in lab/robot1")
    _check_length("namespace", name)
    return f"/{name}" if name else ""


def within(namespace: str) -> str:
    """Where a robot is looked for, as part of a sentence."""
    return f" in the namespace {namespace}" if namespace else ""


Namespace = Annotated[str, typer.Option(help="ROS namespace of the robot, such as robot1.", callback=_namespace)]
