"""Episodes of recordings (rosbag2: MCAP or SQLite, compressed or split) by a contract; no ROS has to be there."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from mbmrl_base.robots.catalogue import as_metadata
from mbmrl_base.robots.contract.contract import Contract
from mbmrl_base.robots.contract.fields import FieldError
from mbmrl_base.robots.contract.sampler import Sampler
from mbmrl_base.robots.observation import Observation
from mbmrl_base.system.files import new_folder
from mbmrl_control.training.chunks import check_chunks
from mbmrl_control.training.episodes import Episode, EpisodeError

EPISODE: Final = 30.0
"""Longest episode, s: some are held out of a training, which needs several."""

APART: Final = 1.0
"""Time by which the clocks of two topics may be apart, s."""
_MAGIC: Final = b"\x89MCAP0\r\n"
"""What an MCAP file begins and ends with."""


@dataclass
class Found:
    """What was made of recordings.

    Attributes:
        episodes: How many.
        transitions: Those with states at both ends and a known action, over all episodes.
        dropped: What was found and not used, by its name, see `Sampler.counts`.
        why: What there is to say of times without a state.
    """

    episodes: int = 0
    transitions: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    why: list[str] = field(default_factory=list)


@contextmanager
def _opened(bag: Path) -> Iterator[AnyReader]:
    """A recording; EpisodeError if it is none, or is cut."""
    if not bag.exists():
        raise EpisodeError(f"there is no recording {bag}")
    if bag.is_dir() and not (bag / "metadata.yaml").exists():
        raise EpisodeError(
            f"{bag} has no metadata.yaml, as a recording that was not ended: `ros2 bag reindex {bag}` makes one, or"
            " give its files in place of the folder"
        )
    try:
        for file in [bag] if bag.is_file() else sorted(bag.glob("*.mcap")):
            check_chunks(file)
    except ValueError as error:
        raise EpisodeError(str(error)) from None
    try:
        with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            yield reader
    except (EpisodeError, FieldError):
        raise
    except Exception as error:  # a damaged file fails in as many ways as its formats know
        why = str(error) or type(error).__name__
        if cut := next(filter(_is_cut, [bag] if bag.is_file() else sorted(bag.glob("*.mcap"))), None):
            why = f"{cut} is cut; `mcap recover {cut} -o whole.mcap` writes what is there to a whole file: give that"
        raise EpisodeError(f"{bag} cannot be read: {why}") from None


def _is_cut(file: Path) -> bool:
    """Whether an MCAP file has no end."""
    with file.open("rb") as stream:
        start = stream.read(len(_MAGIC))
        stream.seek(-min(len(_MAGIC), file.stat().st_size), os.SEEK_END)
        return start == _MAGIC and (stream.tell() < len(_MAGIC) or stream.read() != _MAGIC)


def check_bag(bag: Path, contract: Contract) -> None:
    """See whether a recording holds the topics of a contract.

    Raises:
        EpisodeError: If it lacks one, or one is of another type.
    """
    with _opened(bag) as reader:
        _connections(bag, contract, reader)


def _connections(bag: Path, contract: Contract, reader: AnyReader) -> dict[int, str]:
    """Topics of the contract by the numbers of the recording's connections."""
    there = dict(sorted((connection.topic, connection.msgtype) for connection in reader.connections))
    for name, topic in contract.topics.items():
        full = _full(name)
        if full not in there:
            raise EpisodeError(f"{bag} has no topic {full}: it has {', '.join(there) or 'none'}")
        for connection in reader.connections:
            if connection.topic == full and connection.msgtype != topic.type:
                raise EpisodeError(f"{bag}: the topic {full} is of {connection.msgtype}, the contract has {topic.type}")
    names = {_full(name): name for name in contract.topics}
    return {each.id: names[each.topic] for each in reader.connections if each.topic in names}


def _full(topic: str) -> str:
    return f"/{topic.lstrip('/')}"


def episodes(bag: Path, contract: Contract, found: Found, progress: Callable[[float], None]) -> Iterator[Episode]:
    """Episodes of a recording, each without a gap longer than a jump of the clock, at most EPISODE long.

    Args:
        bag: The folder, or file, of the recording.
        contract: Says what is read.
        found: Counts go here.
        progress: Is called with the share that is read.

    Raises:
        EpisodeError: If it cannot be read, or is none of the contract's robot.
    """
    sampler, seen = Sampler(contract), list[Observation]()
    longest = round(EPISODE * contract.rate)
    metadata = {
        "robot": as_metadata(contract.robot),
        "rate": contract.rate,
        "bag": bag.name,
        "contract": hashlib.sha256(contract.model_dump_json().encode()).hexdigest(),
    }
    for observation in _observations(bag, contract, sampler, progress):
        last = seen[-1] if seen else observation
        # A state that follows another one, but after no action that is known, begins anew as after a jump.
        follows = observation.interval > 0.0 or observation.sequence != last.sequence + 1
        follows &= observation.episode == last.episode
        if not follows or observation.sequence - (seen[0] if seen else last).sequence > longest:
            yield from _episode(seen, metadata, contract, found)
            # The last state of an episode is the first one of the next, so that no transition is lost.
            seen = [last] if follows else []
        seen.append(observation)
    yield from _episode(seen, metadata, contract, found)
    found.dropped.update(sampler.counts)
    found.why += [f"nothing came on {name}" for name in sampler.silent]
    found.why += [f"{sampler.late[name]} times there was nothing fresh enough on {name}" for name in sampler.late]
    found.why += sampler.lacking.values()
    _check_clocks(bag, contract, sampler)


def messages(
    bag: Path, contract: Contract, progress: Callable[[float], None] = lambda _: None
) -> Iterator[tuple[str, Any, int]]:
    """Messages of a recording: the topic of the contract, the message, and when it came, ns.

    Raises:
        EpisodeError: If it cannot be read, or lacks a topic.
    """
    with _opened(bag) as reader:
        topics = _connections(bag, contract, reader)
        used = [connection for connection in reader.connections if connection.id in topics]
        start, end = reader.start_time, reader.end_time
        for number, (connection, time, data) in enumerate(reader.messages(connections=used)):
            name = topics[connection.id]
            if number % 1000 == 0:
                progress((time - start) / max(1, end - start))
            yield name, reader.deserialize(data, connection.msgtype), time


def _observations(
    bag: Path, contract: Contract, sampler: Sampler, progress: Callable[[float], None]
) -> Iterator[Observation]:
    for name, message, time in messages(bag, contract, progress):
        try:
            yield from sampler.take(name, message, time)
        except FieldError as error:
            raise EpisodeError(f"{bag}: the topic {_full(name)}: {error}") from None


def _check_clocks(bag: Path, contract: Contract, sampler: Sampler) -> None:
    """EpisodeError if stamps of topics are of clocks that are apart: what happened at the same time is not known."""
    clocks = sampler.clocks()
    first, last = min(clocks, key=clocks.__getitem__, default=""), max(clocks, key=clocks.__getitem__, default="")
    if clocks and clocks[last] - clocks[first] > APART:
        raise EpisodeError(
            f"{bag}: messages on {first} came {clocks[first]:.4g} s after their stamps, those on {last}"
            f" {clocks[last]:.4g} s: their clocks are apart; give both `clock: received` in the contract"
        )


def _episode(
    seen: Sequence[Observation], metadata: dict[str, Any], contract: Contract, found: Found
) -> Iterator[Episode]:
    """The episode of observations, if it holds a transition; a tick that was left out is a missing sample."""
    whole = sum(after.interval > 0.0 for after in seen[1:])
    if not whole:
        return
    first = seen[0].sequence
    metadata = {**metadata, "start": seen[0].time}
    rows = seen[-1].sequence - first + 1
    state, action = (np.full((rows, len(parts)), math.nan) for parts in (contract.states, contract.actions))
    for each in seen:
        state[each.sequence - first], action[each.sequence - first] = each.state, each.action
    time = np.arange(rows) / contract.rate
    found.episodes, found.transitions = found.episodes + 1, found.transitions + whole
    yield Episode(state, action[1:], time, metadata)


def write(
    bags: Sequence[Path], contract: Contract, folder: Path, progress: Callable[[float], None] = lambda _: None
) -> Found:
    """Write the episodes of recordings into a folder, new or empty, in their order: all of them, or none.

    Raises:
        EpisodeError: See `episodes`.
    """
    found = Found()
    with new_folder(folder) as place:
        _write(bags, contract, place, found, progress)
        if not found.transitions:
            why = "; ".join(found.why) or "nothing came"
            raise EpisodeError(f"{', '.join(map(str, bags))}: there is no transition: {why}")
    return found


def _write(
    bags: Sequence[Path], contract: Contract, folder: Path, found: Found, progress: Callable[[float], None]
) -> None:
    for number, bag in enumerate(bags):
        for episode in episodes(bag, contract, found, lambda share: progress((number + share) / len(bags))):  # noqa: B023
            episode.save(folder / f"{number:03d}-{found.episodes:05d}.npz")
