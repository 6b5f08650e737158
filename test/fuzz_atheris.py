"""Coverage-guided fuzzing of the decoders; needs what requirements/fuzz.txt lists.

`python test/fuzz_atheris.py -runs=1000000 -max_len=200`; the first byte of an input chooses the decoder.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1] / "src" / "mbmrl_control"), str(Path(__file__).parent)]

with atheris.instrument_imports():
    from fuzz_codecs import LONGEST_WAIT, TARGETS, Line

LINES = [Line(target, 1) for target in TARGETS]


def try_input(data: bytes) -> None:
    """Feed an input in two parts; what comes out of it must be well-formed, and sound frames must get through."""
    if len(data) < 2:
        return
    line = LINES[data[0] % len(LINES)]
    cut = data[1] % len(data)
    for piece in (data[2:cut], data[max(2, cut) :]):
        for message in line.receiver.feed(piece):
            if not line.polled:
                raise AssertionError(f"nobody sent {message}")
        if len(line.receiver._buffer) > LONGEST_WAIT:
            raise AssertionError("more is kept than the longest frame")
    if not line.polled:
        sound, _ = line.frame()
        if len(line.receiver.feed(sound)) != 1:
            raise AssertionError("a sound frame was missed")


atheris.Setup(sys.argv, try_input)
atheris.Fuzz()
