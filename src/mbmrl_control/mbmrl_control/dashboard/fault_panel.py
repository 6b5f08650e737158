"""The part of the page in which faults are chosen, made from the simulator's own kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import viser

from mbmrl_base.robots.faults import LONGEST_RAMP, Fault, FaultKind, FaultKinds

_RANDOM: Final = "a random one"
_STEPS: Final = 200
"""Places of a slider."""
_UNITS: Final = {"x": "m", "y": "m", "direction": "degrees", "loss": "percent"}


def _words(name: str) -> str:
    return name.replace("_", " ")


class FaultPanel:
    """A kind of fault, its values, and a button."""

    def __init__(self, gui: viser.GuiApi, kinds: FaultKinds, inject: Callable[[Fault], None]) -> None:
        """Add it to the part of the page that is being made; inject is called with what is asked for."""
        self._gui, self._kinds = gui, kinds
        self._inputs: dict[str, dict[str, Any]] = {}
        names = {_words(name): name for name in kinds}
        kind = gui.add_dropdown("kind", tuple(names), hint="What is to go wrong")
        folders = {name: self._add_kind(name) for name in kinds}
        button = gui.add_button("Let it happen", color="orange", icon=viser.Icon.BOLT)

        def choose(chosen: str) -> None:
            for name, folder in folders.items():
                folder.visible = name == chosen

        def chosen() -> str:
            return names.get(kind.value, next(iter(kinds)))  # a stranger's browser may send anything

        choose(chosen())
        kind.on_update(lambda _: choose(chosen()))
        button.on_click(lambda _: inject(self._fault(chosen())))

    def _add_kind(self, name: str) -> viser.GuiFolderHandle:
        kind = self._kinds[name]
        with (folder := self._gui.add_folder(_words(name))):
            self._gui.add_markdown(f"{kind.effect[0].upper()}{kind.effect[1:]}.")
            inputs = self._inputs[name] = {}
            for field, choices in (("part", kind.parts), ("terrain", kind.terrains)):
                if choices:
                    inputs[field] = self._gui.add_dropdown(field, (_RANDOM, *choices))
            if kind.grows:
                label = f"magnitude ({kind.unit})" if kind.unit else "magnitude"
                inputs["magnitude"] = self._slider(label, kind.low, kind.high, kind.default)
            for field, (low, high) in kind.takes.items():
                inputs[field] = self._slider(f"{field} ({_UNITS[field]})", low, high, 0.0)
            if kind.grows:
                inputs["ramp"] = self._slider("comes over (s)", 0.0, LONGEST_RAMP, 0.0)
        return folder

    def _slider(self, label: str, low: float, high: float, value: float) -> Any:
        return self._gui.add_slider(label, low, high, (high - low) / _STEPS, value)

    def _fault(self, name: str) -> Fault:
        values = {field: given.value for field, given in self._inputs[name].items()}
        chosen: dict[str, Any] = {field: "" if value == _RANDOM else value for field, value in values.items()}
        return Fault(name, **chosen)


def click_kind(kinds: FaultKinds) -> tuple[str, FaultKind] | None:
    """The kind that a click on a part of the robot means: the first one that has parts; None if there is none."""
    return next(((name, kind) for name, kind in kinds.items() if kind.parts), None)


def parts_of_links(kind: FaultKind, links: Iterable[str]) -> dict[str, str]:
    """The part that each link belongs to: the one whose name the link's begins with."""
    return {link: part for link in links for part in kind.parts if link == part or link.startswith(f"{part}_")}
