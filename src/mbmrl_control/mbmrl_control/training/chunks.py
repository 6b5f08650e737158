"""Sizes of what MCAP files have compressed, before there is made room for it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from mcap import stream_reader
from mcap.records import Chunk

MOST_BYTES: Final = 2**30
"""Size of a chunk of a recording at most, compressed or not; those of rosbag2 have less than 1 MB."""


def check_chunks(file: Path) -> None:
    """See how large the chunks of a file say that they are.

    Raises:
        ValueError: If one is too large.
    """
    largest = 0
    with suppress(Exception), file.open("rb") as stream:  # what is damaged is for the reader to say
        for record in stream_reader.StreamReader(stream, emit_chunks=True, record_size_limit=MOST_BYTES).records:
            if isinstance(record, Chunk):
                largest = max(largest, record.uncompressed_size)
                if record.compression == "zstd":
                    zstandard = stream_reader.zstandard  # type: ignore[attr-defined]
                    largest = max(largest, zstandard.frame_content_size(record.data))
    if largest > MOST_BYTES:
        raise ValueError(f"{file} has a chunk of {largest / 1e9:.3g} GB: allowed are {MOST_BYTES / 1e9:.3g}")
