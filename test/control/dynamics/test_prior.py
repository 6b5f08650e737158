"""Priors on disk: the same bytes for the same prior, and a sentence for whatever is none."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mbmrl_base.robots.description import describe
from mbmrl_base.robots.robot import Robot
from mbmrl_control.dynamics.network import Normalizer, initial_layers
from mbmrl_control.dynamics.prior import Prior, PriorError, load_prior
from mbmrl_control.learners import LEARNERS, make_learner
from mbmrl_control.nodes.settings import ModelSettings
from mbmrl_control.priors import shipped_prior
from robot_testing import MILLIROBOT

MakePrior = Callable[..., Prior]
FEW = settings(derandomize=True, deadline=None, max_examples=150, database=None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prior.safetensors"


def refusal(file: Path) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(PriorError) as error:
        load_prior(file)
    text = str(error.value)
    assert str(file) in text
    assert "\n" not in text
    return text


# What fits


def test_what_is_saved_is_loaded(make_prior: MakePrior, file: Path) -> None:
    prior = make_prior(inner_steps=3)
    prior.save(file)
    loaded = load_prior(file)
    assert loaded.hash == prior.hash
    assert loaded.settings == prior.settings
    assert torch.equal(loaded.extras["psi"], prior.extras["psi"])
    assert torch.equal(loaded.normalizer.output_deviation, prior.normalizer.output_deviation)
    for (weight, bias), (saved_weight, saved_bias) in zip(loaded.layers, prior.layers, strict=True):
        assert torch.equal(weight, saved_weight)
        assert torch.equal(bias, saved_bias)


def test_equal_priors_give_equal_bytes(make_prior: MakePrior) -> None:
    first, second = make_prior(seed=1), make_prior(seed=1)
    assert first.to_bytes() == second.to_bytes()
    for prior, names in ((first, "ab"), (second, "ba")):  # whatever their order
        prior.settings.training.update(dict.fromkeys(names, 1))
    assert first.to_bytes() == second.to_bytes()


def test_hash_tells_priors_apart(make_prior: MakePrior) -> None:
    priors = [make_prior(), make_prior(seed=1), make_prior(psi=0.03), make_prior(window=9), make_prior(rate=50.0)]
    assert len({prior.hash for prior in priors}) == len(priors)


def test_file_is_whole_or_not_there(make_prior: MakePrior, file: Path) -> None:
    make_prior().save(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_gradients_are_left_behind(make_prior: MakePrior) -> None:
    prior = make_prior()
    trained = replace(prior, layers=[(w.clone().requires_grad_(), b.clone().requires_grad_()) for w, b in prior.layers])
    assert trained.hash == prior.hash


@pytest.mark.parametrize("learner", [name for name in LEARNERS if shipped_prior(name).is_file()])
def test_shipped_prior_fits(learner: str) -> None:
    prior = ModelSettings(learner=learner).load_prior()
    assert prior.settings.learner == learner
    assert prior.settings.rate == 20.0
    assert shipped_prior(learner).stat().st_size < 2e6
    prior.check_rate(20.0)


@pytest.mark.parametrize("rate", [10.0, 19.9, 40.0])
def test_rate_that_it_was_not_trained_for_is_refused(make_prior: MakePrior, rate: float) -> None:
    with pytest.raises(PriorError, match=f"^the prior predicts at 20 Hz, not at {rate:g} Hz: .* or use 20 Hz$"):
        make_prior().check_rate(rate)


# What does not


def test_missing_file_is_refused(file: Path) -> None:
    assert refusal(file) == f"there is no checkpoint {file}"


def test_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"there is no checkpoint {tmp_path}"


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.5, 0.999])
def test_cut_file_is_refused(make_prior: MakePrior, file: Path, share: float) -> None:
    content = make_prior().to_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert "is cut or no safetensors file" in refusal(file)


@pytest.mark.parametrize(
    "content", [b"no model at all", pickle.dumps({"layers.0.weight": 1.0}), b"\xff" * 64], ids=["text", "pickle", "ff"]
)
def test_other_format_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert "is cut or no safetensors file" in refusal(file)


def tensors_and_header(prior: Prior) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What the file of a prior consists of."""
    content = prior.to_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["mbmrl"])
    return safetensors.torch.load(content), header


def write(file: Path, tensors: dict[str, Tensor], header: Any) -> None:
    safetensors.torch.save_file(tensors, file, {"mbmrl": json.dumps(header)})


def test_foreign_safetensors_are_refused(make_prior: MakePrior, file: Path) -> None:
    tensors, _ = tensors_and_header(make_prior())
    safetensors.torch.save_file(tensors, file)
    assert "has no header of an mbmrl prior" in refusal(file)
    safetensors.torch.save_file(tensors, file, {"mbmrl": "{not JSON"})
    assert "has no header of an mbmrl prior" in refusal(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "mbmrl-prior-3"}, "has format 'mbmrl-prior-3': allowed is 'mbmrl-prior-4'"),
        ({"robot": "millirobot"}, "has no header of an mbmrl prior: states: it is missing"),
        ({"robot": 3}, "has no header of an mbmrl prior: wanted are values by their names: allowed is name, states"),
        ({"robot": {"states": "x"}}, "has no header of an mbmrl prior: states: wanted is a list"),
        ({"robot": {"states": ["x"], "battery": "y"}}, "has no header of an mbmrl prior: battery names 'y': allowed"),
        ({"robot": {"name": "dog", "states": ["x"]}}, "layer 0 is missing or does not take 1 inputs"),
        (
            {"robot": {"name": "dog", "states": ["x"]}, "own_features": True},
            "is for dog, which has features of its",
        ),
        ({"own_features": True}, "was trained with features of the robot's own, and millirobot has none"),
        ({"window": "many"}, "has no header of an mbmrl prior"),
        ({"window": 0}, "has no header of an mbmrl prior"),
        ({"window": 10**12}, "window at most 100000"),
        ({"window": None}, "has no header of an mbmrl prior"),
        ({"rate": "fast"}, "has no header of an mbmrl prior"),
        ({"rate": math.nan}, "has no header of an mbmrl prior"),
        ({"training": 5}, "has no header of an mbmrl prior"),
        ({"training": "ab"}, "has no header of an mbmrl prior"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_header_that_does_not_fit_is_refused(
    make_prior: MakePrior, file: Path, change: dict[str, Any], words: str
) -> None:
    tensors, header = tensors_and_header(make_prior())
    write(file, tensors, header | change)
    assert words in refusal(file)


@pytest.mark.parametrize("missing", ["format", "robot", "own_features", "learner", "window", "rate", "training"])
def test_incomplete_header_is_refused(make_prior: MakePrior, file: Path, missing: str) -> None:
    tensors, header = tensors_and_header(make_prior())
    del header[missing]
    write(file, tensors, header)
    assert f"has no header of an mbmrl prior: '{missing}'" in refusal(file)


@pytest.mark.parametrize("header", [[], 3, None, "mbmrl-prior-4"])
def test_header_that_is_no_object_is_refused(make_prior: MakePrior, file: Path, header: Any) -> None:
    tensors, _ = tensors_and_header(make_prior())
    write(file, tensors, header)
    assert "has no header of an mbmrl prior" in refusal(file)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("layers.0.weight", torch.zeros(16, 30), "layer 0 is missing or does not take 22 inputs"),
        ("layers.1.weight", torch.zeros(16, 17), "layer 1 is missing or does not take 16 inputs"),
        ("layers.1.weight", torch.zeros(16), "layer 1 is missing or does not take 16 inputs"),
        ("layers.1.bias", torch.zeros(17), "layer 1 is missing or does not take 16 inputs"),
        ("layers.1.bias", torch.tensor(0.0), "layer 1 is missing or does not take 16 inputs"),
        ("layers.1.bias", torch.zeros(16, 1), "layer 1 is missing or does not take 16 inputs"),
        ("layers.1.bias", None, "layer 1 is missing or does not take 16 inputs"),
        ("layers.2.weight", None, "the network has 16 outputs, wanted are 21"),
        ("layers.1.weight", torch.full((16, 16), torch.nan), "the weights are not finite"),
        ("layers.2.bias", torch.full((21,), torch.inf), "the weights are not finite"),
        ("normalizer.input_mean", None, "normalizer.input_mean is missing or has not 22 finite numbers"),
        ("normalizer.output_mean", torch.zeros(22), "normalizer.output_mean is missing or has not 21 finite numbers"),
        ("normalizer.output_deviation", torch.full((21,), torch.nan), "normalizer.output_deviation is missing or"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    make_prior: MakePrior, file: Path, name: str, tensor: Tensor | None, words: str
) -> None:
    tensors, header = tensors_and_header(make_prior())
    if tensor is None:
        del tensors[name]
    else:
        tensors[name] = tensor
    write(file, tensors, header)
    assert words in refusal(file)


def test_file_without_any_layers_is_refused(make_prior: MakePrior, file: Path) -> None:
    tensors, header = tensors_and_header(make_prior())
    write(file, {name: t for name, t in tensors.items() if not name.startswith("layers.")}, header)
    with pytest.raises(PriorError, match=r"^a prior of grbal needs layers of a network$"):
        ModelSettings(checkpoint=str(file)).load_prior()


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.complex64])
def test_other_types_of_numbers_are_refused(make_prior: MakePrior, file: Path, kind: torch.dtype) -> None:
    """The network works in single precision; a step in another one would break off the control loop."""
    tensors, header = tensors_and_header(make_prior())
    write(file, tensors | {"layers.0.bias": tensors["layers.0.bias"].to(kind)}, header)
    assert "the tensors are not all of type float32" in refusal(file)


def test_psi_that_is_not_finite_is_refused(make_prior: MakePrior, file: Path) -> None:
    replace(make_prior(), extras={"psi": torch.full((2, 1), math.nan)}).save(file)
    assert "the learner's tensors are not finite" in refusal(file)


def test_prior_of_another_learner_than_asked_for_is_refused(make_prior: MakePrior, file: Path) -> None:
    make_prior("mb").save(file)
    with pytest.raises(PriorError, match="is a prior of mb, wanted is one of grbal"):
        ModelSettings(learner="grbal", checkpoint=str(file)).load_prior()


def of_other_robot(prior: Prior, *names: str) -> Prior:
    """A prior of as many states and two actions."""
    robot = Robot(describe({"name": "other", "states": list(names), "actions": ["left", "right"]}))
    sizes = (robot.features.input_size, 16, robot.features.output_size)
    layers = initial_layers(sizes, torch.Generator().manual_seed(0))
    statistics = (torch.zeros(sizes[0]), torch.ones(sizes[0]), torch.zeros(sizes[2]), torch.ones(sizes[2]))
    return Prior(layers, Normalizer(*statistics), prior.settings, {"psi": torch.ones(1, 2)}, robot=robot)


@pytest.mark.parametrize("count", [3, 24, 30])
def test_robot_refuses_the_prior_of_another(make_prior: MakePrior, file: Path, count: int) -> None:
    """Even if the numbers of states and actions are the same; it can be loaded nevertheless."""
    other = of_other_robot(make_prior(), *(f"s{index}" for index in range(count)))
    other.save(file)
    loaded = load_prior(file)
    assert (loaded.robot, loaded.hash) == (other.robot, other.hash)
    sentence = "is for another robot: it is other, this one is millirobot"
    with pytest.raises(PriorError, match=f"^{re.escape(str(file))} {sentence}$"):
        ModelSettings(checkpoint=str(file)).load_prior()
    with pytest.raises(PriorError, match=f"^{re.escape(str(file))} {sentence}$"):
        load_prior(file, MILLIROBOT)


def test_unknown_learner_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^unknown learner 'maml': allowed is grbal, .*, mb, or a file, \*\.py$"):
        ModelSettings(learner="maml").load_prior()


# Whatever the bytes are


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.booleans())
@FEW
def test_damaged_file_is_a_prior_or_refused(
    make_prior: MakePrior, tmp_path_factory: pytest.TempPathFactory, place: float, flip: int, in_header: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    content = bytearray(make_prior(hidden=(2,)).to_bytes())
    size = 8 + int.from_bytes(content[:8], "little") if in_header else len(content)
    content[int(place * size)] ^= flip
    file.write_bytes(content)
    with suppress(ValueError):
        make_learner(load_prior(file))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["format", "robot", "own_features", "learner", "window", "rate", "training"]), JSON)
@FEW
def test_any_value_in_the_header_is_taken_or_refused(
    make_prior: MakePrior, tmp_path_factory: pytest.TempPathFactory, name: str, value: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "header.safetensors"
    tensors, header = tensors_and_header(make_prior(hidden=(2,)))
    write(file, tensors, header | {name: value})
    with suppress(ValueError):
        make_learner(load_prior(file))


@pytest.mark.parametrize("shape", [[2**40], [2**31, 2**31, 2**31]], ids=str)
def test_tensor_that_claims_to_be_larger_than_the_file_is_not_made_room_for(file: Path, shape: list[int]) -> None:
    claimed = {"layers.0.bias": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * math.prod(shape) % 2**60]}}
    header = json.dumps(claimed).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    assert "is cut or no safetensors file" in refusal(file)


def test_large_file_is_not_read(file: Path) -> None:
    header = json.dumps({"x": {"dtype": "U8", "shape": [10**12], "data_offsets": [0, 10**12]}}).encode()
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + 10**12)  # with nothing on the disk
    assert refusal(file).endswith("has 1e+03 GB: allowed are 1.07")


def test_deep_header_is_refused(make_prior: MakePrior, file: Path) -> None:
    tensors, _ = tensors_and_header(make_prior())
    safetensors.torch.save_file(tensors, file, {"mbmrl": "[" * 100_000})
    assert "has no header of an mbmrl prior" in refusal(file)
