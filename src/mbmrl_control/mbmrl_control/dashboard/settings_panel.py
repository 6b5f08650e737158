"""The part of the page in which settings are changed, made from what nodes declare."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import viser

_STEPS: Final = 200
"""Places of a slider."""
_FINE: Final = 0.25
"""Share of a setting's value that a place of its slider may be: if it were more, a number is typed."""
TYPING: Final = 1.5
"""Time after the last key from which on what was typed is taken, s."""


@dataclass(frozen=True)
class Setting:
    """A parameter of a node that can be set while it runs; without bounds, or choices, any value may be tried."""

    node: str
    name: str
    value: Any
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


class SettingsPanel:
    """A slider, a number, a choice or a text for each setting."""

    def __init__(
        self, gui: viser.GuiApi, place: Any, change: Callable[[Setting, Any], Future[tuple[bool, str]]]
    ) -> None:
        """Take where it is to be on the page, and what changes a setting."""
        self._gui, self._place, self._change = gui, place, change
        self._inputs: dict[tuple[str, str], Any] = {}
        self._known: dict[tuple[str, str], Any] = {}
        self._waiting: dict[tuple[str, str], threading.Timer] = {}
        self._folders: dict[str, viser.GuiFolderHandle] = {}

    def offer(self, node: str, settings: Sequence[Setting]) -> None:
        """Show the settings of a node in place of those that it had."""
        if node in self._folders:
            self._folders.pop(node).remove()
        with self._place:
            self._folders[node] = self._gui.add_folder(node.replace("_", " "))
        with self._folders[node]:
            # What the robot does, before how well.
            for setting in sorted(settings, key=lambda setting: not setting.choices):
                self._add(setting)
            reset = self._gui.add_button("As at first", icon=viser.Icon.RESTORE)

        @reset.on_click
        def _(_: Any) -> None:
            for setting in settings:
                if self._known[setting.node, setting.name] != setting.value:
                    self._try(setting, setting.value)

    def _add(self, setting: Setting) -> None:
        gui, low, high, value = self._gui, setting.low, setting.high, setting.value
        label, key = setting.name.replace("_", " "), (setting.node, setting.name)
        if isinstance(value, bool):
            given: Any = gui.add_checkbox(label, value, hint=setting.text)
        elif _slides(setting):
            assert low is not None and high is not None
            given = gui.add_slider(label, low, high, (high - low) / _STEPS, value, hint=setting.text)
        elif isinstance(value, int | float):
            # viser takes digits beyond those of the step away while they are typed.
            step = 1 if isinstance(value, int) else 0.001
            given = gui.add_number(label, value, min=low, max=high, step=step, hint=setting.text)
        elif setting.choices:
            given = gui.add_dropdown(
                label, tuple(dict.fromkeys((value, *setting.choices))), initial_value=value, hint=setting.text
            )
        else:
            given = gui.add_text(label, _as_text(value), hint=setting.text)
        self._inputs[key], self._known[key] = given, value
        typed = isinstance(given, viser.GuiTextHandle | viser.GuiNumberHandle)

        def take(event: Any) -> None:
            if event.client is None:  # nobody has changed it
                return
            if key in self._waiting:
                self._waiting.pop(key).cancel()
            if not typed:
                settle()
                return
            # The browser sends each key: what is typed is taken when nobody types on.
            timer = self._waiting[key] = threading.Timer(TYPING, settle)
            timer.daemon = True
            timer.start()

        def settle() -> None:
            wanted = _parsed(given.value, value)
            if wanted != self._known[key]:
                self._try(setting, wanted)

        given.on_update(take)

    def _try(self, setting: Setting, value: Any) -> None:
        """Ask for a value; one that is refused gives way to the one that holds."""
        self._change(setting, value).add_done_callback(
            lambda answer: self.note(
                setting.node,
                setting.name,
                value if answer.result()[0] else self._known[setting.node, setting.name],
            )
        )

    def note(self, node: str, name: str, value: Any) -> None:
        """Show the value that a setting has."""
        given = self._inputs.get((node, name))
        if given is not None:
            self._known[node, name] = value
            shown = _as_text(value) if isinstance(given, viser.GuiTextHandle) else value
            if given.value != shown:
                given.value = shown


def _slides(setting: Setting) -> bool:
    """Whether a slider is fine enough for a setting."""
    if not isinstance(setting.value, float) or setting.low is None or setting.high is None:
        return False
    return (setting.high - setting.low) / _STEPS <= _FINE * abs(setting.value)


def _as_text(value: Any) -> str:
    """A value as it is typed: of several numbers, with commas between."""
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _parsed(given: Any, like: Any) -> Any:
    """What was typed, as a value like another one; as it is if it is none, so that the node says what is wrong."""
    if not isinstance(given, str) or isinstance(like, str):
        return given
    try:
        return [float(part) for part in given.strip(" []()").split(",")]
    except ValueError:
        return given
