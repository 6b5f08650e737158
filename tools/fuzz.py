"""Coverage-guided fuzzing of what reads files and bytes of strangers; needs what requirements/fuzz.txt lists.

`PYTHONPATH=build/fuzz .venv/bin/python tools/fuzz.py TARGET SECONDS [FOLDER]` ends with an error, and keeps the input
as crash-*, at whatever is no ValueError, takes longer than 10 s, or more than 2 GB. FOLDER has inputs to begin with.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[1]
sys.path[:0] = [*map(str, ROOT.glob("src/*")), str(ROOT / "test")]

with atheris.instrument_imports(include=["mbmrl_base", "mbmrl_control", "fuzz_codecs", "yaml", "zipfile"]):
    from fuzz_codecs import LONGEST_WAIT, TARGETS, Line
    from mbmrl_base.robots.catalogue import of_metadata, read_description
    from mbmrl_base.robots.contract.contract import load_contract
    from mbmrl_base.robots.contract.fields import Field
    from mbmrl_base.system.yaml_text import parse
    from mbmrl_control.dynamics.prior import load_prior
    from mbmrl_control.learners import make_learner
    from mbmrl_control.training.episodes import Episode

FILE = Path(tempfile.mkdtemp(prefix="fuzz-")) / "file"
LINES = [Line(target, 1) for target in TARGETS]


def written(data: bytes, suffix: str) -> Path:
    """A file of an input."""
    path = FILE.with_suffix(suffix)
    path.write_bytes(data)
    return path


def codec(data: bytes) -> None:
    """Bytes of a serial line; the first one chooses the decoder."""
    line = LINES[data[0] % len(LINES)]
    line.receiver.feed(data[1:])
    assert len(line.receiver._buffer) <= LONGEST_WAIT


def checkpoint(data: bytes) -> None:
    """A file of a prior; of other inputs the header alone is theirs."""
    if data[0] % 2:
        header = json.dumps({"__metadata__": {"mbmrl": data[1:].decode(errors="replace")}}).encode()
        data = b"\0" + len(header).to_bytes(8, "little") + header
    make_learner(load_prior(written(data[1:], ".safetensors")))


def episode(data: bytes) -> None:
    """A file of an episode; of other inputs one array, or its metadata, is theirs."""
    if data[0] % 3:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for name in ("state", "action", "time", "metadata"):
                file.writestr(f"{name}.npy", data[1:])
        data = b"\0" + archive.getvalue()
    Episode.load(written(data[1:], ".npz"))


PARSERS: dict[str, Callable[[bytes], object]] = {
    "codec": codec,
    "checkpoint": checkpoint,
    "episode": episode,
    "yaml": lambda data: parse(data.decode(errors="replace")),
    "robot": lambda data: read_description(written(data, ".yaml")),
    "contract": lambda data: load_contract(written(data, ".yaml")),
    "metadata": lambda data: of_metadata(json.loads(data)),
    "field": lambda data: Field(data.decode(errors="replace")),
}


def main(name: str, seconds: str, *folders: str) -> None:
    """Try inputs on one parser for a time in s."""

    def try_input(data: bytes) -> None:
        if data:
            try:
                PARSERS[name](data)
            except ValueError:
                return

    limits = (f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=20000")
    atheris.Setup([sys.argv[0], *folders, *limits], try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
