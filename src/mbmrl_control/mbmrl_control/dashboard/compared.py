"""What charts show of two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mbmrl_control.dashboard.charts import STANDARD, Curve, curve_of
from mbmrl_control.dashboard.replay import Replay
from mbmrl_control.evaluation.units import is_error

_DIFFERENCE: Final = "difference"


def compared(
    first: Replay, second: Replay, names: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> tuple[list[tuple[str, tuple[Curve, ...]]], list[tuple[float, Mapping[str, float]]]]:
    """Charts of two runs, with the difference of the first figure of the task, and their numbers over time.

    Of a figure that is an error the size counts. The numbers end where one of the runs does.

    Args:
        first: A run.
        second: Another one; it is compared by the figure of the first one.
        names: How they are called.
        colours: Theirs.
    """
    title, figure = curve_of(first.figure)
    css = [f"rgb{colour}" for colour in colours]

    def both(number: str, drawn: Any) -> tuple[Curve, ...]:
        return tuple(
            Curve(f"{place} {number}", name, colour, drawn)
            for place, (name, colour) in enumerate(zip(names, css, strict=True))
        )

    difference = Curve(_DIFFERENCE, figure.label, "#888", figure.drawn)
    others = [(title, curves[-1]) for title, curves in STANDARD]  # of errors that of the adapted model
    charts = [
        (title, both(first.figure, figure.drawn)),
        (f"{title}: {names[1]} less {names[0]}", (difference,)),
        *((f"{title}: {curve.label}", both(curve.number, curve.drawn)) for title, curve in others),
    ]

    def size(values: Mapping[str, float]) -> float:
        value = values.get(first.figure, float("nan"))
        return abs(value) if is_error(first.figure) else value

    rows: list[tuple[float, Mapping[str, float]]] = []
    for moment in first.moments[: first.count(second.end)]:
        each = [moment.numbers, second.at(moment.time).numbers]
        numbers = {f"{place} {name}": value for place, values in enumerate(each) for name, value in values.items()}
        sizes = [size(values) for values in each]
        numbers |= {f"{place} {first.figure}": value for place, value in enumerate(sizes)}
        rows.append((moment.time, numbers | {_DIFFERENCE: sizes[1] - sizes[0]}))
    return charts, rows
