"""Helpers of the tests that need learners."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mbmrl_control.learners import LEARNER_TYPES, LEARNERS
from mbmrl_control.learners.mb import ModelBased

TRAINED = tuple(name for name in LEARNERS if name != "committee")
"""Learners with tensors of their own."""


def options_of(learner: str, **wanted: Any) -> Any:
    """Settings of a learner, with those of the wanted ones that it has."""
    kind = LEARNER_TYPES.get(learner, ModelBased).settings_type
    return kind(**{field.name: wanted[field.name] for field in fields(kind) if field.name in wanted})
