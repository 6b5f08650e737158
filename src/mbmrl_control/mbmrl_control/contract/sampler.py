"""States at a fixed rate of messages that come when they come: the same for a running robot and for its recording.

Ticks are at whole multiples of the control interval, by the clock of the messages. A tick is complete as soon as each
topic that is interpolated has a message of that time or a later one, and at its time if none is; a number that is
missing, or too old, is never made up: the tick is left out, and the transition over it is none.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_control.contract.contract import Clock, Contract, ContractAction, ContractState, Sampling
from mbmrl_control.contract.fields import Field

JUMP: Final = 1.0
"""Time by which stamps go back, or are ahead of the ticks, that begins another episode, s."""
LARGEST: Final = 1e15
"""Greatest magnitude of a number that is one."""


def stamp_of(message: Any) -> float | None:
    """Time in the header of a message, s; None if it has none, or one that was not set."""
    header = getattr(message, "header", None)
    if header is None:
        return None
    seconds = float(header.stamp.sec + header.stamp.nanosec * 1e-9)
    return seconds if seconds else None


class _Source:
    """The numbers of a topic: in which places of the vector they stand, and their newest values."""

    def __init__(self, contract: Contract, topic: str, parts: Sequence[ContractState | ContractAction]) -> None:
        own = [(place, part) for place, part in enumerate(parts) if part.topic == topic]
        self.places = [place for place, _ in own]
        self.angles = np.array([isinstance(part, ContractState) and part.angle for _, part in own])
        self._fields = [Field(part.field) for _, part in own]
        self._scale, self._offset = np.array([(part.scale, part.offset) for _, part in own]).T
        self._clock = contract.topics[topic].clock
        self.max_age = contract.max_age(topic)
        self.held: deque[tuple[float, Array]] = deque()
        """Times, s, and values, shape (places,), in order."""

    def time_of(self, message: Any, received: float) -> float:
        stamp = stamp_of(message) if self._clock is Clock.HEADER else None
        return received if stamp is None else stamp

    def read(self, message: Any) -> Array:
        values: Array = self._scale * [field.read(message) for field in self._fields] + self._offset
        values[~(np.abs(values) <= LARGEST)] = math.nan
        return values

    def forget(self, time: float) -> None:
        """Drop what is older than the newest value at a time."""
        while len(self.held) > 1 and self.held[1][0] <= time:
            self.held.popleft()

    def newest(self, time: float) -> tuple[float, Array] | None:
        """The newest value by a time."""
        return next((each for each in reversed(self.held) if each[0] <= time), None)

    def at(self, time: float, interpolate: bool) -> Array | None:
        """Values at a time; None if they are too old or missing."""
        before = self.newest(time)
        if before is None or not interpolate or before[0] == time:
            return None if before is None or time - before[0] > self.max_age else before[1]
        after = next((each for each in self.held if each[0] > time), None)
        if after is None or after[0] - before[0] > self.max_age:
            return None
        share, change = (time - before[0]) / (after[0] - before[0]), after[1] - before[1]
        change[self.angles] = (change[self.angles] + math.pi) % (2.0 * math.pi) - math.pi
        return before[1] + share * change


class Sampler:
    """Takes messages in the order in which they came, and makes states.

    Attributes:
        counts: What was found and not used, by its name: ``duplicates`` and ``out_of_order``, messages that are not
            newer than one of the same topic; ``jumps``, of the clock or in the recording; ``missing``, ticks that were
            left out; ``unknown_actions``, ticks before which no action is known.
        late: Topics for want of which ticks were left out, with how many.
    """

    def __init__(self, contract: Contract) -> None:
        """Take the contract."""
        self.contract = contract
        self._rate, self._period = contract.rate, 1.0 / contract.rate
        topics = dict.fromkeys(part.topic for part in contract.states)
        self._states = {name: _Source(contract, name, contract.states) for name in topics}
        topics = dict.fromkeys(part.topic for part in contract.actions)
        self._actions = {name: _Source(contract, name, contract.actions) for name in topics}
        self._interpolated = {name for name in self._states if contract.topics[name].sampling is Sampling.INTERPOLATE}
        self._patience = max((self._states[name].max_age for name in self._interpolated), default=0.0)
        self.counts: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self._sequence = self._episode = 0
        self._tick: int | None = None
        """Number of the next tick, in control intervals of the clock; None: not all topics have come."""
        self._whole = False
        """Whether the tick before was complete."""

    @property
    def silent(self) -> list[str]:
        """Topics of states of which nothing has come yet."""
        return [name for name, source in self._states.items() if not source.held]

    def restart(self) -> None:
        """Begin another episode."""
        for source in (*self._states.values(), *self._actions.values()):
            source.held.clear()
        self._tick, self._whole = None, False

    def take(self, topic: str, message: Any, received: float) -> list[Observation]:
        """Take in a message that came at a time, s; returns what is complete by it.

        Raises:
            FieldError: If it lacks a field.
        """
        source = self._states.get(topic) or self._actions[topic]
        time, values = source.time_of(message, received), source.read(message)
        found = self.advance(received)
        last = source.held[-1][0] if source.held else -math.inf
        if time < last - JUMP or (self._tick is not None and time > self._tick / self._rate + JUMP):
            self.counts["jumps"] += 1
            self.restart()
        elif time <= last:
            self.counts["duplicates" if time == last else "out_of_order"] += 1
            return found
        source.held.append((time, values))
        if self._tick is None and not self.silent:
            newest = max(each.held[-1][0] for each in self._states.values())
            self._tick = math.ceil(newest * self._rate - 1e-9)
            self._episode += 1
        return [*found, *self._complete()]

    def advance(self, now: float) -> list[Observation]:
        """What is complete since a time, s, has come: by it all that is not interpolated is known, or given up."""
        found = []
        while self._tick is not None and self._tick / self._rate + self._patience < now:
            found += self._close()
        return found

    def _complete(self) -> Iterator[Observation]:
        while (
            self._interpolated
            and self._tick is not None
            and all(self._states[name].held[-1][0] >= self._tick / self._rate for name in self._interpolated)
        ):
            yield from self._close()

    def _close(self) -> list[Observation]:
        """The state at the next tick, if it is complete."""
        assert self._tick is not None
        time = self._tick / self._rate
        state = np.full(len(self.contract.states), math.nan)
        for name, source in self._states.items():
            values = source.at(time, name in self._interpolated)
            if values is None or np.isnan(values).any():
                self.late[name] += 1
            else:
                state[source.places] = values
            source.forget(time)
        action = self._mean_action(time - self._period, time)
        for source in self._actions.values():
            source.forget(time)
        self._tick, self._sequence = self._tick + 1, self._sequence + 1
        before, self._whole = self._whole, not bool(np.isnan(state).any())
        if not self._whole:
            self.counts["missing"] += 1
            return []
        known = not np.isnan(action).any()
        self.counts["unknown_actions"] += not known
        interval = self._period if before and known else 0.0
        return [Observation(state, action, time, self._sequence, self._episode, interval)]

    def _mean_action(self, start: float, end: float) -> Array:
        """What was in force from a time to another, s, on average over time; NaN where it is not known."""
        mean = np.full(len(self.contract.actions), math.nan)
        for name, source in self._actions.items():
            age = self.contract.topics[name].max_age
            held = [each for each in source.held if each[0] < end]
            if not held or held[0][0] > start or (age is not None and start - held[0][0] > age):
                continue
            times = np.clip([*(time for time, _ in held), end], start, end)
            values = np.array([values for _, values in held])
            lengths = np.diff(times)
            used = lengths > 0.0
            same = (values[used] == values[used][:1]).all()
            mean[source.places] = values[used][0] if same else lengths @ values / (end - start)
        return mean
