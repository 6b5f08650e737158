"""Which model is planned with: the newest one that can be used, or the prior once none comes any more."""

from __future__ import annotations

from collections.abc import Callable

from mbmrl_base.toolkit.conversions import check_message
from mbmrl_control.dynamics.model import Model
from mbmrl_control.dynamics.network import Normalizer
from mbmrl_control.dynamics.prior import Prior
from mbmrl_control.learners import make_learner
from mbmrl_control.nodes import conversions
from mbmrl_msgs.msg import AdaptedModel


class _Source:
    """A prior, and the models that are adapted from it."""

    def __init__(self, prior: Prior) -> None:
        self.hash, self.normalizer = prior.hash, prior.normalizer
        self.learner = make_learner(prior)
        self.prior = self.learner.adapted_model({})


class NewestModel:
    """Callbacks hand models over, the planning thread asks for the one to plan with."""

    def __init__(self, prior: Prior, timeout: float, now: Callable[[], float]) -> None:
        """Take what is planned with at first.

        Args:
            prior: The prior that models are adapted from.
            timeout: Time without a model after which the prior is planned with, s.
            now: The time, s.
        """
        self._robot, self._timeout, self._now = prior.robot.name, timeout, now
        self._source = self._next = _Source(prior)
        self._model: tuple[int, Model] = (0, self._source.prior)
        self._message: AdaptedModel | None = None
        self._taken: AdaptedModel | None = None
        self._came = 0.0
        self.refusal = ""
        """Why the newest model cannot be used; empty: it can."""

    @property
    def hash(self) -> str:
        """Of the prior whose models are planned with."""
        return self._source.hash

    @property
    def prior(self) -> Model:
        """The prior as it was trained."""
        return self._source.prior

    @property
    def normalizer(self) -> Normalizer:
        """That of the prior."""
        return self._source.normalizer

    def use(self, prior: Prior) -> None:
        """Plan with models of another prior, from the first one on that comes."""
        self._next = _Source(prior)

    def take(self, message: AdaptedModel) -> None:
        """Take a model.

        Raises:
            ValueError: If it is of another robot or prior.
        """
        check_message(message, self._robot)
        if message.prior_hash not in (self._source.hash, self._next.hash):
            raise ValueError(f"it is of another prior, {message.prior_hash[:12]}, this one is {self._next.hash[:12]}")
        self._message, self._came = message, self._now()

    @property
    def late(self) -> str:
        """Since when no model has come, if one is missing; else empty."""
        age = self._now() - self._came
        if self._message is None or 0.0 <= age <= self._timeout:
            return ""
        return f"no model has come for {age:.1f} s: the prior is planned with"

    def to_plan_with(self) -> tuple[int, Model]:
        """Number and model of what is planned with."""
        found = self._newest_usable()
        return (0, self._source.prior) if self.late else found

    def _newest_usable(self) -> tuple[int, Model]:
        message = self._message
        if message is None or message is self._taken:
            return self._model
        self._taken, source = message, self._next
        if message.prior_hash == source.hash and source is not self._source:
            self._source, self._model = source, (0, source.prior)
        elif message.prior_hash != self._source.hash:
            return self._model
        try:
            update = conversions.from_adapted_model(message)
            self._model, self.refusal = (message.sequence, self._source.learner.adapted_model(update)), ""
        except ValueError as error:
            self.refusal = f"a model is refused: {error}"
        return self._model
