"""The simulators there are: one for each robot that comes with the package, and those of a user's files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.robots.faults import FaultKinds
from mbmrl_base.robots.robot import Robot
from mbmrl_base.robots.simulator import Simulator
from mbmrl_base.system.plugins import from_file

_SIMULATORS: Final = {
    DEFAULT_ROBOT: ("mbmrl_sim.millirobot.world", "World"),
    "husky": ("mbmrl_sim.husky", "Husky"),
    "half_cheetah": ("mbmrl_sim.half_cheetah", "HalfCheetah"),
    "ant": ("mbmrl_sim.ant", "Ant"),
}
DEFAULT_TERRAIN: Final = "carpet"
_DEFAULTS: Final = {"terrain": DEFAULT_TERRAIN, "slope": (0.0, 0.0), "sensors": "ideal", "gui": False, "varied": None}
SIMULATED: Final = tuple(_SIMULATORS)
"""Names of robots that have a simulator."""


def _factory(given: str) -> Callable[..., Any]:
    """What makes the simulator of a robot's name, or of a file, and may have ``kinds``."""
    if given in _SIMULATORS:
        module, name = _SIMULATORS[given]
        made: Callable[..., Any] = getattr(import_module(module), name)
        return made
    path = Path(given).expanduser()
    if path.suffix != ".py":
        known = ", ".join(SIMULATED)
        raise ValueError(f"no simulator of {given!r}: there are those of {known}, or a file, *.py, that simulates it")
    return partial(from_file, path, "simulator")


def make_simulator(given: str, seed: int = 0, rate: float = 20.0, **options: Any) -> Simulator:
    """A simulator by the name of its robot, or by its file.

    Args:
        given: A name of `SIMULATED`, or a Python file, ``*.py``, whose ``simulator(seed, rate)`` returns a `Simulator`.
        seed: Seed of all that is random.
        rate: Control rate, Hz.
        options: ``terrain``, name of the ground; ``slope``, its angle and the direction that leads up it, rad;
            ``sensors``, imperfections, as for `mbmrl_sim.sensors.make_sensors`; ``gui``, whether to show a window;
            ``varied``, an `np.random.Generator` that draws another robot, on a slope: domain randomisation. A simulator
            need not know one that keeps its default.

    Raises:
        ValueError: If there is none, or it refuses an option.
    """
    wanted = {name: value for name, value in options.items() if value != _DEFAULTS.get(name)}
    simulator: Simulator = _factory(given)(seed=seed, rate=rate, **wanted)
    return simulator


def fault_kinds(given: str) -> FaultKinds:
    """Faults of a simulator by the name of its robot, or by its file, see `make_simulator`.

    Raises:
        ValueError: If there is none.
    """
    if given not in _SIMULATORS:
        return check_simulator(given)[1]
    kinds: FaultKinds = _factory(given).kinds  # type: ignore[attr-defined]
    return kinds


def check_simulator(given: str, rate: float = 20.0, **options: Any) -> tuple[Robot, FaultKinds]:
    """See that `make_simulator` makes a simulator.

    Returns:
        Its robot, and its faults.

    Raises:
        ValueError: If it does not.
    """
    with closing(make_simulator(given, rate=rate, **options)) as simulator:
        return simulator.robot, simulator.kinds
