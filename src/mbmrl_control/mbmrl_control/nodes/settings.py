"""Parameters of the nodes, and the core objects that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import Field, create_model
from typing_extensions import Self

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, load_robot
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import FRAME_PREFIX, ROBOT, SEED, NodeSettings, part_of, runtime_field, runtime_text
from mbmrl_control.dynamics.prior import Prior, PriorError, load_prior
from mbmrl_control.learners import LEARNERS, load_learner, make_learner
from mbmrl_control.nodes.realtime import prepare
from mbmrl_control.planning import PLANNERS, PRECISIONS, RollOuts, SamplingSettings, load_planner, make_planner
from mbmrl_control.planning.cem import CrossEntropySettings
from mbmrl_control.planning.mppi import MppiSettings
from mbmrl_control.priors import DEFAULT_LEARNER, MEMBERS, load_shipped
from mbmrl_control.tasks import DEFAULT_TASK, TASKS, Task, load_task, make_task, usual_task


class ModelSettings(NodeSettings):
    """Parameters of a node that has the dynamics model."""

    robot: str = Field(DEFAULT_ROBOT, description=ROBOT)
    learner: str = runtime_text(
        "",
        f"Learner: {', '.join(LEARNERS)}, or a file, *.py; empty: that of the checkpoint, else {DEFAULT_LEARNER}",
        LEARNERS,
    )
    checkpoint: str = runtime_text(
        "", "File of the prior, *.safetensors; empty: the one that is shipped for the learner"
    )
    members: str = Field(
        MEMBERS, description="Learners that a committee is made of, unless it has a checkpoint, with commas between"
    )
    autostart: bool = Field(True, description="Whether the node configures and activates itself at its start")
    threads: int = Field(1, ge=1, le=64, description="Threads of torch")
    cpus: str = Field("", description="Processors that the node runs on, numbers with commas between; empty: any")
    realtime_priority: int = Field(
        0, ge=0, le=99, description="Priority of SCHED_FIFO, where the system allows one; 0: none"
    )
    lock_memory: bool = Field(False, description="Whether memory is kept from being swapped out")

    def check(self) -> Robot:
        """As of `NodeSettings`."""
        return load_robot(self.robot)

    def in_use(self) -> Self:
        """The same, with the learner that an empty name stands for.

        Raises:
            ValueError: If there is no such prior, see `load_prior`.
        """
        return self.model_copy(update={"learner": self.load_prior().settings.learner})

    def prepare(self, threads: int) -> None:
        """Set up the process, see `prepare`; torch takes a number of threads."""
        prepare(threads, self.cpus, self.realtime_priority, self.lock_memory)

    def load_prior(self) -> Prior:
        """The prior that is meant.

        Raises:
            ValueError: If the learner is unknown, or the file holds no prior for it.
        """
        learner = load_learner(self.learner or DEFAULT_LEARNER).name
        robot = load_robot(self.robot)
        prior = load_prior(Path(self.checkpoint).expanduser(), robot) if self.checkpoint else None
        if prior is None:
            prior = load_shipped(learner, robot, self.members)
        if self.learner and prior.settings.learner != learner:
            raise PriorError(f"{self.checkpoint} is a prior of {prior.settings.learner}, wanted is one of {learner}")
        make_learner(prior)
        return prior


class AdaptationSettings(ModelSettings):
    """Parameters of the adaptation node."""


_OF_TASKS: Final = tuple(kind.settings_type for kind in TASKS.values())


class PlannerSettings(CrossEntropySettings, MppiSettings, *_OF_TASKS, ModelSettings):  # type: ignore[misc]
    """Parameters of the MPC node."""

    rate: float = Field(20.0, ge=5.0, le=200.0, description="Control rate, Hz")
    task: str = runtime_text(
        "", f"What the robot does: {', '.join(TASKS)}, or a file, *.py; empty: what its description says", TASKS
    )
    frame_prefix: str = Field("", description=FRAME_PREFIX)
    seed: int = Field(0, ge=0, le=2**31 - 1, description=SEED)
    planner: str = Field("mppi", description=f"Planner: {', '.join(PLANNERS)}, or a file, *.py")
    threads: int = Field(2, ge=1, le=64, description="Threads of the roll-outs")
    precision: str = Field(
        "auto",
        description=f"Precision of the hidden layers in roll-outs: {', '.join(PRECISIONS)}; auto: the faster one here",
    )
    device: str = Field("cpu", description="Torch's device for the roll-outs: cpu, or cuda")
    plan_share: float = Field(
        0.4, ge=0.1, le=1.0, description="Time from a tick to the deadline of its plan, share of the period"
    )
    state_timeout: float = Field(0.1, ge=0.01, le=1.0, description="Age from which a state is too old to plan from, s")
    model_timeout: float = Field(
        0.5,
        ge=0.05,
        le=60.0,
        description="Time without a model after which the prior is planned with, s, at least three intervals",
    )
    velocity_timeout: float = runtime_field(0.5, 0.05, 10.0, "Time after which a cmd_vel no longer counts, s")
    patience: float = runtime_field(
        10.0, 0.5, 3600.0, "Time in which a robot that is steered must come nearer to the end by goal_tolerance, s"
    )
    state_lead: float = Field(
        0.1,
        ge=0.0,
        le=0.9,
        description="Time from a state's arrival to the tick that plans from it, share of the period",
    )

    @classmethod
    def with_own(cls, given: Mapping[str, Any]) -> type[Self]:
        """The same, with the settings of a task and of a planner that are given by their files.

        Raises:
            ValueError: If there are none such.
        """
        task, planner = (str(given.get(name, cls.model_fields[name].default)) for name in ("task", "planner"))
        kinds = (load_task(task or DEFAULT_TASK).settings_type, load_planner(planner).settings_type)
        own: Any = [kind for kind in kinds if not issubclass(cls, kind)]
        return create_model(cls.__name__, __base__=(cls, *own)) if own else cls

    def check(self) -> Robot:
        """As of `NodeSettings`."""
        robot = super().check()
        self.make_task(robot)
        self.load_prior().check_rate(self.rate)
        precision = self.precision.replace("auto", PRECISIONS[1])  # which is faster, takes its time to measure
        roll_outs = RollOuts(precision, 1, self.device)
        make_planner(self.planner, robot, self.sampling, 1.0 / self.rate, roll_outs=roll_outs)
        return robot

    def make_task(self, robot: Robot) -> Task[Any]:
        """The task.

        Raises:
            ValueError: If there is none such, or the robot cannot do it.
        """
        return make_task(self.task or usual_task(robot), robot, self, 1.0 / self.rate)

    def in_use(self) -> Self:
        """As of `ModelSettings`, with the robot's usual task where none is named."""
        task = self.task or usual_task(load_robot(self.robot))
        return super().in_use().model_copy(update={"task": task})

    @property
    def roll_outs(self) -> RollOuts:
        """What rolls out, with threads of its own.

        Raises:
            ValueError: If there is no such precision or device.
        """
        return RollOuts(self.precision, self.threads, self.device)

    @property
    def sampling(self) -> SamplingSettings:
        """The planner's settings.

        Raises:
            ValueError: If a planner of a file refuses them.
        """
        return part_of(self, load_planner(self.planner).settings_type)
