"""A recorded run in 3-D as a page that needs nothing but itself."""

from __future__ import annotations

from contextlib import closing
from typing import Final

import numpy as np

from mbmrl_control.dashboard.replay import Replay
from mbmrl_control.dashboard.server import PageServer
from mbmrl_control.dashboard.world_view import WorldView

_RATE: Final = 10.0
"""Pictures per second."""
_MOST: Final = 1200
"""Most pictures; of a longer run there are fewer per second."""
_WAY: Final = 4
"""Pictures from one drawing of the way to the next."""


def as_page(replay: Replay) -> str:
    """A page that plays a run: HTML that loads nothing."""
    step = max(1.0 / _RATE, replay.end / _MOST)
    # Only a server of viser's keeps the scene that it writes.
    with closing(PageServer("127.0.0.1", 0)) as server:
        view = WorldView(server.viser, replay.kinds)
        view.describe(replay.urdf)
        view.show(replay.moments[0])
        film = server.viser.get_scene_serializer()
        for number, time in enumerate(np.arange(0.0, replay.end + step, step).tolist()):
            view.show(replay.at(time))
            if number % _WAY == 0:
                view.draw_way(replay.way(time))
            film.insert_sleep(step)
        return film.as_html()
