"""The robot's own protocol: bytes as its firmware has them, SI units on the other end, and what damaged bytes do."""

from __future__ import annotations

import dataclasses
import math
import struct
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbmrl_control.hardware.codecs.velociroach_codec import VelociroachCodec
from mbmrl_control.hardware.codecs.velociroach_profiles import SPEED_PER_COUNT
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

GAINS = ((1800, 200, 100, 0, 0), (1800, 200, 100, 0, -1))
CONFIGURE = Configure(10.0, GAINS, 56.5, 0.1)
HELLO = Hello(1, 77)
TELEMETRY = Telemetry(
    sequence=3,
    time=12.5,
    command_sequence=0,
    applied=(0.0, 0.0),
    phases=(math.pi / 2, -3 * math.pi),
    speeds=(1.0, 2.0),
    gyro=(0.5, -0.25, 4.0),
    acceleration=(0.0, -9.75, 1.5),
    back_emf=(1.5, 0.25),
    battery=3.9,
    current=(0.5, math.nan),
    temperature=(math.nan, 31.5),
    enabled=True,
    emergency_stop=False,
)


def codec(side: Any, **options: Any) -> VelociroachCodec:
    return VelociroachCodec(side, **options)


def a_pair(**options: Any) -> tuple[VelociroachCodec, VelociroachCodec]:
    """Both sides after a hand-shake, with gains set."""
    host, robot = codec("host", **options), codec("robot", **options)
    heard = robot.feed(host.encode(HELLO))
    (hello,) = (m for m in heard if isinstance(m, Hello))
    answer = robot.encode(Capabilities(1, hello.session, "VR 1.2", 2, 6, 10.0, 0.0, 56.5))
    (capabilities,) = host.feed(answer)
    assert isinstance(capabilities, Capabilities)
    assert (capabilities.firmware, capabilities.session, capabilities.polled) == ("VR 1.2", 77, True)
    robot.feed(host.encode(CONFIGURE))
    assert host.feed(robot.encode(Acknowledge("Configure", True))) == [Acknowledge("Configure", True)]
    robot.encode(TELEMETRY)  # the answer to the hand-shake's zero, which is lost
    return host, robot


def answered(host: VelociroachCodec, robot: VelociroachCodec, message: Any, time: float) -> list[Message]:
    """What a host gets where a robot answers a message with telemetry."""
    robot.feed(host.encode(message))
    return host.feed(robot.encode(dataclasses.replace(TELEMETRY, time=time)))


# Bytes


@pytest.mark.parametrize(
    ("message", "frames"),
    [
        (Command(1, 131 * SPEED_PER_COUNT, 590 * SPEED_PER_COUNT), ["7e000b01002052000096" + "83004e02" + "%02x"]),
        (Ping(9), ["7e000701002052000084" + "%02x"]),
        (Enable(False), ["7e000701002052000092" + "%02x", "7e000b01002052000096" + "00000000" + "%02x"]),
    ],
    ids=str,
)
def test_radio_frames_are_those_of_the_firmware(message: Any, frames: list[str]) -> None:
    host, robot = a_pair(timed_run=False)
    robot.feed(host.encode(Enable(True)))
    expected = b""
    for frame in frames:
        body = bytes.fromhex(frame[6:-4])
        expected += bytes.fromhex(frame % (0xFF - sum(body) % 256))
    assert host.encode(message) == expected


def test_wired_frame_counts_itself_and_sums_from_255() -> None:
    host, _ = a_pair(framing="wired")
    data = struct.pack("<10h", *GAINS[0], *GAINS[1])
    packet = b"\0\x82" + data
    assert host.encode(CONFIGURE) == bytes([25, 256 - 26]) + packet + bytes([(0xFF + sum(packet)) % 256])


def test_telemetry_is_scaled_as_in_the_firmware() -> None:
    host, _ = a_pair()
    host.encode(Command(1, 0.0, 0.0))
    counts = (9, 2_000_000, 65536, -32768, 0, 0, 100, -100, 16384, 0, -16384, 4096, 0, -4096, 100, -100, 800)
    body = b"\x81\x20\x52\x28\0" + b"\0\x20" + struct.pack("<LL4l11h", *counts)
    (message,) = host.feed(b"\x7e" + struct.pack(">H", len(body)) + body + bytes([0xFF - sum(body) % 256]))
    assert isinstance(message, Telemetry)
    assert message.time == 2.0
    assert message.phases == pytest.approx((2 * math.pi, -math.pi))
    assert message.gyro == pytest.approx((math.radians(1000), 0.0, -math.radians(1000)))
    assert message.acceleration == pytest.approx((9.80665, 0.0, -9.80665))
    assert message.back_emf == pytest.approx((1.00977, -1.00977), abs=1e-5)
    assert message.battery == pytest.approx(3.5364, abs=1e-4)
    assert all(map(math.isnan, (*message.speeds, *message.current, *message.temperature)))


# Both sides


@pytest.mark.parametrize("framing", ["xbee", "wired"])
def test_telemetry_answers_each_command_once(framing: str) -> None:
    host, robot = a_pair(framing=framing)
    assert robot.encode(TELEMETRY) == b""
    robot.feed(host.encode(Command(1, 0.0, 0.0)))
    (message,) = host.feed(robot.encode(TELEMETRY))
    assert isinstance(message, Telemetry)
    for name in ("phases", "gyro", "acceleration", "back_emf"):
        assert getattr(message, name) == pytest.approx(getattr(TELEMETRY, name), abs=5e-3)
    assert message.battery == pytest.approx(TELEMETRY.battery, abs=5e-3)
    assert robot.encode(TELEMETRY) == b""


def test_speed_and_command_in_force_are_those_of_the_interval() -> None:
    host, robot = a_pair(timed_run=False)
    answered(host, robot, Enable(True), 1.0)
    answered(host, robot, Command(1, 20.0, 30.0), 1.1)
    robot.feed(host.encode(Command(2, 40.0, 50.0)))
    turned = dataclasses.replace(TELEMETRY, time=1.2, phases=(TELEMETRY.phases[0] + 2.0, TELEMETRY.phases[1] + 3.0))
    (message,) = host.feed(robot.encode(turned))
    assert isinstance(message, Telemetry)
    assert message.speeds == pytest.approx((20.0, 30.0), abs=0.01)
    assert message.command_sequence == 1
    assert message.applied == pytest.approx((20.0, 30.0), abs=SPEED_PER_COUNT / 2)


def test_what_is_said_to_be_applied_is_what_was_sent() -> None:
    host, robot = a_pair(timed_run=False)
    answered(host, robot, Enable(True), 1.0)
    (command,) = robot.feed(host.encode(Command(1, 20.001, 30.001)))
    assert isinstance(command, Command)
    (message,) = answered(host, robot, Command(2, 0.0, 0.0), 1.2)
    assert isinstance(message, Telemetry)
    assert message.sequence == 2
    assert message.applied == (command.left, command.right)


@pytest.mark.parametrize(
    ("answers", "numbers"),
    [
        ([(1,), (2,), (3,), (4,)], [1, 2, 3, 4]),
        ([(1,), (), (2, 3), (4,)], [1, 2, 3, 4]),  # late
        ([(1,), (), (3,), (4,)], [1, 3, 4]),  # one is lost
        ([(1,), (), (), (4,), (5,)], [1, 4, 5]),  # two are lost
    ],
    ids=["in time", "late", "lost", "two lost"],
)
def test_answers_belong_to_their_commands(answers: list[tuple[int, ...]], numbers: list[int]) -> None:
    host, robot = a_pair(timed_run=False)
    answered(host, robot, Enable(True), 0.95)
    got = []
    for n, arriving in enumerate(answers, 1):
        host.encode(Command(n, float(n), 0.0))
        for k in arriving:
            robot.feed(codec("host").encode(Command(k, 0.0, 0.0)))
            got += host.feed(robot.encode(dataclasses.replace(TELEMETRY, time=1.0 + k / 10)))
    told = [m for m in got if isinstance(m, Telemetry)]
    assert [m.sequence for m in told] == numbers
    assert [m.command_sequence for m in told] == [number - 1 for number in numbers]
    assert [m.applied[0] for m in told] == pytest.approx([number - 1 for number in numbers], abs=SPEED_PER_COUNT / 2)


def test_stop_is_acknowledged_by_the_telemetry_that_answers_it() -> None:
    host, robot = a_pair()
    robot.feed(host.encode(Command(1, 0.0, 0.0)))
    robot.feed(host.encode(EmergencyStop()))
    (earlier,) = host.feed(robot.encode(TELEMETRY))
    assert isinstance(earlier, Telemetry) and earlier.sequence == 1
    stopped = [Acknowledge("EmergencyStop", True)]
    assert host.feed(robot.encode(dataclasses.replace(TELEMETRY, time=12.6))) == stopped
    (message,) = answered(host, robot, Command(2, 0.0, 0.0), 12.7)
    assert isinstance(message, Telemetry) and message.emergency_stop and not message.enabled


def test_stop_is_latched_until_a_new_session() -> None:
    host, robot = a_pair()
    answered(host, robot, EmergencyStop(), 1.0)
    (refusal,) = answered(host, robot, Enable(True), 1.1)
    assert refusal == Acknowledge("Enable", False, "the emergency stop is latched until a new session")
    assert robot.feed(host.encode(Command(1, 9.0, 9.0))) == [Command(3, 0.0, 0.0)]
    robot.feed(host.encode(HELLO))
    host.feed(robot.encode(dataclasses.replace(TELEMETRY, time=1.2)))
    (accepted,) = answered(host, robot, Enable(True), 1.3)
    assert accepted == Acknowledge("Enable", True)


def test_motors_do_not_move_before_enable() -> None:
    host, robot = a_pair()
    assert robot.feed(host.encode(Command(1, 9.0, 9.0))) == [Command(1, 0.0, 0.0)]


def test_hand_shake_switches_the_motors_off_first() -> None:
    host, robot = codec("host"), codec("robot")
    assert robot.feed(host.encode(HELLO)) == [Enable(False), Command(1, 0.0, 0.0), Hello(1, 1)]


def test_each_command_starts_a_timed_run_anew() -> None:
    host, robot = a_pair()
    robot.feed(host.encode(Enable(True)))
    first, command = robot.feed(host.encode(Command(1, 9.0, 9.0)))
    assert isinstance(first, Configure) and isinstance(command, Command)
    assert (first.dead_man, first.gains) == (0.2, GAINS)
    assert robot.encode(Acknowledge("Configure", True)) == b""  # only gains are echoed
    sent = host.encode(Command(2, 9.0, 9.0))
    assert sent.count(bytes.fromhex("0091c800")) == 1
    assert [type(m) for m in robot.feed(sent)] == [Command]  # said once


def test_gains_that_read_back_differently_are_not_acknowledged() -> None:
    host, robot = a_pair()
    robot.feed(host.encode(dataclasses.replace(CONFIGURE, gains=((1, 2, 3, 4, 5), (6, 7, 8, 9, 10)))))
    robot._gains = ((1, 2, 3, 4, 5), (6, 7, 8, 9, 0))
    reason = "the gains read back are [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]"
    assert host.feed(robot.encode(Acknowledge("Configure", True))) == [Acknowledge("Configure", False, reason)]


def test_ping_asks_for_the_positions() -> None:
    host, robot = a_pair()
    assert robot.feed(host.encode(Ping(99))) == [Ping(0)]
    assert host.feed(robot.encode(Pong(0))) == [Pong(99)]


def test_mode_pwm_sends_duty_and_starts_no_speed_controller() -> None:
    host, robot = a_pair(mode="pwm")
    assert [type(m) for m in robot.feed(host.encode(Enable(True)))] == [Command]
    sent = host.encode(Command(1, 40.0, 100.0))
    assert struct.pack("<2h", 2000, 3800) in sent and b"\x95" in sent
    assert robot.feed(sent) == [Enable(True), Command(2, 40.0, 76.0)]
    assert robot.feed(host.encode(Command(2, 40.0, 40.0))) == [Command(3, 40.0, 40.0)]
    assert robot.feed(host.encode(Enable(False))) == [Enable(False), Command(4, 0.0, 0.0)]


def test_profile_turner_polls_and_its_thrust_expires() -> None:
    host, robot = a_pair(profile="turner")
    settings, stopped = robot.feed(host.encode(Enable(True)))
    assert isinstance(settings, Configure) and (settings.dead_man, stopped) == (0.2, Command(1, 0.0, 0.0))
    sent = host.encode(Command(1, 40.0, 40.0))
    assert bytes.fromhex("0080" + "d007d007c800") in sent and bytes.fromhex("0083" + "0000") in sent
    assert robot.feed(sent) == [Enable(True), Command(2, 40.0, 40.0)]
    acknowledge, message = (host.feed(robot.encode(dataclasses.replace(TELEMETRY, time=t)))[0] for t in (1.0, 1.1))
    assert acknowledge == Acknowledge("Enable", True)
    assert isinstance(message, Telemetry)
    assert message.gyro == pytest.approx(TELEMETRY.gyro, abs=5e-3)
    assert math.isnan(message.battery)


def test_clock_and_positions_run_over_the_turn_of_their_counters() -> None:
    host, robot = a_pair(timed_run=False)
    turn = 2**32 / 1e6
    start = dataclasses.replace(TELEMETRY, time=turn - 0.05, phases=(32767.9 * 2 * math.pi, 0.0))
    later = dataclasses.replace(TELEMETRY, time=turn + 0.05, phases=(32768.1 * 2 * math.pi, 0.0))
    got = []
    for number, telemetry in enumerate((start, later), 1):
        robot.feed(host.encode(Command(number, 0.0, 0.0)))
        got += host.feed(robot.encode(telemetry))
    assert [m.time for m in got if isinstance(m, Telemetry)] == pytest.approx([start.time, later.time])
    assert [m.phases[0] for m in got if isinstance(m, Telemetry)] == pytest.approx([start.phases[0], later.phases[0]])


# What is refused


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"profile": "x"}, r"^unknown profile 'x': allowed is millirobot, turner$"),
        ({"framing": "x"}, r"^unknown framing 'x': allowed is xbee, wired$"),
        ({"mode": "x"}, r"^unknown mode 'x': allowed is velocity, pwm$"),
        ({"profile": "turner", "mode": "velocity"}, r"^the firmware 'turner' has no mode 'velocity'$"),
    ],
)
def test_wrong_option_is_refused_with_a_sentence(options: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        codec("host", **options)


@pytest.mark.parametrize(
    "message",
    [
        Pong(1),
        Command(1, math.nan, 0.0),
        Configure(1.0, ((1,), (1,)), 1.0, 1.0),
        Configure(1.0, ((40000,) * 5,) * 2, 1.0, 1.0),
    ],
    ids=str,
)
def test_message_that_does_not_fit_is_refused(message: Any) -> None:
    with pytest.raises(CodecError, match=f"^{type(message).__name__} "):
        a_pair()[0].encode(message)


def test_robot_that_started_again_is_not_listened_to() -> None:
    host, robot = a_pair()
    answered(host, robot, Command(1, 0.0, 0.0), 100.0)
    assert answered(host, robot, Command(2, 0.0, 0.0), 0.1) == []
    assert host.counts.stale == 1


def test_another_robot_on_the_same_channel_is_not_listened_to() -> None:
    host, _ = a_pair()
    other, _ = a_pair(address=0x2053)
    _, robot = a_pair(address=0x2053)
    robot.feed(other.encode(Command(1, 0.0, 0.0)))
    assert host.feed(robot.encode(TELEMETRY)) == []


def test_nothing_counts_before_a_hand_shake() -> None:
    _, robot = a_pair()
    assert codec("host").feed(robot.encode(Pong(0))) == []


def test_impossible_values_are_dropped() -> None:
    host, robot = a_pair()
    answered(host, robot, Command(1, 0.0, 0.0), 1.0)
    robot.feed(host.encode(Command(2, 0.0, 0.0)))
    jump = dataclasses.replace(TELEMETRY, time=1.1, phases=(2000.0, 0.0))
    assert host.feed(robot.encode(jump)) == []
    assert host.counts.stale == 1


def test_wrong_time_that_was_taken_does_not_lock_out_what_follows() -> None:
    host, robot = a_pair()
    times = (1.0, 1.9, 1.1, 1.2)
    got = [answered(host, robot, Command(n, 0.0, 0.0), time) for n, time in enumerate(times, 1)]
    assert [m.time for messages in got for m in messages if isinstance(m, Telemetry)] == pytest.approx(times)


# Noise


@pytest.mark.parametrize("framing", ["xbee", "wired"])
@given(garbage=st.binary(max_size=300))
@settings(deadline=None, max_examples=200)
def test_frames_after_any_bytes_are_found(framing: str, garbage: bytes) -> None:
    host, robot = a_pair(framing=framing)
    robot.feed(garbage)
    # The header of a frame that never was may keep two short frames waiting, but none is lost.
    heard = robot.feed(b"".join(host.encode(Command(n, 0.0, 0.0)) for n in range(20)))
    assert sum(isinstance(m, Command) for m in heard) >= 10
    assert len(robot._buffer) <= 110


@pytest.mark.parametrize("framing", ["xbee", "wired"])
def test_damaged_byte_costs_no_more_than_its_frame(framing: str) -> None:
    rng = Random(2)
    for _ in range(300):
        host, robot = a_pair(framing=framing)
        position, value, times = rng.randrange(55), rng.randrange(1, 256), []
        for n in range(4):
            robot.feed(host.encode(Command(n + 1, 0.0, 0.0)))
            frame = bytearray(robot.encode(dataclasses.replace(TELEMETRY, time=1.0 + n / 10)))
            frame[position % len(frame)] ^= value if n == 1 else 0
            times += [m.time for m in host.feed(bytes(frame)) if isinstance(m, Telemetry)]
        # The signal strength belongs to the sum, so all of it is covered.
        assert times == pytest.approx([1.0, 1.2, 1.3])
