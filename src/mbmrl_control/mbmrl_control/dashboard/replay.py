"""A recorded run, moment by moment, as the page shows it."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mbmrl_base.robots.faults import FaultKinds
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.rotations import quaternion
from mbmrl_control.control.run_record import Record
from mbmrl_control.dashboard.snapshot import NO_PATH, UNKNOWN_BODY, Foresight, Snapshot
from mbmrl_sim.catalogue import fault_kinds

_PLACES: Final = 600
"""Places by which a way is drawn: it is up to twice as many."""


@dataclass
class Beside:
    """What was published of a run beside what its record keeps.

    Attributes:
        urdf: The robot's description; empty: that which comes with it.
        joints: Positions of joints by name, by the time of the state, s.
        foresights: What a plan was chosen among, by the number of the state.
        numbers: What is plotted, by name, by the number of the state.
        paths: Paths that were to be followed, with the time, s, from which on each was.
    """

    urdf: str = ""
    joints: dict[float, Mapping[str, float]] = field(default_factory=dict)
    foresights: dict[int, Foresight] = field(default_factory=dict)
    numbers: dict[int, dict[str, float]] = field(default_factory=dict)
    paths: list[tuple[float, Array]] = field(default_factory=list)

    def note(self, sequence: int, numbers: Mapping[str, float]) -> None:
        """Add what is plotted of a state."""
        self.numbers.setdefault(sequence, {}).update(numbers)


@dataclass(frozen=True)
class Replay:
    """A run that is shown again.

    Attributes:
        record: The run.
        urdf: The robot's description.
        kinds: Faults of the robot.
        figure: Name of the first figure of the task.
        moments: At least one; their time is that since the first one, s.
    """

    record: Record
    urdf: str
    kinds: FaultKinds
    figure: str
    moments: Sequence[Snapshot]

    @property
    def end(self) -> float:
        """Time of the last moment, s."""
        return self.moments[-1].time

    def count(self, time: float) -> int:
        """Number of the moments up to a time, s; at least 1."""
        return max(1, bisect_right(self.moments, time, key=lambda moment: moment.time))

    def at(self, time: float) -> Snapshot:
        """The moment that a time, s, is in."""
        return self.moments[self.count(time) - 1]

    def way(self, time: float) -> list[Array]:
        """Places, shape (3,), m, on the way up to a time, s; not all of many, but the last one."""
        past = self.moments[: self.count(time)]
        return [moment.position for moment in past[:: -max(1, len(past) // _PLACES)]]


def replay_of(record: Record, beside: Beside | None = None) -> Replay:
    """A run as it is shown again.

    What is not known in a moment is as it was before. Where nothing was published beside the record, joints and path
    are those that follow from state and task.

    Raises:
        ValueError: If no pose is known, or the task is of a file that is not there.
    """
    beside = beside or Beside()
    robot, task = record.robot, record.make_task()
    urdf = beside.urdf or robot.urdf() or UNKNOWN_BODY
    tracking = record.track(task)
    reference = task.reference()
    paths = beside.paths or [(-np.inf, NO_PATH if reference is None else reference)]
    path = paths[0][1]
    ahead = deque(paths[1:])
    joints: Mapping[str, float] = {}
    foresight: Foresight | None = None
    moments = []
    for index, (tick, time) in enumerate(zip(record.ticks, record.time.tolist(), strict=True)):
        observation = tick.observation
        body = robot.body(observation.state)
        joints = beside.joints.get(observation.time) or robot.joints(observation.state) or joints
        foresight = beside.foresights.get(observation.sequence, foresight)
        while ahead and ahead[0][0] <= observation.time:
            _, newer = ahead.popleft()
            path = path if np.array_equal(newer, path) else newer  # it comes again and again
        if body is None or not (np.isfinite(body.position).all() and np.isfinite(body.angles).all()):
            continue
        numbers = {name: float(values[index]) for name, values in tracking.items()}
        numbers |= {name: getattr(tick, name) for name in ("prior_error", "adapted_error", "planning_time")}
        numbers |= beside.numbers.get(observation.sequence, {})
        turn = np.array(quaternion(body.angles))
        moments.append(Snapshot(time, body.position, turn, joints, tick.faults, foresight, numbers, path))
    if not moments:
        raise ValueError(f"{robot.name} does not move on a plane, or its pose is not known")
    try:
        kinds = fault_kinds(robot.name)
    except ValueError:  # a robot that nobody simulates
        kinds = FaultKinds()
    return Replay(record, urdf, kinds, next(iter(tracking)), moments)
