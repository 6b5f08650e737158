"""Quality of service of the topics, by purpose."""

from __future__ import annotations

from typing import Final

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

STATE: Final = QoSProfile(depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
"""Robot states, of which none may be lost: each one is half of two transitions. So is all that is published for
displays and recorders: a reliable publisher serves readers of both kinds, and a slow one only loses what it is late
for."""

LATEST: Final = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
"""Commands and models: only the newest one counts, and whoever uses it checks its age."""

TRANSFORMS: Final = QoSProfile(depth=100, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)
"""Transforms, as tf2 itself publishes them."""

SENSOR: Final = QoSProfile(depth=5, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Readers of other people's sensors: best effort takes from publishers of both kinds."""

LATCHED: Final = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""What a late joiner must know: descriptions, reference paths, faults in force."""
