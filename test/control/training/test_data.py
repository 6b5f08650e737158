"""Folders of episodes of any robot: what is taken, and one sentence for what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cart_testing import CART, STATES, drive_cart, save_carts
from mbmrl_base.robots.description import describe
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.training.episodes import Episode, EpisodeError, read_folder
from mbmrl_control.training.from_data import split
from mbmrl_control.training.meta_training import TrainingSettings

FEW = settings(derandomize=True, deadline=None, max_examples=200, database=None)
SMALL = TrainingSettings(window=6, future=4)


def write(file: Path, episode: Episode | None = None, **changes: Any) -> Path:
    """A file of the cart with some arrays changed; None leaves one out, ``metadata`` are added to the cart's."""
    episode = episode or drive_cart(0, 20)
    content: dict[str, Any] = {name: getattr(episode, name).copy() for name in ("state", "action", "time")}
    metadata = changes.pop("metadata", {})
    for name, change in changes.items():
        if callable(change):
            change(content[name])
        else:
            content[name] = change
    file.parent.mkdir(exist_ok=True)
    np.savez(file, metadata=np.array(json.dumps(episode.metadata | metadata)), **content)
    return file


def setting(index: Any, value: float) -> Callable[[np.ndarray], None]:
    """A change of one number of an array."""
    return lambda array: array.__setitem__(index, value)


def refusal(read: Callable[[], Any]) -> str:
    with pytest.raises(EpisodeError) as error:
        read()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"state": setting((3, 1), np.nan)}, "state 'velocity' is nan in row 3: all must be finite"),
        ({"state": setting((0, 0), np.inf)}, "state 'x' is inf in row 0: all must be finite"),
        ({"state": setting((0, 0), -1e30)}, "state 'x' is -1e+30 in row 0: all must be finite, at most 1e+15"),
        ({"action": setting((19, 0), np.nan)}, "action 'force' is nan in row 19: all must be finite"),
        ({"time": setting(4, np.nan)}, "time is nan in row 4: all must be finite"),
        ({"time": setting(4, 0.0)}, "time goes from 0.15"),
        ({"time": np.zeros(21)}, "time goes from 0.0 to 0.0 s at row 1: it must increase from row to row"),
        ({"state": np.zeros((21, 3))}, "state has shape (21, 3) and type float64, wanted is (21, 4) and numbers"),
        ({"state": np.zeros((20, 4))}, "state has shape (20, 4) and type float64, wanted is (21, 4) and numbers"),
        ({"state": np.zeros((21, 4), dtype=complex)}, "state has shape (21, 4) and type complex128"),
        ({"state": np.full((21, 4), "word")}, "state has shape (21, 4) and type <U4"),
        ({"action": np.zeros(20)}, "action has shape (20,) and type float64, wanted is (20, 1) and numbers"),
        ({"action": np.zeros((20, 2))}, "action has shape (20, 2)"),
        ({"time": np.arange(21)}, "time has shape (21,) and type int64, wanted is (21,) and floating-point numbers"),
        ({"time": np.zeros((21, 1))}, "time has shape (21, 1)"),
        ({"metadata": {"robot": None}}, "metadata: robot is missing: wanted is the name of a robot, or its descrip"),
        ({"metadata": {"robot": "dog"}}, "metadata: unknown robot 'dog': allowed is millirobot, "),
        ({"metadata": {"robot": "dog.py"}}, "metadata: unknown robot 'dog.py'"),
        ({"metadata": {"robot": CART | {"states": ["a", "a", "b", "c"]}}}, "metadata: the name 'a' stands for several"),
        ({"metadata": {"robot": CART | {"states": "x"}}}, "metadata: states: wanted is a list"),
        ({"metadata": {"robot": ["x"]}}, "metadata: wanted are values by their names: allowed is name, states"),
    ],
    ids=str,
)
def test_file_and_field_and_rule_are_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    file = write(tmp_path / "cart.npz", **changes)
    assert refusal(lambda: Episode.load(file)).startswith(f"{file}: {sentence}")


def test_numbers_of_any_precision_are_taken(tmp_path: Path) -> None:
    episode = drive_cart(0, 20)
    file = write(tmp_path / "a.npz", state=episode.state.astype(np.float32), action=np.ones((20, 1), dtype=int))
    loaded = Episode.load(file)
    assert (loaded.state.dtype, loaded.action.dtype) == (np.float64, np.float64)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    episode = drive_cart(0, 20, note="kept")
    episode.save(tmp_path / "a.npz")
    loaded = Episode.load(tmp_path / "a.npz")
    assert loaded.metadata == episode.metadata
    assert loaded.robot == episode.robot
    assert np.array_equal(loaded.state, episode.state)


def test_missing_sample_may_take_its_actions_with_it(tmp_path: Path) -> None:
    gone = {"state": setting(5, np.nan), "action": setting(slice(4, 6), np.nan)}
    assert np.isnan(Episode.load(write(tmp_path / "a.npz", **gone)).state[5]).all()
    file = write(tmp_path / "b.npz", state=setting(5, np.nan), action=setting(6, np.nan))
    assert "action 'force' is nan in row 6" in refusal(lambda: Episode.load(file))


@FEW
@given(st.data())
def test_odd_arrays_are_an_episode_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is in it, nothing else is raised, and what is taken is usable."""
    file = tmp_path_factory.mktemp("odd") / "a.npz"
    kinds = st.sampled_from([np.float64, np.float32, np.float16, np.int8, np.uint64, np.bool_, "<U2"])
    odd = arrays(kinds.flatmap(lambda kind: st.just(np.dtype(kind))), array_shapes(min_dims=0, max_dims=3, min_side=0))
    episode = drive_cart(0, 3)
    names = data.draw(st.lists(st.sampled_from(["state", "action", "time"]), unique=True, min_size=1))
    write(file, episode, **{name: data.draw(odd) for name in names})
    with suppress(EpisodeError):
        loaded = Episode.load(file)
        assert loaded.state.shape == (len(loaded.time), 4)
        assert len(loaded.action) == len(loaded.time) - 1


# Folders


def test_folder_tells_robot_rate_and_hash(tmp_path: Path) -> None:
    folder = read_folder(save_carts(tmp_path / "data", 3, length=20))
    assert [file.name for file in folder.files] == ["0000.npz", "0001.npz", "0002.npz"]
    assert (folder.rate, folder.constant) == (20.0, {})
    assert folder.robot.description == describe(CART)
    assert read_folder(tmp_path / "data").hash == folder.hash
    drive_cart(9, 20).save(tmp_path / "data" / "0001.npz")
    assert read_folder(tmp_path / "data").hash != folder.hash


def test_folder_without_episodes_is_refused(tmp_path: Path) -> None:
    assert refusal(lambda: read_folder(tmp_path / "none")) == f"there is no folder {tmp_path / 'none'}"
    (tmp_path / "walk.csv").touch()
    assert refusal(lambda: read_folder(tmp_path)) == f"{tmp_path} holds no episodes: no file there ends in .npz"


@pytest.mark.parametrize(
    ("robot", "sentence"),
    [
        ({"states": ["x", "v", "angle", "rate"]}, "states is [{'name': 'x'}, {'name': 'v'}, "),
        ({"states": STATES}, "states is [{'name': 'x'}, {'name': 'velocity'}, "),
        ({"actions": ["u"]}, "actions is [{'name': 'u'}], and [{'name': 'force'}] in 0000.npz"),
        ({"battery": "x"}, "battery is x, and None in 0000.npz"),
    ],
)
def test_mixed_robots_are_refused(tmp_path: Path, robot: dict[str, Any], sentence: str) -> None:
    save_carts(tmp_path, 2, length=20)
    drive_cart(2, 20, robot=CART | robot).save(tmp_path / "0002.npz")
    told = refusal(lambda: read_folder(tmp_path))
    assert told.startswith(f"{tmp_path / '0002.npz'}: {sentence}")
    assert told.endswith("the episodes of a folder must be of one robot")


def test_millirobot_among_others_is_refused(tmp_path: Path, episodes: list[Episode]) -> None:
    save_carts(tmp_path, 1)
    episodes[0].save(tmp_path / "robot.npz")
    assert "must be of one robot" in refusal(lambda: read_folder(tmp_path))


def test_columns_that_never_vary_are_named(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.npz", state=setting((..., 1), 2.5), action=setting(slice(None), -1.0))
    assert read_folder(tmp_path).constant == {"state 'velocity'": 2.5, "action 'force'": -1.0}
    write(tmp_path / "2.npz")
    assert read_folder(tmp_path).constant == {}


def test_data_in_which_no_state_varies_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.npz", state=np.tile([1.0, 0.0, 0.5, 3.0], (21, 1)))
    told = refusal(lambda: read_folder(tmp_path))
    assert told.startswith(f"{tmp_path}: state 'x' is always 1, state 'velocity' is always 0, state 'angle' is")
    assert told.endswith("at least one column of state must vary in the data")


# What is held out


@pytest.mark.parametrize(("count", "held"), [(2, 1), (9, 1), (10, 2), (23, 4)])
def test_a_fifth_of_the_episodes_is_held_out(tmp_path: Path, count: int, held: int) -> None:
    folder = read_folder(save_carts(tmp_path, count, length=10))
    training, held_out = split(folder, SMALL)
    assert len(held_out) == held
    assert sorted(training + held_out) == list(range(count))
    assert split(folder, SMALL) == (training, held_out)


def test_too_short_episodes_are_trained_on_only(tmp_path: Path) -> None:
    """What is held out must have a segment, and so must what is trained on."""
    save_carts(tmp_path, 8, length=9)
    save_carts(tmp_path, 2, first=8, length=10)
    training, held_out = split(read_folder(tmp_path), SMALL)
    assert len(held_out) == 1
    assert held_out[0] >= 8
    assert {8, 9} - set(held_out) <= set(training)


def on_grounds(folder: Path, *grounds: Any, **fields: Any) -> Path:
    """Episodes whose metadata have a ground each."""
    for number, ground in enumerate(grounds):
        write(folder / f"{number}.npz", drive_cart(number, 20), metadata={"ground": ground, **fields})
    return folder


def test_whole_conditions_are_held_out(tmp_path: Path) -> None:
    folder = read_folder(on_grounds(tmp_path, "ice", "sand", 3, "ice", ["sand", "mud"]))
    assert split(folder, SMALL, {"ground": ["ice"]}) == ([1, 2, 4], [0, 3])
    assert split(folder, SMALL, {"ground": ["sand", "3"]}) == ([0, 3], [1, 2, 4])
    assert split(folder, SMALL, {"ground": ["mud"], "place": ["hall"]}) == ([0, 1, 2, 3], [4])


def test_faults_are_held_out_by_their_kinds(tmp_path: Path) -> None:
    write(tmp_path / "0.npz", metadata={"faults": [{"kind": "ice", "step": 3}, {"kind": "slope", "step": 9}]})
    write(tmp_path / "1.npz", metadata={"faults": []})
    assert split(read_folder(tmp_path), SMALL, {"faults": ["slope"]}) == ([1], [0])


@pytest.mark.parametrize(
    ("conditions", "sentence"),
    [
        (
            {"ground": ["mud"]},
            "ground=mud holds out 0 of 3 episodes with M + K = 10 transitions: some must be held out",
        ),
        ({"ground": ["ice", "sand"]}, "ground=ice, ground=sand holds out 3 of 3 episodes"),
        ({"place": ["hall"]}, "and some left to train on; in the metadata place is missing"),
        ({"ground": ["mud"]}, "in the metadata ground is ice, sand"),
    ],
)
def test_conditions_that_hold_out_none_or_all_are_refused(
    tmp_path: Path, conditions: dict[str, list[str]], sentence: str
) -> None:
    folder = read_folder(on_grounds(tmp_path, "ice", "sand", "ice"))
    assert sentence in refusal(lambda: split(folder, SMALL, conditions))


@pytest.mark.parametrize(
    ("lengths", "sentence"),
    [
        ((9, 4), "0000.npz: state and action have at most 9 transitions without a gap, and 0 of 2 episodes"),
        ((10,), "0000.npz: state and action have at most 10 transitions without a gap, and 1 of 1 episodes"),
        ((0, 0), "time has a single row in each file: there are no transitions"),
    ],
)
def test_too_few_transitions_are_refused(tmp_path: Path, lengths: tuple[int, ...], sentence: str) -> None:
    for number, length in enumerate(lengths):
        episode = drive_cart(number, max(length, 1))
        write(
            tmp_path / f"{number:04d}.npz",
            state=np.random.default_rng(number).normal(size=(length + 1, 4)),
            action=episode.action[:length],
            time=episode.time[: length + 1],
        )
    told = refusal(lambda: split(read_folder(tmp_path), SMALL))
    assert sentence in told
    if "M + K" in told:
        assert told.endswith("have as many as M + K = 6 + 4 = 10: two must, one to train on and one held out")


def test_prior_of_another_robot_is_not_overwritten(
    mbmrl: Callable[..., tuple[int, str, str]], folder: Path, make_prior: Callable[..., Prior]
) -> None:
    """With given data the robot is known as soon as they are read; the same robot's prior is replaced."""
    save_carts(folder / "carts", 3)
    few = ("--learner", "mb", "--window", "6", "--future", "4", "--steps", "1", "--out", "prior.safetensors")
    for _ in range(2):
        assert mbmrl("train", "--data", "carts", *few)[0] == 0
    make_prior("mb").save(folder / "prior.safetensors")
    code, _, errors = mbmrl("train", "--data", "carts", *few)
    assert code == 2
    (line,) = errors.splitlines()
    assert "prior.safetensors is for another robot: it is millirobot, this one is " in line
    assert line.endswith("; give the new prior another file, --out")
