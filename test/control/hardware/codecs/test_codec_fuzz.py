"""Short runs of `fuzz_codecs.py`, and of hypothesis, against all decoders."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz_codecs import LONGEST_WAIT, TARGETS, Line, fuzz, noise

MBMRL = [target for target in TARGETS if target.startswith("mbmrl")]


@pytest.mark.parametrize("target", TARGETS)
@given(pieces=st.lists(st.one_of(st.binary(max_size=80), st.sampled_from([b"\0", b"\x7e\0\x0b\x01", b"\x05\xfa"]))))
@settings(deadline=None, max_examples=100)
def test_any_bytes_are_heard_without_an_error(target: str, pieces: list[bytes]) -> None:
    receiver = Line(target, 1).receiver
    for piece in pieces:
        receiver.feed(piece)
        assert len(receiver._buffer) <= LONGEST_WAIT


@pytest.mark.parametrize("target", MBMRL)
def test_mbmrl_takes_each_sound_frame_and_nothing_else(target: str) -> None:
    for result in (fuzz(target, 4000, seed=3), noise(target, 200_000, seed=3)):
        assert (result.wrong, result.taken) == (0, result.sound)
        assert result.inputs > 1000


@pytest.mark.parametrize("target", sorted(set(TARGETS) - set(MBMRL)))
def test_velociroach_takes_the_sound_frames_and_hardly_anything_else(target: str) -> None:
    result = noise(target, 200_000, seed=3)
    assert result.taken >= 0.99 * result.sound
    assert result.wrong <= 1e-3 * result.inputs
