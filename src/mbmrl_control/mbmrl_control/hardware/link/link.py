"""The line to a robot: hand-shake, commands while they are fresh, and what is done when the line is lost.

One thread, that of `Link.run`, reads and writes; the others ask it. Each so many frames of telemetry a control
interval ends, and the newest command comes into force for the next one. It is sent again with each frame as long as
it is fresh, so that the robot's dead-man can be short; what is no longer fresh is followed by zero. The robot's clock
sets the pace, or, where its telemetry is polled, the host's.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from mbmrl_control.hardware.codecs import wire
from mbmrl_control.hardware.link.command_book import CommandBook
from mbmrl_control.hardware.link.identity import AnotherRobotError, Identity, check_fits
from mbmrl_control.hardware.link.line import Line
from mbmrl_control.hardware.link.link_data import LinkCounts, LinkStatus, Sample
from mbmrl_control.hardware.link.port import DisobeyedError, LinkError, LinkLostError, NoAnswerError, adapter_of
from mbmrl_control.hardware.link.requests import Requests
from mbmrl_control.hardware.link.rest import Rest
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.hardware.settings import BridgeSettings

ANSWER_TIME: Final = 0.1
"""Time after which a request is sent again, s."""
TRIES: Final = 10
"""How often a request is sent."""
HELLO_TRIES: Final = 30
"""How often the first one is sent: many a board starts anew when its port is opened, which takes some seconds."""
BACK_OFF: Final = (0.1, 5.0)
"""Time until the first attempt to connect again, and the longest between two, s."""
PING_PERIOD: Final = 0.5
"""s."""
REQUEST_TIME: Final = 2 * ANSWER_TIME * HELLO_TRIES
"""Longest time in which a request of another thread is done, s."""


class Link:
    """A robot on a serial port."""

    def __init__(
        self,
        settings: BridgeSettings,
        codec: wire.Codec,
        on_sample: Callable[[Sample], None],
        on_stop: Callable[[str, bool], None],
    ) -> None:
        """Take what is wanted; nothing is opened before `run`.

        Args:
            settings: What is wanted.
            codec: The host's side of a protocol.
            on_sample: Called with each frame of telemetry, in the link's thread.
            on_stop: Called when motors that were enabled are no longer, though nobody asked for it: with the reason,
                and whether the link was lost.
        """
        self.settings = settings
        self.codec = codec
        self.counts = LinkCounts()
        self.status = LinkStatus()
        self.rest = Rest()
        self._on_sample, self._on_stop = on_sample, on_stop
        self._line = Line(settings.port, settings.baud, codec)
        self._opened: Future[wire.Capabilities] = Future()
        self._requests = Requests(self._line.wake)
        self._first: Identity | None = None
        self._closing = threading.Event()
        self._commands = CommandBook(settings.command_timeout)
        self._enabled_since: float | None = None
        self._every = 0  # frames of telemetry in a control interval; 0: no session
        self._last_tick = self._last_sequence = 0
        self._latched = self._polled = self._asking = self._stalled = False
        self._last_arrival = self._next_ping = self._next_poll = self._ping_time = 0.0
        self._token: int | None = None

    # What other threads ask

    @property
    def telemetry_rate(self) -> float:
        """Rate of telemetry that the robot was asked for, Hz; 0 without a session."""
        return self._every * self.settings.rate

    @property
    def is_stopped(self) -> bool:
        """Whether the emergency stop is latched, by the host or by the robot."""
        return self._latched

    def wait_open(self, timeout: float = 10.0) -> wire.Capabilities:
        """Wait for the first hand-shake.

        Raises:
            LinkError: If it fails; the link does not try again then.
        """
        try:
            return self._opened.result(timeout)
        except TimeoutError:
            raise LinkError(f"no hand-shake within {timeout:g} s") from None

    def command(self, left: float, right: float, number: int) -> None:
        """Take a command, rad/s; it is in force from the next control interval on, while it is fresh."""
        (low, other), limit = MILLIROBOT.low.tolist(), self.settings.max_speed
        clipped = min(max(left, low), limit), min(max(right, other), limit)
        self.counts.clipped += clipped != (left, right)
        self._commands.take(*clipped, number)

    def enable(self) -> None:
        """Let the motors move; commands given before do not count.

        Raises:
            LinkError: If there is no link, or the robot refuses.
        """
        self._requests.call(self._enable, REQUEST_TIME)

    def disable(self) -> None:
        """Switch the motors off.

        Raises:
            LinkError: If there is no link, or the robot did not acknowledge it.
        """
        self._requests.call(self._disable, REQUEST_TIME)

    def emergency_stop(self) -> None:
        """Stop at once; latched in the robot until it is enabled in a new session.

        Raises:
            LinkError: If there is no link, or the robot did not acknowledge it.
            DisobeyedError: If it did, and no frame of the next moment says that the motors are off.
        """
        self._requests.call(self._emergency_stop, REQUEST_TIME)
        if not self.rest.wait():
            raise DisobeyedError(f"the robot acknowledges it, but {self.rest.wrong or 'sends nothing since'}")

    def close(self) -> None:
        """Stop the motors and end `run`."""
        self._closing.set()
        self._line.wake()

    # The link's thread

    def run(self) -> None:
        """Connect, and connect again, until `close`; ends early if the first attempt fails."""
        pause = BACK_OFF[0]
        try:
            while not self._closing.is_set():
                try:
                    self._connect()
                    pause = BACK_OFF[0]
                    while not self._closing.is_set():
                        self._turn()
                        self._requests.serve(self._ends_session)
                except LinkError as error:
                    self._lose(error)
                    if not self._opened.done():
                        self._opened.set_exception(error)
                        return
                    self._requests.refuse(f"there is no link: {error}")
                    self._wait(pause)
                    pause = min(2 * pause, BACK_OFF[1])
        finally:
            self._end()

    def _connect(self) -> None:
        self.status.state = "connecting"
        if self._first is not None and os.path.exists(self.settings.port):
            self._first.check_adapter(adapter_of(self.settings.port))
        self._line.open()
        self.status.adapter = adapter_of(self.settings.port)
        self._shake_hands()
        if not self._opened.done():
            assert self.status.capabilities is not None
            self._opened.set_result(self.status.capabilities)

    def _shake_hands(self) -> None:
        """Begin a session: motors off, nothing in force, telemetry at the wanted rate."""
        self._disarm()
        self.status.state = "connecting"
        self._every = 0
        self.codec.reset()
        good, received = self.codec.counts.good, self._line.received
        hello = wire.Hello(self.codec.version, secrets.randbelow(2**32 - 1) + 1)
        try:
            answer = self._ask(
                hello, lambda m: isinstance(m, wire.Capabilities) and m.session == hello.session, HELLO_TRIES
            )
        except NoAnswerError:
            if self.codec.counts.good > good:
                raise
            silent = "nothing arrives, so it is off, or not connected"
            wrong = "what arrives is something else, so it is another device"
            raise LinkError(
                f"no robot that speaks {self.codec.name} answers on {self.settings.port} at {self.settings.baud} baud:"
                f" {silent if self._line.received == received else wrong}, or set to another speed,"
                " protocol or profile"
            ) from None
        assert isinstance(answer, wire.Capabilities)
        now = Identity(self.status.adapter, answer)
        self._first = self._first or now
        self.status.doubt = self._first.doubt(now)
        check_fits(answer, self.codec, self.settings)
        self.status.capabilities = answer
        settings, frames = self.settings, self.settings.frames(answer.rate)
        rate, gains = frames * settings.rate, (settings.gains, settings.gains)
        self._request(wire.Configure(rate, gains, settings.max_speed, settings.dead_man))
        self.counts.sessions += 1
        self._every, self._polled = frames, answer.polled
        self._commands.begin_session()
        self._last_tick = self._last_sequence = 0
        self._stalled = False
        self._last_arrival = self._next_ping = self._next_poll = time.monotonic()
        self.status.state, self.status.reason, self.status.another = "ready", "", False

    def _request(self, request: wire.HostMessage) -> None:
        """Send a request until it is acknowledged.

        Raises:
            LinkError: If it is not, or is refused.
        """
        name = type(request).__name__
        answer = self._ask(request, lambda m: isinstance(m, wire.Acknowledge) and m.request == name)
        assert isinstance(answer, wire.Acknowledge)
        if not answer.accepted:
            raise LinkError(f"the robot refuses {name}: {answer.reason or 'it does not say why'}")

    def _ask(
        self, request: wire.HostMessage, is_answer: Callable[[wire.Message], bool], tries: int = TRIES
    ) -> wire.Message:
        self._asking = True
        try:
            for attempt in range(tries):
                self.counts.repeated_requests += attempt > 0
                self._line.send(request)
                end = time.monotonic() + ANSWER_TIME
                while (left := end - time.monotonic()) > 0:
                    for message in self._turn(left):
                        if is_answer(message):
                            return message
                    if self._closing.is_set():
                        raise LinkLostError("the link was closed")
        finally:
            self._asking = False
        raise NoAnswerError(f"the robot does not answer {type(request).__name__}")

    def _turn(self, longest: float = PING_PERIOD) -> list[wire.Message]:
        """Wait for what comes next and deal with it; returns what is neither telemetry nor an answer to a ping."""
        due = [longest]
        now = time.monotonic()
        if self._every:
            silence = self.settings.lost_time if self._stalled else self.settings.stale_time
            due.append(self._last_arrival + silence - now)
            due.append(self._next_ping - now)
            if self._polled and not self._asking:
                due.append(self._next_poll - now)
            due.append(self._commands.expiry - now)
        messages = self._line.receive(min(due))
        arrival = time.monotonic()
        others = [message for message in messages if not self._take(message, arrival)]
        self._watch(time.monotonic())
        return others

    def _take(self, message: wire.Message, arrival: float) -> bool:
        if isinstance(message, wire.Pong):
            if message.token == self._token:
                self.status.round_trip = arrival - self._ping_time
            return True
        if isinstance(message, wire.Telemetry):
            if self._every:
                self._take_telemetry(message, arrival)
            return True
        return False

    def _take_telemetry(self, telemetry: wire.Telemetry, arrival: float) -> None:
        ahead = telemetry.sequence - self._last_sequence
        if ahead <= 0:
            self.counts.reordered += 1
            return
        self.counts.dropped += ahead - 1 if self._last_sequence else 0
        self.counts.samples += 1
        self._last_sequence = telemetry.sequence
        self._last_arrival, self._stalled = arrival, False
        self._latched |= telemetry.emergency_stop
        self.status.newest = telemetry
        self.status.arrivals.append(arrival)
        number = self._commands.number(telemetry.command_sequence)
        index = telemetry.sequence // self._every
        tick = index > self._last_tick
        self._last_tick = max(index, self._last_tick)
        if not self._polled:
            if tick:
                self._commands.begin_interval(self._enabled_since is not None)
            # The command first: the robot is not to wait for what is done with its state.
            if self._enabled_since is not None:
                self._send_command()
        self._on_sample(Sample(telemetry, arrival, self.counts.sessions, tick, number, self._commands.exact))
        if self._enabled_since is not None and arrival - self._enabled_since > ANSWER_TIME and not telemetry.enabled:
            why = ", ".join(telemetry.faults) or "it does not say why"
            self._stopped(f"the robot has switched its motors off: {why}")
        elif self.rest.take(telemetry, arrival):
            self._send_command()
            self._line.send(wire.EmergencyStop() if self._latched else wire.Enable(False))

    def _send_command(self) -> None:
        if self._polled and self._commands.next_sequence % self._every == 0:
            self._commands.begin_interval(self._enabled_since is not None)
        self.counts.commands += 1
        self._line.send(self._commands.to_send())
        self.counts.expired = self._commands.expired

    def _watch(self, now: float) -> None:
        if not self._every:
            return
        if now >= self._commands.expiry:
            self._send_command()
        # An answer could not be distinguished from those to polls that are on their way.
        if self._polled and not self._asking and now >= self._next_poll:
            # The telemetry that is asked for has the state, and what was in force, before this command.
            self._next_poll = max(self._next_poll + 1.0 / self.telemetry_rate, now)
            self._send_command()
        silence = now - self._last_arrival
        if silence >= self.settings.lost_time:
            raise LinkLostError(f"the robot has sent nothing for {silence:.1f} s")
        if silence >= self.settings.stale_time and not self._stalled:
            self._stalled = True
            self.counts.stalls += 1
            self._commands.drop()
            if self._enabled_since is not None:
                self._send_command()
        if now >= self._next_ping:
            self._next_ping = now + PING_PERIOD
            self._token, self._ping_time = secrets.randbits(32), now
            self._line.send(wire.Ping(self._token))

    def _ends_session(self, error: LinkError) -> bool:
        """Whether a failed request ends it; what a robot refuses within a session leaves the link as it is."""
        return isinstance(error, LinkLostError) or not self._every

    def _enable(self) -> None:
        if self._latched:
            self._shake_hands()
        self._commands.drop()
        self.rest.end()  # frames may say it before the answer is there
        try:
            self._request(wire.Enable(True))
        except LinkError:
            self.rest.begin(time.monotonic())
            raise
        self._latched = False
        self._enabled_since = time.monotonic()
        self.status.state = "enabled"

    def _disable(self) -> None:
        was = self._enabled_since is not None
        self._disarm()
        if was:
            self._send_command()
        self._request(wire.Enable(False))
        self.status.state = "ready"

    def _emergency_stop(self) -> None:
        self._disarm()
        self.status.state = "ready"
        self._latched = True
        self._request(wire.EmergencyStop())

    def _disarm(self) -> None:
        self._commands.drop()
        self._enabled_since = None
        self.rest.begin(time.monotonic())

    def _stopped(self, reason: str) -> None:
        self._disarm()
        self.status.state, self.status.reason = "ready", reason
        self._on_stop(reason, False)

    def _lose(self, error: LinkError) -> None:
        was, had_session, reason = self._enabled_since is not None, self._every > 0, str(error)
        self._end_session()
        self.status.state, self.status.reason = "connecting", reason
        self.status.another = isinstance(error, AnotherRobotError)
        self.counts.losses += had_session
        if was:
            self._on_stop(reason, True)

    def _end_session(self) -> None:
        """Stop the motors, as far as the line still carries it, and close the port."""
        self._disarm()
        if not self._line.is_open:
            return
        try:
            if self._every:
                self._send_command()
                self._line.send(wire.Enable(False))
        except LinkLostError:
            self.status.reason = "the line carried no stop"  # the robot's dead-man stops it
        self._every = 0
        self._line.close()

    def _wait(self, duration: float) -> None:
        """Wait before the next attempt; a request brings it forward, since the cable may be in again."""
        end = time.monotonic() + duration
        while not self._closing.is_set() and self._requests.empty and (left := end - time.monotonic()) > 0:
            self._line.receive(left)

    def _end(self) -> None:
        self._end_session()
        self._line.end()
        self.status.state = "closed"
        self._requests.refuse(f"there is no link: {self.status.reason}")
        if not self._opened.done():
            self._opened.set_exception(LinkError("the link was closed"))
