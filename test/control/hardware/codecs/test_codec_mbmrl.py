"""The protocol `mbmrl`: what is sent arrives, and nothing else does."""

from __future__ import annotations

import dataclasses
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbmrl_control.hardware.codecs.mbmrl_codec import COUNTS_PER_TURN, MAX_FRAME, MbmrlCodec
from mbmrl_control.hardware.codecs.wire import (
    Acknowledge,
    Capabilities,
    CodecError,
    Command,
    Configure,
    EmergencyStop,
    Enable,
    Hello,
    Message,
    Ping,
    Pong,
    Telemetry,
)
from mbmrl_control.hardware.settings import ProtocolSettings

SESSION = 0x12345678
CAPABILITIES = Capabilities(1, SESSION, "walker 2.1", 2, 6, 100.0, 0.125, 56.5)
CONFIGURE = Configure(50.0, ((1800, 200, 100, 0, 0), (1800, 200, 100, 0, -7)), 56.5, 0.125)
TELEMETRY = Telemetry(
    sequence=7,
    time=12.345678,
    command_sequence=6,
    applied=(12.5, -3.25),
    phases=(math.pi / 2, -3000 * math.pi),
    speeds=(12.25, -3.0),
    gyro=(0.5, -0.25, 4.0),
    acceleration=(0.0, -9.75, 1.5),
    back_emf=(1.5, 0.25),
    battery=3.875,
    current=(0.5, math.nan),
    temperature=(math.nan, 31.5),
    enabled=True,
    emergency_stop=False,
    faults=("low_battery", "stall", "fault_15"),
)
FROM_HOST: list[Message] = [
    *(CONFIGURE, Enable(True), Enable(False), EmergencyStop(), Command(1, 12.566370964050293, 0.0)),
    *(Ping(0), Ping(2**32 - 1), Command(2**32 - 1, -(2.0**100), 2.0**-100)),
]
FROM_ROBOT: list[Message] = [
    *(dataclasses.replace(CAPABILITIES, device_id=2**64 - 1), CAPABILITIES),
    *(TELEMETRY, Pong(0), Acknowledge("Configure", True), Acknowledge("Enable", False, "the legs are stuck")),
]


def a_pair() -> tuple[MbmrlCodec, MbmrlCodec]:
    """A host's and a robot's codec in a session."""
    host, robot = MbmrlCodec("host"), MbmrlCodec("robot")
    assert robot.feed(host.encode(Hello(1, SESSION))) == [Hello(1, SESSION)]
    assert host.feed(robot.encode(CAPABILITIES)) == [CAPABILITIES]
    return host, robot


def same(left: list[Message], right: list[Message]) -> bool:
    """Whether messages are equal, NaN included."""
    return [str(dataclasses.asdict(m)) for m in left] == [str(dataclasses.asdict(m)) for m in right]


# What is sent arrives


@pytest.mark.parametrize("message", FROM_HOST, ids=str)
def test_messages_of_the_host_arrive_as_they_are(message: Message) -> None:
    host, robot = a_pair()
    assert robot.feed(host.encode(message)) == [message]


@pytest.mark.parametrize("message", FROM_ROBOT, ids=lambda m: type(m).__name__)
def test_messages_of_the_robot_arrive_as_they_are(message: Message) -> None:
    host, robot = a_pair()
    assert same(host.feed(robot.encode(message)), [message])


@given(st.lists(st.integers(1, 40), max_size=30))
@settings(deadline=None, max_examples=50)
def test_bytes_may_be_cut_anywhere(cuts: list[int]) -> None:
    host, robot = a_pair()
    data = b"".join(map(host.encode, FROM_HOST))
    messages = []
    for cut in [*cuts, len(data)]:
        messages += robot.feed(data[:cut])
        data = data[cut:]
    assert messages == FROM_HOST
    assert dataclasses.astuple(robot.counts) == (len(FROM_HOST) + 1, 0, 0, 0, 0)


def test_phase_keeps_its_resolution_after_a_week() -> None:
    host, robot = a_pair()
    turns = 7 * 86400 * 9
    far = dataclasses.replace(TELEMETRY, phases=(turns * 2 * math.pi + 1.0, 0.0))
    (message,) = host.feed(robot.encode(far))
    assert isinstance(message, Telemetry)
    assert message.phases[0] - turns * 2 * math.pi == pytest.approx(1.0, abs=2 * math.pi / COUNTS_PER_TURN)


def test_no_frame_is_longer_than_the_limit() -> None:
    host, robot = a_pair()
    longest = [
        *(
            robot.encode(dataclasses.replace(CAPABILITIES, firmware="f" * 500, device_id=2**64 - 1)),
            robot.encode(TELEMETRY),
        ),
        *(robot.encode(Acknowledge("Enable", False, "r" * 500)), host.encode(CONFIGURE)),
    ]
    assert max(map(len, longest)) - 2 <= MAX_FRAME


def test_text_is_printable_and_cut() -> None:
    host, robot = a_pair()
    (message,) = host.feed(robot.encode(Acknowledge("Enable", False, "température\x1b[2J" + "x" * 200)))
    assert message == Acknowledge("Enable", False, ("temp?rature?[2J" + "x" * 200)[:96])


# What does not fit is refused


@pytest.mark.parametrize(
    ("side", "message", "reason"),
    [
        ("robot", Enable(True), r"^Enable is not sent by a robot$"),
        ("host", Pong(1), r"^Pong is not sent by a host$"),
        ("host", Command(1, math.nan, 0.0), r"^Command does not fit the protocol mbmrl: a value is not finite$"),
        ("host", Command(1, 0.0, math.inf), r"not finite"),
        ("host", Command(1, 1e39, 0.0), r"^Command does not fit"),
        ("host", Command(-1, 0.0, 0.0), r"^Command does not fit"),
        ("host", Command(2**32, 0.0, 0.0), r"^Command does not fit"),
        ("host", Hello(1, 0), r"^a session is a number from 1 to 2\^32 - 1, not 0$"),
        ("host", dataclasses.replace(CONFIGURE, gains=((1,), (2,))), r"gains are 5 for each of 2 sides$"),
        ("host", dataclasses.replace(CONFIGURE, rate=math.nan), r"not finite"),
        (
            "robot",
            dataclasses.replace(CAPABILITIES, session=3),
            r"^session 3 is not that of the last Hello, 30",
        ),
        ("robot", dataclasses.replace(CAPABILITIES, device_id=2**64), r"^Capabilities does not fit"),
        ("robot", dataclasses.replace(TELEMETRY, time=math.nan), r"not finite"),
        ("robot", dataclasses.replace(TELEMETRY, time=-1.0), r"^Telemetry does not fit"),
        ("robot", dataclasses.replace(TELEMETRY, applied=(math.nan, 0.0)), r"not finite"),
        ("robot", dataclasses.replace(TELEMETRY, battery=math.inf), r"infinite"),
        ("robot", dataclasses.replace(TELEMETRY, faults=("tired",)), r"^Telemetry does not fit"),
        ("robot", Acknowledge("Telemetry", True), r"^Acknowledge does not fit"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_message_that_does_not_fit_is_refused(side: str, message: Message, reason: str) -> None:
    host, robot = a_pair()
    codec, other = (host, robot) if side == "host" else (robot, host)
    with pytest.raises(CodecError, match=reason):
        codec.encode(message)
    # The session goes on as if nothing had been.
    after: Message = Ping(5) if side == "host" else Pong(5)
    assert other.feed(codec.encode(after)) == [after]
    assert other.counts.lost == 0


def test_unknown_protocol_is_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"^unknown protocol 'morse': allowed is mbmrl"):
        ProtocolSettings(protocol="morse").codec("host")


# Sessions


@pytest.mark.parametrize("message", [Command(1, 1.0, 1.0), Enable(True), CONFIGURE, Ping(1)], ids=str)
def test_nothing_counts_before_a_hand_shake(message: Message) -> None:
    host, robot = MbmrlCodec("host"), MbmrlCodec("robot")
    assert robot.feed(host.encode(message)) == []
    assert host.feed(robot.encode(TELEMETRY)) == []
    assert (robot.counts.stale, host.counts.stale) == (1, 1)


def test_old_session_is_refused_after_a_new_hand_shake() -> None:
    host, robot = a_pair()
    old_command, old_telemetry = host.encode(Command(1, 1.0, 1.0)), robot.encode(TELEMETRY)
    assert robot.feed(host.encode(Hello(1, SESSION + 1)) + old_command) == [Hello(1, SESSION + 1)]
    assert host.feed(old_telemetry) == []
    assert (robot.counts.stale, host.counts.stale) == (1, 1)


def test_rebooted_robot_takes_no_command() -> None:
    host, robot = a_pair()
    robot.reset()
    assert robot.feed(host.encode(Command(1, 1.0, 1.0))) == []


def test_stop_counts_without_a_session_and_repeated() -> None:
    host, robot = a_pair()
    stop = host.encode(EmergencyStop())
    robot.reset()
    assert robot.feed(stop + stop + MbmrlCodec("host").encode(EmergencyStop())) == [EmergencyStop()] * 3


def test_repeated_and_older_frames_are_refused() -> None:
    host, robot = a_pair()
    first, second = host.encode(Command(1, 1.0, 1.0)), host.encode(Command(2, 2.0, 2.0))
    assert robot.feed(second + second + first) == [Command(2, 2.0, 2.0)]
    assert (robot.counts.stale, robot.counts.lost) == (2, 1)


def test_lost_frames_are_counted_over_the_turn_of_the_number() -> None:
    host, robot = a_pair()
    frames = [host.encode(Ping(number)) for number in range(70_000)]
    assert len(robot.feed(b"".join(frames[::1000]))) == 70
    assert (robot.counts.lost, robot.counts.stale) == (69 * 999, 0)


def test_another_version_can_still_say_who_it_is() -> None:
    host, robot = a_pair()
    assert robot.feed(host.encode(Hello(9, 5))) == [Hello(9, 5)]
    theirs = dataclasses.replace(CAPABILITIES, version=9, session=5)
    assert host.feed(robot.encode(theirs)) == [theirs]
    assert robot.feed(host.encode(Enable(True))) == []


# Noise


def test_own_echo_is_no_message() -> None:
    host, _ = a_pair()
    assert host.feed(b"".join(map(host.encode, FROM_HOST))) == []
    assert host.counts.bad == len(FROM_HOST)


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=200)
def test_frame_after_any_bytes_is_found(garbage: bytes) -> None:
    host, robot = a_pair()
    assert robot.feed(garbage + host.encode(Ping(3))) == [Ping(3)]


@pytest.mark.parametrize("replacement", [0, 1, 128, 255])
def test_damaged_byte_costs_no_more_than_its_frame(replacement: int) -> None:
    length = len(a_pair()[0].encode(Ping(0)))
    for position in range(3 * length):
        host, robot = a_pair()
        data = bytearray(b"".join(host.encode(Ping(token)) for token in range(3)))
        hit = position // length if data[position] != replacement else None
        data[position] = replacement
        assert robot.feed(bytes(data)) == [Ping(token) for token in range(3) if token != hit]


def test_long_line_without_delimiters_takes_no_memory() -> None:
    host, robot = a_pair()
    for _ in range(1000):
        assert robot.feed(b"\x55" * 1000) == []
        assert len(robot._buffer) <= MAX_FRAME
    assert robot.feed(host.encode(Ping(3))) == [Ping(3)]
    assert robot.counts.skipped == 1_000_000


def test_no_wrong_frame_in_a_noisy_stream() -> None:
    rng = Random(1)
    host, robot = a_pair()
    sent, got = set(), []
    for sequence in range(1, 20_000):
        command = Command(sequence, float(sequence), -float(sequence))
        sent.add(command)
        data = bytes(rng.randrange(256) if rng.random() < 0.01 else byte for byte in host.encode(command))
        got += robot.feed(data)
    assert set(got) <= sent
    assert len(got) == len(set(got))
    assert 0.72 < len(got) / len(sent) < 0.80
    assert robot.counts.stale == 0
