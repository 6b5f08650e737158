"""Episodes on disk."""

from __future__ import annotations

import io
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbmrl_control.training import npz
from mbmrl_control.training.episodes import Episode, EpisodeError

FEW = settings(derandomize=True, deadline=None, max_examples=150, database=None)


def make_episode(length: int = 7) -> Episode:
    rng = np.random.default_rng(1)
    return Episode(
        state=rng.normal(size=(length + 1, 24)),
        action=rng.uniform(0, 56, (length, 2)),
        time=np.arange(length + 1) * 0.05,
        metadata={"robot": "millirobot", "seed": 3, "rate": 20.0, "policy": "random"},
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "episode.npz"


def arrays(**changes: Any) -> dict[str, Any]:
    """The arrays of a file; None leaves one out."""
    episode = make_episode()
    content = {name: getattr(episode, name) for name in ("state", "action", "time")}
    content |= {"metadata": np.array('{"robot": "millirobot"}')} | changes
    return {name: array for name, array in content.items() if array is not None}


def refusal(file: Path) -> str:
    with pytest.raises(EpisodeError) as error:
        Episode.load(file)
    assert str(file) in str(error.value)
    return str(error.value)


def test_what_is_saved_is_loaded(file: Path) -> None:
    episode = make_episode()
    episode.save(file)
    loaded = Episode.load(file)
    for name in ("state", "action", "time"):
        assert np.array_equal(getattr(loaded, name), getattr(episode, name))
        assert getattr(loaded, name).dtype == getattr(episode, name).dtype
    assert loaded.metadata == episode.metadata
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("name", ["state", "action", "time", "metadata"])
def test_missing_array_is_named(file: Path, name: str) -> None:
    np.savez(file, **arrays(**{name: None}))
    assert f"the array '{name}' is missing" in refusal(file)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("state", np.zeros((8, 23))),
        ("state", np.zeros((7, 24))),
        ("action", np.zeros((7, 3))),
        ("action", np.array(1.0)),
        ("time", np.zeros((8, 1))),
        ("state", np.full((8, 24), "a word")),
        ("time", np.arange(8)),
    ],
    ids=["width", "length", "width", "number", "rank", "words", "integers"],
)
def test_array_that_does_not_fit_is_named(file: Path, name: str, array: np.ndarray) -> None:
    np.savez(file, **arrays(**{name: array}))
    assert f": {name} has " in refusal(file)


@pytest.mark.parametrize("text", ["{cut", "[1, 2]", "3"])
def test_metadata_that_is_no_object_is_refused(file: Path, text: str) -> None:
    np.savez(file, **arrays(metadata=np.array(text)))
    refusal(file)


def test_pickled_array_is_refused(file: Path) -> None:
    np.savez(file, **arrays(state=np.array([object()], dtype=object)))
    refusal(file)


def test_single_array_is_refused(file: Path) -> None:
    with file.open("wb") as stream:
        np.save(stream, np.zeros((8, 24)))
    refusal(file)


@pytest.mark.parametrize("shape", [(10**12, 3), (10**30,), (2**40, 2**40)], ids=str)
def test_array_that_claims_to_be_larger_than_it_is_is_not_made_room_for(file: Path, shape: tuple[int, ...]) -> None:
    np.savez(file, **arrays())
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    stream = io.BytesIO()
    stream.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + bytes(64))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("more.npy", stream.getvalue())
    with pytest.raises(EpisodeError, match=r"more\.npy says that it has the shape"):
        Episode.load(file)


def test_archive_of_too_many_bytes_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(file, **arrays())
    monkeypatch.setattr(npz, "MOST_BYTES", 100)
    with pytest.raises(EpisodeError, match=r"its arrays have .* GB, allowed are"):
        Episode.load(file)


def test_missing_file_is_refused(file: Path) -> None:
    refusal(file)


def content() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays())
    return stream.getvalue()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("episodes") / "episode.npz"


@FEW
@given(st.floats(0, 1, exclude_max=True))
def test_cut_file_is_refused(scratch: Path, share: float) -> None:
    whole = content()
    scratch.write_bytes(whole[: int(share * len(whole))])
    refusal(scratch)


@FEW
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(scratch: Path, data: bytes) -> None:
    scratch.write_bytes(data)
    refusal(scratch)


@FEW
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_damaged_file_is_an_episode_or_refused(scratch: Path, place: float, flip: int) -> None:
    """Where the damage is in what nothing looks at, the episode is whole; else it is refused."""
    whole = bytearray(content())
    whole[int(place * len(whole))] ^= flip
    scratch.write_bytes(whole)
    with suppress(EpisodeError):
        assert Episode.load(scratch).state.shape == (8, 24)


def test_characters_that_there_are_not_are_refused(file: Path) -> None:
    text = '{"robot": "millirobot", "x": "?"}'.encode("utf-32-le").replace(b"?\0\0\0", b"\xff\xff\xff\x7f")
    np.savez(file, **arrays(metadata=np.frombuffer(text, dtype=f"<U{len(text) // 4}").reshape(())))
    assert "metadata is no JSON" in refusal(file)
