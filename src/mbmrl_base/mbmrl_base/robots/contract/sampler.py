"""States at a fixed rate of messages that come when they come: the same for a running robot and for its recording.

Ticks are at whole multiples of the control interval, by the clock of the messages, in whole nanoseconds. A tick is
complete as soon as each topic that is interpolated has a message of that time or a later one; if none is, as soon as
each topic has one, or any message is later. A number that is missing, or too old, is never made up: the tick is left
out, and the transition over it is none.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.contract.contract import Clock, Contract, ContractAction, ContractState, Sampling
from mbmrl_base.robots.contract.fields import Field, LackingError
from mbmrl_base.robots.observation import Array, Observation

SECOND: Final = 1_000_000_000
"""Nanoseconds."""
JUMP: Final = SECOND
"""Time by which stamps of a topic go back, or are ahead of those before, that begins another episode."""
PATIENCE: Final = SECOND
"""Time by which other messages are ahead of a tick that is given up for want of one."""
LEAP: Final = 2 * SECOND
"""Time by which all messages may be ahead of the last tick; what was longer ago is not gone through tick by tick."""
MOST: Final = 10_000
"""Messages of a topic that are held at most."""
NEAR: Final = 1000
"""Time within which a message is of a tick: who calculates stamps with floating-point numbers rounds them."""
LARGEST: Final = 1e15
"""Greatest magnitude of a number that is one."""
_JUDGED: Final = 1000
"""Messages of a topic by which its clock is judged."""


def stamp_of(message: Any) -> int | None:
    """Time in the header of a message, ns; None if it has none, or one that was not set."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    if stamp is None or not hasattr(stamp, "nanosec"):
        return None
    return int(stamp.sec) * SECOND + int(stamp.nanosec) or None


class _Source:
    """The numbers of a topic: in which places of the vector they stand, and their newest values."""

    def __init__(self, contract: Contract, topic: str, parts: Sequence[ContractState | ContractAction]) -> None:
        own = [(place, part) for place, part in enumerate(parts) if part.topic == topic]
        self.places = [place for place, _ in own]
        self.angles = np.array([isinstance(part, ContractState) and part.angle for _, part in own])
        self._fields = [Field(part.field) for _, part in own]
        self._scale, self._offset = np.array([(part.scale, part.offset) for _, part in own]).T
        self._clock = contract.topics[topic].clock
        self.max_age = round(contract.max_age(topic) * SECOND)
        self.held: deque[tuple[int, Array]] = deque(maxlen=MOST)
        """Times, ns, and values, shape (places,), in order."""
        self.delays: deque[int] = deque(maxlen=_JUDGED)
        """From the times of messages to their arrivals, ns."""

    def time_of(self, message: Any, received: int) -> int:
        stamp = stamp_of(message) if self._clock is Clock.HEADER else None
        time = received if stamp is None else stamp
        self.delays.append(received - time)
        return time

    def read(self, message: Any) -> Array:
        values: Array = self._scale * [field.read(message) for field in self._fields] + self._offset
        values[~(np.abs(values) <= LARGEST)] = math.nan
        return values

    def forget(self, time: int) -> None:
        """Drop what is older than the newest value at a time."""
        while len(self.held) > 1 and self.held[1][0] <= time + NEAR:
            self.held.popleft()

    def at(self, time: int, interpolate: bool) -> Array | None:
        """Values at a time; None if they are too old or missing."""
        before = next((each for each in reversed(self.held) if each[0] <= time + NEAR), None)
        if before is None or not interpolate or before[0] >= time - NEAR:
            return None if before is None or time - before[0] > self.max_age + NEAR else before[1]
        after = next((each for each in self.held if each[0] > time), None)
        if after is None or after[0] - before[0] > self.max_age + NEAR:
            return None
        share, change = (time - before[0]) / (after[0] - before[0]), after[1] - before[1]
        change[self.angles] = (change[self.angles] + math.pi) % (2.0 * math.pi) - math.pi
        return before[1] + share * change


class Sampler:
    """Takes messages in the order in which they came, and makes states.

    Attributes:
        counts: What was found and not used, by its name: ``duplicates`` and ``out_of_order``, messages that are not
            newer than one of the same topic; ``incomplete``, messages that lack an item; ``jumps``, of the clock or in
            the recording; ``missing``, ticks that were left out; ``unknown_actions``, ticks before which no action is
            known.
        late: Topics for want of which ticks were left out, with how many.
        lacking: What the last message that was incomplete lacks, by topics.
    """

    def __init__(self, contract: Contract) -> None:
        """Take the contract."""
        self.contract = contract
        topics = dict.fromkeys(part.topic for part in contract.states)
        self._states = {name: _Source(contract, name, contract.states) for name in topics}
        topics = dict.fromkeys(part.topic for part in contract.actions)
        self._actions = {name: _Source(contract, name, contract.actions) for name in topics}
        self._interpolated = {name for name in self._states if contract.topics[name].sampling is Sampling.INTERPOLATE}
        self.counts: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.lacking: dict[str, str] = {}
        self._sequence = self._episode = 0
        self._leap = max(LEAP, round(3 * SECOND / contract.rate))
        self._tick: int | None = None
        """Number of the next tick, in control intervals of the clock; None: not all topics have come."""
        self._whole = False
        """Whether the tick before was complete."""

    @property
    def silent(self) -> list[str]:
        """Topics of states of which nothing has come yet."""
        return [name for name, source in self._states.items() if not source.held]

    @property
    def apart(self) -> dict[str, float]:
        """By how much the newest message came later than its stamp says, s, by topics of states that have come."""
        return {name: source.delays[-1] / SECOND for name, source in self._states.items() if source.delays}

    def clocks(self) -> dict[str, float]:
        """By how much the arrival of messages is later than their times, s, by topics that have come; the median."""
        sources = (self._states | self._actions).items()
        return {name: statistics.median(source.delays) / SECOND for name, source in sources if source.delays}

    def take(self, topic: str, message: Any, received: int) -> list[Observation]:
        """Take in a message that came at a time, ns; returns what is complete by it.

        Raises:
            FieldError: If no message of its type has a field.
        """
        source = self._states.get(topic) or self._actions[topic]
        time = source.time_of(message, received)
        try:
            values = source.read(message)
        except LackingError as error:
            self.counts["incomplete"] += 1
            self.lacking[topic] = str(error)
            return []
        if source.held and self._jumps(topic, time - source.held[-1][0]):
            self.counts["jumps"] += 1
            self._restart(time < source.held[-1][0])
        elif source.held and time <= source.held[-1][0]:
            self.counts["duplicates" if time == source.held[-1][0] else "out_of_order"] += 1
            return []
        if topic in self._actions and self._tick is None:
            source.held.clear()  # however long it is before the first state
        source.held.append((time, values))
        if topic in self._states and self._tick is not None and time - self._time(self._tick) > self._leap:
            self.counts["jumps"] += 1
            self._tick, self._whole = None, False
        if self._tick is None and not self.silent:
            newest = max(each.held[-1][0] for each in self._states.values())
            self._tick = math.ceil(round(newest * self.contract.rate / SECOND, 6))
            self._episode += 1
        return list(self._complete(time)) if topic in self._states else []

    def _jumps(self, topic: str, passed: int) -> bool:
        """Whether a message of a topic begins another episode, so much later, ns, than the one before it.

        No command is no gap: the last one is in force.
        """
        longest = max(JUMP, self._states[topic].max_age) if topic in self._states else math.inf
        return passed < -JUMP or passed > longest

    def _restart(self, back: bool) -> None:
        """Begin another episode; if time went back, nothing that is known is of it."""
        for source in (*self._states.values(), *(self._actions.values() if back else ())):
            source.held.clear()
        self._tick, self._whole = None, False

    def _time(self, tick: int) -> int:
        return round(tick * SECOND / self.contract.rate)

    def _complete(self, newest: int) -> Iterator[Observation]:
        """States that are complete since a message of some time has come."""
        while self._tick is not None:
            time = self._time(self._tick)
            awaited = self._interpolated or self._states
            reached = all(self._states[name].held[-1][0] >= time - NEAR for name in awaited)
            if not reached and newest <= time + (PATIENCE if self._interpolated else NEAR):
                return
            yield from self._close(time)

    def _close(self, time: int) -> Iterator[Observation]:
        """The state at the next tick, which is at a time, if it is complete."""
        assert self._tick is not None
        state = np.full(len(self.contract.states), math.nan)
        for name, source in self._states.items():
            values = source.at(time, name in self._interpolated)
            if values is None or np.isnan(values).any():
                self.late[name] += 1
            else:
                state[source.places] = values
            source.forget(time)
        action = self._mean_action(self._time(self._tick - 1), time)
        for source in self._actions.values():
            source.forget(time)
        self._tick, self._sequence = self._tick + 1, self._sequence + 1
        before, self._whole = self._whole, not bool(np.isnan(state).any())
        if not self._whole:
            self.counts["missing"] += 1
            return
        known = not np.isnan(action).any()
        self.counts["unknown_actions"] += not known
        interval = 1.0 / self.contract.rate if before and known else 0.0
        yield Observation(state, action, time / SECOND, self._sequence, self._episode, interval)

    def _mean_action(self, start: int, end: int) -> Array:
        """What was in force from a time to another, ns, on average over time; NaN where it is not known."""
        mean = np.full(len(self.contract.actions), math.nan)
        for name, source in self._actions.items():
            age = self.contract.topics[name].max_age
            held = [each for each in source.held if each[0] < end]
            if not held or held[0][0] > start or (age is not None and start - held[0][0] > round(age * SECOND)):
                continue
            lengths = np.diff(np.clip([*(time - start for time, _ in held), end - start], 0, end - start))
            values = np.array([values for _, values in held])[lengths > 0]
            same = (values == values[:1]).all()
            mean[source.places] = values[0] if same else lengths[lengths > 0] @ values / (end - start)
        return mean
