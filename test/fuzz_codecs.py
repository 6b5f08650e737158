"""Long runs against the codecs: `python test/fuzz_codecs.py --inputs 10000000 --bytes 10000000`.

`--inputs` are random bytes and valid frames that were changed, cut, doubled or spliced, for each target; after each
comes a sound frame. `--bytes` is the length of a stream of frames of which 1 % of the bytes are damaged.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src" / "mbmrl_control"))

from mbmrl_control.hardware.codecs import CODEC_TYPES
from mbmrl_control.hardware.codecs.wire import Capabilities, Codec, Command, Hello, Message, Telemetry

LONGEST_WAIT = 256
"""Bytes that a decoder may keep."""
RADIO: dict[str, Any] = {"framing": "xbee", "timed_run": False}
WIRED: dict[str, Any] = {"framing": "wired", "timed_run": False}
TARGETS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "mbmrl, robot": ("mbmrl", "robot", {}),
    "mbmrl, host": ("mbmrl", "host", {}),
    "velociroach, radio, robot": ("velociroach", "robot", RADIO),
    "velociroach, radio, host": ("velociroach", "host", RADIO),
    "velociroach, wired, robot": ("velociroach", "robot", WIRED),
    "velociroach, wired, host": ("velociroach", "host", WIRED),
}


@dataclass
class Result:
    """What came of a run.

    Attributes:
        inputs: Inputs, or frames of a stream.
        sound: Frames that were undamaged.
        taken: Messages of undamaged frames that were taken.
        wrong: Messages that nobody sent.
        bytes: Bytes fed.
    """

    inputs: int = 0
    sound: int = 0
    taken: int = 0
    wrong: int = 0
    bytes: int = 0


def told(message: Message) -> str:
    """What a message says, but for what a codec counts or derives from earlier ones."""
    if isinstance(message, Command):
        return str((message.left, message.right))
    if isinstance(message, Telemetry):
        m = message
        return str((m.time, m.phases, m.gyro, m.acceleration, m.back_emf, m.battery))
    return str(message)


class Line:
    """A sender of commands or telemetry, the receiver that is tried, and one that hears all undamaged."""

    def __init__(self, target: str, seed: int) -> None:
        """Shake hands."""
        protocol, self.side, options = TARGETS[target]
        self.rng = Random(seed)
        self.host, robot = (CODEC_TYPES[protocol](side, **options) for side in ("host", "robot"))
        self.receiver, self.twin = (CODEC_TYPES[protocol](self.side, **options) for _ in range(2))
        self.polled = protocol == "velociroach"
        hello = self.host.encode(Hello(1, 77))
        for codec in (self.receiver, self.twin) if self.side == "host" else ():
            assert codec.encode(Hello(1, 77)) == hello
        heard = [codec.feed(hello) for codec in (robot, self.receiver, self.twin) if codec.side == "robot"]
        session = next(message.session for message in heard[0] if isinstance(message, Hello))
        answer = robot.encode(Capabilities(1, session, "fuzzed", 2, 6, 100.0, 0.1, 60.0))
        for codec in (self.receiver, self.twin) if self.side == "host" else (self.host,):
            codec.feed(answer)
        self.robot = robot
        self.count = 0

    def frame(self) -> tuple[bytes, str]:
        """The next frame, and what its message tells."""
        self.count += 1
        data = self._command() if self.side == "robot" else self._telemetry()
        (message,) = self.twin.feed(data)
        return data, told(message)

    def _command(self) -> bytes:
        if self.polled:  # motors of a host that has not enabled them get zeros
            packet = bytes([0, 0x96, *self.rng.randbytes(4)])
            return self.host._framing.wrap(packet)  # type: ignore[attr-defined, no-any-return]
        return self.host.encode(Command(self.count, self.rng.uniform(0, 56), self.rng.uniform(0, 56)))

    def _telemetry(self) -> bytes:
        if self.polled:
            for codec in (self.receiver, self.twin, self.host):
                question = codec.encode(Command(self.count, 0.0, 0.0))
            self.robot.feed(question)
        v = [self.rng.uniform(-3, 3) for _ in range(10)]
        return self.robot.encode(
            Telemetry(
                sequence=self.count,
                time=self.count / 1000,
                command_sequence=self.count,
                applied=(v[8], v[9]),
                phases=(self.count / 100, self.count / 200 + v[0] / 1000),
                speeds=(v[8], v[9]),
                gyro=(v[0], v[1], v[2]),
                acceleration=(v[3], v[4], v[5]),
                back_emf=(v[6], v[7]),
                battery=3.9,
                current=(math.nan, math.nan),
                temperature=(math.nan, math.nan),
                enabled=True,
                emergency_stop=False,
            )
        )


def spoiled(data: bytes, rng: Random) -> bytes:
    """A frame with something done to it, or random bytes."""
    kind = rng.randrange(6)
    position = rng.randrange(len(data))
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 150))
    if kind == 1:
        return data[:position]
    if kind == 2:
        return data[:position] + data[max(0, position - rng.randrange(9)) :]
    if kind == 3:
        return data[:position] + rng.randbytes(rng.randrange(1, 9)) + data[position:]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        changed[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    return bytes(changed)


def listen(codec: Codec, data: bytes, expected: deque[tuple[str, bool]], result: Result) -> None:
    """Feed bytes, and compare what comes with what was sent lately."""
    result.bytes += len(data)
    for message in codec.feed(data):
        text = told(message)
        known = {sent: sound for sent, sound in expected}
        result.wrong += text not in known
        result.taken += known.get(text, False)
    assert len(codec._buffer) <= LONGEST_WAIT  # type: ignore[attr-defined]


def fuzz(target: str, inputs: int, seed: int) -> Result:
    """Feed inputs, each followed by a sound frame."""
    line, result, rng = Line(target, seed), Result(), Random(seed + 1)
    expected: deque[tuple[str, bool]] = deque(maxlen=12)
    for _ in range(inputs):
        data, text = line.frame()
        expected.append((text, False))
        listen(line.receiver, spoiled(data, rng), expected, result)
        data, text = line.frame()
        expected.append((text, True))
        listen(line.receiver, data, expected, result)
    result.inputs, result.sound = inputs, inputs
    return result


def noise(target: str, size: int, seed: int, share: float = 0.01) -> Result:
    """Feed a stream of which a share of the bytes are damaged."""
    line, result, rng = Line(target, seed), Result(), Random(seed + 1)
    expected: deque[tuple[str, bool]] = deque(maxlen=12)
    while result.bytes < size:
        data, text = line.frame()
        heard = bytes(byte ^ rng.randrange(1, 256) if rng.random() < share else byte for byte in data)
        expected.append((text, heard == data))
        listen(line.receiver, heard, expected, result)
        result.inputs += 1
        result.sound += heard == data
    return result


def main() -> None:
    """Run what is asked for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs for each target")
    parser.add_argument("--bytes", type=int, default=1_000_000, help="bytes of the noisy stream for each target")
    parser.add_argument("--target", choices=list(TARGETS), action="append", help="one target; again for more")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("| run | target | inputs | bytes | sound frames | of these taken | wrong messages | s |\n" + "|---" * 8 + "|")
    failed = False
    for run, amount in ((fuzz, options.inputs), (noise, options.bytes)):
        for target in options.target or TARGETS:
            start = time.monotonic()
            r = run(target, amount, options.seed)
            seconds = time.monotonic() - start
            print(
                f"| {run.__name__} | {target} | {r.inputs} | {r.bytes} | {r.sound} | {r.taken} | {r.wrong} |"
                f" {seconds:.0f} |",
                flush=True,
            )
            failed |= target.startswith("mbmrl") and (r.wrong > 0 or r.taken < r.sound)
    sys.exit(failed)


if __name__ == "__main__":
    main()
