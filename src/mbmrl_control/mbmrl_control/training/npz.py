"""Archives of arrays that may come from strangers: what they claim to hold is looked at before it is made room for."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy_format

_npy: Any = npy_format  # it has no types
MOST_BYTES: Final = 2**30
"""Size of all arrays of a file at most; an episode of an hour at 200 Hz with 100 states has 0.6 GB."""


def check_sizes(path: Path) -> None:
    """See whether the arrays of an archive, ``*.npz``, are as large as they are said to be, and not too large.

    Raises:
        ValueError: If they are not.
        OSError, zipfile.BadZipFile: If it cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if (size := sum(part.file_size for part in parts)) > MOST_BYTES:
            raise ValueError(f"its arrays have {size / 1e9:.3g} GB, allowed are {MOST_BYTES / 1e9:.3g}")
        for part in parts:
            with archive.open(part) as file:
                version = _npy.read_magic(file)
                read = _npy.read_array_header_1_0 if version == (1, 0) else _npy.read_array_header_2_0
                shape, _, kind = read(file)
                claimed = math.prod(shape) * np.dtype(kind).itemsize
                if min(shape, default=0) < 0 or file.tell() + claimed != part.file_size:
                    raise ValueError(f"{part.filename} says that it has the shape {shape}, for which it is no fit")
