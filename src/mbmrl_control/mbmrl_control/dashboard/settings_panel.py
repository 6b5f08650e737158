"""The part of the page in which settings are changed, made from what nodes declare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import viser

_STEPS: Final = 200
"""Places of a slider."""
_WIDEST: Final = 1000.0
"""Greatest bound of a setting that has a slider: beyond, a number is typed."""


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
        self._folders: dict[str, viser.GuiFolderHandle] = {}

    def offer(self, node: str, settings: Sequence[Setting]) -> None:
        """Show the settings of a node in place of those that it had."""
        if node in self._folders:
            self._folders.pop(node).remove()
        with self._place:
            self._folders[node] = self._gui.add_folder(node.replace("_", " "))
        with self._folders[node]:
            for setting in settings:
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
        elif isinstance(value, float) and low is not None and high is not None and high <= _WIDEST:
            given = gui.add_slider(label, low, high, (high - low) / _STEPS, value, hint=setting.text)
        elif isinstance(value, int | float):
            given = gui.add_number(label, value, min=low, max=high, hint=setting.text)
        elif setting.choices:
            given = gui.add_dropdown(
                label, tuple(dict.fromkeys((value, *setting.choices))), initial_value=value, hint=setting.text
            )
        else:
            given = gui.add_text(label, str(value), hint=setting.text)
        self._inputs[key], self._known[key] = given, value

        def take(event: Any) -> None:
            if event.client is not None and given.value != self._known[key]:  # somebody has changed it
                self._try(setting, given.value)

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
            shown = str(value) if isinstance(given, viser.GuiTextHandle) else value
            if given.value != shown:
                given.value = shown
