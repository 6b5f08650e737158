"""Pictures of the robot without a screen."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_sim.render import Line, Scene

STATE = pack_state([0, 0, 0.025], [0] * 3, [0] * 3, [0] * 3, [0, 0], [0] * 2, [0] * 2, 4.0)
PATH = np.stack([np.linspace(-0.3, 0.3, 100), np.zeros(100)], axis=1)


def test_pictures_show_the_robot_its_phases_and_its_lost_legs() -> None:
    stepping = STATE.copy()
    stepping[15:17] = 0.0, 1.0  # the left legs a quarter of a turn on
    lost = [f"leg_loss:left_{place}" for place in ("front", "middle", "rear")]
    with closing(Scene(160, 120)) as scene:
        intact, again, lame, moved = (
            scene.draw(state, faults) for state, faults in ((STATE, ()), (STATE, ()), (STATE, lost), (stepping, ()))
        )
    assert intact.shape == (120, 160, 3)
    assert intact.std() > 5  # something is to be seen
    np.testing.assert_array_equal(intact, again)
    assert (lame != intact).any()
    assert (moved != intact).any()


def test_lines_are_drawn_on_the_ground_in_their_colour() -> None:
    def coloured(line: Line) -> int:
        with closing(Scene(160, 120, samples=1)) as scene:
            return int((scene.draw(STATE, lines=[line]) == line.colour).all(-1).sum())

    assert coloured(Line(PATH, (10, 20, 250))) > 50
    assert coloured(Line(np.add(PATH, (0.0, 90.0)), (10, 20, 250))) == 0
    assert coloured(Line(PATH[:1], (10, 20, 250))) == 0


def test_camera_follows_the_robot() -> None:
    there = STATE.copy()
    there[:2] = 3.0, -2.0
    moved = Line(PATH + there[:2], (10, 20, 250))
    with closing(Scene(160, 120)) as scene:
        here, away = scene.draw(STATE, lines=[Line(PATH, (10, 20, 250))]), scene.draw(there, lines=[moved])
    assert np.abs(here.astype(int) - away).mean() < 2.0
