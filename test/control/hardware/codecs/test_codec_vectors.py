"""The test vectors of the protocol `mbmrl` that both sides' tests read; here with the codec of this package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mbmrl_control.hardware.codecs import mbmrl_codec
from mbmrl_control.hardware.codecs.mbmrl_codec import KINDS, PER_COUNT, REQUESTS, MbmrlCodec
from mbmrl_control.hardware.codecs.wire import (
    FAULTS,
    Acknowledge,
    Capabilities,
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

VECTORS = Path(__file__).resolve().parents[3] / "vectors" / "mbmrl.txt"
LINES = [line.split(" ") for line in VECTORS.read_text().splitlines() if not line.startswith("#")]
FRAMES = [line for line in LINES if line[0] != "refused"]
REFUSED = [line[1:] for line in LINES if line[0] == "refused"]
SESSION = 305419896


def capabilities(session: int, version: str, motors: str, legs: str, *rest: str) -> Capabilities:
    rate, dead_man, speed = map(float, rest[:3])
    text, _, device_id = " ".join(rest[3:]).partition(" id=")
    hands = (int(version), session, text, int(motors), int(legs))
    return Capabilities(*hands, rate, dead_man, speed, device_id=int(device_id or 0))


def telemetry(*values: str) -> Telemetry:
    v = [float(value) for value in values[:22]]
    flags, faults = map(int, values[22:])
    return Telemetry(
        sequence=int(values[0]),
        time=int(values[1]) / 1e6,
        command_sequence=int(values[2]),
        applied=(v[3], v[4]),
        phases=(int(values[5]) * PER_COUNT, int(values[6]) * PER_COUNT),
        speeds=(v[7], v[8]),
        gyro=(v[9], v[10], v[11]),
        acceleration=(v[12], v[13], v[14]),
        back_emf=(v[15], v[16]),
        battery=v[17],
        current=(v[18], v[19]),
        temperature=(v[20], v[21]),
        enabled=bool(flags & 1),
        emergency_stop=bool(flags & 2),
        faults=tuple(fault for bit, fault in enumerate(FAULTS) if faults >> bit & 1),
    )


MAKERS: dict[str, Callable[..., Message]] = {
    "Hello": lambda session, version: Hello(int(version), session),
    "Capabilities": lambda *values: capabilities(*values),
    "Configure": lambda session, rate, speed, dead_man, *gains: Configure(
        float(rate), (tuple(map(int, gains[:5])), tuple(map(int, gains[5:]))), float(speed), float(dead_man)
    ),
    "Enable": lambda session, enabled: Enable(enabled == "1"),
    "EmergencyStop": lambda session: EmergencyStop(),
    "Command": lambda session, sequence, left, right: Command(int(sequence), float(left), float(right)),
    "Ping": lambda session, token: Ping(int(token)),
    "Acknowledge": lambda session, request, accepted, *text: Acknowledge(
        REQUESTS[int(request)], accepted == "1", " ".join(text)
    ),
    "Pong": lambda session, token: Pong(int(token)),
    "Telemetry": lambda session, *values: telemetry(*values),
}


def codec_in(session: int, side: Any, sent: int = 0) -> MbmrlCodec:
    """A codec in a session, that sends the frame with a number next."""
    codec = MbmrlCodec(side)
    codec._session, codec._next_sent = session, sent
    return codec


def test_all_messages_have_vectors() -> None:
    assert {line[0] for line in FRAMES} == {kind.__name__ for kind in KINDS}
    assert len(REFUSED) > 25


@pytest.mark.parametrize("line", FRAMES, ids=lambda line: f"{line[0]}-{line[1]}")
def test_values_and_bytes_belong_together(line: list[str]) -> None:
    name, number, session, frame, *values = line
    message = MAKERS[name](int(session), *values)
    sender = KINDS[type(message)].sender
    receiver = codec_in(int(session), "robot" if sender == "host" else "host")
    assert codec_in(int(session), sender, int(number)).encode(message).hex() == frame
    receiver._last_received = (int(number) - 1) & 0xFFFF
    (heard,) = receiver.feed(bytes.fromhex(frame))
    assert str(heard) == str(message)  # NaN is equal to nothing


@pytest.mark.parametrize(("sender", "frame", "reason"), [(s, f, " ".join(r)) for s, f, *r in REFUSED], ids=lambda v: v)
def test_wrong_frame_is_refused(sender: str, frame: str, reason: str) -> None:
    receiver = codec_in(SESSION, "robot" if sender == "host" else "host")
    assert receiver.feed(bytes.fromhex(frame)) == []
    assert receiver.counts.good == 0
    counted = receiver.counts.bad + receiver.counts.stale + receiver.counts.skipped
    assert counted > 0 or reason == "an empty frame"


def test_sizes_are_those_of_the_document() -> None:
    text = (Path(__file__).resolve().parents[4] / "docs" / "protocol.md").read_text()
    for size, what in ((mbmrl_codec.MAX_FRAME, "bytes"), (mbmrl_codec.MAX_TEXT, "characters")):
        assert f"{size} {what}" in text
    for kind, entry in KINDS.items():
        assert f"| `{kind.__name__}` | `0x{entry.code:02X}` | {entry.sender} |" in text
    assert all(f"`{fault}`" in text for fault in FAULTS[:8])
    assert mbmrl_codec.TELEMETRY.size == 103 and "103 bytes" in text
