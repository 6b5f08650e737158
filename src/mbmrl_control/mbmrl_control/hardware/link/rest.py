"""Whether a robot whose motors are to be off obeys, by what it reports: an acknowledgement alone is no evidence.

Where a protocol has no flags its codec makes them up, so that leg speeds are all there is.
"""

from __future__ import annotations

import math
import threading
from typing import Final

from mbmrl_control.hardware.codecs.wire import Telemetry

REST_TIME: Final = 0.5
"""Time in which frames that were on their way arrive and the legs come to rest, s."""
REPEAT_PERIOD: Final = 0.25
"""Time between two stops that are sent to a robot that does not obey, s."""
TURNING: Final = 2 * math.pi
"""Leg speed, rad/s, one cycle a second, from which a leg is driven: it comes to rest slowly, or is turned by hand."""


class Rest:
    """What frames report since the motors were switched off; `wait` and `wrong` are for other threads too."""

    def __init__(self) -> None:
        """Begin with motors of which nothing is wanted."""
        self.wrong = ""
        """How the robot disobeys, as one clause; empty if it does not."""
        self._obeyed = threading.Event()
        self._since = self._next_stop = math.inf

    def begin(self, now: float) -> None:
        """Let the motors be off from a time on, s."""
        self._obeyed.clear()
        self._since, self._next_stop = now, now + REPEAT_PERIOD

    def end(self) -> None:
        """Let the motors be on."""
        self.wrong, self._since = "", math.inf

    def take(self, telemetry: Telemetry, arrival: float) -> bool:
        """Take a frame that arrived at a time, s; returns whether the stop is to be sent again."""
        if self._since == math.inf:
            return False
        wrong = _contradiction(telemetry)
        if not wrong:
            self.wrong = ""
            self._since, self._next_stop = arrival, arrival + REPEAT_PERIOD
            self._obeyed.set()
            return False
        if arrival - self._since >= REST_TIME:
            self.wrong = wrong
        if arrival < self._next_stop:
            return False
        self._next_stop = arrival + REPEAT_PERIOD
        return True

    def wait(self) -> bool:
        """Wait, no longer than a robot needs that obeys, until a frame says that the motors are off."""
        return self._obeyed.wait(REST_TIME + REPEAT_PERIOD)


def _contradiction(telemetry: Telemetry) -> str:
    """What speaks against motors that are off, as one clause; empty where nothing does."""
    if telemetry.enabled and not telemetry.emergency_stop:
        return "the robot says that its motors are on, though they were switched off"
    fastest = max((abs(speed) for speed in telemetry.speeds if math.isfinite(speed)), default=0.0)
    if fastest > TURNING:
        return f"the legs turn at {fastest:.0f} rad/s, though the motors were switched off"
    return ""
