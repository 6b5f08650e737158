"""How figures of tasks are shown to people, by the units that their names end in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


def is_error(name: str) -> bool:
    """Whether a figure of a task is one that lies to both sides of 0, where it is best."""
    return "error" in name or name == "cross_track_m"


def number_text(value: float | None, digits: int, unit: str = "", width: int = 0) -> str:
    """A number, at least so wide, with its unit; a dash if there is none."""
    return "-" if value is None else f"{value:{width}.{digits}f} {unit}".rstrip()


@dataclass(frozen=True)
class Unit:
    """How a figure of a task is shown to people.

    Attributes:
        title: Its name in words.
        symbol: The unit in which it reads well; empty if its name ends in none.
        factor: From the figure's own unit to that.
        digits: After the point.
    """

    title: str
    symbol: str = ""
    factor: float = 1.0
    digits: int = 3

    def text(self, value: float | None, width: int = 0) -> str:
        """The figure with its unit, the number at least so wide; a dash if there is none."""
        return number_text(None if value is None else value * self.factor, self.digits, self.symbol, width)


_UNITS: Final = {
    "_m_s": ("m/s", 1.0, 3),
    "_rad_s": ("rad/s", 1.0, 3),
    "_rad": ("°", math.degrees(1.0), 1),
    "_m": ("m", 1.0, 3),
}


def in_units(name: str) -> Unit:
    """How a figure is shown, by the unit that its name ends in; errors of a place are in mm."""
    for end, unit in _UNITS.items():
        if title := name.removesuffix(end) if name.endswith(end) else "":
            return Unit(title.replace("_", " "), *(("mm", 1e3, 1) if end == "_m" and is_error(name) else unit))
    return Unit(name.replace("_", " "))
