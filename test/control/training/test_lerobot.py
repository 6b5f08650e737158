"""Data sets of LeRobot: a round trip is exact, and what others wrote is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyarrow import parquet

from cart_testing import CART, STATES, drive_cart, save_carts
from mbmrl_control.training.episodes import Episode, read_folder
from mbmrl_control.training.lerobot import episodes, export, open_data_set

Run = Callable[..., tuple[int, str, str]]


def same(first: Episode, second: Episode) -> bool:
    """Whether episodes are equal to the last bit."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("state", "action", "time"))
    return all(np.array_equal(*pair, equal_nan=True) for pair in pairs) and first.metadata == second.metadata


def test_round_trip_is_exact(folder: Path, mbmrl: Run) -> None:
    data = save_carts(folder / "data", 3)
    gone = drive_cart(7, intervals=np.where(np.arange(120) % 40, 0.05, 0.3), mass="changed")
    gone.state[50] = np.nan
    gone.action[49:51] = np.nan
    gone.save(data / "gone.npz")
    code, output, errors = mbmrl("dataset", "to-lerobot", "data", "--out", "set", "--task", "push the cart", "--json")
    assert code == 0, errors
    assert json.loads(output.splitlines()[-1]) == {"episodes": 4, "frames": 4 * 121}
    code, output, errors = mbmrl("dataset", "from-lerobot", "set", "--out", "again", "--json")
    assert code == 0, errors
    before, after = read_folder(data), read_folder(folder / "again")
    assert len(after.episodes) == 4
    assert all(map(same, before.episodes, after.episodes))


@settings(derandomize=True, deadline=None, max_examples=25, database=None)
@given(
    state=arrays(np.float64, st.tuples(st.integers(2, 6), st.just(4)), elements=st.floats(-1e15, 1e15)),
    force=st.floats(-1e15, 1e15),
)
def test_any_numbers_stay_as_they_are(tmp_path_factory: pytest.TempPathFactory, state: Any, force: float) -> None:
    place = tmp_path_factory.mktemp("any")
    state[0] += np.arange(4)  # something varies
    state[-1, 0] = state[0, 0] / 2 + 1.0
    rows = len(state)
    episode = Episode(state, np.full((rows - 1, 1), force), 0.05 * np.arange(rows), {"robot": CART})
    episode.save(place / "0.npz")
    export(read_folder(place), place / "set")
    (again,) = episodes(open_data_set(place / "set"))
    assert same(episode, again)


def test_data_set_is_as_lerobot_wants_it(tmp_path: Path) -> None:
    """Columns, files and figures of the format v3.0; each frame at its even time."""
    data = read_folder(save_carts(tmp_path / "data", 2, length=30))
    assert export(data, tmp_path / "set", "push") == 62
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_episodes"], info["total_frames"]) == ("v3.0", 20, 2, 62)
    assert info["features"]["observation.state"] == {"dtype": "float64", "shape": [4], "names": STATES}
    file = tmp_path / "set" / info["data_path"].format(chunk_index=0, file_index=0)
    frames = parquet.read_table(file)
    assert set(frames.column_names) == set(info["features"])
    assert frames["index"].to_pylist() == list(range(62))
    assert frames["episode_index"].to_pylist() == [0] * 31 + [1] * 31
    assert np.allclose(frames["timestamp"], np.array(frames["frame_index"]) / 20, atol=1e-6)
    assert frames.schema.field("timestamp").type == pa.float32()
    assert frames.schema.field("observation.state").type == pa.list_(pa.float64(), 4)
    assert frames.schema.field("action").type == pa.float64()  # a vector of one is a number there
    told = parquet.read_table(tmp_path / "set/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(each["dataset_from_index"], each["dataset_to_index"]) for each in told] == [(0, 31), (31, 62)]
    assert told[0]["tasks"] == ["push"]
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())
    values = np.concatenate([episode.state for episode in data.episodes])
    assert np.allclose(stats["observation.state"]["mean"], values.mean(0))
    assert np.allclose(stats["observation.state"]["q99"], np.percentile(values, 99, axis=0))
    tasks = parquet.read_schema(tmp_path / "set/meta/tasks.parquet")
    assert json.loads(tasks.metadata[b"pandas"])["index_columns"] == ["task"]


def write_set(folder: Path, names: Any = None, rows: int = 40, **changed: Any) -> Path:
    """A data set of others: single precision, two files, nothing of this project."""
    features = {
        "observation.state": {"dtype": "float32", "shape": [3], "names": names},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "observation.images.top": {"dtype": "video", "shape": [3, 10, 10], "names": None},
    }
    info = {"codebase_version": "v3.0", "fps": 10, "robot_type": "arm", "features": features} | changed
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    for file in range(2):
        rng = np.random.default_rng(file)
        # The second episode is in both.
        numbers = [0] * rows + [1] * (rows // 2) if file == 0 else [1] * (rows // 2) + [2] * rows
        (folder / "data" / "chunk-000").mkdir(parents=True, exist_ok=True)
        vectors = {"observation.state": 3, "action": 2}
        columns = {
            **{
                name: pa.array(rng.normal(size=(len(numbers), width)).astype("f4").tolist(), pa.list_(pa.float32()))
                for name, width in vectors.items()
            },
            "episode_index": pa.array(numbers),
        }
        parquet.write_table(pa.table(columns), folder / "data" / "chunk-000" / f"file-{file:03d}.parquet")
    return folder


@pytest.mark.parametrize(
    ("names", "states"),
    [
        (["shoulder.pos", "elbow.pos", "wrist.pos"], ("shoulder.pos", "elbow.pos", "wrist.pos")),
        ({"motors": ["a", "b", "c"]}, ("a", "b", "c")),
        (["twice", "twice", "c"], ("state_0", "state_1", "state_2")),
        (None, ("state_0", "state_1", "state_2")),
    ],
)
def test_data_set_of_others_is_read(folder: Path, mbmrl: Run, names: Any, states: tuple[str, ...]) -> None:
    write_set(folder / "set", names)
    code, _, errors = mbmrl("dataset", "from-lerobot", "set", "--out", "data")
    assert code == 0, errors
    data = read_folder(folder / "data")
    assert [len(episode.state) for episode in data.episodes] == [40, 40, 40]
    assert data.robot.state_names == states
    assert data.robot.action_names == ("action_0", "action_1")
    assert data.rate == 10.0
    wanted = np.random.default_rng(0).normal(size=(60, 3)).astype("f4")[:40]
    assert np.array_equal(data.episodes[0].state, wanted.astype("f8"))


def test_robot_that_is_given_is_that_of_the_data(folder: Path, mbmrl: Run) -> None:
    write_set(folder / "set")
    (folder / "arm.yaml").write_text("name: arm\nstates: [{name: a, angle: true}, b, c]\nactions: [d, e]\n")
    code, _, errors = mbmrl("dataset", "from-lerobot", "set", "--out", "data", "--robot", "arm.yaml")
    assert code == 0, errors
    assert read_folder(folder / "data").robot.description.states[0].angle
    (folder / "arm.yaml").write_text("name: arm\nstates: [a, b]\nactions: [d, e]\n")
    code, _, errors = mbmrl("dataset", "from-lerobot", "set", "--out", "other", "--robot", "arm.yaml")
    assert code == 2
    assert "observation.state has 3 numbers" in errors


def cut(folder: Path) -> None:
    file = folder / "data" / "chunk-000" / "file-001.parquet"
    file.write_bytes(file.read_bytes()[:-100])


def without_actions(folder: Path) -> None:
    file = folder / "data" / "chunk-000" / "file-000.parquet"
    parquet.write_table(parquet.read_table(file).drop(["action"]), file)


def words(folder: Path) -> None:
    file = folder / "data" / "chunk-000" / "file-000.parquet"
    found = parquet.read_table(file)
    parquet.write_table(found.set_column(1, "action", pa.array(["no"] * len(found))), file)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "meta/info.json").unlink(), "is no data set of LeRobot: meta/info.json is missing"),
        (lambda folder: (folder / "meta/info.json").write_text("{"), "is none of LeRobot v3.0"),
        (lambda folder: (folder / "meta/info.json").write_text('{"fps": 3}'), "is none of LeRobot v3.0"),
        (cut, "cannot be read"),
        (without_actions, "the column action is missing"),
        (words, "the column action is string: wanted are 2 numbers in each row"),
    ],
)
def test_damaged_data_set_is_refused(folder: Path, mbmrl: Run, spoil: Callable[[Path], object], sentence: str) -> None:
    write_set(folder / "set")
    spoil(folder / "set")
    code, _, errors = mbmrl("dataset", "from-lerobot", "set", "--out", "data")
    assert code == 2
    assert sentence in errors
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"codebase_version": "v2.1"}, "is of LeRobot v2.1: wanted is v3.0"),
        ({"fps": 0}, "fps is 0: it must be above 0"),
        ({"features": {"observation.state": {"shape": [3, 4]}, "action": {"shape": [1]}}}, "has the shape [3, 4]"),
    ],
)
def test_data_set_of_another_kind_is_refused(folder: Path, mbmrl: Run, changed: dict[str, Any], sentence: str) -> None:
    write_set(folder / "set", **changed)
    code, _, errors = mbmrl("dataset", "from-lerobot", "set", "--out", "data")
    assert code == 2
    assert sentence in errors


def test_rate_that_is_no_whole_number_is_refused(folder: Path, mbmrl: Run) -> None:
    (folder / "data").mkdir()
    episode = drive_cart(0)
    replace(episode, time=episode.time * 0.93).save(folder / "data" / "0.npz")
    code, _, errors = mbmrl("dataset", "to-lerobot", "data", "--out", "set")
    assert code == 2
    assert "the control rate is 21.5054 Hz: LeRobot knows whole numbers only" in errors
    assert not (folder / "set").exists()
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()
    code, _, errors = mbmrl("dataset", "to-lerobot", "data", "--out", "full")
    assert code == 2
    assert "full is not empty" in errors
