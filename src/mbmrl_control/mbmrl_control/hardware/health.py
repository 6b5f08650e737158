"""How a robot and its link are, in parts, with levels as in REP 107; for /diagnostics."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any, Final

from mbmrl_base.toolkit.health import Level, Part
from mbmrl_control.hardware.codecs.wire import Telemetry
from mbmrl_control.hardware.link.clocks import Clock
from mbmrl_control.hardware.link.link import Link
from mbmrl_control.hardware.pose import CAPTURED, PoseFilter

LOW_BATTERY: Final = (3.6, 3.4)
"""Voltages of a LiPo cell below which there is a warning, and an error, V."""
HOT: Final = (60.0, 80.0)
"""Temperatures of a motor from which there is a warning, and an error, degrees Celsius."""
SLOW_ROUND_TRIP: Final = 0.02
"""s."""
LATE_POSE: Final = 0.05
"""Time by which frames of motion capture are late at least, from which there is a warning, s."""
LEAST_RATE: Final = 0.9
"""Share of the wanted rate of telemetry below which there is a warning."""


class Health:
    """Looks at a link once a second; what was counted since the last look is what is judged."""

    def __init__(
        self, link: Link, poses: PoseFilter, clock: Clock, missing: Counter[str], refused: Counter[str]
    ) -> None:
        """Take what to look at.

        Args:
            link: The robot's.
            poses: What motion capture reported.
            clock: The robot's.
            missing: Frames that lack what the model needs, by sensor.
            refused: Commands that were refused, by reason.
        """
        self._link, self._poses, self._clock = link, poses, clock
        self._missing, self._refused = missing, refused
        self._counted = self._count()

    def _count(self) -> dict[str, Counter[str]]:
        """All counts as they are."""
        poses = self._poses
        return {
            "frames": Counter(vars(self._link.codec.counts)),
            "link": Counter(vars(self._link.counts)),
            "missing": self._missing.copy(),
            "refused": self._refused.copy(),
            "poses": Counter(taken=poses.counts.taken, asked=poses.asked, missed=poses.missed),
            "poses refused": poses.counts.reasons.copy(),
        }

    def look(self, source: str, active: bool) -> list[Part]:
        """Health of all parts.

        Args:
            source: Where the pose of the last state was known from.
            active: Whether the motors are meant to be enabled.
        """
        newest = self._link.status.newest
        fresh = bool(self._link.status.arrivals) and time.monotonic() - self._link.status.arrivals[-1] < 1.0
        before, self._counted = self._counted, self._count()
        lately = {name: counts - before[name] for name, counts in self._counted.items()}
        parts = [self._line(active), self._traffic(fresh, lately), self._pose(source, fresh, lately)]
        return [*parts, self._battery(newest, fresh), self._motors(newest, fresh)]

    def _line(self, active: bool) -> Part:
        status, settings = self._link.status, self._link.settings
        part = Part("link")
        part.check(status.state == "connecting", Level.ERROR, f"no link: {status.reason or 'connecting'}")
        part.check(status.state == "closed", Level.STALE, "closed")
        part.check(status.state == "ready", Level.WARN, f"motors off{': ' + status.reason if status.reason else ''}")
        part.check(active and status.state == "ready", Level.ERROR, "though they should be on")
        part.check(status.round_trip > SLOW_ROUND_TRIP, Level.WARN, f"round trip of {status.round_trip * 1e3:.0f} ms")
        back = status.state == "ready" and self._link.counts.sessions > 1
        part.check(back and bool(status.doubt), Level.WARN, status.doubt)
        robot = status.capabilities
        part.values = {
            "state": status.state,
            "port": settings.port,
            "protocol": self._link.codec.name,
            "firmware": robot.firmware if robot else "",
            "device id": f"{robot.device_id:x}" if robot and robot.device_id else "none",
            "adapter": status.adapter or "not on USB",
            "round trip (ms)": _rounded(status.round_trip * 1e3, 2),
            "sessions": self._link.counts.sessions,
            "links lost": self._link.counts.losses,
            "requests sent again": self._link.counts.repeated_requests,
        }
        return part

    def _traffic(self, fresh: bool, lately: dict[str, Counter[str]]) -> Part:
        counts, status, since = self._link.counts, self._link.status, lately["link"]
        part = Part("frames")
        part.check(not fresh, Level.STALE, "no telemetry")
        wanted = self._link.telemetry_rate
        slow = fresh and status.state in ("ready", "enabled") and status.rate < LEAST_RATE * wanted
        part.check(slow, Level.WARN, f"telemetry at {status.rate:.0f} Hz, wanted is {wanted:g} Hz")
        for name, count in (lately["frames"] | {k: since[k] for k in ("dropped", "reordered")}).items():
            part.check(name != "good" and count > 0, Level.WARN, f"{count} {name} in the last second")
        part.check(since["expired"] > 0, Level.WARN, f"commands stayed away {since['expired']} times")
        part.check(since["stalls"] > 0, Level.WARN, f"telemetry stayed away {since['stalls']} times")
        for name, count in lately["missing"].items():
            part.check(True, Level.WARN, f"{name} missing or impossible in {count} frames")
        for reason, count in lately["refused"].items():
            part.check(True, Level.WARN, f"{count} commands refused: {reason}")
        self._judge(part, self._clock)
        part.values = {"telemetry (Hz)": _rounded(status.rate, 1)} | _of_clock(self._clock)
        part.values |= {f"frames or bytes {name}": value for name, value in self._counted["frames"].items()}
        part.values |= {
            "telemetry taken": counts.samples,
            "telemetry dropped": counts.dropped,
            "telemetry reordered": counts.reordered,
            "telemetry stayed away": counts.stalls,
            "commands sent": counts.commands,
            "commands clipped": counts.clipped,
            "commands expired": counts.expired,
        }
        part.values |= {f"commands refused: {reason}": count for reason, count in self._counted["refused"].items()}
        part.values |= {f"frames without {name}": count for name, count in self._counted["missing"].items()}
        return part

    def _pose(self, source: str, fresh: bool, lately: dict[str, Counter[str]]) -> Part:
        part, clock = Part("pose"), self._poses.clock
        refused, rate, missed = lately["poses refused"], lately["poses"]["taken"], lately["poses"]["missed"]
        all_refused = refused.total() > 0 and rate == 0
        part.check(not fresh, Level.STALE, "no state")
        missing = "all frames of motion capture are refused" if all_refused else self._poses.lacking
        wrong = Level.ERROR if all_refused or self._poses.misfit else Level.WARN
        part.check(fresh and source != CAPTURED, wrong, f"{source}: {missing}")
        why = f"{missed} of {lately['poses']['asked']} states were reckoned: {self._poses.last_lacking}"
        part.check(fresh and source == CAPTURED and missed > 0, Level.WARN, why)
        for reason, count in refused.items():
            part.check(True, Level.WARN, f"{count} frames refused: {reason}")
        if refused.total() or rate:
            offset = clock.newest_offset
            part.check(
                clock.is_another,
                Level.WARN,
                f"motion capture's stamps are {offset:.1f} s off this machine's clock: the time of arrival counts",
            )
            late = not clock.is_another and offset > LATE_POSE
            part.check(late, Level.WARN, f"frames of motion capture are {offset * 1e3:.0f} ms late by their stamps")
            self._judge(part, clock)
        ever = self._counted["poses refused"]
        part.values = {"source": source, "frames in the last second": rate, "frames refused": ever.total()}
        part.values |= {f"frames refused: {reason}": count for reason, count in ever.items()}
        part.values |= {"tilt against the accelerometer (degrees)": _rounded(math.degrees(self._poses.tilt), 1)}
        part.values |= _of_clock(clock)
        return part

    def _judge(self, part: Part, clock: Clock) -> None:
        level = Level.ERROR if clock.fault(time.monotonic()) else Level.WARN
        part.check(bool(clock.doubt), level, clock.doubt)

    def _battery(self, newest: Telemetry | None, fresh: bool) -> Part:
        part = Part("battery")
        voltage = newest.battery if newest else math.nan
        part.check(not fresh, Level.STALE, "not measured lately")
        warn, error = LOW_BATTERY
        part.check(fresh and voltage < warn, Level.ERROR if voltage < error else Level.WARN, f"{voltage:.2f} V")
        part.values = {"voltage (V)": _rounded(voltage, 3)}
        return part

    def _motors(self, newest: Telemetry | None, fresh: bool) -> Part:
        part = Part("motors")
        part.check(not fresh, Level.STALE, "not measured lately")
        if newest is None:
            return part
        part.check(bool(self._link.rest.wrong), Level.ERROR, self._link.rest.wrong)
        part.check(newest.emergency_stop, Level.ERROR, "emergency stop")
        for fault in newest.faults:
            part.check(True, Level.WARN if fault == "dead_man" else Level.ERROR, f"fault {fault}")
        hottest = max((t for t in newest.temperature if math.isfinite(t)), default=math.nan)
        warn, error = HOT
        part.check(hottest >= warn, Level.ERROR if hottest >= error else Level.WARN, f"{hottest:.0f} degrees Celsius")
        part.values = {"enabled": newest.enabled, "emergency stop": newest.emergency_stop}
        for side, current, temperature in zip(("left", "right"), newest.current, newest.temperature, strict=True):
            part.values[f"{side} current (A)"] = _rounded(current, 3)
            part.values[f"{side} temperature (degrees Celsius)"] = _rounded(temperature, 1)
        return part


def _of_clock(clock: Clock) -> dict[str, Any]:
    return {
        "clock offset (s)": _rounded(clock.newest_offset, 4),
        "clock runs slow by (%)": _rounded((clock.rate - 1.0) * 100, 3),
    }


def _rounded(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "unknown"
