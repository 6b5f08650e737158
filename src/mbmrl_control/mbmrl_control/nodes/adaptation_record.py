"""How online adaptation goes, for /diagnostics."""

from __future__ import annotations

from mbmrl_base.toolkit.health import Level, Part
from mbmrl_control.learners.online import Adaptation


class AdaptationRecord:
    """Takes in each adaptation; what is reported is of those since the last report."""

    def __init__(self) -> None:
        self._newest: Adaptation | None = None
        self._told = (0, 0, 0)
        self._failure = ""

    def observe(self, adaptation: Adaptation) -> None:
        """Take in an adaptation."""
        self._newest = adaptation
        self._failure = adaptation.failure or self._failure

    def report(self) -> Part:
        """Health of the adaptations since the last report."""
        part = Part("adaptation")
        newest = self._newest
        if newest is None:
            part.check(True, Level.STALE, "no state has come")
            return part
        counts = (newest.sequence, newest.skipped, newest.failed)
        lately, skipped, failed = (now - before for now, before in zip(counts, self._told, strict=True))
        self._told = counts
        part.check(lately == 0, Level.STALE, "no state has come")
        part.check(failed > 0, Level.ERROR, f"the learner failed {failed} times, the prior is used: {self._failure}")
        part.check(skipped > 0, Level.WARN, f"{skipped} transitions skipped: a number in them is missing")
        part.values = {
            "adaptations": newest.sequence,
            "transitions in the window": newest.window,
            "updates withheld": newest.rejected,
            "transitions skipped": newest.skipped,
            "learner failed": newest.failed,
        }
        return part
