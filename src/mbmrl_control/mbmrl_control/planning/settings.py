"""What can be set of each planner: declared here once; nodes, commands and tables are made of it."""

from __future__ import annotations

from pydantic import Field

from mbmrl_base.toolkit.settings import NodeSettings


class SamplingSettings(NodeSettings):
    """What planners that sample have in common; of one number per action, a single one is for all actions."""

    candidates: int = Field(
        800, ge=2, le=100_000, description="Action sequences per plan, at most; all iterations together"
    )
    min_candidates: int = Field(
        100, ge=2, le=100_000, description="Action sequences per plan, at least, if the deadline allows them"
    )
    horizon: int = Field(16, ge=1, le=200, description="Steps of an action sequence")
    noise_std: tuple[float, ...] = Field(
        (0.0,),
        min_length=1,
        description="Deviation of the noise on each action, in its unit; of cem in its first iteration; 0: the robot's",
    )
    correlation: tuple[float, ...] = Field(
        (0.85,), min_length=1, description="Correlation of the noise on each action from step to step, 0 to below 1"
    )
    held_share: float = Field(
        0.3,
        ge=0.0,
        le=1.0,
        description="Share of the sequences, of cem in its first iteration, that hold one random action: so a planner"
        " leaves a plan that no small change improves, as after a fault",
    )


class MppiSettings(SamplingSettings):
    """Settings of MPPI."""

    temperature: float = Field(
        0.05, ge=1e-3, le=10.0, description="Temperature of mppi, as a share of the deviation of the sequences' costs"
    )


class CrossEntropySettings(SamplingSettings):
    """Settings of CEM."""

    iterations: int = Field(4, ge=1, le=100, description="Iterations of cem")
    elites: float = Field(
        0.1, gt=0.0, le=1.0, description="Share of an iteration's sequences that cem fits the next one to"
    )
