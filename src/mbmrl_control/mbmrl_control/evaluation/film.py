"""Films of recorded runs: the robot on its path, the way it came, and where and when the fault was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import chain
from pathlib import Path
from textwrap import fill
from typing import Final

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.files import check_file, whole
from mbmrl_control.control.run_record import Record
from mbmrl_sim.render import Line, Scene

FRAME_RATE: Final = 10.0
"""Pictures per second."""
WIDTH: Final = 480
HEIGHT: Final = 352
"""Size, pixels; encoders want multiples of 16."""
SUFFIXES: Final = (".mp4", ".gif")
_REFERENCE_COLOUR: Final = (70, 110, 200)
_TRACE_COLOUR: Final = (240, 150, 60)
_FAULT_COLOUR: Final = (200, 30, 30)
_TEXT_COLOUR: Final = (40, 40, 40)
_TEXT_SIZE: Final = 17
_TEXT_WIDTH: Final = 50
"""Characters in a line."""
Run = tuple[Record, Array | None]
"""A run, and points of its path, shape (n, 2), m, odom; None if there is none."""
_CROSS: Final = 0.02 * np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
"""Strokes of the cross where the fault was, m."""


def check_scene(robot: Robot) -> None:
    """Refuse a robot of which there are no pictures.

    Raises:
        ValueError: If there is no scene for it.
    """
    if robot.name != DEFAULT_ROBOT:
        raise ValueError(f"there is no scene to draw {robot.name} in: films are of {DEFAULT_ROBOT}")


def frames(*runs: Run) -> Iterator[Image.Image]:
    """Pictures of runs side by side, FRAME_RATE of them per second of the longest; one that has ended stands still."""
    every = _every(runs)
    count = max(len(record.ticks) for record, _ in runs)
    with ExitStack() as scenes:
        views = [(scenes.enter_context(closing(Scene(WIDTH, HEIGHT))), *run) for run in runs]
        for index in range(0, count, every):
            shown = [
                _picture(scene, record, reference, min(index, len(record.ticks) - 1), record.learner * (len(runs) > 1))
                for scene, record, reference in views
            ]
            image = Image.new("RGB", (WIDTH * len(runs), HEIGHT))
            for place, each in enumerate(shown):
                image.paste(each, (WIDTH * place, 0))
            yield image


def _every(runs: Sequence[Run]) -> int:
    """Ticks from picture to picture."""
    return max(1, round(runs[0][0].rate / FRAME_RATE))


def _picture(scene: Scene, record: Record, reference: Array | None, index: int, who: str) -> Image.Image:
    time, places, tick = record.time, record.states[:, :2], record.ticks[index]
    lines = [] if reference is None else [Line(reference, _REFERENCE_COLOUR)]
    lines += [Line(places[: index + 1], _TRACE_COLOUR, 0.003)]
    caption = f"{time[index]:4.1f} s"
    failed = record.fault_time is not None and time[index] >= record.fault_time
    if failed:
        place = int(np.searchsorted(time, record.fault_time or 0.0))
        lines += [Line(places[place] + stroke, _FAULT_COLOUR, 0.006) for stroke in _CROSS]
        caption += f"  {record.fault_in_words(tick.faults)} since {record.fault_time:.1f} s"
    caption = "\n".join(filter(None, [who, fill(caption, _TEXT_WIDTH)]))
    image = Image.fromarray(scene.draw(tick.observation.state, tick.faults, lines))
    colour = _FAULT_COLOUR if failed else _TEXT_COLOUR
    ImageDraw.Draw(image).text((10, 8), caption, fill=colour, font_size=_TEXT_SIZE)
    return image


def film(runs: Sequence[Run], file: Path, console: Console) -> None:
    """Write a film of `frames`, MP4 or GIF by the file's suffix, whole or not at all; progress goes to the console.

    Raises:
        WriteError: If it cannot be written.
    """
    every = _every(runs)
    count = len(range(0, max(len(record.ticks) for record, _ in runs), every))
    shown = track(frames(*runs), "rendering", total=count, console=console)
    with whole(file) as part:
        (_write_gif if file.suffix == ".gif" else _write_mp4)(shown, part, runs[0][0].rate / every)


def _write_gif(shown: Iterable[Image.Image], file: Path, rate: float) -> None:
    first, *others = (image.quantize(64) for image in shown)
    first.save(file, "GIF", save_all=True, append_images=others, duration=round(1e3 / rate), loop=0)


def _write_mp4(shown: Iterable[Image.Image], file: Path, rate: float) -> None:
    options = {"codec": "libx264", "quality": 7, "ffmpeg_log_level": "quiet", "output_params": ["-f", "mp4"]}
    images = iter(shown)
    first = next(images)
    writer = imageio_ffmpeg.write_frames(str(file), first.size, fps=rate, **options)
    sent, kept = 0, 0
    with closing(writer):
        writer.send(None)
        for image in chain([first], images):
            sent += 1
            try:
                writer.send(np.ascontiguousarray(image))
            except OSError:  # the encoder has ended
                break
    # How the encoder ended is not reported, so what it has kept is counted.
    with suppress(RuntimeError):
        kept, _ = imageio_ffmpeg.count_frames_and_secs(str(file))
    if kept != sent:
        raise OSError("the film's encoder has not kept it, is there space left?")


def render_runs(
    folders: Sequence[Path], out: Path | None, console: Console, read: Callable[[Path], Record] = Record.read
) -> Path:
    """Write a film of the runs in folders, robot.mp4 in the first if no other file is given; returns the file.

    Args:
        folders: Where the runs are.
        out: File to write.
        console: Where to show progress.
        read: Reads a run; it raises ValueError if there is none.

    Raises:
        ValueError: If a folder holds no run, or there can be no such film.
    """
    file = out or folders[0] / "robot.mp4"
    if file.suffix not in SUFFIXES:
        raise ValueError(f"a film ends in {' or '.join(SUFFIXES)}, not {file.name!r}")
    runs = [_with_path(read(folder)) for folder in folders]
    check_file(file)
    film(runs, file, console)
    return file


def _with_path(record: Record) -> Run:
    check_scene(record.robot)
    task = record.make_task()
    record.track(task)
    reference = task.reference()
    return record, None if reference is None else reference[:, :2]
