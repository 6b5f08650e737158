"""What the page says in words."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Status:
    """What the page says in words, beside a snapshot."""

    robot: str = ""
    learner: str = ""
    task: str = ""
    state: str = "no state comes"
    alive: bool = False
    stopped: bool = False
    frozen: bool = False
    faults: tuple[str, ...] = ()
    paused: bool | None = None
    """Whether time stands still; None: it cannot."""
    takes_faults: bool = True
    """Whether somebody serves them, as for a robot that is simulated."""
    steered_by: str = ""
    """Who says what it does."""

    def as_html(self, colour: str = "") -> str:
        """It as part of the page; the state in a colour of CSS, if one is given."""
        colour = colour or ("#c0392b" if self.stopped or not self.alive else "#d68910" if self.paused else "#27864a")
        faults = "".join(f"<div style='color:#c0392b'>{escape(fault)}</div>" for fault in self.faults)
        steered = f"steered by {self.steered_by}" if self.steered_by else ""
        words = filter(None, (self.robot, self.task, self.learner, steered))
        return (
            f"<div style='padding:0.2em 0.9em'><b style='color:{colour};font-size:1.15em'>{escape(self.state)}</b>"
            f"<div><small>{escape(' · '.join(words))}</small></div>"
            f"{faults}</div>"
        )
