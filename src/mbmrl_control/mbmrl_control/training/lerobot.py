"""Data sets of LeRobot (format v3.0, https://huggingface.co/docs/lerobot) from episodes, and episodes from them.

| LeRobot | episode |
|---|---|
| ``observation.state``, ``action`` | ``state``, ``action``; a frame is a state and the action that follows it |
| ``mbmrl.time`` | ``time``, s; ``timestamp`` is that of an even rate, as LeRobot wants it |
| ``robot_type`` of ``meta/info.json`` | the robot's name |
| ``mbmrl.metadata`` of ``meta/episodes`` | ``metadata`` |

The last state of an episode is a frame too; no action follows it, so it has the one before, which is not read. A data
set of others needs no more than the first row of the table.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from mbmrl_base.robots.catalogue import as_metadata
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_control.training.episodes import Episode, EpisodeError, Folder

VERSION: Final = "v3.0"
"""Version of the format."""
_STATE, _ACTION, _TIME, _METADATA = "observation.state", "action", "mbmrl.time", "mbmrl.metadata"
_CHUNK: Final = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_FILE: Final = "chunk-000/file-000.parquet"
_OWN: Final = {
    "timestamp": "float32",
    **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64"),
}
"""Features that each data set has, with their types."""
_QUANTILES: Final = (1, 10, 50, 90, 99)
"""Percentiles that the statistics hold."""
_FILE_SIZE: Final = 100
"""Size of a file from which on there would be another one, MB."""


# To LeRobot


def export(folder: Folder, out: Path, task: str = "") -> int:
    """Write a data set into a new folder; returns its number of frames.

    Args:
        folder: The episodes; there must be a whole number of them per second, as frames per second are whole there.
        out: Where to write.
        task: What the robot does, in words.

    Raises:
        EpisodeError: If the control rate is no whole number.
    """
    rate = round(folder.rate)
    if abs(folder.rate - rate) > 1e-3 * rate or rate < 1:
        raise EpisodeError(f"{folder.path}: the control rate is {folder.rate:g} Hz: LeRobot knows whole numbers only")
    robot, task = folder.robot, task or "move"
    if not robot.action_names:
        raise EpisodeError(f"{folder.path}: the robot has no action: a data set of LeRobot has one in each frame")
    columns = [_frames(episode, number, rate) for number, episode in enumerate(folder.episodes)]
    joined = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    joined["index"] = np.arange(len(joined["index"]))
    features = _features(robot)
    _write(out / "data" / _FILE, {name: _column(joined[name], features[name]) for name in features})
    _write(out / "meta" / "episodes" / _FILE, _episodes(folder, columns, features, task))
    _write(out / "meta" / "tasks.parquet", {"task_index": pa.array([0]), "task": pa.array([task])}, _PANDAS)
    info = {
        "codebase_version": VERSION,
        "robot_type": robot.name or "robot",
        "total_episodes": len(folder.episodes),
        "total_frames": len(joined["index"]),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": _FILE_SIZE,
        "video_files_size_in_mb": 2 * _FILE_SIZE,
        "fps": rate,
        "splits": {"train": f"0:{len(folder.episodes)}"},
        "data_path": f"data/{_CHUNK}",
        "video_path": None,
        "features": features,
    }
    stats = {name: _statistics(values) for name, values in joined.items()}
    for name, content in (("info", info), ("stats", stats)):
        (out / "meta" / f"{name}.json").write_text(json.dumps(content, indent=4) + "\n")
    return len(joined["index"])


def _features(robot: Robot) -> dict[str, dict[str, Any]]:
    """What a frame holds; numbers are of double precision, so that none is rounded."""
    described = {_STATE: list(robot.state_names), _ACTION: list(robot.action_names)}
    found: dict[str, dict[str, Any]] = {
        name: {"dtype": "float64", "shape": [len(names)], "names": names} for name, names in described.items()
    }
    found[_TIME] = {"dtype": "float64", "shape": [1], "names": None}
    return found | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in _OWN.items()}


def _frames(episode: Episode, number: int, rate: int) -> dict[str, Array]:
    """Columns of an episode."""
    rows = np.arange(len(episode.state))
    last = episode.action[-1:] if len(episode.action) else np.zeros((1, episode.action.shape[1]))
    return {
        _STATE: episode.state,
        _ACTION: np.concatenate([episode.action, last]),
        _TIME: episode.time,
        "timestamp": rows / rate,
        "frame_index": rows,
        "episode_index": np.full(len(rows), number),
        "index": rows,
        "task_index": np.zeros(len(rows)),
    }


def _column(values: Array, feature: dict[str, Any]) -> pa.Array:
    """A column of numbers, or of vectors; a vector of one is a number there."""
    kind = feature["dtype"]
    flat = pa.array(values.astype(kind).ravel())
    width = feature["shape"][0]
    return flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)


def _episodes(
    folder: Folder, columns: Sequence[dict[str, Array]], features: dict[str, Any], task: str
) -> dict[str, pa.Array]:
    lengths = [len(column["index"]) for column in columns]
    ends = np.cumsum(lengths)
    zero = pa.array([0] * len(lengths))
    found = {
        "episode_index": pa.array(range(len(lengths))),
        "tasks": pa.array([[task]] * len(lengths)),
        "length": pa.array(lengths),
        "data/chunk_index": zero,
        "data/file_index": zero,
        "dataset_from_index": pa.array(ends - lengths),
        "dataset_to_index": pa.array(ends),
        "meta/episodes/chunk_index": zero,
        "meta/episodes/file_index": zero,
        _METADATA: pa.array([json.dumps(episode.metadata) for episode in folder.episodes]),
    }
    for name in features:
        told = [_statistics(column[name]) for column in columns]
        found |= {f"stats/{name}/{key}": pa.array([each[key] for each in told]) for key in told[0]}
    return found


def _statistics(values: Array) -> dict[str, list[float]]:
    """Statistics of a column; missing samples play no part."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        rows = np.zeros((1, rows.shape[1]))
    found = {name: getattr(np, name)(rows, axis=0).tolist() for name in ("min", "max", "mean", "std")}
    quantiles = {f"q{each:02d}": np.percentile(rows, each, axis=0).tolist() for each in _QUANTILES}
    return found | {"count": [len(values)]} | quantiles


_PANDAS: Final = {
    "index_columns": ["task"],
    "column_indexes": [
        {
            "name": None,
            "field_name": None,
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": {"encoding": "UTF-8"},
        }
    ],
    "columns": [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ],
    "pandas_version": "2.0.0",
}
"""By this a reader with pandas knows which column names the rows."""


def _write(file: Path, columns: dict[str, pa.Array], pandas: dict[str, Any] | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    found = pa.table(columns)
    if pandas:
        found = found.replace_schema_metadata({"pandas": json.dumps(pandas)})
    parquet.write_table(found, file, compression="snappy")


# From LeRobot


@dataclass(frozen=True)
class DataSet:
    """A data set that is there.

    Attributes:
        path: Its folder.
        rate: Frames per second.
        features: What a frame holds.
        robot: As the data's metadata are to name it; None: each episode has its own metadata.
    """

    path: Path
    rate: float
    features: dict[str, Any]
    robot: Any


def open_data_set(path: Path, robot: Robot | None = None) -> DataSet:
    """Look at a data set.

    Args:
        path: Its folder.
        robot: The robot; None: it has states and actions of the names that the data set gives.

    Raises:
        EpisodeError: If it is none, or lacks what an episode needs, or is of another robot.
    """
    file = path / "meta" / "info.json"
    try:
        info = json.loads(file.read_text())
        version, rate, features = str(info["codebase_version"]), float(info["fps"]), dict(info["features"])
        shapes = {name: list(features[name]["shape"]) for name in (_STATE, _ACTION)}
    except OSError:
        raise EpisodeError(f"{path} is no data set of LeRobot: {file.relative_to(path)} is missing") from None
    except (KeyError, TypeError, ValueError) as error:
        raise EpisodeError(f"{file} is none of LeRobot {VERSION}: {type(error).__name__} {error}") from None
    if not version.startswith("v3."):
        raise EpisodeError(f"{path} is of LeRobot {version}: wanted is {VERSION}; LeRobot converts its older data sets")
    if not rate > 0:
        raise EpisodeError(f"{file}: fps is {rate:g}: it must be above 0")
    for name, shape in shapes.items():
        if len(shape) != 1 or shape[0] < 1:
            raise EpisodeError(f"{file}: {name} has the shape {shape}: wanted is that of a vector")
    kinds = {_STATE: "state", _ACTION: "action"}
    names = {name: _names(features[name], shapes[name][0], kind) for name, kind in kinds.items()}
    if robot is None:
        own = {"name": str(info.get("robot_type") or ""), "states": names[_STATE], "actions": names[_ACTION]}
        return DataSet(path, rate, features, own)
    for name, wanted in ((_STATE, robot.state_names), (_ACTION, robot.action_names)):
        if shapes[name][0] != len(wanted):
            raise EpisodeError(f"{file}: {name} has {shapes[name][0]} numbers, {robot.name} has {len(wanted)}")
    return DataSet(path, rate, features, as_metadata(robot))


def _names(feature: dict[str, Any], count: int, kind: str) -> list[str]:
    """Names of the numbers of a feature, which may be in lists of several kinds; numbered where there are none."""
    given = feature.get("names")
    if isinstance(given, dict):
        given = [each for names in given.values() if isinstance(names, list) for each in names]
    if not isinstance(given, list) or len(given) != count or len(set(map(str, given))) != count:
        given = [f"{kind}_{number}" for number in range(count)]
    return list(map(str, given))


def episodes(found: DataSet) -> Iterator[Episode]:
    """Episodes of a data set, in order.

    Raises:
        EpisodeError: If a file is missing, damaged, or not as the data set says.
    """
    kept = _metadata(found)
    rows: dict[str, list[Array]] = {}
    number: int | None = None
    for file in sorted((found.path / "data").glob("*/*.parquet")):
        table = _read(file, [_STATE, _ACTION, "episode_index", *([_TIME] if _TIME in found.features else [])])
        columns = {name: _numbers(file, table, name, found.features) for name in table.column_names}
        indices = columns.pop("episode_index")[:, 0].astype(int)
        edges = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
        for start, end in itertools.pairwise(edges):
            if start == end:
                continue
            if number is not None and indices[start] != number:
                yield _episode(found, rows, kept.get(number))
                rows = {}
            number = int(indices[start])
            for name, values in columns.items():
                rows.setdefault(name, []).append(values[start:end])
    if number is None:
        raise EpisodeError(f"{found.path} holds no frames: no file data/*/*.parquet is there")
    yield _episode(found, rows, kept.get(number))


def _episode(found: DataSet, rows: dict[str, list[Array]], metadata: str | None) -> Episode:
    joined = {name: np.concatenate(values) for name, values in rows.items()}
    count = len(joined[_STATE])
    time = joined[_TIME][:, 0] if _TIME in joined else np.arange(count) / found.rate
    own = json.loads(metadata) if metadata else {"robot": found.robot, "rate": found.rate, "lerobot": found.path.name}
    return Episode(joined[_STATE], joined[_ACTION][:-1], time, own)


def _metadata(found: DataSet) -> dict[int, str]:
    """Metadata of episodes that were written by `export`, by their numbers."""
    kept: dict[int, str] = {}
    for file in sorted((found.path / "meta" / "episodes").glob("*/*.parquet")):
        table = _read(file, ["episode_index"], [_METADATA])
        if _METADATA in table.column_names:
            kept |= dict(zip(table["episode_index"].to_pylist(), table[_METADATA].to_pylist(), strict=True))
    return kept


def _read(file: Path, wanted: Sequence[str], also: Sequence[str] = ()) -> pa.Table:
    try:
        there = parquet.read_schema(file).names
        if missing := next((name for name in wanted if name not in there), None):
            raise EpisodeError(f"{file}: the column {missing} is missing")
        return parquet.read_table(file, columns=[*wanted, *(name for name in also if name in there)])
    except (OSError, pa.ArrowException) as error:
        raise EpisodeError(f"{file} cannot be read: {error}") from None


def _numbers(file: Path, table: pa.Table, name: str, features: dict[str, Any]) -> Array:
    """A column, shape (rows, width), double precision."""
    width = features[name]["shape"][0] if name in features else 1
    column = table[name].combine_chunks()
    try:
        flat = column.flatten() if pa.types.is_nested(column.type) else column
        return np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float64).reshape(len(table), width)
    except (pa.ArrowException, TypeError, ValueError):
        raise EpisodeError(
            f"{file}: the column {name} is {column.type}: wanted are {width} numbers in each row"
        ) from None
