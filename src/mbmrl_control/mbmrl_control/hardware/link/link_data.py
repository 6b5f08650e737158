"""What a link hands over, and what it reports about itself."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass, field

from mbmrl_control.hardware.codecs.wire import Capabilities, Telemetry
from mbmrl_control.hardware.link.port import Adapter


@dataclass(frozen=True)
class Sample:
    """Telemetry as it arrived.

    Attributes:
        telemetry: What the robot sent.
        arrival: When, s of the monotonic clock.
        session: Number of the session, from 1.
        tick: Whether a control interval ends with it.
        command: Number of the command that was in force, as given to `Link.command`; 0: none.
        exact: Whether one command, or none, was in force since the last tick, by the host's book.
    """

    telemetry: Telemetry
    arrival: float
    session: int
    tick: bool
    command: int
    exact: bool


@dataclass
class LinkCounts:
    """What a link has seen since it was made.

    Attributes:
        sessions: Hand-shakes that succeeded.
        losses: Links that were lost.
        samples: Frames of telemetry taken.
        dropped: Frames of telemetry that never came.
        reordered: Frames of telemetry that came after a later one, not taken.
        commands: Commands sent, repetitions among them.
        stalls: Times without telemetry, so that the legs were stopped.
        expired: Commands that were followed by zero because none came after them in time.
        clipped: Commands that were beyond the limits.
        repeated_requests: Requests that were sent again.
    """

    sessions: int = 0
    losses: int = 0
    samples: int = 0
    dropped: int = 0
    reordered: int = 0
    commands: int = 0
    stalls: int = 0
    expired: int = 0
    clipped: int = 0
    repeated_requests: int = 0


@dataclass
class LinkStatus:
    """How a link is.

    Attributes:
        state: closed, connecting, ready (motors off) or enabled.
        reason: Why it is so, if that is not what was wanted.
        another: Whether the reason is that another robot is on the line.
        doubt: Why the robot is not known to be that of the first hand-shake, as one clause; empty if it is.
        adapter: USB adapter of the port, if it has one.
        capabilities: What the robot reported of itself.
        round_trip: Of the last ping, s.
        newest: Telemetry.
        arrivals: When the last frames of telemetry came, s of the monotonic clock.
    """

    state: str = "closed"
    reason: str = ""
    another: bool = False
    doubt: str = ""
    adapter: Adapter | None = None
    capabilities: Capabilities | None = None
    round_trip: float = math.nan
    newest: Telemetry | None = None
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=200))

    @property
    def rate(self) -> float:
        """Recent frames of telemetry per second, Hz."""
        times = list(self.arrivals)
        recent = [t for t in times if t > time.monotonic() - 1.0]
        span = recent[-1] - recent[0] if recent else 0.0
        return (len(recent) - 1) / span if span > 0 else 0.0
