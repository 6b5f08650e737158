"""A prior on disk: one safetensors file with its normaliser, learner, features and settings."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mbmrl_base.robots.catalogue import ROBOTS, load_robot
from mbmrl_base.robots.description import describe
from mbmrl_base.robots.features import Features
from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.files import whole
from mbmrl_control.dynamics.network import Layers, Normalizer

FORMAT: Final = "mbmrl-prior-4"
MOST_BYTES: Final = 2**30
"""Size of a file at most; those that come with the package have less than 2 MB."""
LONGEST_WINDOW: Final = 100_000
"""Most transitions to adapt on."""
_NORMALIZER: Final = ("input_mean", "input_deviation", "output_mean", "output_deviation")


class PriorError(ValueError):
    """A file that holds no prior, or none for this robot; its text says why."""


class OtherRobotError(PriorError):
    """A prior of another robot than the wanted one."""


@dataclass(frozen=True)
class PriorSettings:
    """What a prior was made for and with.

    Attributes:
        learner: Name of the learner.
        window: M, transitions to adapt on.
        rate: Control rate of the data, Hz.
        training: Settings and figures of the training, for the record.
    """

    learner: str
    window: int
    rate: float
    training: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prior:
    """Meta-learned weights theta*, what the learner needs beside them, and the normaliser."""

    layers: Layers
    """Those of a plain network; empty if the learner's model is another one, which is in ``extras`` then."""
    normalizer: Normalizer
    settings: PriorSettings
    extras: dict[str, Tensor] = field(default_factory=dict)
    """Tensors that the learner names, such as GrBAL's step sizes ``psi``, shape (steps, layers)."""
    robot: Robot = field(kw_only=True)

    @property
    def features(self) -> Features:
        """What the model sees and predicts."""
        return self.robot.features

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors of layers and learner by the names that they have in the file."""
        tensors = {f"learner.{name}": tensor for name, tensor in self.extras.items()}
        for index, (weight, bias) in enumerate(self.layers):
            tensors |= {f"layers.{index}.weight": weight, f"layers.{index}.bias": bias}
        return tensors

    def to_bytes(self) -> bytes:
        """The file's content; equal priors give equal bytes."""
        tensors = {f"normalizer.{name}": getattr(self.normalizer, name) for name in _NORMALIZER} | self.tensors
        header = {
            "format": FORMAT,
            "robot": self.robot.description.as_json(),
            "own_features": type(self.features) is not Features,
        } | vars(self.settings)
        # One key only: safetensors does not keep the order of several.
        metadata = {"mbmrl": json.dumps(header, sort_keys=True)}
        contiguous = {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}
        return safetensors.torch.save(contiguous, metadata)

    @property
    def hash(self) -> str:
        """SHA-256 of the file's content, in hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def check_rate(self, rate: float) -> None:
        """Refuse a control rate, Hz, at which the model does not predict.

        Raises:
            PriorError: If the prior was trained on another rate.
        """
        if rate != self.settings.rate:
            raise PriorError(
                f"the prior predicts at {self.settings.rate:g} Hz, not at {rate:g} Hz: train one with"
                f" data of that rate, or use {self.settings.rate:g} Hz"
            )

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        with whole(path) as part:
            part.write_bytes(self.to_bytes())


def load_prior(path: Path, robot: Robot | None = None) -> Prior:
    """Read a prior.

    Args:
        path: The file.
        robot: The robot, which the prior has to be for; None: the one that the file describes.

    Raises:
        PriorError: If there is no such file, or it holds no prior.
        OtherRobotError: If its prior is for another robot.
    """
    if not path.is_file():
        raise PriorError(f"there is no checkpoint {path}")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise PriorError(f"{path} has {size / 1e9:.3g} GB: allowed are {MOST_BYTES / 1e9:.3g}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise PriorError(f"{path} is cut or no safetensors file: {error}") from None
    try:
        header = json.loads(metadata["mbmrl"])
        if header["format"] != FORMAT:
            raise PriorError(f"{path} has format {header['format']!r}: allowed is {FORMAT!r}")
        own_features = bool(header["own_features"])
        made_for = Robot(describe(header["robot"]))
        settings = PriorSettings(
            str(header["learner"]), int(header["window"]), float(header["rate"]), dict(header["training"])
        )
        if not 1 <= settings.window <= LONGEST_WINDOW or not 0 < settings.rate < math.inf:
            raise ValueError(f"window and rate must be positive, and window at most {LONGEST_WINDOW}")
    except PriorError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PriorError(f"{path} has no header of an mbmrl prior: {error}") from None
    robot = _robot(path, made_for, own_features, robot)
    if any(tensor.dtype != torch.float32 for tensor in tensors.values()):
        raise PriorError(f"{path}: the tensors are not all of type float32")
    extras = {name.removeprefix("learner."): tensor for name, tensor in tensors.items() if name.startswith("learner.")}
    if not all(torch.isfinite(tensor).all() for tensor in extras.values()):
        raise PriorError(f"{path}: the learner's tensors are not finite")
    features = robot.features
    layers, normalizer = layers_of(path, tensors, features.input_size), _normalizer(path, tensors, features)
    if layers and len(layers[-1][1]) != features.output_size:
        raise PriorError(f"{path}: the network has {len(layers[-1][1])} outputs, wanted are {features.output_size}")
    return Prior(layers, normalizer, settings, extras, robot=robot)


def check_replaced(path: Path, robot: Robot) -> None:
    """See that a file in whose place a prior of a robot is to come holds none of another robot.

    Raises:
        OtherRobotError: If it does.
    """
    try:
        load_prior(path, robot)
    except OtherRobotError as error:
        raise OtherRobotError(f"{error}; give the new prior another file, --out") from None
    except PriorError:  # nobody could use it
        return


def _robot(path: Path, made_for: Robot, own_features: bool, wanted: Robot | None) -> Robot:
    """The robot of a prior; PriorError if it is another than the wanted one, or no description is enough for it."""
    if wanted is None and made_for.name in ROBOTS:
        wanted = load_robot(made_for.name)
    if wanted is None:
        if own_features:
            raise PriorError(f"{path} is for {made_for.name}, which has features of its own: give the robot's file")
        return made_for
    if difference := wanted.difference(made_for):
        raise OtherRobotError(f"{path} is for another robot: {difference}")
    if own_features != (type(wanted.features) is not Features):
        given, has = ("with", "none") if own_features else ("without", "them")
        raise PriorError(f"{path} was trained {given} features of the robot's own, and {wanted.name} has {has}")
    return wanted


def layers_of(name: object, tensors: Mapping[str, Tensor], size: int) -> Layers:
    """Layers of a network among tensors with the names of a prior's file; empty if there is none.

    Args:
        name: What the sentence of an error calls it.
        tensors: The tensors.
        size: Inputs that the first layer takes.

    Raises:
        PriorError: If layers are missing, do not fit together, or are not finite.
    """
    count = sum(key.startswith("layers.") and key.endswith(".weight") for key in tensors)
    layers: Layers = []
    for index in range(count):
        weight = tensors.get(f"layers.{index}.weight")
        bias = tensors.get(f"layers.{index}.bias")
        if weight is None or bias is None or bias.ndim != 1 or weight.shape != (len(bias), size):
            raise PriorError(f"{name}: layer {index} is missing or does not take {size} inputs")
        layers.append((weight, bias))
        size = len(bias)
    if not all(torch.isfinite(tensor).all() for layer in layers for tensor in layer):
        raise PriorError(f"{name}: the weights are not finite")
    return layers


def _normalizer(path: Path, tensors: dict[str, Tensor], features: Features) -> Normalizer:
    statistics = []
    for name in _NORMALIZER:
        tensor = tensors.get(f"normalizer.{name}")
        size = features.input_size if name.startswith("input") else features.output_size
        if tensor is None or tensor.shape != (size,) or not torch.isfinite(tensor).all():
            raise PriorError(f"{path}: normalizer.{name} is missing or has not {size} finite numbers")
        statistics.append(tensor)
    return Normalizer(*statistics)
