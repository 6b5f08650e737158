"""The report of data, before anybody trains on them: one HTML file that opens from disk, without internet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from mbmrl_base.robots.contract.inspection import Inspection
from mbmrl_base.robots.description import Action, State
from mbmrl_base.robots.observation import Array
from mbmrl_base.system.files import write_text
from mbmrl_control.evaluation.html import cards, page, picture, table, warning
from mbmrl_control.evaluation.tables import cell
from mbmrl_control.training.action_delay import shares_over_delay
from mbmrl_control.training.data_checks import warnings_of
from mbmrl_control.training.episodes import Folder, missing_samples
from mbmrl_control.training.transitions import pieces_of

_LONGEST_DELAY: Final = 0.5
"""Longest delay between action and effect that is looked for, s."""
_MOST_STEPS: Final = 12
"""The same in control intervals."""
_STRETCH: Final = 10.0
"""What is drawn over time, s."""
_MOST_DRAWN: Final = 24
"""States and actions that are drawn; of more all are in the table."""
_TIMES: Final = ("from message to message", "from stamp to arrival")
_BLUE, _ORANGE = "#0072b2", "#d55e00"

_ON_DELAYS: Final = """<p class="note">How much of the change of a state in one control interval an action explains that
was in force so much earlier, beside the state at the start of the interval, the one before, and the other actions;
of the state of which it explains most. 0 s is the interval of the change itself: where an action acts later, the robot
or its messages delay it, and a model sees it by the states in between, or by a longer control interval.</p>"""


def write_data_report(
    folder: Folder,
    file: Path,
    dropped: Mapping[str, int] | None = None,
    inspections: Mapping[str, Inspection] | None = None,
    why: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the report of a folder of episodes.

    Args:
        folder: The data.
        file: HTML file to write, whole or not at all.
        dropped: What was found in recordings and not used, by its name.
        inspections: Messages of the recordings that the data are made of, by their names.
        why: Sentences on recordings.

    Returns:
        ``episodes``, ``transitions``, ``seconds``, ``rate_hz``, ``dropped`` and ``warnings``; per action in
        ``delay_s`` the delay at which it explains most, None if the data are too few to tell.

    Raises:
        WriteError: If it cannot be written.
    """
    counts: Counter[str] = Counter()
    transitions = sum(
        len(piece.actions) for episode in folder.episodes for piece in pieces_of(episode, folder.rate, counts)
    )
    # What recordings lack, the episodes that are made of them lack too: it is counted once.
    dropped = {name: count for name, count in (counts if dropped is None else dropped).items() if count}
    problems = [f"{name}: {problem}" for name, each in (inspections or {}).items() for problem in each.problems()]
    warnings = [*why, *problems, *warnings_of(folder)]
    interval = 1.0 / folder.rate
    steps = max(1, min(round(_LONGEST_DELAY * folder.rate), _MOST_STEPS))
    shares = shares_over_delay(folder, steps) if folder.robot.action_names else None
    delays = {
        name: None if shares is None else float(shares[place].argmax() * interval)
        for place, name in enumerate(folder.robot.action_names)
    }
    found = {
        "episodes": len(folder.episodes),
        "transitions": transitions,
        "seconds": transitions * interval,
        "rate_hz": folder.rate,
        "dropped": dropped,
        "warnings": warnings,
        "delay_s": delays,
    }
    title = f"Data of {folder.robot.name or 'a robot'}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(str(folder.path))}</p>",
        cards(
            [
                (str(len(folder.episodes)), "episodes"),
                (f"{transitions:,}", "transitions"),
                (f"{transitions * interval / 60:.1f} min", "of transitions"),
                (f"{folder.rate:g} Hz", "control rate"),
                (str(sum(dropped.values())), "found and not used"),
            ]
        ),
        *map(warning, warnings),
        *_of_topics(inspections or {}),
        *(["<h2>Found and not used</h2>", _counts(dropped)] if dropped else []),
        "<h2>States and actions</h2>",
        _numbers(folder),
        picture(_draw_numbers(folder), "Distribution of each state and action, and a stretch of time"),
        *_of_delays(folder, shares, interval),
        "<h2>Episodes</h2>",
        picture(_draw_lengths(folder), "Length of each episode"),
    ]
    write_text(file, page(title, parts))
    return found


def _counts(dropped: Mapping[str, int]) -> str:
    return table(("what", "how often"), (((name.replace("_", " "), count), False) for name, count in dropped.items()))


def _of_topics(inspections: Mapping[str, Inspection]) -> Iterator[str]:
    """Rates, gaps and delays of the topics of recordings."""
    if not inspections:
        return
    rows = []
    for bag, inspection in inspections.items():
        told = list(inspection.as_json()["topics"].items())
        rows += [((bag, name, *map(cell, each.values())), name == told[-1][0]) for name, each in told]
    yield "<h2>Topics</h2>"
    yield table(("recording", "topic", "messages", "rate, Hz", "longest gap, s", "delay, s"), rows)
    yield picture(_draw_topics(inspections), "Time from message to message, and from stamp to arrival")


def _draw_topics(inspections: Mapping[str, Inspection]) -> Figure:
    topics = list(next(iter(inspections.values())).topics)
    figure = Figure((11, 2.2 * len(topics)), layout="constrained")
    for row, name in zip(figure.subplots(len(topics), 2, squeeze=False), topics, strict=True):
        figures = [each.topics[name] for each in inspections.values()]
        between = np.concatenate([each.intervals for each in figures])
        delays = np.concatenate([np.array(each.delays) for each in figures])
        for axes, values, label in zip(row, (between, delays), _TIMES, strict=True):
            if len(values):
                axes.hist(1e3 * values, 60, color=_BLUE, log=True)
            else:
                axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes)
            axes.set(xlabel=f"{label}, ms", ylabel="messages")
            axes.set_title(name, loc="left", fontsize=10)
    return figure


def _columns(folder: Folder) -> Iterator[tuple[str, str, Array]]:
    """Name, unit and values of each state and action, missing samples left out."""
    robot = folder.robot
    parts: tuple[tuple[str, tuple[State | Action, ...]], ...] = (
        ("state", robot.description.states),
        ("action", robot.description.actions),
    )
    for kind, described in parts:
        values = []
        for episode in folder.episodes:
            missing = missing_samples(episode.state)
            values.append(episode.state[~missing] if kind == "state" else episode.action[~(missing[1:] | missing[:-1])])
        joined = np.concatenate(values)
        for place, part in enumerate(described):
            yield part.name, part.unit, joined[:, place]


def _numbers(folder: Folder) -> str:
    rows = []
    for name, unit, values in _columns(folder):
        quantiles = np.quantile(values, (0.0, 0.01, 0.5, 0.99, 1.0)) if len(values) else np.full(5, np.nan)
        moves = float(np.mean(np.diff(values) != 0.0)) if len(values) > 1 else 0.0
        rows.append(((name, unit, *(f"{each:.4g}" for each in quantiles), f"{moves:.0%}"), False))
    titles = ("", "unit", "least", "1 %", "median", "99 %", "greatest", "rows with a change")
    return table(titles, rows)


def _draw_numbers(folder: Folder) -> Figure:
    """Each state and action: how often which value, and over time in the longest episode."""
    longest = max(folder.episodes, key=lambda episode: len(episode.time))
    rows = round(_STRETCH * folder.rate) + 1
    time = longest.time[:rows] - longest.time[0]
    stretch = [*longest.state[:rows].T, *longest.action[: rows - 1].T]
    columns = list(_columns(folder))[:_MOST_DRAWN]
    figure = Figure((11, 1.5 * len(columns)), layout="constrained")
    panels = figure.subplots(len(columns), 2, squeeze=False, width_ratios=(1, 2.5))
    for (left, right), (name, unit, values), line in zip(panels, columns, stretch, strict=False):
        left.hist(values[np.isfinite(values)], 60, color=_BLUE)
        left.set_yticks([])
        left.set_xlabel(f"{name}, {unit}" if unit else name, fontsize=9)
        right.step(time[: len(line)], line, color=_ORANGE, lw=1, where="post")
        right.grid(alpha=0.3)
        right.tick_params(labelbottom=False)
    panels[-1, 1].tick_params(labelbottom=True)
    panels[-1, 1].set_xlabel("time in the longest episode, s")
    return figure


def _of_delays(folder: Folder, shares: Array | None, interval: float) -> Iterator[str]:
    if not folder.robot.action_names:
        return
    yield "<h2>From action to effect</h2>"
    if shares is None:
        yield "<p>The transitions are too few to tell.</p>"
        return
    figure = Figure((11, 2.6), layout="constrained")
    axes = figure.subplots()
    delays = np.arange(shares.shape[1]) * interval
    for name, line in zip(folder.robot.action_names, shares, strict=True):
        axes.plot(delays, line, "o-", ms=4, label=name)
    axes.set(xlabel="from the action to the change of state, s", ylabel="share explained", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    yield _ON_DELAYS
    yield picture(figure, "What actions explain of later changes of state")


def _draw_lengths(folder: Folder) -> Figure:
    figure = Figure((11, 2.0), layout="constrained")
    axes = figure.subplots()
    lengths = [float(episode.time[-1] - episode.time[0]) for episode in folder.episodes]
    axes.bar(range(len(lengths)), lengths, color=_BLUE, width=0.9)
    axes.set(xlabel="episode, in the order of the files' names", ylabel="s")
    return figure
