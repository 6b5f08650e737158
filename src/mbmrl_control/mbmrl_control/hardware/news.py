"""What became of a link that was lost, or of a stop, as sentences for a log; each comes once."""

from __future__ import annotations

from mbmrl_base.toolkit.health import Level
from mbmrl_control.hardware.link.link import Link


class News:
    """Looks at a link now and then, from another thread than the link's."""

    def __init__(self, link: Link, remedy: str) -> None:
        """Take what to look at, and what lets the robot move again, as one clause."""
        self._link, self._remedy = link, remedy
        self._losses = 0
        self._away = self._disobeys = False
        self._told: set[str] = set()

    def look(self, logged: str = "", comes_back: bool = False) -> list[tuple[Level, str]]:
        """What is new since the last look.

        Args:
            logged: Why the link was lost, if the log has that already.
            comes_back: Whether nobody has to do something about it.
        """
        return [*self._of_rest(), *self._of_line(logged, comes_back)]

    def _of_rest(self) -> list[tuple[Level, str]]:
        wrong, logged_before = self._link.rest.wrong, self._disobeys
        self._disobeys = bool(wrong)
        return [(Level.ERROR, f"{wrong}: cut the robot's power")] if wrong and not logged_before else []

    def _of_line(self, logged: str, comes_back: bool) -> list[tuple[Level, str]]:
        status, losses = self._link.status, self._link.counts.losses
        if losses > self._losses:
            self._losses, self._away, self._told = losses, True, {logged}
        if not self._away or status.state == "closed":
            return []
        if status.state != "connecting":
            self._away = False
            but = f", but {status.doubt}" if status.doubt else ""
            if comes_back or status.state == "enabled":
                return [(Level.OK, f"the link is back{but}")]
            return [(Level.WARN, f"the link is back{but}: {self._remedy}")]
        if status.reason in self._told:
            return []
        self._told.add(status.reason)
        return [(Level.ERROR if status.another else Level.WARN, f"there is no link: {status.reason}")]
