"""Data that are plausible and wrong: one warning for each kind, and none for sound data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cart_testing import CART, INTERVAL, STATES, accelerate_cart, drive_cart
from mbmrl_base.robots.observation import Array
from mbmrl_control.training.collect import CollectSettings, collect_episode
from mbmrl_control.training.data_checks import warnings_of
from mbmrl_control.training.episodes import Episode, EpisodeError, read_folder

FEW = settings(derandomize=True, deadline=None, max_examples=25, database=None)


@cache
def carts() -> tuple[Episode, ...]:
    return tuple(drive_cart(seed) for seed in range(8))


def warned(folder: Path, episodes: Sequence[Episode]) -> list[str]:
    """Warnings of a folder of episodes, in which 0.npz is the first one's file."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.npz"):
        old.unlink()
    for number, episode in enumerate(episodes):
        episode.save(folder / f"{number}.npz")
    return list(warnings_of(read_folder(folder)))


def with_noise(episode: Episode, deviation: float, seed: int = 0) -> Episode:
    noise = np.random.default_rng(seed).normal(size=episode.state.shape)
    return replace(episode, state=episode.state + deviation * episode.state.std(axis=0) * noise)


def moved(episode: Episode, rows: int) -> Episode:
    """Actions are in the row before that in which they act, or, with -1, in the row after it."""
    states, actions = (slice(None, -1), slice(1, None))[:: 1 if rows > 0 else -1]
    return replace(episode, state=episode.state[states], action=episode.action[actions], time=episode.time[states])


@cache
def millirobots(rate: float, sensors: str) -> tuple[Episode, ...]:
    collected = CollectSettings(duration=5.0, rate=rate, sensors=sensors, terrains=("carpet", "gravel"))
    return tuple(collect_episode(collected, seed) for seed in range(6))


def turning(seed: int, length: int = 200) -> Episode:
    """A body whose three rates follow its three actions: its orientation as a quaternion, and rates."""
    rng = np.random.default_rng(seed)
    actions = np.repeat(rng.uniform(-3, 3, (length // 5 + 1, 3)), 5, axis=0)[:length]
    rates, orientation = np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
    states = [np.concatenate([orientation, rates])]
    for action in actions:
        rates = rates + 0.2 * (action - rates)
        w, (x, y, z) = orientation[0], orientation[1:]
        matrix = np.array([[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]])
        orientation = orientation + 0.5 * INTERVAL * matrix @ rates
        orientation = orientation / np.linalg.norm(orientation)
        states.append(np.concatenate([orientation, rates]))
    robot = {"states": ["qw", "qx", "qy", "qz", "wx", "wy", "wz"], "actions": ["ax", "ay", "az"]}
    return Episode(np.array(states), actions, INTERVAL * np.arange(length + 1), metadata={"robot": robot})


def with_positive_scalar(episode: Episode) -> Episode:
    """The quaternions are those with a scalar part that is not negative, as many filters give them."""
    state = episode.state.copy()
    state[:, :4] *= np.where(state[:, :1] < 0, -1, 1)
    return replace(episode, state=state)


def with_heading(episode: Episode, unit: float, angle: bool) -> Episode:
    """The body's first rate is integrated to a heading within half a turn, in a unit given in rad."""
    heading = np.cumsum(np.append(0.0, INTERVAL * 3 * episode.state[1:, 4]))
    heading = ((heading + np.pi) % (2 * np.pi) - np.pi) / unit
    states = [{"name": "heading", "angle": angle}, "wx", "wy", "wz"]
    metadata = {"robot": {"states": states, "actions": ["ax", "ay", "az"]}}
    return replace(episode, state=np.column_stack([heading, episode.state[:, 4:]]), metadata=metadata)


def with_column(episode: Episode, column: int, change: Callable[[Array], object]) -> Episode:
    """A column of the states is changed in place."""
    state = episode.state.copy()
    change(state[:, column])
    return replace(episode, state=state)


# Sound data


@pytest.mark.parametrize("noise", [0.0, 1e-3, 0.03, 0.3])
def test_cart_is_sound(tmp_path: Path, noise: float) -> None:
    assert warned(tmp_path / "data", [with_noise(episode, noise, seed) for seed, episode in enumerate(carts())]) == []


@pytest.mark.parametrize(("rate", "sensors"), [(20.0, "ideal"), (20.0, "real"), (10.0, "real")])
def test_millirobot_is_sound(tmp_path: Path, rate: float, sensors: str) -> None:
    assert warned(tmp_path / "data", millirobots(rate, sensors)) == []


def test_turning_body_is_sound(tmp_path: Path) -> None:
    assert warned(tmp_path / "data", [turning(seed) for seed in range(4)]) == []
    angles = [with_heading(turning(seed), 1.0, True) for seed in range(4)]
    assert warned(tmp_path / "data", angles) == []


GAIN = np.array([-2.0, -2.0, 3.0, 1.0])
POLICIES: dict[str, Callable[[list[Array], np.random.Generator], float]] = {
    "linear": lambda seen, _: float(GAIN @ seen[-1]),
    "explores": lambda seen, rng: float(GAIN @ seen[-1]) + rng.normal(),
    "saturates": lambda seen, _: float(np.clip(3 * GAIN @ seen[-1], -3, 3)),
    "switches": lambda seen, _: float(3 * np.sign(GAIN @ seen[-1])),
    "is_late": lambda seen, _: float(GAIN @ seen[max(0, len(seen) - 2)]),
    "differentiates": lambda seen, _: float(
        [-3, 3] @ seen[-1][[0, 2]] + [-1, 0.5] @ (seen[-1] - seen[max(0, len(seen) - 2)])[[0, 2]] / INTERVAL
    ),
}


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("policy", POLICIES)
def test_feedback_is_sound(tmp_path: Path, policy: str, noise: float) -> None:
    """A controller's action goes with the state that it was chosen for, though it acts on the next one."""
    episodes = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        state = np.array([0.0, 0.0, rng.uniform(-1, 1), 0.0])
        seen, actions = [state], []
        for _ in range(120):
            actions.append(POLICIES[policy](seen, rng))
            state = accelerate_cart(state, actions[-1], 1.0, INTERVAL) + noise * rng.normal(size=4)
            seen.append(state + noise * rng.normal(size=4))
        time, metadata = INTERVAL * np.arange(121), {"robot": CART}
        episodes.append(Episode(np.array(seen), np.array(actions)[:, None], time, metadata=metadata))
    assert warned(tmp_path / "data", episodes) == []


@FEW
@given(
    order=st.permutations(range(4)),
    scales=st.tuples(*[st.floats(-3, 3).map(lambda power: 10**power)] * 4),
    offset=st.floats(-100, 100),
    noise=st.floats(0, 0.1),
)
def test_units_and_order_make_no_warning(
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    scales: tuple[float, ...],
    offset: float,
    noise: float,
) -> None:
    names = [STATES[column] for column in order]
    metadata = {"robot": CART | {"states": [CART["states"][column] for column in order]}}
    factors = np.where(np.array(names) == "angle", 1.0, np.array(scales))
    shift = np.where(np.array(names) == "angle", 0.0, offset)
    episodes = [
        replace(noisy, state=factors * noisy.state[:, order] + shift, metadata=metadata)
        for seed, episode in enumerate(carts()[:5])
        for noisy in [with_noise(episode, noise, seed)]
    ]
    assert warned(tmp_path_factory.getbasetemp() / "units", episodes) == []


# What is wrong, a sentence each


def without_samples(values: Array) -> None:
    """A voltage, of which the board tells 0 where it did not measure."""
    values[:] = 4.0 + 0.01 * values
    values[7::40] = 0.0


def with_heading_in(unit: float, angle: bool = False) -> list[Episode]:
    return [with_heading(turning(seed), unit, angle) for seed in range(3)]


SAMPLES: dict[str, tuple[Callable[[], list[Episode]], str]] = {
    "degrees": (
        lambda: with_heading_in(np.pi / 180, True),
        "{folder}/0.npz and 2 more: state 'heading' (column 0) is declared an angle and is ",
    ),
    "undeclared_degrees": (
        lambda: with_heading_in(np.pi / 180),
        "{folder}/0.npz and 2 more: state 'heading' (column 0) jumps by 3",
    ),
    "undeclared_rad": (
        lambda: with_heading_in(1.0),
        "{folder}/0.npz and 2 more: state 'heading' (column 0) jumps by 6.",
    ),
    "quaternion": (
        lambda: [with_positive_scalar(turning(seed)) for seed in range(2)],
        "{folder}/0.npz and 1 more: states 'qw', 'qx', 'qy', 'qz' (columns 0 to 3) change sign together, first after",
    ),
    "equal": (
        lambda: [replace(each, state=each.state[:, [0, 1, 2, 0]]) for each in carts()],
        "{folder}: state 'x' (column 0) and state 'angular_velocity' (column 3) are equal in each row",
    ),
    "frozen": (
        lambda: [
            with_column(each, 1, lambda v: v[30:60].fill(v[30])) if n == 1 else each for n, each in enumerate(carts())
        ],
        "{folder}/1.npz: state 'velocity' (column 1) does not change over 29 rows, from row 30 on, while others do",
    ),
    "constant": (
        lambda: [with_column(each, 3, lambda values: values.fill(0.5)) for each in carts()],
        "{folder}: state 'angular_velocity' (column 3) is always 0.5: a column that never varies",
    ),
    "dropout": (
        lambda: [with_column(each, 0, without_samples) for each in carts()],
        "{folder}/0.npz and 7 more: state 'x' (column 0) jumps to 0 by about its whole range, first in row 7",
    ),
    "later": (
        lambda: [moved(each, 1) for each in carts()],
        "{folder}: action 'force' (column 0) acts a step later than declared",
    ),
    "earlier": (
        lambda: [moved(each, -1) for each in carts()],
        "{folder}: action 'force' (column 0) acts a step earlier than declared",
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_one_sentence_for_what_is_wrong(tmp_path: Path, name: str, noise: float) -> None:
    make, sentence = SAMPLES[name]
    episodes = make()
    # A copy, a constant and what was not measured have no noise of their own.
    if noise and name not in ("equal", "frozen", "constant", "dropout"):
        episodes = [with_noise(episode, noise, seed) for seed, episode in enumerate(episodes)]
    (told,) = warned(tmp_path / "data", episodes)
    assert told.startswith(sentence.format(folder=tmp_path / "data"))


@pytest.mark.parametrize(("rows", "when"), [(1, "later"), (-1, "earlier")])
def test_millirobots_misplaced_actions_are_named(tmp_path: Path, rows: int, when: str) -> None:
    told = warned(tmp_path / "data", [moved(episode, rows) for episode in millirobots(20.0, "real")])
    names = ("'left_leg_speed' (column 0)", "'right_leg_speed' (column 1)")
    assert [text.partition(f" acts a step {when} than declared: ")[0] for text in told] == [
        f"{tmp_path / 'data'}: action {name}" for name in names
    ]


def test_actions_that_are_equal_are_named(tmp_path: Path) -> None:
    metadata = {"robot": CART | {"actions": ["left", "right"]}}
    episodes = [replace(each, action=each.action[:, [0, 0]], metadata=metadata) for each in carts()]
    (told,) = warned(tmp_path / "data", episodes)
    assert "action 'left' (column 0) and action 'right' (column 1) are equal in each row" in told


def test_data_without_transitions_have_no_warnings(tmp_path: Path) -> None:
    episode = drive_cart(0, 6, intervals=np.array([0.1, 0.5, 0.1, 0.5, 0.1, 0.5]))
    assert warned(tmp_path / "data", [episode]) == []


@FEW
@given(data=st.data())
def test_odd_data_raise_nothing(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    states, actions = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 3))
    length = data.draw(st.sampled_from([2, 30, 200]))
    numbers = st.sampled_from([0.0, 1.0, -1.0, 1e-12, 0.1, 1e15, -1e15, 7.0])
    robot = {
        "states": [{"name": f"s{column}", "angle": column == 1} for column in range(states)],
        "actions": [f"a{column}" for column in range(actions)],
    }
    episodes = [
        Episode(
            data.draw(arrays(np.float64, (length + 1, states), elements=numbers)),
            data.draw(arrays(np.float64, (length, actions), elements=numbers)),
            np.arange(length + 1) * 0.01,
            metadata={"robot": robot},
        )
        for _ in range(2)
    ]
    with suppress(EpisodeError):  # no state varies
        assert all("\n" not in text for text in warned(tmp_path_factory.getbasetemp() / "odd", episodes))
